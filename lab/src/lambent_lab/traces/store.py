"""Spans on disk: one SQLite file that several processes may read and write at once.

A span is identified by its trace id and span id. Adding it again changes nothing, except that the finished
version replaces an unfinished one. The file is recognised by its application id and schema version; one that
is not ours, or newer than this program, is never touched.
"""

from __future__ import annotations

import os
import sqlite3
import threading
import time
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Self

from lambent_lab.errors import LabError
from lambent_lab.traces.rows import COLUMNS, from_row, to_row

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from lambent_lab.traces.model import SpanRecord

APPLICATION_ID = 0x6C6D6274  # "lmbt"
SCHEMA_VERSION = 1
BUSY_SECONDS = 15.0
_MOST = (1 << 63) - 1  # SQLite's largest integer

_SCHEMA = (
    # `seen` orders traces by when they first arrived: clocks of traced machines may lie.
    """CREATE TABLE traces (
        seen INTEGER PRIMARY KEY AUTOINCREMENT,
        trace_id TEXT NOT NULL UNIQUE,
        received_ns INTEGER NOT NULL)""",
    """CREATE TABLE spans (
        trace_id TEXT NOT NULL,
        span_id TEXT NOT NULL,
        parent_span_id TEXT NOT NULL,
        name TEXT NOT NULL,
        kind TEXT NOT NULL,
        start_ns INTEGER NOT NULL,
        end_ns INTEGER NOT NULL,
        status TEXT NOT NULL,
        status_message TEXT NOT NULL,
        service TEXT NOT NULL,
        unfinished INTEGER NOT NULL,
        source TEXT NOT NULL,
        rest TEXT NOT NULL,
        PRIMARY KEY (trace_id, span_id)) WITHOUT ROWID""",
)

_INSERT = """
    INSERT INTO spans VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
    ON CONFLICT (trace_id, span_id) DO NOTHING"""

_FINISH = """
    INSERT INTO spans VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
    ON CONFLICT (trace_id, span_id) DO UPDATE SET parent_span_id = excluded.parent_span_id,
        name = excluded.name, kind = excluded.kind, start_ns = excluded.start_ns, end_ns = excluded.end_ns,
        status = excluded.status, status_message = excluded.status_message, service = excluded.service,
        unfinished = excluded.unfinished, source = excluded.source, rest = excluded.rest
    WHERE unfinished AND NOT excluded.unfinished"""


@dataclass(frozen=True, slots=True, kw_only=True)
class TraceSummary:
    """One trace in a list: `name` and `service` are those of its root, or of its earliest span."""

    trace_id: str
    name: str
    service: str
    start_ns: int
    duration_ms: float
    spans: int
    errors: int

    def to_json(self) -> dict[str, str | int | float]:
        """Return the summary as a JSON object."""
        return {key: getattr(self, key) for key in self.__slots__}


class Store:
    """Spans in a SQLite file, or in memory for the path ":memory:", and for /dev/null: then nothing is kept.

    The file and its folder are made on the first write, readable by their owner only. Threads may share a
    store; processes may share its file. Raises LabError when the file cannot be used.
    """

    def __init__(self, path: str | Path) -> None:
        # SQLite would take the device for a file, and put its journal beside it.
        self.path = ":memory:" if str(path) == os.devnull else str(path)
        self._lock = threading.RLock()
        self._connection: sqlite3.Connection | None = None
        self._closed = False

    @classmethod
    def default(cls) -> Store:
        """Return the store at $LAMBENT_TRACES, or at .lambent/traces.db under the current folder."""
        return cls(os.environ.get("LAMBENT_TRACES") or Path(".lambent") / "traces.db")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    def can_be_written(self) -> bool:
        """Tell whether the file can be written, or made: looked up, not tried."""
        if self.path == ":memory:":
            return True
        path = Path(self.path).absolute()
        folder = next(above for above in path.parents if above.exists())
        places = (path, folder) if path.exists() else (folder,)
        return folder.is_dir() and all(os.access(place, os.W_OK) for place in places)

    def make(self) -> None:
        """Make the file now, so that one that cannot be made is said at once."""
        with self._use(write=True):
            pass

    def add(self, spans: Sequence[SpanRecord], source: str = "") -> int:
        """Store spans; return how many of them were new. `source` says which way they came."""
        if not spans:
            return 0
        new = 0
        with self._use(write=True) as database:
            database.execute("BEGIN IMMEDIATE")
            try:
                now = time.time_ns()
                for span in spans:
                    database.execute(
                        "INSERT INTO traces (trace_id, received_ns) VALUES (?, ?) ON CONFLICT DO NOTHING",
                        (span.trace_id, now),
                    )
                    row = to_row(span, source)
                    if database.execute(_INSERT, row).rowcount > 0:
                        new += 1
                    else:
                        database.execute(_FINISH, row)
                database.execute("COMMIT")
            except BaseException:
                with suppress(sqlite3.Error):
                    database.execute("ROLLBACK")
                raise
        return new

    def traces(self, limit: int | None = 20) -> list[TraceSummary]:
        """Return the traces that arrived last, newest first; all of them for a limit of None."""
        with self._use() as database:
            ids = database.execute(
                "SELECT trace_id FROM traces ORDER BY seen DESC LIMIT ?",
                (-1 if limit is None else min(limit, _MOST),),
            ).fetchall()
            return [_summary(database, trace_id) for (trace_id,) in ids]

    def trace(self, id_prefix: str) -> list[SpanRecord]:
        """Return a trace's spans by start time: for `last`, an id or a beginning of one that is unique.

        Raises LabError when no trace, or more than one, is meant.
        """
        wanted = id_prefix.strip().lower()
        with self._use() as database:
            if wanted == "last":
                query, values = "SELECT trace_id FROM traces ORDER BY seen DESC LIMIT 1", ()
                found = database.execute(query, values).fetchall()
            elif wanted and set(wanted) <= set("0123456789abcdef"):
                # A range on the unique index: every id that begins with the prefix sorts below prefix + "g".
                query = "SELECT trace_id FROM traces WHERE trace_id >= ? AND trace_id < ? LIMIT 6"
                found = database.execute(query, (wanted, wanted + "g")).fetchall()
            else:
                raise LabError(
                    f"{id_prefix!r} is not a trace id: give its first hexadecimal digits, or `last`."
                )
            if not found:
                what = (
                    "No trace is stored yet" if wanted == "last" else f"No stored trace begins with {wanted}"
                )
                raise LabError(
                    f"{what} in {self.path}: see `lambent trace ls`, or run `lambent invoke` first."
                )
            if len(found) > 1:
                some = ", ".join(trace_id[: len(wanted) + 4] + "…" for (trace_id,) in found[:5])
                raise LabError(f"Several traces begin with {wanted}: give more digits ({some}).")
            rows = database.execute(
                # Only the names of columns are put into the text.
                f"SELECT {COLUMNS} FROM spans WHERE trace_id = ? ORDER BY start_ns, span_id",  # noqa: S608
                found[0],
            ).fetchall()
        return [from_row(row) for row in rows]

    def close(self) -> None:
        """Close the file. The store cannot be used afterwards."""
        with self._lock:
            self._closed = True
            if self._connection is not None:
                self._connection.close()
                self._connection = None

    @contextmanager
    def _use(self, *, write: bool = False) -> Iterator[sqlite3.Connection]:
        """Hold the connection; turn SQLite's errors into ours."""
        with self._lock:
            if self._closed:
                raise LabError(f"The trace store {self.path} is closed already.")
            try:
                if self._connection is not None:
                    yield self._connection
                elif write or self.path == ":memory:" or Path(self.path).exists():
                    self._connection = self._open()
                    yield self._connection
                else:  # nothing was ever written: reading makes no file
                    with closing(sqlite3.connect(":memory:", isolation_level=None)) as empty:
                        _create(empty)
                        yield empty
            except (sqlite3.Error, OSError) as error:
                raise LabError(
                    f"The trace store {self.path} cannot be used: {error}. {_advice(error)}"
                ) from error

    def _open(self) -> sqlite3.Connection:
        if self.path != ":memory:":
            _prepare(Path(self.path))
        database = sqlite3.connect(
            self.path, timeout=BUSY_SECONDS, isolation_level=None, check_same_thread=False
        )
        try:
            _recognise(database, self.path)
            if self.path != ":memory:":
                _write_ahead(database)
            database.execute("PRAGMA synchronous = NORMAL")
        except BaseException:
            database.close()
            raise
        return database


def _prepare(path: Path) -> None:
    """Make the folder and an empty file that only their owner can read."""
    folder = path.parent
    if not folder.exists():
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        if folder.name == ".lambent":
            (folder / ".gitignore").write_text("*\n", encoding="ascii")
    with suppress(FileExistsError):
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))


def _recognise(database: sqlite3.Connection, path: str) -> None:
    """Check that the database is ours and of this version; fill it when it is empty."""
    database.execute("BEGIN")  # another process may fill it between two questions
    ours, version, tables = _identity(database)
    database.execute("COMMIT")
    if ours == 0 and version == 0 and tables == 0:
        database.execute("BEGIN IMMEDIATE")
        try:
            # Another process may have filled it while this one waited for the lock.
            if _identity(database)[0] == 0:
                _create(database)
            database.execute("COMMIT")
        except BaseException:
            with suppress(sqlite3.Error):
                database.execute("ROLLBACK")
            raise
        ours, version, tables = _identity(database)
    if ours != APPLICATION_ID:
        raise LabError(f"{path} is a database, but not lambent's: set LAMBENT_TRACES to another path.")
    if version > SCHEMA_VERSION:
        raise LabError(
            f"{path} is of a newer lambent (its version is {version}, this one knows {SCHEMA_VERSION}): "
            "install a newer lambent-lab, or set LAMBENT_TRACES to another path."
        )


def _identity(database: sqlite3.Connection) -> tuple[int, int, int]:
    ours: int = database.execute("PRAGMA application_id").fetchone()[0]
    version: int = database.execute("PRAGMA user_version").fetchone()[0]
    tables: int = database.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]
    return ours, version, tables


def _create(database: sqlite3.Connection) -> None:
    for statement in _SCHEMA:
        database.execute(statement)
    database.execute(f"PRAGMA application_id = {APPLICATION_ID}")
    database.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")


def _write_ahead(database: sqlite3.Connection) -> None:
    """Turn on write-ahead logging. The switch itself does not wait for other processes, so ask again."""
    give_up = time.monotonic() + BUSY_SECONDS
    while True:
        try:
            database.execute("PRAGMA journal_mode = WAL")
        except sqlite3.OperationalError as error:
            if "locked" not in str(error) or time.monotonic() > give_up:
                raise
            time.sleep(0.02)
        else:
            return


def _advice(error: Exception) -> str:
    text = str(error)
    if "not a database" in text or "malformed" in text:
        return "Set LAMBENT_TRACES to another path, or delete the file."
    if "locked" in text:
        return "Another process holds it: wait for it to finish."
    return "Set LAMBENT_TRACES to a path that can be written."


def _summary(database: sqlite3.Connection, trace_id: str) -> TraceSummary:
    start, end, spans, errors = database.execute(
        "SELECT min(nullif(start_ns, 0)), max(max(start_ns, end_ns)), count(*), sum(status = 'ERROR')"
        " FROM spans WHERE trace_id = ?",
        (trace_id,),
    ).fetchone()
    # The root, else a span whose parent did not arrive, else the earliest.
    name, service = database.execute(
        "SELECT name, service FROM spans AS own WHERE trace_id = ? ORDER BY parent_span_id != '',"
        " EXISTS (SELECT 1 FROM spans WHERE trace_id = own.trace_id AND span_id = own.parent_span_id),"
        " start_ns LIMIT 1",
        (trace_id,),
    ).fetchone()
    return TraceSummary(
        trace_id=trace_id,
        name=name,
        service=service,
        start_ns=start or 0,
        duration_ms=max(0, end - start) / 1e6 if start else 0.0,
        spans=spans,
        errors=errors,
    )
