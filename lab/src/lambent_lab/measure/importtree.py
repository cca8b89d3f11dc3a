"""Which module of a cold start cost what: CPython's `-X importtime`, read as a tree. Pure.

Rules of CPython's output (`Doc/using/cmdline.rst`, `Python/import.c`)
- A module is said when its import has ended, after those that it imported itself: the tree comes from its
  leaves. The name is indented by two spaces a level.
- The two figures are microseconds: the module alone, and with all that it imported.
- Whatever else the function writes to its standard error stands between.
- Only what `import` statements do is timed, not `importlib.import_module`, by which the runtime loads the
  handler's module. `entry` is a module in a layer that loads it as a statement would: so it is in the tree.

It runs apart from what is timed: writing a line a module takes time itself, so the shares mean more than
the sum.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from lambent_lab.measure.results import ImportAdded, ImportNode

VARIABLE = {"PYTHONPROFILEIMPORTTIME": "1"}
"""What makes an interpreter write its import times; it stands for `-X importtime`."""

ROOT = "all imports"
"""The name of the tree's root, which is no module: what the process imported by itself."""

_LINE = re.compile(r"import time:\s*(\d+) \|\s*(\d+) \| ( *)(\S.*?)\s*$")


ENTRY = "lambent_lab_entry"
"""The name of the module that loads the handler's as a statement would."""


def entry(handler: str) -> str:
    """The source of that module: `ENTRY.handler` is the function that `handler` names, in Lambda's form."""
    module, _, function = handler.replace("/", ".").rpartition(".")
    return f"handler = getattr(__import__({module!r}, fromlist=['*']), {function!r})\n"


def parse(lines: Iterable[str]) -> ImportNode | None:
    """The tree of a process's import times; None when there is not one line of them.

    The root's own time is 0 and its cumulative one that of the modules right below it.
    """
    waiting: list[tuple[int, ImportNode]] = []
    for line in lines:
        match = _LINE.search(line)
        if match is None:
            continue
        depth = len(match[3]) // 2
        node: ImportNode = {
            "name": match[4],
            "self_us": int(match[1]),
            "cumulative_us": int(match[2]),
            "children": [],
        }
        first = len(waiting)
        while first and waiting[first - 1][0] > depth:
            first -= 1
        node["children"] = [child for _, child in waiting[first:]]
        waiting[first:] = [(depth, node)]
    if not waiting:
        return None
    children = [node for _, node in waiting]
    return {
        "name": ROOT,
        "self_us": 0,
        "cumulative_us": sum(child["cumulative_us"] for child in children),
        "children": children,
    }


def least(trees: Sequence[ImportNode]) -> ImportNode | None:
    """One tree of several cold starts: each module with the least that it ever cost itself; None of none.

    Whatever else the machine does only adds, to whichever module is being imported then. The shape is that of
    the cheapest tree.
    """
    if not trees:
        return None
    costs = [flat(tree) for tree in trees]
    return _with_least(min(trees, key=lambda tree: tree["cumulative_us"]), costs)


def _with_least(node: ImportNode, costs: Sequence[dict[str, int]]) -> ImportNode:
    children = [_with_least(child, costs) for child in node["children"]]
    own = min([node["self_us"], *(each[node["name"]] for each in costs if node["name"] in each)])
    return {
        "name": node["name"],
        "self_us": own,
        "cumulative_us": own + sum(child["cumulative_us"] for child in children),
        "children": children,
    }


def flat(tree: ImportNode) -> dict[str, int]:
    """What each module of a tree cost itself, in µs; a name that stands there twice is added up."""
    found: dict[str, int] = {}
    waiting = list(tree["children"])
    while waiting:
        node = waiting.pop()
        found[node["name"]] = found.get(node["name"], 0) + node["self_us"]
        waiting += node["children"]
    return found


def added(baseline: ImportNode, candidate: ImportNode) -> list[ImportAdded]:
    """The modules that only the candidate loads, each with those that it brings; dearest first.

    What such a module brings is not named again, unless a module that both load stands between.
    """
    known = flat(baseline)
    found: list[ImportAdded] = []
    waiting: list[tuple[ImportNode, str, ImportAdded | None]] = [
        (child, "", None) for child in candidate["children"]
    ]
    while waiting:
        node, parent, brought_by = waiting.pop()
        name, own = node["name"], node["self_us"]
        if name in known:
            brought_by = None
        elif brought_by is None:
            brought_by = {"name": name, "parent": parent, "self_us": own, "cumulative_us": own, "modules": 1}
            found.append(brought_by)
        else:
            brought_by["cumulative_us"] += own
            brought_by["modules"] += 1
        waiting += [(child, name, brought_by) for child in node["children"]]
    return sorted(found, key=lambda each: (-each["cumulative_us"], each["name"], each["parent"]))
