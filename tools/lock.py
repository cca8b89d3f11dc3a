"""Write requirements.txt: what a fresh environment of each supported Python resolves to, with versions.

No index address gets in. One file serves all versions of Python: a package that only some of them need,
or need in another version, carries a marker. What is locked stays at its version as long as that satisfies
what is asked for; `--upgrade` takes the newest of everything (and some minutes longer).
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PYTHONS = ("3.11", "3.12", "3.13")
OURS = {"lambent", "lambent-lab"}


def find(version: str) -> Path:
    """Return an interpreter of this version, from PATH or pyenv."""
    pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv")) / "versions"
    candidates: list[Path | str | None] = [*sorted(pyenv.glob(f"{version}.*/bin/python{version}"))]
    candidates.append(shutil.which(f"python{version}"))
    for candidate in candidates:
        if candidate and subprocess.run([candidate, "-V"], check=False, capture_output=True).returncode == 0:
            return Path(candidate)
    sys.exit(f"the lock is made with Python {', '.join(PYTHONS)}; {version} was not found")


def resolve(python: Path, requirements: list[str], locked: Path | None) -> dict[str, str]:
    """Return name → version of what pip would install for the requirements."""
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run([python, "-m", "venv", folder], check=True)
        kept = [] if locked is None else ["--constraint", str(locked)]
        command = [f"{folder}/bin/python", "-m", "pip", "--disable-pip-version-check", "install", "--quiet"]
        command += ["--dry-run", "--ignore-installed", "--report", f"{folder}/report.json"]
        subprocess.run([*command, *kept, *requirements], check=True)
        report = json.loads(Path(folder, "report.json").read_text())
    found = [each["metadata"] for each in report["install"]]
    return {each["name"]: each["version"] for each in found}


def main() -> None:
    """Resolve for each Python and write the union."""
    lab = tomllib.loads((ROOT / "lab/pyproject.toml").read_text())["project"]["dependencies"]
    given = (ROOT / "requirements.in").read_text().splitlines()
    wanted = [line for line in given if line.strip() and not line.startswith("#")]
    wanted += [line for line in lab if line not in OURS]
    locked = None if "--upgrade" in sys.argv[1:] else ROOT / "requirements.txt"
    resolved = {version: resolve(find(version), wanted, locked) for version in PYTHONS}
    lines = [
        "# Made by `make lock` from requirements.in and lab/pyproject.toml. Versions only, no addresses."
    ]
    names = sorted({name for packages in resolved.values() for name in packages}, key=str.lower)
    for name in names:
        versions: dict[str, list[str]] = {}
        for python, packages in resolved.items():
            if name in packages:
                versions.setdefault(packages[name], []).append(python)
        for version, pythons in versions.items():
            marker = ""
            if len(pythons) < len(PYTHONS):
                newest = pythons[-1] == PYTHONS[-1]
                marker = (
                    f'; python_version {">=" if newest else "<="} "{pythons[0] if newest else pythons[-1]}"'
                )
            lines.append(f"{name}=={version}{marker}")
    (ROOT / "requirements.txt").write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
