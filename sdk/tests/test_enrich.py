"""`lambent.enrich_span`: as a call and as a block, whatever is given to it."""

from __future__ import annotations

import json
import threading
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import lambent
from lambent.exporters.memory import MemoryExporter

GROUPS = ["metadata", "metrics", "feedback", "inputs", "outputs", "config", "user_properties"]


@pytest.fixture
def memory() -> MemoryExporter:
    """What the default tracer's spans end in."""
    exporter = MemoryExporter()
    lambent.init(exporter=exporter)
    return exporter


def test_a_call_is_true_where_a_span_took_the_values(memory: MemoryExporter) -> None:
    assert not lambent.enrich_span({"a": 1})
    assert lambent.enrich_span({"a": 1}) == False  # type: ignore[comparison-overlap]  # noqa: E712  # as a bool is
    with lambent.trace("work"):
        result = lambent.enrich_span({"a": 1}, metrics={"rows": 2})
        assert result
        assert result == True  # type: ignore[comparison-overlap]  # noqa: E712  # as above
        assert repr(result) == "True"
    assert dict(memory.spans[0].attributes) == {
        "lambent.event_name": "work",
        "lambent.metadata.a": 1,
        "lambent.metrics.rows": 2,
    }


@pytest.mark.parametrize(("backend", "prefix"), [("", "lambent."), ("honeyhive", "honeyhive_")])
def test_every_value_has_its_name(backend: str, prefix: str) -> None:
    exporter = MemoryExporter()
    tracer = lambent.init(exporter=exporter, backend=backend, api_key="k")
    values: dict[str, Any] = {group: {"k": group, "deep": {"list": [1, {"x": True}]}} for group in GROUPS}
    with tracer.trace("work"):
        assert lambent.enrich_span(**values, error="bad", event_id="e-1")
    attributes = exporter.spans[0].attributes
    for group in GROUPS:
        assert attributes[f"{prefix}{group}.k"] == group
        assert attributes[f"{prefix}{group}.deep.list.0"] == 1
        assert attributes[f"{prefix}{group}.deep.list.1.x"] is True
    assert attributes[f"{prefix}error"] == "bad"
    assert attributes[f"{prefix}event_id"] == "e-1"
    assert exporter.spans[0].status.status_code.name == "ERROR"
    assert exporter.spans[0].status.description == "bad"


def test_conventions_of_generative_ai(memory: MemoryExporter) -> None:
    with lambent.get_tracer().trace("work"):
        lambent.enrich_span(
            config={"model": "m", "temperature": 0, "provider": "openai"},
            metrics={"prompt_tokens": 5, "completion_tokens": 7},
        )
    attributes = memory.spans[0].attributes
    assert attributes["gen_ai.request.model"] == "m"
    assert repr(attributes["gen_ai.request.temperature"]) == "0.0"
    assert repr(attributes["lambent.config.temperature"]) == "0"
    assert attributes["gen_ai.provider.name"] == "openai"
    assert attributes["gen_ai.usage.input_tokens"] == 5
    assert attributes["gen_ai.usage.output_tokens"] == 7


def test_a_block_without_a_name_is_the_current_span(memory: MemoryExporter) -> None:
    tracer = lambent.get_tracer()
    with (
        tracer.trace("work") as work,
        lambent.enrich_span(metadata={"a": 1}, outputs={"b": 2}, error=None, tracer=tracer) as span,
    ):
        assert span is work
        span.set_attribute("c", 3)
    (span,) = memory.spans
    assert dict(span.attributes) == {"lambent.metadata.a": 1, "lambent.outputs.b": 2, "c": 3}
    assert span.status.is_unset


def test_a_block_with_a_name_is_a_child(memory: MemoryExporter) -> None:
    with lambent.trace("work") as work:
        with (
            pytest.raises(KeyError),
            lambent.enrich_span({"a": 1}, event_name="part", event_type="tool"),
        ):
            raise KeyError
        assert lambent.current_span() is work
    part, outer = memory.spans
    assert part.parent is not None
    assert part.parent.span_id == outer.context.span_id
    assert part.name == "part"
    assert part.attributes["lambent.metadata.a"] == 1
    assert part.attributes["lambent.event_type"] == "tool"
    assert part.status.status_code.name == "ERROR"
    assert outer.status.is_unset


def test_a_block_where_nothing_is_traced(memory: MemoryExporter) -> None:
    with lambent.enrich_span({"a": 1}) as span:
        span.set_attribute("b", 2)
        span.add_event("c")
    assert memory.spans == []
    with lambent.enrich_span({"a": 1}, event_name="root"):
        pass
    assert [span.name for span in memory.spans] == ["root"]


def test_an_exception_as_the_error_is_recorded(memory: MemoryExporter) -> None:
    with lambent.trace("work"):
        lambent.enrich_span(error=ValueError("no"))
    (span,) = memory.spans
    assert span.attributes["lambent.error"] == "ValueError: no"
    assert [event.name for event in span.events] == ["exception"]
    assert span.status.status_code.name == "ERROR"


def test_the_span_of_a_tracer(memory: MemoryExporter) -> None:
    other_memory = MemoryExporter()
    first, other = lambent.get_tracer(), lambent.init(exporter=other_memory)
    with first.trace("mine"), other.trace("other"):
        assert lambent.enrich_span({"a": 1}, tracer=first)
        assert lambent.enrich_span({"b": 2}, tracer=other)
        assert lambent.enrich_span({"c": 3})
    assert dict(memory.spans[0].attributes) == {"lambent.metadata.a": 1}
    assert dict(other_memory.spans[0].attributes) == {"lambent.metadata.b": 2, "lambent.metadata.c": 3}
    with first.trace("mine"):
        assert not lambent.enrich_span({"b": 2}, tracer=other)


def test_what_is_wrong_is_said_and_nothing_else(
    memory: MemoryExporter, capsys: pytest.CaptureFixture[str]
) -> None:
    with lambent.trace("work"):
        assert not lambent.enrich_span({"a": 1}, event_type="modle")
    assert "did you mean 'model'" in capsys.readouterr().err
    with pytest.raises(TypeError):
        lambent.enrich_span(metdata={})  # type: ignore[call-arg]  # wrong on purpose


def test_spans_that_are_not_kept_take_nothing() -> None:
    tracer = lambent.init(exporter=MemoryExporter(), sampler="always_off")
    with tracer.trace("work"):
        assert not lambent.enrich_span({"a": 1})
    tracer.close()
    lambent.init(disabled=True)
    with lambent.enrich_span({"a": 1}, event_name="part") as span:
        span.set_attribute("b", 1)


def test_many_threads_at_once(memory: MemoryExporter) -> None:
    with lambent.trace("work") as work:
        from lambent.context import CURRENT

        def enrich(n: int) -> None:
            CURRENT.set(work)
            for m in range(10):
                lambent.enrich_span({f"{n}-{m}": m})

        threads = [threading.Thread(target=enrich, args=(n,)) for n in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(30)
    found = [name for name in memory.spans[0].attributes if name.startswith("lambent.metadata.")]
    assert len(found) == 80


class Broken(dict[str, object]):
    """A mapping that cannot be read."""

    def items(self) -> Any:
        raise RuntimeError


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.tuples(inner)
        | st.dictionaries(st.text(max_size=4), inner, max_size=4)
    ),
    max_leaves=20,
)


@given(_JSON, st.sampled_from(GROUPS))
def test_values_of_any_shape_are_flattened(value: Any, group: str) -> None:
    def flat(name: str, value: Any) -> dict[str, object]:
        if isinstance(value, dict):
            value = value.items()
        elif isinstance(value, (list, tuple)):
            value = enumerate(value)
        else:
            return {} if value is None else {name: value}
        found: dict[str, object] = {}
        for key, part in value:
            found.update(flat(f"{name}.{key}", part))
        return found

    exporter = MemoryExporter()
    tracer = lambent.Tracer.init(exporter=exporter, backend="generic")
    with tracer.trace("work"):
        assert lambent.enrich_span(**{group: value})
    expected = flat(f"lambent.{group}", value)
    found = exporter.spans[0].attributes
    assert {name: found[name] for name in found if name.startswith("lambent.")} == expected
    tracer.close()


class Strange:
    """An object without a text."""

    def __str__(self) -> str:
        raise RuntimeError

    __repr__ = __str__


@pytest.mark.parametrize(
    "value",
    [
        Broken(a=1),
        {"a": Strange()},
        [Strange()],
        {1: 2, None: 3, Strange: 4},
        {"a", "b"},
        object(),
        b"bytes",
        2**70,
    ],
    ids=type,
)
def test_no_value_is_a_problem(memory: MemoryExporter, value: Any) -> None:
    with lambent.trace("work"):
        assert lambent.enrich_span(value, metrics={"fine": 1})
    assert memory.spans[0].attributes["lambent.metrics.fine"] == 1


def test_what_is_deep_or_much_is_one_text(memory: MemoryExporter) -> None:
    deep: Any = "end"
    for _ in range(30):
        deep = {"a": deep}
    cyclic: list[Any] = []
    cyclic.append(cyclic)
    with lambent.trace("work"):
        lambent.enrich_span({"deep": deep, "much": list(range(1000)), "cyclic": cyclic})
    attributes = memory.spans[0].attributes
    assert json.loads(str(attributes["lambent.metadata.much"])) == list(range(1000))
    assert len(attributes) < 10
    assert [name for name in attributes if name.startswith("lambent.metadata.deep.a.a")]
