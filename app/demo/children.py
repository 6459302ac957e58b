"""The demo's processes: each with its log, on the leash, ended in order."""

import asyncio
import os
import signal
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from app.commands.failure import Failed

NONE: Mapping[str, str] = {}


class Child:
    """One process of the demo."""

    def __init__(self, name: str, process: asyncio.subprocess.Process, log: Path) -> None:
        self.name = name
        self.log = log
        self._process = process

    @property
    def gone(self) -> bool:
        """Whether it has ended."""
        return self._process.returncode is not None

    def tell(self, word: object) -> None:
        """Say a word on its standard input."""
        if self._process.stdin is not None and not self.gone:
            self._process.stdin.write(f"{word}\n".encode())

    async def ended(self) -> None:
        """Wait until it has ended."""
        await self._process.wait()

    async def stop(self, within_s: float) -> None:
        """End it, the hard way when it takes longer."""
        for how, patience_s in ((signal.SIGTERM, within_s), (signal.SIGKILL, 5.0)):
            if self.gone:
                break
            with suppress(ProcessLookupError):
                if how is signal.SIGTERM:
                    self._process.terminate()
                else:
                    os.killpg(self._process.pid, how)  # also what it runs itself
            with suppress(TimeoutError):
                await asyncio.wait_for(self._process.wait(), patience_s)

    def last_words(self) -> str:
        """The end of its log, in one line."""
        lines = [line for line in self.log.read_text(errors="replace").splitlines() if line.strip()]
        return lines[-1].strip() if lines else "it said nothing"


class Children:
    """All processes of the demo."""

    def __init__(self, logs: Path) -> None:
        self._logs = logs
        self.all: list[Child] = []

    async def start(
        self, name: str, module: str, *arguments: object, settings: Mapping[str, str] = NONE
    ) -> Child:
        """Run a module of the demo; it ends when we do, whatever becomes of us.

        Of Andon's settings it gets only these: the user's may lead to the plant's real database.
        """
        others = {key: value for key, value in os.environ.items() if not key.startswith("ANDON_")}
        log = self._logs / f"{name}.log"
        with log.open("wb") as output:
            process = await asyncio.create_subprocess_exec(
                sys.executable,
                "-m",
                f"app.demo.{module}",
                *map(str, arguments),
                env={**others, **settings},
                stdin=asyncio.subprocess.PIPE,
                stdout=output,
                stderr=output,
                start_new_session=True,  # Ctrl-C is for us, who end them in order
            )
        child = Child(name, process, log)
        self.all.append(child)
        return child

    async def one_ended(self) -> Child:
        """Wait until any of them has ended."""
        waiting = {asyncio.create_task(one.ended(), name=one.name): one for one in self.all}
        try:
            done, _ = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in waiting:
                task.cancel()
        return waiting[done.pop()]

    def check(self) -> None:
        """Say which one has ended, if any.

        Raises:
            Failed: with its last words.
        """
        for one in self.all:
            if one.gone:
                raise Failed(f"{one.name} ended: {one.last_words()} (its log is {one.log})")

    async def stop(self, order: Sequence[tuple[Sequence[str], float]]) -> None:
        """End them, group after group: names, and the seconds that they may take."""
        for names, within_s in order:
            group = [one for one in self.all if one.name in names]
            await asyncio.gather(*(one.stop(within_s) for one in group))
