"""OpenTelemetry's own tests and older versions of its API, from the package index.

Wheels hold no tests, source distributions do. Both are fetched by pip, once, into `.bench/opentelemetry`, and
each within a bounded time; where there is no index, the tests that need them are skipped and say so.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

import pytest

__all__ = ["installed", "sources_of"]

CACHE = Path(__file__).resolve().parents[2] / ".bench" / "opentelemetry"
LIMIT_S = 90


def sources_of(package: str, version: str) -> Path:
    """Return the folder of a source distribution: its tests are in `tests`."""
    target = CACHE / f"{package}-{version}-sources"
    if not target.exists():
        with tempfile.TemporaryDirectory() as folder:
            _pip("download", "--no-deps", "--no-binary", package, "--dest", folder, f"{package}=={version}")
            (archive,) = Path(folder).glob("*.tar.gz")
            with tarfile.open(archive) as opened:
                opened.extractall(folder, filter="data")
            archive.unlink()
            (unpacked,) = (path for path in Path(folder).iterdir() if path.is_dir())
            _keep(unpacked, target)
    return target


def installed(name: str, *requirements: str) -> Path:
    """Return a folder with these packages and what they need."""
    target = CACHE / name
    if not target.exists():
        with tempfile.TemporaryDirectory() as folder:
            into = Path(folder) / "site"
            _pip("install", "--no-compile", "--target", str(into), *requirements)
            _keep(into, target)
    return target


def _keep(made: Path, target: Path) -> None:
    """Put a folder in its place, unless another process was faster."""
    CACHE.mkdir(parents=True, exist_ok=True)
    beside = Path(tempfile.mkdtemp(dir=CACHE))
    try:
        shutil.copytree(made, beside / "made")
        if not target.exists():
            (beside / "made").rename(target)
    finally:
        shutil.rmtree(beside, ignore_errors=True)


def _pip(*arguments: str) -> None:
    command = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check", "--timeout", "15",
               "--retries", "1", *arguments]  # fmt: skip
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=LIMIT_S, check=False)
    except subprocess.TimeoutExpired:
        pytest.skip(f"pip {arguments[0]} {arguments[-1]} took more than {LIMIT_S} s")
    if done.returncode:
        pytest.skip(f"pip {arguments[0]} {arguments[-1]}: {(done.stderr.strip() or '?').splitlines()[-1]}")
