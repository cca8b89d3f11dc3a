"""The work every tool traces: the same names and the same five attributes.

Imported before the clock starts, so it may load nothing that a tool would have to load itself.
"""

ATTRIBUTES: dict[str, str | int | float | bool] = {
    "order_id": "o-1042",
    "customer": "c-77",
    "rows": 3,
    "total": 12.5,
    "cached": False,
}
"""Five attributes of the usual types; X-Ray allows only letters, digits and `_` in their names."""

EVENT: dict[str, str | int] = {"order": "o-1042", "rows": 3}
"""A plain event: no tool's event detection has more to do than another's."""
