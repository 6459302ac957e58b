"""What runs as long as the service does: a part that dies ends the process."""

import asyncio
import os
import signal
from collections.abc import Callable, Coroutine
from typing import Any

import structlog

log = structlog.get_logger(__name__)


class Tasks:
    """The service's own loops; one that looks alive and does nothing would be worse than none."""

    def __init__(self, died: Callable[[str], None]) -> None:
        self._died = died
        self._running: list[asyncio.Task[Any]] = []
        self._stopping = False

    def run(self, work: Coroutine[Any, Any, None], name: str) -> asyncio.Task[Any]:
        """Start a loop that ends only by error or with the service."""
        task = asyncio.create_task(work, name=name)
        task.add_done_callback(self._ended)
        self._running.append(task)
        return task

    def stopping(self) -> None:
        """From here on an end is no surprise."""
        self._stopping = True

    async def stop(self) -> None:
        """End them all."""
        self.stopping()
        for task in self._running:
            task.cancel()
        await asyncio.gather(*self._running, return_exceptions=True)

    def _ended(self, task: asyncio.Task[None]) -> None:
        if task.cancelled() or self._stopping:
            return
        error = task.exception()
        if error is None:
            return
        log.critical("a part of the service died; ending", part=task.get_name(), exc_info=error)
        self._died(task.get_name())
        os.kill(os.getpid(), signal.SIGTERM)
