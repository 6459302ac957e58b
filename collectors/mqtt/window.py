"""Deliveries under way: their messages are acknowledged in order, each once it is durable."""

import asyncio
from collections import deque
from collections.abc import Callable, Sequence

from collectors.reading import Outcome, Receipt, SourceLost


class Window:
    """What was handed over and is not durable yet; the broker's in-flight window bounds it."""

    def __init__(
        self,
        acknowledge: Callable[[Sequence[int]], None],
        lost: Callable[[Exception], None],
    ) -> None:
        self._acknowledge = acknowledge
        self._lost = lost
        self._under_way: deque[tuple[Receipt, Sequence[int]]] = deque()
        self._open = True

    @property
    def empty(self) -> bool:
        """Whether nothing is under way."""
        return not self._under_way

    def add(self, receipt: Receipt, mids: Sequence[int]) -> None:
        """Acknowledge ``mids`` when ``receipt`` and all before it have resolved."""
        self._under_way.append((receipt, mids))
        receipt.add_done_callback(self._settle)

    def add_durable(self, mids: Sequence[int]) -> None:
        """Acknowledge ``mids``, which need no storing, when it is their turn."""
        done: Receipt = asyncio.get_running_loop().create_future()
        done.set_result(Outcome(accepted=0, duplicates=0, rejected=[], durable="database"))
        self.add(done, mids)

    async def close(self, grace_s: float) -> None:
        """Give what is under way ``grace_s`` to become durable; acknowledge nothing afterwards."""
        receipts = [receipt for receipt, _ in self._under_way if not receipt.done()]
        if receipts and grace_s:
            await asyncio.wait(receipts, timeout=grace_s)
            await asyncio.sleep(0)  # the callbacks that acknowledge come first
        self._open = False

    def _settle(self, _: asyncio.Future[Outcome]) -> None:
        while self._under_way and self._under_way[0][0].done():
            receipt, mids = self._under_way.popleft()
            error = None if receipt.cancelled() else receipt.exception()
            if not self._open:
                continue
            if error is not None or receipt.cancelled():
                # Not acknowledged, so the broker sends it again, to a new connection.
                self._open = False
                self._lost(SourceLost(f"readings could not be made durable: {error or 'given up'}"))
            elif mids:
                self._acknowledge(mids)
