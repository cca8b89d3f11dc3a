"""Write dist/lambent-layer.zip: the SDK as a layer, with /opt/lambent for AWS_LAMBDA_EXEC_WRAPPER.

The same sources give the same bytes. One layer fits every version of Python and both architectures: the SDK
is pure Python.
"""

from __future__ import annotations

import io
import os
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
SCRIPT = "lambent/lambent.sh"


def main() -> None:
    """Build the wheel and put what is in it where a layer has it."""
    with tempfile.TemporaryDirectory(prefix="lambent-layer-") as folder:
        # A process of its own: building is done in the project's folder.
        build = "import sys, wheel_backend; print(wheel_backend.build_wheel(sys.argv[1]))"
        done = subprocess.run(
            [sys.executable, "-c", build, folder],
            cwd=ROOT / "sdk", env={**os.environ, "PYTHONPATH": str(ROOT / "sdk")},
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        if done.returncode:
            sys.exit(f"the SDK's wheel cannot be built:\n{done.stderr}")
        with zipfile.ZipFile(Path(folder) / done.stdout.split()[-1]) as wheel:
            files = {f"python/{name}": wheel.read(name) for name in wheel.namelist()}
    files["lambent"] = files[f"python/{SCRIPT}"]
    target = ROOT / "dist" / "lambent-layer.zip"
    target.parent.mkdir(exist_ok=True)
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as layer:
        for name, data in sorted(files.items()):
            entry = zipfile.ZipInfo(name)
            entry.compress_type = zipfile.ZIP_DEFLATED
            entry.external_attr = (0o100755 if name == "lambent" else 0o100644) << 16
            layer.writestr(entry, data)
    target.write_bytes(buffer.getvalue())
    print(f"wrote {target.relative_to(ROOT)}, {target.stat().st_size / 1000:.0f} kB")


if __name__ == "__main__":
    main()
