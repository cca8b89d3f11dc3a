"""What of a payload leaves the process: nothing unless asked for, and then no secret."""

from __future__ import annotations

import base64
import datetime as dt
import ipaddress
import json
from dataclasses import dataclass, field
from decimal import Decimal
from enum import Enum
from fractions import Fraction
from http import HTTPStatus
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lambent import ConfigError
from lambent.capture import REDACTED, Capture
from lambent.config import read
from lambent.testing import LambdaContext, recording_tracer

if TYPE_CHECKING:
    from collections.abc import Callable

SECRET = "hunter2-hunter2"


def invoke(event: object, response: object, **options: object) -> dict[str, object]:
    tracer = recording_tracer(**options)  # type: ignore[arg-type]  # environ among them
    tracer.handler(lambda event, context: response)(event, LambdaContext())
    (span,) = tracer.spans
    tracer.close()
    return dict(span.attributes)


def test_off_by_default() -> None:
    attributes = invoke({"a": "unique-text"}, {"b": "unique-text"})
    assert "unique-text" not in repr(attributes)


@pytest.mark.parametrize(
    ("word", "request_kept", "response_kept"),
    [("request", True, False), ("response", False, True), ("both", True, True), (True, True, True),
     ("none", False, False), (False, False, False)],
)  # fmt: skip
def test_what_is_asked_for(word: object, request_kept: bool, response_kept: bool) -> None:
    attributes = invoke({"in": 1}, {"out": 2}, capture=word)
    assert attributes.get("lambent.request.payload") == ('{"in":1}' if request_kept else None)
    assert attributes.get("lambent.response.payload") == ('{"out":2}' if response_kept else None)
    env = invoke({"in": 1}, {"out": 2}, environ={"LAMBENT_CAPTURE": str(word)})
    assert ("lambent.request.payload" in env) is request_kept


def test_the_event_is_kept_as_it_came() -> None:
    tracer = recording_tracer(capture="request")

    @tracer.handler
    def handler(event: Any, context: object) -> None:
        event["in"] = 2

    handler({"in": 1}, LambdaContext())
    assert tracer.spans[0].attributes["lambent.request.payload"] == '{"in":1}'
    tracer.close()


def test_names_of_a_backend() -> None:
    attributes = invoke({"in": 1}, {"out": 2}, capture="both", backend="honeyhive", api_key="k")
    assert attributes["honeyhive_inputs.event"] == '{"in":1}'
    assert attributes["honeyhive_outputs.result"] == '{"out":2}'


@pytest.mark.parametrize(
    "value",
    [
        {"password": SECRET},
        {"DB-Password": SECRET},
        {"a": [{"API_KEY": {"deep": [SECRET]}}]},
        {"headers": {"Authorization": f"Bearer {SECRET}", "Cookie": [SECRET], "x-api-key": SECRET}},
        {"body": json.dumps({"user": "u", "client_secret": SECRET})},
        {"body": json.dumps({"inner": json.dumps({"accessKey": SECRET})})},
        {"body": f"user=u&password={SECRET}&x=1"},
        {"body": f'not json {{"password": "{SECRET}"'},
        {"body": f'{{\\"password\\": \\"{SECRET}\\"'},
        {"data": base64.b64encode(json.dumps({"password": SECRET}).encode()).decode()},
        {"data": base64.b64encode((SECRET + "A1b" * 99).encode()).decode()},
        {"url": f"https://user:{SECRET}@example.com/"},
        {"url": f"https://example.com/?X-Amz-Signature={SECRET}"},
        {"text": f"Authorization: Bearer {SECRET}"},
        [{"token": SECRET.encode()}],
        {"ssn": 123456789, "x": "hunter"},
        SECRET.encode(),
        {"headers": [{"name": "Authorization", "value": SECRET}]},
        {"parameters": [{"type": "string", "Name": "password", "Value": [SECRET]}]},
        [["x-api-key", SECRET], ("Cookie", [SECRET])],
        {"rawQueryString": f"a=1&access_token={SECRET}&b=2"},
        {"auth": ("user", SECRET), "pass": SECRET, "PIN": "hunter2", "otp": "hunter2"},
        {
            "passcode": SECRET,
            "signing_key": SECRET,
            "ENCRYPTION_KEY": SECRET,
            "jwt": SECRET,
            "db_pass": SECRET,
        },
        {"connection-string": SECRET, "bearer": SECRET, "csrf": SECRET, "cvc": SECRET, "sessionKey": SECRET},
    ],
)
def test_a_secret_stays(value: object) -> None:
    kept = Capture().text(value)
    assert "hunter2" not in kept
    assert base64.b64encode(SECRET.encode()).decode()[:16] not in kept
    assert "123456789" not in kept


@pytest.mark.parametrize(
    "text",
    [
        "AKIAIOSFODNN7EXAMPLE",
        "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0NTY3ODkwIn0.dozjgNryP4J3jVmNHl0w5N_XgL0n3I9PlFUP0THsR8U",
        "-----BEGIN RSA PRIVATE KEY-----\nMIIEpA\n-----END RSA PRIVATE KEY-----",
    ],
)
def test_what_looks_like_a_secret(text: str) -> None:
    assert text[4:18] not in Capture().text({"note": f"see {text} here"})
    assert text[4:18] not in Capture().text({text: 1})


def test_what_is_no_secret_stays_readable() -> None:
    value = {"max_tokens": 100, "token": None, "password": "", "user": "u", "key": "cmVjb3JkS2V5", "n": 1.5}
    value |= {
        "author": "a",
        "authenticated": True,
        "compass": "n",
        "spin": 2,
        "pass": False,
        "passenger": "p",
    }
    assert json.loads(Capture().text(value)) == value
    assert Capture().text("plain words") == "plain words"
    headers = [["accept", "text/html"], {"name": "Accept", "value": "text/html"}, ["token", None]]
    assert json.loads(Capture().text(headers)) == headers
    assert Capture().text({"when": dt.date(2024, 1, 2)}) == '{"when":"2024-01-02"}'


def test_the_users_own_keys_and_patterns() -> None:
    options = {"redact_keys": "tax-number, Maiden_Name", "redact_pattern": r"\d{3}-\d{4}"}
    event = {"taxNumber": "12", "mother": {"MAIDENNAME": "x1"}, "note": "call 555-1234 now"}
    kept = invoke(event, None, capture="request", **options)["lambent.request.payload"]
    assert json.loads(str(kept)) == {
        "taxNumber": REDACTED,
        "mother": {"MAIDENNAME": REDACTED},
        "note": f"call {REDACTED} now",
    }


def test_a_wrong_pattern_is_an_error_or_said_once() -> None:
    with pytest.raises(ConfigError, match="regular expression"):
        read({"redact_pattern": "("}, {})
    with pytest.raises(ConfigError):
        read({"capture": "everything"}, {})


def test_a_wrong_variable_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    assert read({}, {"LAMBENT_REDACT_PATTERN": "[unclosed"}).redact_pattern == ""
    assert "LAMBENT_REDACT_PATTERN" in capsys.readouterr().err


@pytest.mark.parametrize("text", ["W1AAAAAA", "W1T 4TJ0", "WyAAAA", "ewAA", "eyIA", "W3AB"])
def test_a_name_that_could_be_base64_is_kept_as_it_is(text: str) -> None:
    assert Capture().text({"order": text}) == json.dumps({"order": text}, separators=(",", ":"))


@pytest.mark.parametrize(
    "text", ['{"password": "%s"', '[{"token":"%s"}', '["a", {"secret": "%s"}]', '[["token: %s"']
)
def test_json_in_base64_is_looked_into(text: str) -> None:
    encoded = base64.b64encode(text.replace("%s", SECRET).encode()).decode()
    shown = Capture().text({"data": encoded})
    assert encoded not in shown
    assert SECRET not in shown
    assert REDACTED in shown


def test_limits() -> None:
    capture = Capture(depth=2, size=200)
    assert capture.text({"a": {"b": {"c": 1}}}) == '{"a":{"b":"…"}}'
    assert len(capture.text({"a": ["word " * 1000] * 1000})) <= 200
    assert capture.text("word " * 1000) == ("word " * 1000)[:199] + "…"
    assert len(json.loads(Capture(size=100_000).text(list(range(1000))))) == 101
    loop: list[object] = []
    loop.append(loop)
    assert "…" in Capture().text(loop)


class Opaque:
    __slots__ = ()

    def __repr__(self) -> str:
        return SECRET


class Order:
    def __init__(self) -> None:
        self.password = SECRET
        self.id = 7

    def __str__(self) -> str:
        raise RuntimeError

    __repr__ = __str__


def test_objects_show_their_attributes_and_run_no_code() -> None:
    assert json.loads(Capture().text(Order())) == {"password": REDACTED, "id": 7}
    assert Capture().text({"x": Opaque()}) == '{"x":"<Opaque>"}'
    assert Capture().text([Order, len]) == '["Order","<builtin_function_or_method>"]'
    assert json.loads(Capture().text(ValueError("no", {"password": SECRET}))) == {
        "type": "ValueError",
        "args": ["no", {"password": REDACTED}],
    }


class Login(NamedTuple):
    """A tuple whose parts have names."""

    user: str
    password: str


@dataclass(slots=True)
class Slim:
    """An object without a mapping of its attributes."""

    login: Login
    token: str = SECRET
    unset: int = field(init=False)


def test_what_has_names_without_a_mapping_is_shown_by_them() -> None:
    kept = json.loads(Capture().text([Login("u", SECRET), Slim(Login("v", ""))]))
    assert kept == [
        {"user": "u", "password": "[redacted]"},
        {"login": {"user": "v", "password": ""}, "token": "[redacted]", "unset": None},
    ]


def test_values_of_the_standard_library_are_their_text() -> None:
    values = [PurePosixPath("/tmp/x"), ipaddress.ip_address("::1"), Fraction(1, 3), Decimal("1.5")]
    assert json.loads(Capture().text(values)) == ["/tmp/x", "::1", "1/3", "1.5"]


def test_a_member_of_an_enum_is_its_value() -> None:
    class Size(Enum):
        SMALL = {"width": 3, "token": SECRET}  # noqa: RUF012  # no attribute of a class but a member
        LARGE = "large"

    assert Capture().text(Size.LARGE) == "large"
    assert json.loads(Capture().text({"size": Size.SMALL})) == {"size": {"width": 3, "token": REDACTED}}


def test_a_number_of_a_kind_of_its_own_is_a_number() -> None:
    class Score(float):
        __str__ = __repr__ = __float__ = None  # type: ignore[assignment]  # whatever it does with these

    assert json.loads(Capture().text([HTTPStatus.OK, Score(0.5), True])) == [200, 0.5, True]


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary(max_size=9),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text() | st.integers(), inner, max_size=4),
    max_leaves=30,
)


@given(value=JSON, size=st.integers(0, 300), depth=st.integers(0, 4))
def test_any_value_gives_text_within_the_limit(value: object, size: int, depth: int) -> None:
    before = repr(value)
    kept = Capture(size=size, depth=depth).text(value)
    assert isinstance(kept, str)
    assert len(kept) <= max(size, 1)
    assert repr(value) == before


@given(value=JSON, where=st.lists(st.sampled_from(["a", "items", "body"]), max_size=4), text=st.booleans())
def test_a_secret_stays_wherever_it_is(value: object, where: list[str], text: bool) -> None:
    hidden: object = {"password": "hunter2", "other": value}
    for key in where:
        hidden = {key: json.dumps(hidden, default=repr) if text else [hidden]}
    assert "hunter2" not in Capture(size=100_000).text(hidden)


def test_every_sample_within_a_thousand_steps(event_name: str, load_event: Callable[[str], Any]) -> None:
    kept = Capture().text(load_event(event_name))
    assert len(kept) <= 4096
    for secret in ("AKIA", "wJalr", "MIICiT", "AQEB", "eyJraWQiOiJ"):
        assert secret not in kept


@pytest.mark.parametrize(
    "text",
    [
        "ghp_abcdefghijklmnopqrstuvwxyz0123456789",
        "github_pat_11ABCDEFG0abcdefghijkl_mnopqrstuv",
        "sk-proj-abcdefghijklmnopqrstuvwxyz012345",
        "xoxb-123456789012-abcdefghijkl",
        "glpat-abcdefghijklmnopqrst",
        "hf_abcdefghijklmnopqrstuvwxyz012345",
        "npm_abcdefghijklmnopqrstuvwxyz0123456789",
        "sk_live_abcdefghijklmnopqrstuvwx",
        "AIzaSyD-1234567890abcdefghijklmnopqrstuv",
    ],
)
def test_tokens_of_services_by_their_form(text: str) -> None:
    kept = Capture().text({"note": f"use {text} please"})
    assert kept == f'{{"note":"use {REDACTED} please"}}'
    assert Capture().text({"note": "a task-oriented-approach-to-it, risk-averse"}).count("task") == 1


def test_a_secret_in_xml() -> None:
    body = f"<login><user>bob</user><Password>{SECRET}</Password></login>"
    kept = Capture().text({"body": body})
    assert SECRET not in kept
    assert "<user>bob</user>" in kept


def test_long_text_is_judged_by_its_head() -> None:
    letters = "aB3" * 1_000_000
    assert Capture().text({"data": letters}) == '{"data":"<3000000 characters>"}'
    assert Capture().text({"data": "a plain text " * 1_000_000}).startswith('{"data":"a plain text a plain')
