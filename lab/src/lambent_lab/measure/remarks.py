"""What a reader of a load test's, a soak's or a tuning's numbers must be told: said in one form. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lambent_lab.measure.target import digest_of, masked, masked_command

if TYPE_CHECKING:
    from lambent_lab.measure.results import Doubt, Header, TargetInfo
    from lambent_lab.measure.target import Target


class Remarks:
    """Takes remarks about a run; in `all` failures stand first, and the machine's load last."""

    def __init__(self, head: Header) -> None:
        self._found: list[Doubt] = []
        self._head = head

    def _look_at_the_machine(self) -> None:
        head = self._head
        before, usable = head["load_before"], head["machine"]["cores_usable"]
        if before is not None and before[0] > usable / 2:
            self.warn(
                "load",
                f"The load average was {before[0]:.1f} on {usable} cores before it began: "
                "times may be unstable.",
            )

    def fail(self, code: str, text: str, memory_mb: int | None = None) -> None:
        """Say what makes the run a failed one."""
        self._found.append({"code": code, "severity": "failure", "memory_mb": memory_mb, "text": text})

    def warn(self, code: str, text: str, memory_mb: int | None = None) -> None:
        """Say what a number may mean other than it seems to."""
        self._found.append({"code": code, "severity": "warning", "memory_mb": memory_mb, "text": text})

    def all(self) -> list[Doubt]:
        """What was said, and what the machine's load makes of it."""
        self._look_at_the_machine()
        return sorted(self._found, key=lambda doubt: doubt["severity"] != "failure")


def with_next_step(reason: str) -> str:
    """Why a function failed, as a sentence, and which option may help."""
    said = reason if reason.endswith((".", "!", "?")) else f"{reason}."
    if "Timedout" in reason or "timed out" in reason:
        return f"{said} Give it more time with --timeout."
    return f"{said} Give it more with --memory." if "OutOfMemory" in reason else said


def target_info(target: Target) -> TargetInfo:
    """What a file says of a target."""
    return {
        "target": target.text,
        "label": target.label,
        "handler": target.handler,
        "env": masked(target.env),
        "switch": None if target.switch is None else masked_command([target.switch])[0],
        "kind": target.kind,
        "python": None,
        "mode": target.mode,
        "digest": digest_of(target.code) if target.kind == "lab" else None,
    }
