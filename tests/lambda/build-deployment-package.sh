#!/usr/bin/env bash
# Put the functions and the SDK together, as they are deployed: .build/bundle and deployment-package.zip.
#
# Usage: ./build-deployment-package.sh [PYTHON]
# It takes a Python with pip and nothing else. BUILD and PACKAGE say other places for the two.
set -euo pipefail
cd "$(dirname "$0")"
root=$(cd ../.. && pwd)
build=${BUILD:-.build/bundle}
package=${PACKAGE:-deployment-package.zip}

python=${1:-}
if [ -z "$python" ]; then
    python=python3
    if [ -x "$root/.venv/bin/python" ]; then python=$root/.venv/bin/python; fi
fi

# What builds the SDK's wheel: there in the repository's own environment, else pip fetches it.
# (No array: an empty one is unbound to bash before 4.4, which the image of Python 3.11 and macOS have.)
set --
if "$python" -c 'import flit_core' 2>/dev/null; then set -- --no-build-isolation; fi

rm -rf "$build"
mkdir -p "$build"
"$python" -m pip install --quiet --disable-pip-version-check --root-user-action ignore \
    --no-deps --no-compile "$@" --target "$build" "$root/sdk"
cp lambda_functions/*.py "$build"

# The same files give the same bytes: names in order, no times.
"$python" - "$build" "$package" <<'PYTHON'
import sys
import zipfile
from pathlib import Path

folder, target = map(Path, sys.argv[1:])
with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as package:
    for path in sorted(each for each in folder.rglob("*") if each.is_file()):
        entry = zipfile.ZipInfo(path.relative_to(folder).as_posix())
        entry.compress_type = zipfile.ZIP_DEFLATED
        entry.external_attr = 0o100644 << 16
        package.writestr(entry, path.read_bytes())
print(f"built {folder} and {target}, {target.stat().st_size / 1000:.0f} kB")
PYTHON
