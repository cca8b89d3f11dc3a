"""Which way of delivery a configuration means. Loaded for every mode but `sync`, the default.

mode       where                                          delivery
async      Lambda                                         extension
async      managed instances, or no Extensions API        background; sync in Lambda proper
finalize   anywhere                                       finalize
auto       managed instances                              background
auto       not in Lambda                                  background
auto       Lambda, an exporter that waits for a server    extension
auto       Lambda, a line on stdout or a file             sync: there is nothing to wait for

AWS_LAMBDA_MAX_CONCURRENCY or AWS_LAMBDA_INITIALIZATION_TYPE says that it is a managed instance.
"""

from __future__ import annotations

from lambent.delivery.sync import SyncDelivery

TYPE_CHECKING = False
if TYPE_CHECKING:
    from lambent.config import Config

__all__ = ["make"]

_LOCAL = frozenset({"stdout", "console", "file", "memory", "none", "xray_udp"})


def make(config: Config) -> SyncDelivery:
    """Return the delivery for a configuration."""
    mode = config.mode
    if mode == "finalize":
        from lambent.delivery.finalize import FinalizeDelivery

        return FinalizeDelivery(config)
    if config.test_mode:
        return SyncDelivery(config)
    managed = config.max_concurrency or config.initialization_type == "lambda-managed-instances"
    if managed or not config.function_name:
        from lambent.delivery.background import BackgroundDelivery

        return BackgroundDelivery(config)
    if mode == "async" or (config.runtime_api and _goes_to_a_server(config)):
        from lambent.delivery.extension import ExtensionDelivery

        return ExtensionDelivery(config)
    return SyncDelivery(config)


def _goes_to_a_server(config: Config) -> bool:
    """Whether any exporter waits for an answer; known without loading one."""
    if config.processors:
        return True  # who knows what they wait for
    if config.exporters:
        return any(
            each not in _LOCAL if isinstance(each, str) else getattr(each, "waits", True)
            for each in config.exporters
        )
    named = config.backend not in {"", "generic"}
    return bool(named or config.endpoint or config.traces_endpoint or config.server_url)
