"""Run the whole matrix of faults and write docs/reference/delivery-matrix.md: `make faults`."""

from __future__ import annotations

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs" / "reference" / "delivery-matrix.md"

FREEZE_S = 10.0

sys.path.insert(0, str(ROOT))

from tests.faults import matrix  # noqa: E402 - it lies beside this folder

HEAD = """# What arrives, whatever happens

<!-- Made by `make faults`; change the code, not this page. -->

Real processes in the lab, with the real runtime client at {memory} MB; an export may take {timeout:g} s. A
cell is the spans received of those that were made. One environment a row: the faults follow one another in it
from left to right; "shutdown" is a normal invocation before the environment's end.

- *rescue*: the deadline's watchdog and the flight recorder, which are on unless they are switched off.
- *freeze*: the environment stands still for {freeze:g} s in the middle of an export; the next invocation
  flushes what that has cut short.
- *slow* answers after 0.1 s; *429 once* takes what is sent again, *429* asks to wait for 60 s.
- *calm*: with the rescue, {calms} normal invocations after the last death.
- *lost, said*: what the log says was lost, or kept for another try, with the reason; it may be delivered
  after all. *gone or kept*: what was in a process that was killed; with the rescue, what the recorder keeps
  for a collector that takes it.
- `finalize` sends at SIGTERM only, which a killed process does not see; what the recorder kept of that one
  leaves at an invocation's end.

Every invocation was answered as it is without tracing. No span was received twice.

"""


def main() -> int:
    """Run every row; write the page if all is as it must be."""
    untraced = matrix.run_row("off", "fine")
    rows = []
    wrong: list[str] = []
    for rescue in (False, True):
        for mode in matrix.MODES:
            for behaviour in matrix.BEHAVIOURS:
                row = matrix.run_row(mode, behaviour, rescue=rescue, freeze_s=FREEZE_S)
                rows.append(row)
                found = matrix.verdict(row, untraced)
                wrong += found
                said = "; ".join(found) or "ok"
                print(f"{mode:9} {behaviour:11} {row.received:3} of {row.made}  {said}", flush=True)
    head = HEAD.format(
        memory=matrix.MEMORY_MB, timeout=matrix.EXPORT_TIMEOUT_S, freeze=FREEZE_S, calms=matrix.CALMS
    )
    if wrong:
        print(f"{len(wrong)} cells are not as they must be; {PAGE.relative_to(ROOT)} is left as it is")
        return 1
    PAGE.write_text(head + matrix.table(rows))
    print(f"wrote {PAGE.relative_to(ROOT)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
