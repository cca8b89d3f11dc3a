"""The end of an init phase: whose word it takes, and whose failure it is.

Rules
- External extensions are started first, and the runtime when all of them have registered.
- Init is over when the runtime and every extension that has registered wait for their first event.
- The first failure ends it: the runtime's own, its end, or that of an extension.
"""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any

from lambent_lab.errors import LabError
from lambent_lab.runtime import InitDone

if TYPE_CHECKING:
    from lambent_lab.extensions import Broken
    from lambent_lab.instance import Instance
    from lambent_lab.protocol import InitFailed
    from lambent_lab.runtime import Exited, NotStarted


async def wait_init(
    instance: Instance, limit_s: float
) -> tuple[InitDone | InitFailed | Exited | NotStarted | Broken, float] | None:
    """Wait for the end of init, `limit_s` from its start; return what ended it and when, None at the limit.

    Raises LabError when the runtime cannot be started.
    """
    conversation, extensions = instance.conversation, instance.extensions
    assert conversation is not None
    assert extensions is not None

    async def either(future: asyncio.Future[Any]) -> bool:
        left = instance.init_started + limit_s - time.perf_counter()
        done, _ = await asyncio.wait(
            [future, extensions.failed], timeout=max(0.0, left), return_when=asyncio.FIRST_COMPLETED
        )
        return bool(done)

    if instance.launching is not None:
        if not await either(instance.launching):
            return None
        if not extensions.failed.done():
            try:
                instance.launching.result()
            except LabError:
                await instance.reset()
                raise
    if not await either(conversation.init):
        return None
    if extensions.failed.done():
        broken = extensions.failed.result()
        return broken, broken.at
    outcome, at = conversation.init.result()
    if not isinstance(outcome, InitDone) or extensions.idle:
        return outcome, at
    if not await extensions.wait_idle(instance.init_started + limit_s - time.perf_counter()):
        if not extensions.failed.done():
            return None
        broken = extensions.failed.result()
        return broken, broken.at
    return outcome, time.perf_counter()
