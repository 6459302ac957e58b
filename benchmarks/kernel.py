"""Points judged per second by all eight Nelson rules, against a loop written by hand and peers."""

import statistics
from collections.abc import Callable, Iterable

import numpy as np

from benchmarks import hand_written, peers
from benchmarks.row import Row, interleaved, ratio
from rules.charts import CHARTS
from rules.evaluate import evaluate
from rules.kernel import judge_series, new_state
from rules.limits import entered
from rules.runs import Programs, compile_rules

ROUNDS = 7
POINTS, PEER_POINTS = 2_000_000, 20_000
HAND_WRITTEN_LIMIT = 2.0
NELSON = compile_rules("nelson", {"dispersion": False}, CHARTS["i_mr"])


def compared(
    name: str,
    peer: str,
    points: int,
    limit: float | None,
    ours: Callable[[], None],
    theirs: Callable[[], None],
) -> Row:
    """Return a row of points per second; its ratio is our time over that of the peer."""
    first, second = interleaved(ours, theirs, rounds=ROUNDS)
    return Row(
        name,
        points / statistics.median(first),
        "points/s",
        peer,
        points / statistics.median(second),
        ratio(first, second),
        limit,
        extra={"ratio_of": "time", "rounds": ROUNDS},
    )


def against_hand_written(streams: int, points: int = POINTS) -> Row:
    """Judge the same points, one of each stream in turn, by the kernel and by the loop."""
    x = np.random.default_rng(1).standard_normal(points)
    stream = np.arange(points) % streams
    center, sigma = np.zeros(points), np.ones(points)
    boundary = np.zeros(points, np.bool_)
    nothing = np.full(points, np.nan)
    programs = Programs()
    program = np.full(streams, programs.add(NELSON))
    registers, memory = new_state(streams)
    counters, previous = hand_written.new_state(streams)
    ours, theirs = np.zeros(points, np.int64), np.zeros(points, np.int64)

    def generic() -> None:
        registers[:] = 0
        judge_series(
            programs.table, program, registers, memory, stream, x, center, sigma, sigma, boundary,
            nothing, nothing, nothing, ours,
        )  # fmt: skip

    def by_hand() -> None:
        counters[:] = 0
        hand_written.judge_eight(counters, previous, stream, x, center, sigma, boundary, theirs)

    row = compared(
        f"kernel, all Nelson rules, {streams:,} streams",
        "the rules by hand",
        points,
        HAND_WRITTEN_LIMIT,
        generic,
        by_hand,
    )
    if not np.array_equal(ours, theirs):
        raise AssertionError("the hand-written loop and the kernel disagree")
    return row


def against_peer(peer: peers.Peer, points: int = PEER_POINTS) -> Row:
    """Judge one series on given limits by the kernel and by a package, if it is installed."""
    name = "kernel, all Nelson rules, one series"
    z = np.random.default_rng(2).standard_normal(points)
    limits = entered("i_mr", 0.0, 1.0)

    def ours() -> None:
        evaluate(limits, NELSON, z)

    def theirs() -> None:
        peers.ask(peer.name, z)

    found = peers.installed(peer)
    if found is None:
        return Row(name, alone(ours, points), "points/s", f"{peer.name}: absent")
    right = peers.reproduces(peer.name)
    if len(right) < len(peers.VECTORS):
        told = f"{peer.name} {found}: right in rules {', '.join(map(str, right))} alone"
        return Row(name, alone(ours, points), "points/s", told)
    return compared(name, f"{peer.name} {found}", points, 1.0, ours, theirs)


def alone(work: Callable[[], None], points: int) -> float:
    """Return points per second where there is nothing to compare with."""
    return points / statistics.median(interleaved(work, rounds=ROUNDS)[0])


def run() -> Iterable[Row]:
    """Measure at few and at many streams, and against each peer."""
    for streams in (100, 100_000):
        yield against_hand_written(streams)
    for peer in peers.listed():
        yield against_peer(peer)
