"""What a changed file changes: versions, aliases, concurrency, tags; in environments that run nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from lambent_lab.errors import UsageError
from lambent_lab.service import Lab, setup
from lambent_lab.service.files import Configuration, Definition
from lambent_lab.service.policy import Policy
from lambent_lab.service.revise import revise
from lambent_lab.service.testing import World
from lambent_lab.service.urls import UrlSettings

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def lab() -> Iterator[Lab]:
    with Lab(environment=World()) as opened:
        yield opened


def defined(code: Path, name: str, *, memory: int = 128, **more: Any) -> Definition:
    (code / "app.py").write_text("def handler(event, context): return event\n")
    options = {"name": name, "code": code, "handler": "app.handler", "memory_mb": memory}
    return Definition(options=options, **more)


def follow(lab: Lab, before: tuple[Definition, ...], after: tuple[Definition, ...]) -> list[tuple[str, str]]:
    work = revise(
        lab.core,
        Configuration(definitions=before),
        Configuration(definitions=after),
        lambda _: lambda _: None,
    )
    return sorted(lab.run(work))


def test_what_is_the_same_is_left_alone(lab: Lab, tmp_path: Path) -> None:
    one = defined(tmp_path, "one")
    setup.deploy(lab, one)
    deployed = lab.core.functions["one"]
    assert follow(lab, (one,), (defined(tmp_path, "one"),)) == []
    lab.core.remove(deployed)
    assert follow(lab, (one,), (one,)) == [], "deleted over the API, it stays deleted"
    assert follow(lab, (one,), (defined(tmp_path, "one", memory=256),)) == [("added", "one")]


def test_an_altered_function_keeps_its_versions(lab: Lab, tmp_path: Path) -> None:
    before = defined(tmp_path, "one", reserved=5, provisioned=2, alias="live", tags={"a": "1", "b": "2"})
    setup.deploy(lab, before)
    deployed = lab.core.functions["one"]
    after = defined(tmp_path, "one", memory=512, provisioned=1, alias="live", tags={"a": "3"})
    assert follow(lab, (before,), (after,)) == [("altered", "one")]
    assert lab.core.functions["one"] is deployed
    record = deployed.record
    assert (record.reserved, record.tags) == (None, {"a": "3"})
    assert record.latest.spec.memory_mb == 512
    assert record.version("1").spec.memory_mb == 128
    assert record.version("live").number == "2"
    assert record.version("2").spec.memory_mb == 512
    provisioned = {number: pool.provisioned for number, pool in deployed.pools().items()}
    assert provisioned == {"1": 0, "2": 1}


def test_what_becomes_of_events_is_the_files_to_say(lab: Lab, tmp_path: Path) -> None:
    before = defined(tmp_path, "one", alias="live", policy=Policy(retries=0))
    setup.deploy(lab, before)
    record = lab.core.functions["one"].record
    assert [record.policy(qualifier).attempts for qualifier in (None, "$LATEST", "live", "1")] == [1, 1, 1, 3]
    after = defined(tmp_path, "one", alias="live", policy=Policy(retries=1))
    follow(lab, (before,), (after,))
    assert record.policy("live").attempts == record.policy(None).attempts == 2
    follow(lab, (after,), (defined(tmp_path, "one", alias="live"),))
    assert record.policies == {}


def test_what_cannot_be_had_is_a_problem_of_one_function(lab: Lab, tmp_path: Path) -> None:
    one = defined(tmp_path, "one")
    setup.deploy(lab, one)
    after = (defined(tmp_path, "one", reserved=10_000), defined(tmp_path, "two"))
    kinds = follow(lab, (one,), after)
    assert [kind for kind, _ in kinds] == ["added", "altered", "problem"]
    assert kinds[-1][1].startswith("one: ")


def test_a_mistake_changes_nothing(lab: Lab, tmp_path: Path) -> None:
    one = defined(tmp_path, "one")
    setup.deploy(lab, one)
    with pytest.raises(UsageError, match="two"):
        follow(lab, (one,), (defined(tmp_path, "one", memory=256), defined(tmp_path, "two", memory=1)))
    assert lab.core.functions["one"].record.latest.spec.memory_mb == 128
    assert list(lab.core.functions) == ["one"]


def test_urls_are_the_files_to_say(lab: Lab, tmp_path: Path) -> None:
    before = defined(tmp_path, "one", url=UrlSettings())
    function = setup.deploy(lab, before)
    addresses = [function.url]
    after = defined(tmp_path, "one", url=UrlSettings(mode="RESPONSE_STREAM"))
    assert follow(lab, (before,), (after,)) == [("altered", "one")]
    addresses.append(function.url)
    live = defined(tmp_path, "one", url=UrlSettings(), alias="live")
    assert follow(lab, (after,), (live,)) == [("altered", "one")]
    assert lab.core.urls is not None
    assert list(lab.core.urls.of(lab.core.functions["one"])) == ["live"]
    addresses.append(function.url)
    without = defined(tmp_path, "one")
    assert follow(lab, (live,), (without,)) == [("altered", "one")]
    addresses.append(function.url)
    assert addresses[0] == addresses[1] != addresses[2]
    assert addresses[3] is None
    new = defined(tmp_path, "two", url=UrlSettings())
    assert follow(lab, (without,), (new,)) == [("added", "two"), ("removed", "one")]
    assert list(lab.core.urls.of(lab.core.functions["two"])) == ["$LATEST"]
