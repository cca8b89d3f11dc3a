"""How a gate says numbers: changes in per cent, amounts with units, places. Pure."""

from __future__ import annotations

_NAMES = {
    "cold_ms": "cold start",
    "init_ms": "init",
    "first_ms": "first invocation",
    "warm_ms": "warm invocation",
    "memory_mb": "peak memory",
    "cold_cpu_ms": "CPU time of a cold start",
    "warm_cpu_ms": "CPU time of a warm invocation",
    "peak_rss_mb": "peak resident memory",
    "page_cache_mb": "peak memory with the page cache",
    "modules": "modules loaded",
    "exported-bytes": "bytes exported",
    "package-bytes": "package size",
    "system-calls": "system calls",
    "spans-made": "spans made",
    "spans-delivered": "spans delivered",
    "success": "successful invocations",
}


def metric_name(name: str) -> str:
    """A metric or count in words."""
    return _NAMES.get(name, name)


def place(memory_mb: int | None, python: str | None) -> str:
    """Where: `at 128 MB`, and on which Python when there are several."""
    where = "" if memory_mb is None else f"at {memory_mb:,} MB"
    return f"{where} on Python {python}" if python else where


def change(ratio: float, *, words: bool = False) -> str:
    """A ratio as a change: `+5.2%`, or in words `5.2% above the base's`."""
    if not words:
        digits = 1 if abs(ratio - 1) < 0.2 else 0
        return f"{ratio - 1:+,.{digits}%}".replace("-0.0%", "+0.0%")
    if abs(ratio - 1) < 0.0005:
        return "the same as the base's"
    return f"{abs(ratio - 1):.1%} {'above' if ratio > 1 else 'below'} the base's"


def of_limit(limit: float) -> str:
    """The limit of a ratio in words."""
    return f"the limit of {percent(limit - 1)}"


def percent(part: float) -> str:
    """A fraction of one in per cent, as many digits as it has: `99.5%`."""
    return f"{part * 100:.4g}%"


def amount(value: float, unit: str) -> str:
    """A value with its unit, three digits of it."""
    if abs(value) >= 100:
        return f"{value:,.0f} {unit}"
    return f"{value:.3g} {unit}"


def quoted(text: str | None) -> str:
    """Another's message as the end of a sentence."""
    said = " ".join((text or "unknown").split())
    return said if said.endswith((".", "!", "?")) else f"{said}."
