"""The state of every stream in columns, and the compiled loop that moves it on."""

from collections.abc import Iterable
from typing import Any, NamedTuple, TypeVar

import msgspec
import numpy as np
from numpy.typing import NDArray

from app.catalog import Catalog
from app.characteristic import Definition
from app.limits import on_trial
from app.store.batch import Version
from app.store.rows import POINT, READING
from rules import stream as loop
from rules.charts import chart_named, subgroup_statistics
from rules.kernel import MEMORY, REGISTERS, warm
from rules.limits import Limits
from rules.runs import Programs, compile_rules

GROWTH = 1024
VERSION_COLUMNS = [loop.VERSION, loop.OPEN_VERSION]
T = TypeVar("T", bound=np.generic)


class Room(NamedTuple):
    """How many streams and open subgroups there is room for."""

    streams: int
    slots: int


class Mark(NamedTuple):
    """What to put back when a batch could not be made durable."""

    streams: NDArray[np.int64]
    integers: NDArray[np.int64]
    floats: NDArray[np.float64]
    registers: NDArray[np.uint32]
    memory: NDArray[np.float64]
    slots: NDArray[np.int64]
    values: NDArray[np.float64]


class EngineState(msgspec.Struct):
    """The engine's state as bytes, for the snapshot beside the spool."""

    streams: int
    integers: bytes
    floats: bytes
    registers: bytes
    memory: bytes
    values: bytes
    versions: list[int]  # ids in the order of their rows


class Engine:
    """Readings in, points with verdicts out; nothing here waits, reads a clock or writes a row."""

    def __init__(self, catalog: Catalog) -> None:
        self._catalog = catalog
        self.integers, self.floats, self.registers, self.memory = loop.new_state(0)
        self.values = np.zeros((0, loop.MOST_IN_SUBGROUP))
        self.scratch = np.zeros(loop.MOST_IN_SUBGROUP)
        self.streams = 0
        self._slots = 0
        self._programs = Programs()
        self.version_ids = np.zeros(0, np.int32)
        self._rows: dict[int, int] = {}
        self.versions_i = np.zeros((0, loop.VERSION_INTEGERS), np.int64)
        self.versions_f = np.zeros((0, loop.VERSION_FLOATS))

    # versions and streams

    def version_row(self, version: Version) -> int:
        """The row of a version in the table that the loop reads."""
        known = self._rows.get(version.id)
        if known is not None:
            return known
        whole, real = self._columns(version)
        row = len(self._rows)
        if row == len(self.versions_i):
            room = max(64, 2 * row)
            self.versions_i = _grown(self.versions_i, room)
            self.versions_f = _grown(self.versions_f, room)
            self.version_ids = _grown(self.version_ids, room)
        self.versions_i[row], self.versions_f[row] = whole, real
        self.version_ids[row] = version.id
        self._rows[version.id] = row
        return row

    def _columns(self, version: Version) -> tuple[list[int], list[float]]:
        definition = Definition.model_validate(version.definition)
        chart = chart_named(definition.chart)
        limits = None if version.limits is None else Limits.from_dict(version.limits)
        program = compile_rules(
            definition.rules,
            definition.rule_options.model_dump(),
            chart,
            given=limits is not None and limits.given,
        )
        group, spec = definition.subgroup, definition.spec
        flags, nan = 0, float("nan")
        lines = [nan, nan, nan, nan, 0.0]
        if limits is not None:
            flags = loop.LIMITS | (loop.TRIAL if on_trial(version) else 0)
            lines = [
                limits.center,
                nan if limits.sigma is None else limits.sigma,
                nan if limits.lcl is None else limits.lcl,
                nan if limits.ucl is None else limits.ucl,
                limits.n if limits.given else 0.0,
            ]
        return (
            [
                chart.code,
                group.size,
                definition.gap or 0,
                group.timeout or 0,
                group.every or 0,
                group.every_parts or 0,
                self._programs.add(program),
                flags,
            ],
            [
                *lines,
                -np.inf if spec is None or spec.lower is None else spec.lower,
                np.inf if spec is None or spec.upper is None else spec.upper,
            ],
        )

    def ensure(self) -> None:
        """Make room for streams that are new in the catalog and give them their version."""
        highest = max(self._catalog.newest_stream, 0)
        if highest < self.streams:
            return
        if highest >= len(self.integers):
            room = max(GROWTH, len(self.integers) + len(self.integers) // 2, highest + 1)
            fresh = loop.new_state(room - len(self.integers))
            self.integers = np.concatenate([self.integers, fresh[0]])
            self.floats = np.concatenate([self.floats, fresh[1]])
            self.registers = np.concatenate([self.registers, fresh[2]])
            self.memory = np.concatenate([self.memory, fresh[3]])
        for stream in range(self.streams, highest + 1):
            if stream in self._catalog.streams:
                self.enter_version(stream)
        self.streams = highest + 1

    def enter_version(self, stream: int) -> None:
        """Put in force what judges this stream after its newest reading; a change is a boundary."""
        state = self.integers[stream]
        newest = int(state[loop.NEWEST_TIME])
        self._enter(stream, newest if newest != loop.NONE else -(2**61))

    def _enter(self, stream: int, time: int) -> None:
        state = self.integers[stream]
        version, until = self._catalog.in_force(stream, time)
        row = self.version_row(version)
        if state[loop.VERSION] not in (-1, row):
            state[loop.PENDING] = loop.CUT | loop.CLOSE
        state[loop.VERSION] = row
        state[loop.VALID_TO] = loop.FOREVER if until is None else until
        if state[loop.SLOT] < 0 and self.versions_i[row, loop.V_SIZE] > 1:
            state[loop.SLOT] = self._new_slot()

    def _new_slot(self) -> int:
        if self._slots == len(self.values):
            self.values = _grown(self.values, max(256, 2 * self._slots))
        self._slots += 1
        return self._slots - 1

    # judging

    @property
    def tables(self) -> Any:
        """Versions and rules, as the loop reads them."""
        return (self.versions_i, self.versions_f, self._programs.table)

    def classify(self, rows: NDArray[np.void]) -> NDArray[np.uint8]:
        """1 for each row that is not strictly newer than all of its stream before it."""
        known = np.zeros(len(rows), np.uint8)
        loop.classify(rows, self.integers, known)
        return known

    def advance(
        self,
        rows: NDArray[np.void],
        chosen: NDArray[np.int64],
        cuts: NDArray[np.int64],
        keys: NDArray[np.int64],
    ) -> NDArray[np.void]:
        """Run the chosen rows through their streams; fills them in and returns the points made.

        A point's version is the id of the version that judged it.
        """
        points = np.zeros(len(chosen), POINT)
        at = made = 0
        while at < len(chosen):
            at, made = loop.advance(
                at, rows, chosen, cuts, keys,
                self.integers, self.floats, self.registers, self.memory, self.values, self.scratch,
                self.tables, points, made,
            )  # fmt: skip
            if at < len(chosen):
                row = rows[chosen[at]]
                self._enter(int(row["stream"]), int(row["time"]))
        points = points[:made]
        points["version"] = self.version_ids[points["version"]]
        return points

    # undo

    @property
    def room(self) -> Room:
        """What is in use, to be given back to ``rollback`` with a mark made after it."""
        return Room(self.streams, self._slots)

    def mark(self, streams: NDArray[np.int64]) -> Mark:
        """Remember the state of these streams."""
        slots = self.integers[streams, loop.SLOT]
        slots = slots[slots >= 0]
        return Mark(
            streams,
            self.integers[streams],
            self.floats[streams],
            self.registers[streams],
            self.memory[streams],
            slots,
            self.values[slots],
        )

    def rollback(self, mark: Mark, room: Room) -> None:
        """Put back what was remembered, and forget streams that were new."""
        self.integers[mark.streams] = mark.integers
        self.floats[mark.streams] = mark.floats
        self.registers[mark.streams] = mark.registers
        self.memory[mark.streams] = mark.memory
        self.values[mark.slots] = mark.values
        new, fresh = slice(room.streams, self.streams), loop.new_state(self.streams - room.streams)
        self.integers[new], self.floats[new], self.registers[new], self.memory[new] = fresh
        self.streams, self._slots = room

    def sequences(self, streams: Iterable[int]) -> dict[int, int]:
        """The newest change number of each of these streams."""
        return {stream: int(self.integers[stream, loop.SEQ]) for stream in streams}

    # snapshot

    def save(self) -> EngineState:
        """The whole state, to be restored by ``load`` beside the same catalog."""
        return EngineState(
            streams=self.streams,
            integers=self.integers[: self.streams].tobytes(),
            floats=self.floats[: self.streams].tobytes(),
            registers=self.registers[: self.streams].tobytes(),
            memory=self.memory[: self.streams].tobytes(),
            values=self.values[: self._slots].tobytes(),
            versions=self.save_versions(),
        )

    def save_versions(self) -> list[int]:
        """The versions in the order of their rows."""
        return [int(number) for number in self.version_ids[: len(self._rows)]]

    def named_versions(self, mark: Mark) -> dict[int, int]:
        """The versions that the marked streams name, by their rows."""
        rows = np.unique(mark.integers[:, VERSION_COLUMNS]).tolist()
        return {row: int(self.version_ids[row]) for row in rows if 0 <= row < len(self._rows)}

    def follow(
        self,
        streams: NDArray[np.int64],
        versions: dict[int, int],
        integers: bytes,
        floats: bytes,
        registers: bytes,
        memory: bytes,
        values: bytes,
    ) -> None:
        """Take up the state of some streams, as ``mark`` had it; ``versions`` name its rows."""
        rows = {row: self.version_row(self._catalog.versions[n]) for row, n in versions.items()}
        count = len(streams)
        whole = _loaded(integers, np.int64, count, loop.INTEGERS)
        for column in VERSION_COLUMNS:
            whole[:, column] = [rows.get(row, row) for row in whole[:, column].tolist()]
        self.integers[streams] = whole
        self.floats[streams] = _loaded(floats, np.float64, count, loop.FLOATS)
        self.registers[streams] = _loaded(registers, np.uint32, count, REGISTERS)
        self.memory[streams] = _loaded(memory, np.float64, count, MEMORY)
        slots = self.integers[streams, loop.SLOT]
        slots = slots[slots >= 0]
        while self._slots <= int(slots.max(initial=-1)):
            self._new_slot()
        self.values[slots] = np.frombuffer(values).reshape(-1, loop.MOST_IN_SUBGROUP)

    def load(self, state: EngineState) -> None:
        """Take up a saved state."""
        for number in state.versions:
            self.version_row(self._catalog.versions[number])
        count = state.streams
        self.streams = count
        self.integers = _loaded(state.integers, np.int64, count, loop.INTEGERS)
        self.floats = _loaded(state.floats, np.float64, count, loop.FLOATS)
        self.registers = _loaded(state.registers, np.uint32, count, REGISTERS)
        self.memory = _loaded(state.memory, np.float64, count, MEMORY)
        values = np.frombuffer(state.values, np.float64).reshape(-1, loop.MOST_IN_SUBGROUP)
        self.values = values.copy()
        self._slots = len(values)
        self.ensure()


def compile_loops() -> None:
    """Compile everything that judges, so that the first reading is not slower than the next."""
    warm()
    engine = Engine(Catalog())
    engine.versions_i = np.zeros((1, loop.VERSION_INTEGERS), np.int64)
    engine.versions_f = np.zeros((1, loop.VERSION_FLOATS))
    rows, none = np.zeros(0, READING), np.zeros(0, np.int64)
    engine.classify(rows)
    engine.advance(rows, none, none, none)
    loop.advance(
        0, rows, none, none, none,
        engine.integers, engine.floats, engine.registers, engine.memory, engine.values,
        engine.scratch, engine.tables, np.zeros(0, POINT), 0,
    )  # fmt: skip
    loop.verdict(
        0, engine.tables, np.zeros(REGISTERS, np.uint32), np.zeros(MEMORY), 1.0, 0.0, 0.0, False
    )
    loop.outside(0.0, 0.0, 0.0)
    subgroup_statistics(0, np.zeros(1))


def _grown(array: NDArray[T], room: int) -> NDArray[T]:
    larger = np.zeros((room, *array.shape[1:]), array.dtype)
    larger[: len(array)] = array
    return larger


def _loaded(raw: bytes, kind: type[T], rows: int, columns: int) -> NDArray[T]:
    return np.frombuffer(raw, kind).reshape(rows, columns).copy()
