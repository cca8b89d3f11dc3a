"""ARNs, taken apart. Pure."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Arn:
    """An ARN's parts; `region` and `account` are empty where it has none, as a bucket's."""

    text: str
    service: str
    region: str
    account: str
    resource: str


def parse(text: str) -> Arn:
    """Return an ARN's parts. Raises ValueError where it is none."""
    parts = text.split(":", 5)
    if len(parts) != 6 or parts[0] != "arn" or not parts[2] or not parts[5]:
        raise ValueError(f"{text!r} is no ARN: it has the form arn:aws:SERVICE:REGION:ACCOUNT:NAME.")
    return Arn(text, parts[2], parts[3], parts[4], parts[5])
