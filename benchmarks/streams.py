"""What a reading costs, and what a stream takes, as the streams grow many."""

import statistics
import subprocess
import sys
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager

from benchmarks.row import Row, interleaved, ratio
from benchmarks.running import database, directory, postgres
from tests.databases import GivenPostgres, Postgres
from tests.servers import dying_with_us

FEW, SOME, MANY = 100, 1_000, 100_000
ROUNDS = 5
COST_LIMIT = 1.3
STREAM_LIMIT_KB = 1.0
SOME_LIMIT_MB = 300.0


class Child:
    """The service's wiring in a process of its own."""

    def __init__(self, process: "subprocess.Popen[str]") -> None:
        self._process = process

    def ask(self, line: str) -> list[float]:
        """The numbers it answers."""
        if self._process.stdin is None:
            raise RuntimeError("it cannot be asked")
        print(line, file=self._process.stdin, flush=True)
        return [float(word) for word in self.answer().split()]

    def answer(self) -> str:
        """What it says next."""
        said = self._process.stdout.readline() if self._process.stdout else ""
        if not said:
            raise RuntimeError(f"{self._process.args!r} has ended")
        return said


@contextmanager
def wired(server: Postgres | GivenPostgres, streams: int) -> Iterator[Child]:
    """A service for so many streams, on a database of its own."""
    with directory() as place, database(server) as url:
        program = [sys.executable, "-m", "benchmarks.wired", str(place), url, str(streams)]
        process = subprocess.Popen(
            [*dying_with_us(), *program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        try:
            child = Child(process)
            child.answer()
            yield child
        finally:
            process.communicate(timeout=60)


def run() -> Iterable[Row]:
    """Feed both in turn; then look at the memory."""
    with postgres("embedded") as server, ExitStack() as stack:
        few, many = (stack.enter_context(wired(server, streams)) for streams in (FEW, MANY))
        waited: dict[int, list[float]] = {FEW: [], MANY: []}

        def cost(child: Child, streams: int) -> float:
            cpu, clock = child.ask("feed")
            waited[streams].append(clock)
            return cpu

        first, second = interleaved(
            lambda: cost(many, MANY), lambda: cost(few, FEW), rounds=ROUNDS, warm_up=2
        )
        yield Row(
            f"a reading end to end at {MANY:,} streams",
            statistics.median(first),
            "CPU us/reading",
            f"at {FEW} streams",
            statistics.median(second),
            ratio(first, second),
            COST_LIMIT,
            extra={
                "ratio_of": "CPU time of the service, on a real database",
                "rounds": ROUNDS,
                "clock_ratio": ratio(waited[MANY], waited[FEW]),
            },
        )
        (large,) = many.ask("memory")
        with wired(server, SOME) as some:
            some.ask("feed")
            (small,) = some.ask("memory")
    yield Row(f"memory at {SOME:,} streams", small / 1e6, "MB (USS)", limit=SOME_LIMIT_MB)
    yield Row(
        f"memory of a stream, from {SOME:,} to {MANY:,}",
        (large - small) / (MANY - SOME) / 1e3,
        "KB (USS)",
        limit=STREAM_LIMIT_KB,
        extra={"total_mb": large / 1e6},
    )
