"""How a message leaves: at once where the connection takes it, else in the screen's own task.

Sending is a coroutine, because a connection may have to be waited for. It hardly ever has: the
server's buffer is not full, and the coroutine runs to its end without a pause. A task woken for
that costs more than the sending. So ``start`` runs the coroutine up to its first pause, in
whatever task has something to send; only one that did pause is left to the task in ``finish``,
which takes it up exactly where it stands. (Python 3.12 starts tasks like that and calls them
eager.) This rests on a server whose send does not ask, before its first pause, for the task that
it runs in, as ``asyncio.timeout`` would.
"""

import types
from collections.abc import Callable, Coroutine, Generator
from typing import Any

from app.live.frames import Frames, framed

Sending = Coroutine[Any, Any, None]


class Outlet:
    """One connection's way out; a message that was started is finished before the next."""

    def __init__(
        self, send: Callable[[dict[str, Any]], Sending], frames: Frames | None = None
    ) -> None:
        self._send = send
        self._frames = frames
        self._paused: tuple[Sending, Any] | None = None

    def start(self, text: str) -> bool:
        """Send a message; False where only ``finish`` tells how that ends."""
        if self._frames is not None and self._frames.write(framed(text)):
            return True
        sending = self._send({"type": "websocket.send", "text": text})
        try:
            self._paused = sending, sending.send(None)
        except StopIteration:
            return True
        return False

    async def finish(self) -> None:
        """Wait until what was started is sent."""
        paused, self._paused = self._paused, None
        if paused is not None:
            await _rest(*paused)

    def drop(self) -> None:
        """Nobody will finish what was started."""
        if self._paused is not None:
            self._paused[0].close()
            self._paused = None


@types.coroutine
def _rest(sending: Sending, waits_for: Any) -> Generator[Any, Any, None]:
    """Go on with a coroutine that somebody else has started, in the task that awaits this."""
    try:
        while True:
            try:
                woken = yield waits_for
            except GeneratorExit:
                raise
            except BaseException as error:  # noqa: BLE001 - cancellation is for it to see, too
                waits_for = sending.throw(error)
            else:
                waits_for = sending.send(woken)
    except StopIteration:
        return
    finally:
        sending.close()  # nothing to do where it has ended
