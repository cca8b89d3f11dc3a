"""What a load test found, in words with numbers. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lambent_lab.measure.accounting import incomplete

if TYPE_CHECKING:
    from lambent_lab.measure.results import Figure
    from lambent_lab.measure.results_load import Latency, LoadPart, LoadSection, Share


def conclude(section: LoadSection) -> tuple[str, list[str]]:
    """The headline, and the sentences below it. It speaks of the steady part, where there is one."""
    part = main_part(section)
    whole = section["all"]
    if not whole["attempted"]:
        return "Nothing was invoked: there is nothing to report.", []
    headline = (
        f"{_asked(section)}: {_speed(part)}; {_errors(whole['error_rate'], 'failed')}"
        f"{_throttles(whole)}{_cold(whole)}."
    )
    return headline, [each for each in _sentences(section, part, whole) if each]


def main_part(section: LoadSection) -> LoadPart:
    """The part that the headline is about."""
    steady = section["steady"]
    return steady if steady is not None and steady["succeeded"] else section["all"]


def _asked(section: LoadSection) -> str:
    config = section["config"]
    users = f"{config['users']} user{'s' * (config['users'] != 1)}"
    rate = config["rate"]
    text = users if rate is None else f"{rate:g} arrivals a second, at most {config['users']} at once"
    return f"{text}, {section['elapsed_s']:.1f} s"


def _speed(part: LoadPart) -> str:
    if not part["succeeded"]:
        return "no invocation succeeded"
    latency = part["latency"]
    tail = ", ".join(
        f"{name} {value:,.1f} ms"
        for name, value in (
            ("p50", latency["p50_ms"]),
            ("p95", latency["p95_ms"]),
            ("p99", latency["p99_ms"]),
        )
        if value is not None
    )
    rate = f"{part['per_second'] or 0:,.1f} a second{_interval(part['throughput'])}"
    return f"{rate}, {tail or 'too few for percentiles'}"


def _interval(figure: Figure | None) -> str:
    interval = figure["interval"] if figure is not None else None
    return "" if interval is None else f" ({interval['low']:,.1f} to {interval['high']:,.1f})"


def _errors(share: Share, word: str) -> str:
    text = f"{share['count']:,} of {share['n']:,} {word}"
    if share["count"] and share["share"] is not None:
        text += f" ({share['share']:.2%}, {share['low']:.2%} to {share['high']:.2%})"
    return text


def _throttles(whole: LoadPart) -> str:
    return f", {whole['throttled']:,} throttled (429)" if whole["throttled"] else ""


def _cold(whole: LoadPart) -> str:
    cold = whole["cold"]
    return "" if cold is None else f", {cold:,} cold start{'s' * (cold != 1)}"


def _sentences(section: LoadSection, part: LoadPart, whole: LoadPart) -> list[str]:
    ramp, steady = section["ramp_up"], section["steady"]
    found = []
    if part is steady and ramp is not None:
        # While users come there is no one throughput, and so no interval of it.
        found.append(f"The ramp-up of {ramp['to_s']:.1f} s is apart: {_speed({**ramp, 'throughput': None})}.")
    latency, service = part["latency"], part["service"]
    if not service["n"]:
        pass
    elif latency["corrected"] and latency["expected_interval_ms"] is not None:
        found.append(
            f"Latency is corrected for coordinated omission (an operation of a user each "
            f"{latency['expected_interval_ms']:.1f} ms); as measured: {_times(service)}."
        )
    else:
        found.append(f"Latency begins when a call was due; the calls themselves: {_times(service)}.")
    for name, which in (("Cold starts", "cold_latency"), ("Failed calls", "failed_latency")):
        times: Latency = whole[which]  # type: ignore[literal-required]
        if times["n"]:
            found.append(f"{name}: {_times(times)}.")
    if section["unstarted"]:
        found.append(f"{section['unstarted']:,} arrivals were not begun: everybody was busy until the end.")
    totals = section["spans"]
    if totals is not None:
        missing = incomplete(totals)
        arrived = f"{totals['received']:,} spans arrived from {totals['invocations']:,} invocations"
        found.append(f"{arrived}{'' if missing is None else f', but {missing}'}.")
    found += [f"{each['count']:,} x {each['error']}" for each in section["errors"][:5]]
    return found


def _times(latency: Latency) -> str:
    names = (("p50", "p50_ms"), ("p95", "p95_ms"), ("p99", "p99_ms"), ("most", "max_ms"))
    known = [
        f"{name} {value:,.1f} ms"
        for name, key in names
        if (value := latency[key]) is not None  # type: ignore[literal-required]
    ]
    return f"{', '.join(known)} (n = {latency['n']:,})"
