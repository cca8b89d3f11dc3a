"""Messages to a language model, as the providers take them, in the form of OpenTelemetry's conventions. Pure.

A message has a role and parts: texts, calls of tools, what tools answered. What is of no known kind stays as
it is. Semantic conventions, "Generative AI", the schema of `gen_ai.input.messages`.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

__all__ = ["conversation", "parsed"]

_TEXTS = frozenset({"text", "input_text", "output_text", None})


def conversation(messages: Any, kind: str = "input.messages") -> Any:
    """Return what was given as messages: a text, one message or several, in whatever form. Never raises.

    `kind`: what it is given for: also the system's instructions, which are parts, or other contents.
    """
    several = messages if isinstance(messages, (list, tuple)) else [messages]
    read = {"input.messages": _message, "system_instructions": _part}.get(kind)
    try:
        return messages if read is None else [read(each) for each in several]
    except Exception:  # noqa: BLE001  # objects of the user's
        return messages


def parsed(arguments: Any) -> Any:
    """Return a tool's arguments, which some providers give as JSON, as what that stands for."""
    if isinstance(arguments, str) and arguments.lstrip()[:1] in {"{", "["}:
        from json import loads

        try:
            return loads(arguments)
        except (ValueError, RecursionError):
            pass
    return arguments


def _message(message: Any) -> Any:
    fields = _fields(message)
    if fields is None:
        return {"role": "user", "parts": [_text(message)]} if isinstance(message, str) else message
    role, content = fields.get("role"), fields.get("content")
    if role is not None and isinstance(
        fields.get("parts"), (list, tuple)
    ):  # Gemini's, or the conventions' own
        return {**fields, "parts": [_part(each) for each in fields["parts"]]}
    if role is None:
        return message
    parts: list[Any] = []
    if fields.get("tool_call_id") is not None:
        parts.append({"type": "tool_call_response", "id": fields["tool_call_id"], "response": content})
    elif isinstance(content, (list, tuple)):
        parts += [_part(each) for each in content]
    elif content is not None:
        parts.append(_part(content))
    parts += [_tool_call(call) for call in fields.get("tool_calls") or ()]
    return {"role": role, "parts": parts}


def _part(part: Any) -> Any:
    fields = _fields(part)
    if fields is None:
        return _text(part) if isinstance(part, str) else part
    kind = fields.get("type")
    if kind in _TEXTS and isinstance(fields.get("text"), str):
        return _text(fields["text"])
    used: Any = fields
    answered: Any = fields
    if kind is None:  # Bedrock's
        used, answered = fields.get("toolUse"), fields.get("toolResult")
    if kind == "tool_use" or (kind is None and isinstance(used, dict)):
        identity = used.get("toolUseId", used.get("id"))
        return {"type": "tool_call", "id": identity, "name": used.get("name"), "arguments": used.get("input")}
    if kind == "tool_result" or (kind is None and isinstance(answered, dict)):
        identity = answered.get("toolUseId", answered.get("tool_use_id"))
        return {"type": "tool_call_response", "id": identity, "response": answered.get("content")}
    return part


def _tool_call(call: Any) -> Any:
    fields = _fields(call)
    function = _fields(fields and fields.get("function"))
    if fields is None or function is None:
        return call
    return {
        "type": "tool_call",
        "id": fields.get("id"),
        "name": function.get("name"),
        "arguments": parsed(function.get("arguments")),
    }


def _text(text: str) -> dict[str, str]:
    return {"type": "text", "content": text}


def _fields(value: Any) -> dict[str, Any] | None:
    fields = value if isinstance(value, dict) else getattr(value, "__dict__", None)
    return fields if isinstance(fields, dict) else None
