"""A folder as a revision of its git repository has it, in a temporary folder of its own.

The repository and its worktree are left as they are: `git archive` writes what was committed. What was not
committed (installed packages, say) is not in it.
"""

from __future__ import annotations

import subprocess
import tarfile
import tempfile
from pathlib import Path
from typing import IO, TYPE_CHECKING, Self

from lambent_lab.errors import LabError, UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence

_PATIENCE_S = 300


class Revisions:
    """Makes folders of revisions; they are gone when it is closed."""

    def __init__(self) -> None:
        self._folder: tempfile.TemporaryDirectory[str] | None = None
        self._made: dict[tuple[Path, str], Path] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        if self._folder is not None:
            self._folder.cleanup()

    def folder(self, code: Path, revision: str) -> tuple[Path, str]:
        """The folder `code` as this revision has it, and the revision's short commit. Raises UsageError."""
        inside = code.resolve()
        where = inside if inside.is_dir() else inside.parent
        top = Path(_git(where, ["rev-parse", "--show-toplevel"], f"{code} is in no git repository").strip())
        name = f"There is no revision {revision!r} in {top}"
        if not revision or revision.startswith("-"):
            raise UsageError(f"{name}: write git:HEAD~1, a tag or a commit.")
        commit = _git(top, ["rev-parse", "--verify", "--quiet", f"{revision}^{{commit}}"], name).strip()
        tree = self._made.get((top, commit)) or self._unpack(top, commit)
        self._made[top, commit] = tree
        found = tree / inside.relative_to(top.resolve())
        if not found.exists():
            raise UsageError(f"{inside.relative_to(top.resolve())} is not in the revision {revision}.")
        return found, commit[:12]

    def _unpack(self, top: Path, commit: str) -> Path:
        if self._folder is None:
            self._folder = tempfile.TemporaryDirectory(prefix="lambent-revisions-")
        tree = Path(self._folder.name) / commit
        tree.mkdir()
        # The repository is the user's, the commit was looked up by git itself.
        with subprocess.Popen(  # noqa: S603
            ["git", "-C", str(top), "archive", "--format=tar", commit],  # noqa: S607 - the user's git
            stdout=subprocess.PIPE,
        ) as process:
            assert process.stdout is not None
            _extract(process.stdout, tree)
        if process.returncode:
            raise LabError(f"git archive of {commit[:12]} failed with {process.returncode}.")
        return tree


def _extract(stream: IO[bytes], tree: Path) -> None:
    try:
        with tarfile.open(fileobj=stream, mode="r|") as archive:
            archive.extractall(tree, filter="data")
    except (tarfile.TarError, OSError) as error:
        raise LabError(f"The revision could not be unpacked: {error}.") from error


def _git(folder: Path, arguments: Sequence[str], otherwise: str) -> str:
    try:
        # The arguments are ours, but for a revision that may not begin with a dash.
        done = subprocess.run(  # noqa: S603
            ["git", "-C", str(folder), *arguments],  # noqa: S607 - the user's git
            capture_output=True,
            text=True,
            timeout=_PATIENCE_S,
            check=False,
        )
    except (OSError, subprocess.SubprocessError) as error:
        raise UsageError(f"git cannot be run: {error}.") from error
    if done.returncode:
        said = done.stderr.strip().splitlines()
        raise UsageError(f"{otherwise}{f' ({said[-1]})' if said else ''}.")
    return done.stdout
