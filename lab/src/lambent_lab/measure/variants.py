"""What `--variants` means: texts in, a baseline and its variants out.

Rules
- `on` is TARGET as it is; `off` is TARGET with tracing switched off by one variable; `sync`, `async`,
  `finalize` and `auto` are TARGET with spans that leave then, told by one variable.
- `K=V` is TARGET with that variable, `git:REV` is TARGET as a revision of its repository has it; anything
else
  is a target of its own. `NAME=` before any of them names it.
- The baseline is what --baseline says (any of the above). Without it: `off`, when the variants speak of
modes;
  the first, when all are revisions or when there is no TARGET; otherwise TARGET as it is.
- A variant that equals the baseline is the baseline. One variant alone is called `candidate`, as without
variants.
"""

from __future__ import annotations

import difflib
import re
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from lambent_lab.errors import UsageError
from lambent_lab.measure.plan import BASELINE, CANDIDATE
from lambent_lab.measure.target import SWITCHES, Target, masked_command, sides, target

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from lambent_lab.measure.target import Place

MODE_VARIABLE = "LAMBDA_EXTENSION_SPAN_PROCESSOR_MODE"
MODES = ("sync", "async", "finalize", "auto")
WORDS = ("off", "on", *MODES)
OFF = f"{SWITCHES[0]}=true"

_PREFIXES = ("git:", "docker:", "aws:", "http://", "https://")
_NAMED = re.compile(r"([A-Za-z0-9][\w.-]{0,40})=(.+)", re.DOTALL)
_WORD = re.compile(r"[\w/-]+")  # a function's name has a dot in it
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*=.*", re.DOTALL)
_UPPER = re.compile(r"[A-Z][A-Z0-9]*(_[A-Z0-9]+)*")


@dataclass(frozen=True, slots=True)
class Comparison:
    """A baseline and the variants by their names in the result file."""

    baseline: Target
    variants: dict[str, Target]


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What the user said. `revision` puts a revision of a folder's repository somewhere and returns its
    folder."""

    target: str | None
    env: Mapping[str, str]
    locate: Callable[[str], Place]
    revision: Callable[[Path, str], tuple[Path, str]]
    reach: Mapping[str, str]


def compare(asked: Asked, variants: Sequence[str], baseline: str | None) -> Comparison:
    """The sides of a comparison of variants. Raises UsageError."""
    texts = [text.strip() for text in variants if text.strip()]
    if not texts:
        raise UsageError("--variants names none: write off,sync,async, or other targets.")
    first = baseline is None and (asked.target is None or (len(texts) > 1 and all(map(_is_revision, texts))))
    if first:
        if len(texts) < 2:
            raise UsageError("There is nothing to compare with: name TARGET, --baseline or another variant.")
        base = _side(asked, texts.pop(0))
    elif baseline is not None:
        base = _side(asked, baseline)
    else:
        speaks_of_modes = any(_split(text)[1] in WORDS for text in texts)
        base = _side(asked, "off" if speaks_of_modes else "on")
    found: dict[str, Target] = {}
    for text in texts:
        side = _side(asked, text)
        if _same(side, base):
            continue
        name = masked_command([side.label])[0]
        if name in found or name in {BASELINE, CANDIDATE}:
            raise UsageError(f"Two variants are called {name}: name one yourself, as in NAME={text}.")
        found[name] = side
    if not found:
        raise UsageError("All variants are the baseline: name another one.")
    if len(found) == 1:
        found = {CANDIDATE: next(iter(found.values()))}
    if base.mode == "off" and base.label == "off":
        base = replace(base, label="untraced")
    return Comparison(base, found)


def sides_of(asked: Asked, baseline: str | None) -> Comparison:
    """TARGET against its baseline, without variants. Raises UsageError."""
    assert asked.target is not None
    if baseline is not None and _WORD.fullmatch(baseline) and not Path(baseline).exists():
        raise UsageError(
            f"{baseline!r} is nothing to compare with: write git:{baseline} for a revision, K=V for a "
            "variable, or FOLDER/module.function."
        )
    candidate, base = sides(asked.target, baseline, asked.env, asked.locate, asked.reach)
    return Comparison(base, {CANDIDATE: candidate})


def _same(one: Target, other: Target) -> bool:
    def facts(side: Target) -> tuple[object, ...]:
        return side.kind, side.text, side.code, side.handler, dict(side.env)

    return facts(one) == facts(other)


def _is_revision(text: str) -> bool:
    return _split(text)[1].startswith("git:")


def _split(text: str) -> tuple[str | None, str]:
    """The name that a text gives a variant, if any, and the rest; a variable is no name."""
    match = _NAMED.fullmatch(text)
    if match is None or text.startswith(_PREFIXES):
        return None, text
    name, rest = match[1], match[2]
    if rest.startswith(("git:", "docker:", "aws:")) or _is_function(rest):
        return name, rest
    if _UPPER.fullmatch(name):
        return None, text
    named = rest.startswith(_PREFIXES) or rest in WORDS or _VARIABLE.fullmatch(rest)
    return (name, rest) if named else (None, text)


def _is_function(text: str) -> bool:
    """Whether a text looks like the function of a folder that is there."""
    folder, slash, handler = text.rpartition("/")
    return bool(slash) and "." in handler and Path(folder or "/").exists()


def _side(asked: Asked, text: str) -> Target:
    """The side that a variant's text means."""
    name, meaning = _split(text)
    label = name or meaning
    if meaning in WORDS or meaning.startswith("git:"):
        return _of_target(asked, meaning, label)
    if _VARIABLE.fullmatch(meaning) and not meaning.startswith(_PREFIXES):
        own = _own(asked, meaning, label)
        return own.with_variable(meaning, label)
    if _WORD.fullmatch(meaning) and not Path(meaning).exists():
        near = difflib.get_close_matches(meaning, WORDS, n=1)
        meant = f"did you mean {near[0]}? It" if near else "it"
        raise UsageError(
            f"{meaning!r} is no variant: {meant} is one of {', '.join(WORDS)}, or K=V, git:REV, "
            "FOLDER/module.function or another target."
        )
    return target(meaning, label, asked.env, asked.locate, asked.reach)


def _of_target(asked: Asked, meaning: str, label: str) -> Target:
    own = _own(asked, meaning, label)
    if meaning == "on":
        return own
    if meaning == "off":
        return own.with_variable(OFF, label)
    if meaning in MODES:
        return replace(own.with_variable(f"{MODE_VARIABLE}={meaning}", label), mode=meaning)
    if own.kind != "lab":
        raise UsageError(f"{meaning} is a revision of a folder's repository, and {own.text} is no folder.")
    code, commit = asked.revision(own.code, meaning.removeprefix("git:"))
    return replace(own, code=code, text=f"{own.text}@{commit}")


def _own(asked: Asked, meaning: str, label: str) -> Target:
    if asked.target is None:
        raise UsageError(f"{meaning} is a variant of TARGET: name it, as in FOLDER/module.function.")
    return target(asked.target, label, asked.env, asked.locate, asked.reach)
