"""The JSON Schema of the result file: what it accepts, and that what reads files asks for the same."""

from __future__ import annotations

import copy
import json
import random
import re
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from lambent_lab import report
from lambent_lab.measure import loads
from lambent_lab.measure.conforming import problem, schema
from lambent_lab.measure.results import SCHEMA

DATA = Path(__file__).parent / "data"
STORED = json.loads((DATA / "performance-results.json").read_bytes())
PAGE = Path(__file__).resolve().parents[2] / "docs" / "reference" / "result-file.md"


def example() -> str:
    [text] = re.findall(r"^```json\n(.*?)^```$", PAGE.read_text(), re.MULTILINE | re.DOTALL)
    assert isinstance(text, str)
    return text


@pytest.fixture(scope="module")
def validator() -> Draft202012Validator:
    Draft202012Validator.check_schema(schema())
    return Draft202012Validator(schema())


@pytest.fixture
def document() -> Any:
    return copy.deepcopy(STORED)


def test_the_documented_example_is_valid(validator: Draft202012Validator) -> None:
    validator.validate(json.loads(example()))
    results = loads(example())
    assert results["schema"] == SCHEMA
    for form in report.FORMATS:
        assert report.render(results, form)


def test_a_stored_file_is_valid(validator: Draft202012Validator) -> None:
    validator.validate(STORED)
    assert problem(STORED) is None


def test_a_file_of_version_1_is_valid_once_it_is_read(validator: Draft202012Validator) -> None:
    old = (DATA / "performance-results-1.json").read_bytes()
    assert not validator.is_valid(json.loads(old))
    validator.validate(loads(old))


def test_a_file_of_another_kind_needs_the_header_only(validator: Draft202012Validator) -> None:
    header = schema()["required"]
    assert validator.is_valid({**{key: STORED[key] for key in header}, "kind": "gate"})
    assert not validator.is_valid({key: STORED[key] for key in header})
    assert not validator.is_valid({**{key: STORED[key] for key in header[1:]}, "kind": "gate"})


def test_keys_that_came_later_are_not_asked_of_earlier_files() -> None:
    """What each object had to have when the version was new; a key that is added is `NotRequired`."""
    first = json.loads((DATA / "required-keys.json").read_text())
    now = {"": schema(), **schema()["$defs"]}
    assert now.keys() == first.keys(), "an object that is new belongs into required-keys.json"
    later = {name: sorted(set(each["required"]) - set(first[name])) for name, each in now.items()}
    assert not any(later.values()), later


@pytest.mark.parametrize(
    ("path", "value", "said"),
    [
        (("seed",), "7", 'seed: expected a whole number, found "7"'),
        (
            ("samples", 3, "invocations", 0, "duration_ms"),
            "12",
            "samples[3].invocations[0].duration_ms: expected",
        ),
        (("samples", 3, "kind"), "AB", 'samples[3].kind: expected "ab" or "aa" or "preflight" or "partial"'),
        (("samples",), {}, "samples: expected a list, found {}"),
        (
            ("summary", 1, "metrics", "cold_ms", "ratio", "n"),
            True,
            "summary[1].metrics.cold_ms.ratio.n: expected a",
        ),
        (("targets", "a b"), None, 'targets["a b"]: expected an object, found null'),
        (("error",), 3, "error: expected a string or null, found 3"),
        (("box", "cannot"), [None], "box.cannot[0]: expected a string, found null"),
        (("machine",), {}, "cpu_model, architecture, cores, cores_usable, memory_mb, governor, system"),
    ],
)
def test_the_first_thing_that_is_wrong_is_named(
    document: Any, path: tuple[str | int, ...], value: object, said: str
) -> None:
    place = document
    for step in path[:-1]:
        place = place[step]
    place[path[-1]] = value
    with pytest.raises(ValueError, match=re.escape(said)):
        loads(json.dumps(document))


@pytest.mark.parametrize("text", ["NaN", "Infinity", "[" * 100_000])
def test_what_json_does_not_have_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="not JSON"):
        loads(f'{{"schema": {text}}}')


@pytest.mark.parametrize("key", ["targets", "samples", "summary", "settings"])
def test_a_broken_file_of_version_1_is_refused(key: str) -> None:
    document = json.loads((DATA / "performance-results-1.json").read_bytes())
    document[key] = 3
    with pytest.raises(ValueError, match=r"version 1|expected"):
        loads(json.dumps(document))


def places(value: Any) -> list[tuple[Any, Any]]:
    """Every place in a document: (what holds it, its key)."""
    keys = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [place for key, each in keys for place in [(value, key), *places(each)]]


def test_what_reads_files_agrees_with_jsonschema(validator: Draft202012Validator) -> None:
    """On files in which one thing is replaced or missing."""
    small = json.loads(example())
    small["imports"] = {"baseline": {"name": "x", "self_us": 1, "cumulative_us": 2, "children": []}}
    added = {"name": "x", "parent": "", "self_us": 1, "cumulative_us": 2, "modules": 1}
    small["imports_added"] = {"candidate": [added]}
    source = random.Random(20)
    refused = 0
    for _ in range(300):
        document = copy.deepcopy(small)
        holder, key = source.choice(places(document))
        if source.random() < 0.3:
            del holder[key]
        else:
            holder[key] = source.choice([None, True, 0, 1.5, -3.0, "ab", [], [1], {}, {"x": 1}])
        said = problem(document)
        assert (said is None) == validator.is_valid(document), (key, said)
        refused += said is not None
    assert 100 < refused < 290
