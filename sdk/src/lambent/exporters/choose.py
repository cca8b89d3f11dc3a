"""Which exporters a configuration means, made ready. Loaded when the first one is needed."""

from __future__ import annotations

from lambent.exporters import Exporter, Result

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from lambent.config import Config
    from lambent.span import Span

__all__ = ["choose"]


def choose(config: Config) -> list[Exporter]:
    """Return the exporters, in the order they were named.

    Without a name: OTLP when an endpoint or a backend is set; else the stdout line in Lambda; else OTLP to
    this machine's collector, if one listens. In test mode those that stay in the process only. In the place
    of one that cannot be made stands one that says so.
    """
    exporters: list[Exporter] = []
    for wanted in config.exporters or (_default(config),):
        if isinstance(wanted, str):
            outside = wanted == "xray_udp" or wanted.startswith("otlp")
            name = "memory" if config.test_mode and outside else wanted
            try:
                made = _make(name, config)
            except ValueError as error:
                made = _Unavailable(f"there is no exporter {name!r}: {error}")
            if made is not None:
                exporters.append(made)
        else:
            exporters.append(wanted)
    if config.console and "console" not in config.exporters:
        made = _make("console", config)
        assert made is not None
        exporters.append(made)
    return exporters


class _Unavailable(Exporter):
    """Stands for an exporter whose settings cannot work: its spans are lost, which is said once."""

    waits = False

    def __init__(self, reason: str) -> None:
        self._reason = reason
        self._said = False

    def export(self, spans: Sequence[Span], timeout: float) -> Result:  # noqa: ARG002  # nothing to wait for
        """Lose the spans, and say why."""
        result = Result(False, len(spans), 0, self._reason, quiet=self._said)
        self._said = True
        return result


def _default(config: Config) -> str:
    if config.test_mode:
        return "memory"
    if config.endpoint or config.traces_endpoint or config.server_url or not config.function_name:
        return "otlp"
    return "otlp" if config.backend not in {"", "generic"} else "stdout"


def _make(name: str, config: Config) -> Exporter | None:
    if name.startswith("otlp"):
        from lambent.exporters._target import otlp  # bundled

        return otlp(config, name.rpartition("_")[2])
    if name == "xray_udp":
        from lambent.exporters.xray_udp import XRayUdpExporter

        return XRayUdpExporter(config.xray_daemon_address)
    if name == "stdout":
        from lambent.exporters.stdout import StdoutExporter  # bundled
        from lambent.resource import detect  # bundled

        write = None
        if config.stdout_output == "pipe":
            from lambent.exporters._pipe import PATH, PipeWriter

            write = PipeWriter(PATH).write
        return StdoutExporter(
            source=str(detect(config, "").attributes["service.name"]),
            level=config.stdout_compression_level,
            log_level=config.stdout_log_level or None,
            write=write,
        )
    if name == "console":
        from lambent.exporters.console import ConsoleExporter

        return ConsoleExporter()
    if name == "file":
        from lambent.exporters.file import FileExporter

        return FileExporter(config.file)
    if name == "memory":
        from lambent.exporters.memory import MemoryExporter

        return MemoryExporter(limit=config.queue_size)
    return None  # "none": spans are recorded for whoever looks at them here, and go nowhere
