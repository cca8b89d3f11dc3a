"""Spans in the lab: decoded from OTLP, stored, listed and drawn."""

from typing import TYPE_CHECKING

from lambent_lab.traces.decode import DecodeError
from lambent_lab.traces.model import EventRecord, LinkRecord, SpanRecord
from lambent_lab.traces.otlp_json import decode_json
from lambent_lab.traces.otlp_protobuf import decode_protobuf
from lambent_lab.traces.stdout import StdoutBatch, parse_stdout_line, read_stdout_line
from lambent_lab.traces.store import Store, TraceSummary

if TYPE_CHECKING:
    from lambent_lab.traces.receiver import Receiver

__all__ = [
    "DecodeError",
    "EventRecord",
    "LinkRecord",
    "Receiver",
    "SpanRecord",
    "StdoutBatch",
    "Store",
    "TraceSummary",
    "decode_json",
    "decode_protobuf",
    "parse_stdout_line",
    "read_stdout_line",
]


def __getattr__(name: str) -> object:
    # Reading stored traces needs no server.
    if name == "Receiver":
        from lambent_lab.traces.receiver import Receiver

        return Receiver
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
