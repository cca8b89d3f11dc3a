#!/bin/sh
# Make or refresh .venv with the locked requirements and both distributions, editable.
# Usage: tools/venv.sh PYTHON. Does nothing when .venv is already right for that Python.
set -eu
cd "$(dirname "$0")/.."
wanted=${1:-python3}
venv=.venv

works() { "$1" -c 'import sys, venv; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1; }

find_python() {
    if works "$wanted"; then command -v "$wanted"; return; fi
    # A pyenv shim answers only for versions that are switched on; the versions themselves are there.
    for candidate in "${PYENV_ROOT:-$HOME/.pyenv}"/versions/*/bin/"$(basename "$wanted")"; do
        if works "$candidate"; then echo "$candidate"; return; fi
    done
    if [ "$wanted" = python3 ]; then
        for candidate in python3.13 python3.12 python3.11 python3.14; do
            if works "$candidate"; then command -v "$candidate"; return; fi
        done
    fi
    echo "no Python 3.11 or later answers to '$wanted'; try: make test PYTHON=/path/to/python3.12" >&2
    exit 1
}

python=$(find_python)
stamp="$("$python" -c 'import sys; print(sys.version, sys.executable)') $(cat requirements.txt sdk/pyproject.toml lab/pyproject.toml | cksum)"
if [ -x "$venv/bin/python" ] && [ -f "$venv/.stamp" ] && [ "$(cat "$venv/.stamp")" = "$stamp" ]; then
    exit 0
fi
echo "making $venv with $("$python" --version) (once, about a minute)"
"$python" -m venv --clear "$venv"
"$venv/bin/python" -m pip install -qq --disable-pip-version-check -r requirements.txt
"$venv/bin/python" -m pip install -qq --disable-pip-version-check --no-deps --no-build-isolation -e sdk -e lab
printf '%s' "$stamp" > "$venv/.stamp"
