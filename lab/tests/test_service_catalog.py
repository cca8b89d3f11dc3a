"""Versions and aliases: what may be made of what, and what stays."""

from __future__ import annotations

import itertools
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, invariant, rule

from lambent_lab.function import FunctionSpec
from lambent_lab.service.catalog import Code, Record, Version
from lambent_lab.service.names import LATEST
from lambent_lab.service.problems import ServiceError

SPEC = FunctionSpec(name="f", code=Path(__file__).parent, handler="app.handler")


def record() -> Record:
    numbers = itertools.count(1)
    latest = Version(number=LATEST, spec=SPEC, about={}, code=Code("a", 1), revision="r0", modified="t0")
    return Record("f", latest, lambda: (f"r{(number := next(numbers))}", f"t{number}"))


def test_a_published_version_stays_as_it_was() -> None:
    one = record()
    first = one.publish(replace(SPEC, version="1"), "the first")
    one.change(spec=replace(SPEC, memory_mb=256), code=Code("b", 2))
    assert (one.version("1").spec.memory_mb, one.version(LATEST).spec.memory_mb) == (128, 256)
    assert one.version("1") is first
    assert (first.about["Description"], first.arn) == (
        "the first", "arn:aws:lambda:us-east-1:123456789012:function:f:1",
    )  # fmt: skip


def test_what_is_unchanged_is_not_published_again() -> None:
    one = record()
    assert one.unchanged() is None
    first = one.publish(replace(SPEC, version="1", initialization="snap-start"), None)
    assert one.unchanged() is first
    one.change(about={"Description": "other words"})
    assert one.unchanged() is first
    one.change(code=Code("b", 2))
    assert one.unchanged() is None


def test_revisions() -> None:
    one = record()
    one.expect(None)
    one.expect("r0")
    one.change(about={})
    with pytest.raises(ServiceError, match="Revision Id") as caught:
        one.expect("r0")
    assert (caught.value.code, caught.value.status) == ("PreconditionFailedException", 412)


def test_an_alias_divides_invocations() -> None:
    one = record()
    one.publish(replace(SPEC, version="1"), None)
    one.change(code=Code("b", 2))
    one.publish(replace(SPEC, version="2"), None)
    one.add_alias("live", "1", weights={"2": 0.25})
    assert [one.version("live", draw).number for draw in (0.0, 0.24, 0.25, 0.99)] == ["2", "2", "1", "1"]
    one.change_alias("live", version="2", description=None, weights={}, revision=None)
    assert one.version("live", 0.0).number == "2"


@pytest.mark.parametrize(
    ("version", "weights", "code"),
    [
        ("7", {}, "ResourceNotFoundException"),
        ("1", {"2": 0.1, "1": 0.1}, "InvalidParameterValueException"),
        ("1", {"1": 0.1}, "InvalidParameterValueException"),
        ("1", {"7": 0.1}, "ResourceNotFoundException"),
        ("1", {"2": 1.5}, "InvalidParameterValueException"),
        ("$LATEST", {"1": 0.1}, "InvalidParameterValueException"),
    ],
)
def test_aliases_that_cannot_be(version: str, weights: dict[str, float], code: str) -> None:
    one = record()
    one.publish(replace(SPEC, version="1"), None)
    one.publish(replace(SPEC, version="2"), None)
    with pytest.raises(ServiceError) as caught:
        one.add_alias("live", version, weights=weights)
    assert caught.value.code == code
    assert one.aliases == {}


class Life(RuleBasedStateMachine):
    """Publish, delete, point aliases about: an alias never leads nowhere, a number is never used twice."""

    versions: Bundle[str] = Bundle("versions")

    def __init__(self) -> None:
        super().__init__()
        self.record = record()
        self.seen: list[str] = []

    @rule(target=versions)
    def publish(self) -> str:
        number = self.record.next_number()
        self.record.publish(replace(SPEC, version=number), None)
        assert number not in self.seen
        self.seen.append(number)
        return number

    @rule(name=st.sampled_from("abc"), version=versions, other=versions, weight=st.floats(0, 1))
    def point(self, name: str, version: str, other: str, weight: float) -> None:
        weights = {other: weight} if other != version else {}
        known = {version, *weights} <= self.record.published.keys()
        with nullcontext() if known else pytest.raises(ServiceError, match="Function not found"):
            if name in self.record.aliases:
                self.record.change_alias(
                    name, version=version, description=None, weights=weights, revision=None
                )
            else:
                self.record.add_alias(name, version, weights=weights)

    @rule(version=versions)
    def delete(self, version: str) -> None:
        users = [a for a in self.record.aliases.values() if version in {a.version, *a.weights}]
        free = version in self.record.published and not users
        with nullcontext() if free else pytest.raises(ServiceError, match="in use" if users else "not found"):
            self.record.remove_version(version)
        assert (version in self.record.published) == bool(users)

    @invariant()
    def aliases_lead_somewhere(self) -> None:
        for name in self.record.aliases:
            for draw in (0.0, 0.5, 0.999):
                assert self.record.version(name, draw).number in self.record.published


TestLife = Life.TestCase
