"""Names of functions in requests: every form, and what is refused."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lambent_lab.service import names
from lambent_lab.service.api import model
from lambent_lab.service.names import Reference
from lambent_lab.service.problems import ServiceError

NAMES = st.from_regex(r"[a-zA-Z0-9_-]{1,64}", fullmatch=True)
QUALIFIERS = st.from_regex(r"\$LATEST|[a-zA-Z0-9_-]{1,128}", fullmatch=True)
FORMS = (
    "{}",
    "function:{}",
    "123456789012:function:{}",
    "us-east-1:123456789012:function:{}",
    "arn:aws:lambda:us-east-1:123456789012:function:{}",
)


@given(name=NAMES, form=st.sampled_from(FORMS), inside=st.none() | QUALIFIERS, beside=st.booleans())
def test_every_form_names_the_same_function(name: str, form: str, inside: str | None, beside: bool) -> None:
    text = form.format(name) + (f":{inside}" if inside else "")
    if len(text) > 256:
        return
    if re.fullmatch(r"\d{12}|function", name) and inside and form == "{}":
        return  # an account, or the word itself: what comes next is the name
    assert names.parse(text, inside if beside else None) == Reference(name, inside)


@given(st.text(max_size=300))
def test_whatever_is_sent_is_understood_or_refused(text: str) -> None:
    try:
        found = names.parse(text)
    except ServiceError:
        return
    assert names.is_name(found.name)
    assert text.endswith(found.name if found.qualifier is None else f"{found.name}:{found.qualifier}")


@given(st.from_regex(r"[a-z0-9:$LATESarn_-]{1,80}", fullmatch=True))
def test_no_form_is_taken_that_aws_would_not_take(text: str) -> None:
    pattern = model.load()["shapes"]["FunctionName"]["pattern"]
    try:
        names.parse(text)
    except ServiceError as error:
        if error.code == "ValidationException":
            fits = re.fullmatch(pattern, text) is not None
            assert not fits or len(text) > 64
        return
    assert re.fullmatch(pattern, text)


@pytest.mark.parametrize(
    ("text", "qualifier", "code", "message"),
    [
        ("hello", "no way", "ValidationException", "at 'qualifier' failed to satisfy constraint"),
        ("hello world", None, "ValidationException", "1 validation error detected: Value 'hello world'"),
        ("x" * 65, None, "ValidationException", "length less than or equal to 64"),
        ("hello:1", "2", "InvalidParameterValueException", "The derived qualifier"),
        ("eu-west-1:123456789012:function:hello", None, "ResourceNotFoundException", "not reach"),
        ("000000000000:function:hello", None, "AccessDeniedException", "another one"),
        ("", None, "ValidationException", "at 'functionName'"),
    ],
)  # fmt: skip
def test_refusals(text: str, qualifier: str | None, code: str, message: str) -> None:
    with pytest.raises(ServiceError, match=re.escape(message)) as caught:
        names.parse(text, qualifier)
    assert caught.value.code == code


def test_kinds_of_qualifiers() -> None:
    assert (names.is_number("12"), names.is_number("a1"), names.is_number("²")) == (True, False, False)
    assert (names.is_alias("live"), names.is_alias("12"), names.is_alias("v1.0")) == (True, False, False)
    assert names.Reference("a", "live").arn == "arn:aws:lambda:us-east-1:123456789012:function:a:live"
