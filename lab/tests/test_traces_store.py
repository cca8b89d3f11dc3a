"""The SQLite store: what goes in comes out, once, from several threads and processes."""

from __future__ import annotations

import sqlite3
import stat
import subprocess
import sys
import threading
from typing import TYPE_CHECKING, Any

import pytest

from lambent_lab.errors import LabError
from lambent_lab.traces import SpanRecord, Store

if TYPE_CHECKING:
    from pathlib import Path

TRACE = "5b8efff798038103d269b633813fc60c"


def span(number: int, *, trace: str = TRACE, **fields: Any) -> SpanRecord:
    values = {"name": f"span {number}", "start_ns": 1000 + number, "end_ns": 2000 + number, **fields}
    return SpanRecord(trace_id=trace, span_id=f"{number:016x}", **values)


FULL = span(
    1,
    parent_span_id="a" * 16,
    kind="SERVER",
    status="ERROR",
    status_message="no\0 such ünit",
    attributes={"b": b"\xff", "m": {"b": "text", "n": [1, None, 2.5]}, "t": True, "big": 2**80, "nan": "NaN"},
    events=[{"name": "e", "time_ns": 5, "attributes": {"k": b""}, "dropped_attributes": 2}],
    links=[
        {
            "trace_id": "b" * 32,
            "span_id": "c" * 16,
            "trace_state": "k=v",
            "attributes": {},
            "dropped_attributes": 0,
        }
    ],
    resource={"service.name": "orders"},
    scope="shop 1",
    trace_state="x=y",
    dropped_attributes=1,
    dropped_events=2,
    dropped_links=3,
)


@pytest.fixture(params=["file", "memory"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Any:
    with Store(":memory:" if request.param == "memory" else tmp_path / "deep" / "traces.db") as opened:
        yield opened


def test_the_null_device_keeps_nothing_and_is_left_alone() -> None:
    with Store("/dev/null") as store:
        assert store.add([span(1)]) == 1
        assert len(store.traces()) == 1
        assert store.can_be_written()
    with Store("/dev/null") as store:
        assert store.traces() == []


def test_a_span_comes_back_whole(store: Store) -> None:
    assert store.add([FULL], source="otlp") == 1
    assert store.trace(TRACE) == [FULL]


def test_duplicates_count_once(store: Store) -> None:
    assert store.add([span(1), span(2), span(1)]) == 2
    assert store.add([span(2), span(3)]) == 1
    assert store.add([]) == 0
    assert [one.span_id[-1] for one in store.trace("last")] == ["1", "2", "3"]


def test_a_finished_span_replaces_an_unfinished_one_and_not_the_other_way(store: Store) -> None:
    unfinished, finished = span(1, end_ns=0, name="open"), span(1, name="done")
    assert store.add([unfinished]) == 1
    assert store.add([finished]) == 0
    assert store.trace("last") == [finished]
    store.add([unfinished])
    assert store.trace("last") == [finished]


def test_an_unfinished_span_does_not_replace_another(store: Store) -> None:
    first = span(1, end_ns=0, name="first")
    assert store.add([first]) == 1
    assert store.add([span(1, end_ns=0, name="second")]) == 0
    assert store.trace("last") == [first]


def test_traces_are_listed_newest_first(store: Store) -> None:
    # The second trace's clock is behind; it arrived later all the same.
    store.add([span(1, trace="1" * 32, start_ns=9_000_000, end_ns=19_000_000)])
    store.add(
        [
            span(1, trace="2" * 32, parent_span_id=f"{2:016x}", name="child", status="ERROR"),
            span(2, trace="2" * 32, name="root", resource={"service.name": "orders"}),
        ]
    )
    second, first = store.traces()
    assert (second.trace_id, second.name, second.service) == ("2" * 32, "root", "orders")
    assert (second.spans, second.errors, second.start_ns) == (2, 1, 1001)
    assert second.to_json()["duration_ms"] == pytest.approx((2002 - 1001) / 1e6)
    assert first.duration_ms == 10.0
    assert [one.trace_id for one in store.traces(limit=1)] == ["2" * 32]
    assert len(store.traces(limit=None)) == 2
    assert len(store.traces(limit=1 << 80)) == 2


def test_a_trace_without_a_root_is_named_by_its_orphan(store: Store) -> None:
    store.add([span(1, parent_span_id=f"{2:016x}", start_ns=1), span(2, parent_span_id="f" * 16, start_ns=5)])
    assert store.traces()[0].name == "span 2"


def test_a_trace_of_unknown_times(store: Store) -> None:
    store.add([span(1, start_ns=0, end_ns=0)])
    assert (store.traces()[0].start_ns, store.traces()[0].duration_ms) == (0, 0.0)


def test_a_trace_is_found_by_a_unique_prefix(store: Store) -> None:
    store.add([span(1, trace="abc1" + "0" * 28), span(2, trace="abc2" + "0" * 28), span(3, trace="f" * 32)])
    assert store.trace("ABC1")[0].span_id == f"{1:016x}"
    assert store.trace("f")[0].span_id == f"{3:016x}"
    with pytest.raises(LabError, match=r"Several traces begin with abc.*abc1000…, abc2000…"):
        store.trace("abc")
    with pytest.raises(LabError, match="No stored trace begins with 9"):
        store.trace("9")
    for wrong in ("", "xyz", "%", "abc'"):
        with pytest.raises(LabError, match="not a trace id"):
            store.trace(wrong)


def test_reading_makes_no_file(tmp_path: Path) -> None:
    path = tmp_path / "new" / "traces.db"
    with Store(path) as store:
        assert store.traces() == []
        with pytest.raises(LabError, match="No trace is stored yet"):
            store.trace("last")
    assert not path.parent.exists()


def test_the_file_is_its_owners_alone(tmp_path: Path) -> None:
    folder = tmp_path / ".lambent"
    with Store(folder / "traces.db") as store:
        store.add([span(1)])
        for path in folder.glob("traces.db*"):
            assert stat.S_IMODE(path.stat().st_mode) == 0o600, path
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert (folder / ".gitignore").read_text() == "*\n"


def test_the_default_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("LAMBENT_TRACES", raising=False)
    assert Store.default().path == ".lambent/traces.db"
    monkeypatch.setenv("LAMBENT_TRACES", "/elsewhere/t.db")
    assert Store.default().path == "/elsewhere/t.db"


def test_files_that_are_not_ours_are_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "t.db"
    path.write_bytes(b"a letter to a friend, longer than a header of a database" * 40)
    with Store(path) as store, pytest.raises(LabError, match="not a database"):
        store.add([span(1)])
    other = tmp_path / "other.db"
    with sqlite3.connect(other) as database:
        database.execute("CREATE TABLE customers (name TEXT)")
    database.close()
    before = other.read_bytes()
    with Store(other) as store, pytest.raises(LabError, match="not lambent's"):
        store.traces()
    assert other.read_bytes() == before


def test_a_newer_version_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "t.db"
    with Store(path) as store:
        store.add([span(1)])
    with sqlite3.connect(path) as database:
        database.execute("PRAGMA user_version = 99")
    database.close()
    with Store(path) as store, pytest.raises(LabError, match="newer lambent"):
        store.add([span(2)])


def test_a_folder_in_the_way(tmp_path: Path) -> None:
    with Store(tmp_path) as store, pytest.raises(LabError, match="cannot be used"):
        store.add([span(1)])


def test_a_closed_store_says_so(tmp_path: Path) -> None:
    store = Store(tmp_path / "t.db")
    store.close()
    with pytest.raises(LabError, match="closed"):
        store.add([span(1)])


def test_a_failed_batch_leaves_nothing(tmp_path: Path) -> None:
    with Store(tmp_path / "t.db") as store:
        with pytest.raises(LabError):
            store.add([span(1), span(2, name={"not": "text"})])
        assert store.traces() == []
        assert store.add([span(1)]) == 1


def test_threads_share_a_store(tmp_path: Path) -> None:
    counts: list[int] = []
    with Store(tmp_path / "t.db") as store:

        def work(offset: int) -> None:
            counts.append(sum(store.add([span(offset + number)]) for number in range(20)))

        threads = [threading.Thread(target=work, args=(offset,)) for offset in (0, 10, 20)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(30)
        assert len(store.trace(TRACE)) == 40
    assert sum(counts) == 40


WRITER = """
import sys
from lambent_lab.traces import SpanRecord, Store

print("ready", flush=True)
sys.stdin.readline()
first = int(sys.argv[2])
new = 0
for number in range(first, first + 60):
    with Store(sys.argv[1]) as store:
        spans = [SpanRecord(trace_id="5" * 32, span_id=f"{number:016x}", start_ns=number)]
        new += store.add(spans, source=sys.argv[2])
print(new)
"""


def test_two_processes_make_and_write_one_file(tmp_path: Path) -> None:
    path = tmp_path / "made" / "by" / "both.db"
    writers = [
        subprocess.Popen(
            [sys.executable, "-c", WRITER, str(path), str(first)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for first in (1, 31)
    ]
    for writer in writers:
        assert writer.stdout is not None
        assert writer.stdout.readline() == "ready\n"
    for writer in writers:  # both are loaded: let them go at once
        assert writer.stdin is not None
        writer.stdin.write("\n")
        writer.stdin.flush()
    results = [writer.communicate(timeout=60) for writer in writers]
    assert [writer.returncode for writer in writers] == [0, 0], results
    assert sum(int(out) for out, _ in results) == 90
    with Store(path) as store:
        assert len(store.trace("last")) == 90
