"""What becomes durable while the database is away: a file of batches, and what to start from."""

import fcntl
import os
import socket
import sqlite3
import struct
import threading
import uuid
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final, NamedTuple, TypeVar

import psutil

from app.store.batch import Batch
from app.store.errors import AlreadyWriting, SpoolBroken, SpoolFull
from app.store.packing import pack, unpack

T = TypeVar("T")

DEFAULT_MAX_BYTES: Final = 4 * 2**30

TABLES: Final = """
    CREATE TABLE IF NOT EXISTS batch (
        id INTEGER PRIMARY KEY, at INTEGER NOT NULL, crc INTEGER NOT NULL, packed BLOB NOT NULL
    );
    CREATE TABLE IF NOT EXISTS snapshot (
        one INTEGER PRIMARY KEY CHECK (one = 1), last_batch INTEGER NOT NULL,
        exact INTEGER NOT NULL, crc INTEGER NOT NULL, state BLOB NOT NULL
    );
"""

FULL: Final = {sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR_WRITE, sqlite3.SQLITE_IOERR_SHMSIZE,
               sqlite3.SQLITE_IOERR_FSYNC, sqlite3.SQLITE_IOERR_TRUNCATE}  # fmt: skip
"""How SQLite says that the disk, a quota or the largest file size is reached."""

MARK: Final = struct.Struct("<qq16sI")
"""The newest committed batch, the newest that was begun, the run of the machine, and a checksum.

In a file that is never fsynced.
"""

BOOT_ID: Final = Path("/proc/sys/kernel/random/boot_id")


class Snapshot(NamedTuple):
    """Configuration and state to start from without the database."""

    state: bytes
    last_batch: int  # the newest batch it knows of
    exact: bool  # it is the state after that very batch


class Spool:
    """Batches in their order, each on the disk when ``append`` returns; one process at a time.

    Every call blocks, ``append`` and ``save_snapshot`` for an fsync: use a worker thread. Calls
    from several threads wait for each other.
    """

    def __init__(self, directory: Path, max_bytes: int = DEFAULT_MAX_BYTES) -> None:
        self.path = directory / "spool.sqlite"
        self._lock_path = directory / "spool.lock"
        self._mark_path = directory / "spool.committed"
        self.max_bytes = max_bytes
        self._turn = threading.Lock()
        self._file: sqlite3.Connection | None = None
        self._lock = self._mark = -1
        self._depth = 0
        self._bytes = 0
        self._oldest: int | None = None
        self._newest = 0
        self._last_committed = self._last_begun = 0
        self._boot = _this_boot()
        self._marked_in = b""

    def open(self) -> None:
        """Take the spool for this process.

        Raises:
            AlreadyWriting: another process has it; says who.
            SpoolBroken: the file cannot be read.
        """
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self._take_lock()
        try:
            self._file = sqlite3.connect(self.path, isolation_level=None, check_same_thread=False)
            with self._turn:
                self._ask(_prepare)
                self._count()
            self._mark = os.open(self._mark_path, os.O_RDWR | os.O_CREAT, 0o600)
            self._last_committed, self._last_begun, self._marked_in = _read_mark(
                os.pread(self._mark, MARK.size, 0)
            )
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Give the spool up; what it holds stays."""
        with self._turn:
            if self._file is not None:
                self._file.close()
                self._file = None
            for handle in (self._mark, self._lock):
                if handle >= 0:
                    os.close(handle)
            self._lock = self._mark = -1

    def append(self, batch: Batch) -> None:
        """Keep a batch behind the others; it is on the disk when this returns.

        Raises:
            SpoolFull: nothing of it was kept.
        """
        packed = pack(batch)
        with self._turn:
            if self._bytes + len(packed) > self.max_bytes:
                raise SpoolFull(
                    f"the spool holds {self._bytes / 2**20:.0f} MB in {self._depth} batches, "
                    f"{self.max_bytes / 2**20:.0f} MB is its limit"
                )
            row = (batch.id, batch.at, zlib.crc32(packed), packed)
            self._ask(lambda file: _execute(file, "INSERT INTO batch VALUES (?, ?, ?, ?)", row))
            self._depth += 1
            self._bytes += len(packed)
            self._newest = batch.id
            if self._oldest is None:
                self._oldest = batch.at

    def peek(self) -> Batch | None:
        """The oldest batch, or None."""
        with self._turn:
            row = self._ask(
                lambda file: file.execute(
                    "SELECT id, crc, packed FROM batch ORDER BY id LIMIT 1"
                ).fetchone()
            )
        if row is None:
            return None
        return self._sound(*row)

    def _sound(self, number: int, crc: int, packed: bytes) -> Batch:
        if zlib.crc32(packed) != crc:
            raise SpoolBroken(f"{self.path}: batch {number} is damaged on the disk")
        return unpack(packed)

    def after(self, number: int) -> Iterator[Batch]:
        """The batches that came after this one, oldest first.

        Raises:
            SpoolBroken: one of them is damaged.
        """
        with self._turn:
            ids = self._ask(
                lambda file: file.execute(
                    "SELECT id FROM batch WHERE id > ? ORDER BY id", (number,)
                ).fetchall()
            )
        for (one,) in ids:
            with self._turn:
                crc, packed = self._ask(
                    lambda file, one=one: file.execute(  # type: ignore[misc]
                        "SELECT crc, packed FROM batch WHERE id = ?", (one,)
                    ).fetchone()
                )
            yield self._sound(one, crc, packed)

    def drop(self, number: int) -> None:
        """Forget this batch and those before it, once they are in the database."""
        with self._turn:
            dropped, freed, self._oldest = self._ask(lambda file: _drop(file, number))
            self._depth -= dropped
            self._bytes -= freed

    def depth(self) -> int:
        """How many batches wait."""
        return self._depth

    def bytes_used(self) -> int:
        """How much room they take."""
        return self._bytes

    def newest(self) -> int:
        """The id of the newest batch that waits, or 0."""
        return self._newest if self._depth else 0

    def age(self, now: int) -> float:
        """Seconds since the oldest waiting batch was made; 0 when none waits."""
        return 0.0 if self._oldest is None else max(0.0, (now - self._oldest) / 1e6)

    def save_snapshot(self, state: bytes, last_batch: int, exact: bool = True) -> None:
        """Keep what to start from without the database, in place of the one before.

        Raises:
            SpoolFull: the one before is still there.
        """
        row = (last_batch, int(exact), zlib.crc32(state), state)
        with self._turn:
            self._ask(
                lambda file: _execute(
                    file, "INSERT OR REPLACE INTO snapshot VALUES (1, ?, ?, ?, ?)", row
                )
            )

    def load_snapshot(self) -> Snapshot | None:
        """The snapshot, if there is a sound one."""
        with self._turn:
            row = self._ask(
                lambda file: file.execute(
                    "SELECT last_batch, exact, crc, state FROM snapshot"
                ).fetchone()
            )
        if row is None or zlib.crc32(row[3]) != row[2]:
            return None
        return Snapshot(row[3], row[0], bool(row[1]))

    def note_begun(self, number: int) -> None:
        """Remember that this batch is on its way to the database; as cheap as ``note_committed``."""
        self._note(self._last_committed, number)

    def note_committed(self, number: int) -> None:
        """Remember the newest batch in the database: cheap, never blocks, and true after a kill.

        After a power cut it may be an older one.
        """
        self._note(number, number)

    def _note(self, committed: int, begun: int) -> None:
        mark = MARK.pack(committed, begun, self._boot, 0)[:-4]
        os.pwrite(self._mark, mark + struct.pack("<I", zlib.crc32(mark)), 0)
        self._last_committed, self._last_begun, self._marked_in = committed, begun, self._boot

    def last_committed(self) -> int:
        """What ``note_committed`` was last told, also before a restart; 0 when not known."""
        return self._last_committed

    def in_doubt(self, last: int) -> bool:
        """Whether the database may hold batches newer than ``last``, as far as is known here."""
        if self._depth:
            # While one batch waits here, none goes to the database past it.
            return max(self._last_begun, self._last_committed) > last
        return self._marked_in != self._boot or self._last_begun > last

    def _take_lock(self) -> None:
        handle = os.open(self._lock_path, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            who = os.pread(handle, 200, 0).decode(errors="replace") or "another process"
            os.close(handle)
            raise AlreadyWriting(f"{who} uses {self.path.parent}; stop it first") from error
        os.ftruncate(handle, 0)
        os.pwrite(handle, f"process {os.getpid()} on {socket.gethostname()}".encode(), 0)
        self._lock = handle

    def _ask(self, work: Callable[[sqlite3.Connection], T]) -> T:
        if self._file is None:
            raise SpoolBroken(f"{self.path} is not open")
        try:
            return work(self._file)
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode in FULL:
                raise SpoolFull(f"no room for {self.path}: {error}") from error
            raise SpoolBroken(f"{self.path}: {error}") from error
        except sqlite3.DatabaseError as error:
            raise SpoolBroken(
                f"{self.path} is damaged ({error}): move it away to start without what it holds, "
                f"`sqlite3 {self.path.name} .recover` may save the batches in it"
            ) from error

    def _count(self) -> None:
        totals = "SELECT count(*), coalesce(sum(length(packed)), 0), min(at), max(id) FROM batch"
        self._depth, self._bytes, self._oldest, newest = self._ask(
            lambda file: file.execute(totals).fetchone()
        )
        self._newest = newest or 0


def _prepare(file: sqlite3.Connection) -> None:
    file.execute("PRAGMA auto_vacuum = INCREMENTAL")
    file.execute("PRAGMA journal_mode = WAL")
    file.execute("PRAGMA synchronous = FULL")
    file.execute("PRAGMA fullfsync = ON")  # macOS, where an fsync alone stays in the drive's cache
    file.executescript(TABLES)


def _execute(file: sqlite3.Connection, statement: str, values: tuple[Any, ...]) -> None:
    file.execute(statement, values)


def _drop(file: sqlite3.Connection, number: int) -> tuple[int, int, int | None]:
    # not worth an fsync: a batch that comes back is found to be in the database
    file.execute("PRAGMA synchronous = NORMAL")
    try:
        gone = "DELETE FROM batch WHERE id <= ? RETURNING length(packed)"
        sizes = [size for (size,) in file.execute(gone, (number,)).fetchall()]
        oldest = file.execute("SELECT at FROM batch ORDER BY id LIMIT 1").fetchone()
        if oldest is None:
            # as scripts: execute() would step once and give back one page
            file.executescript("PRAGMA incremental_vacuum; PRAGMA wal_checkpoint(TRUNCATE);")
    finally:
        file.execute("PRAGMA synchronous = FULL")
    return len(sizes), sum(sizes), oldest and oldest[0]


def _read_mark(octets: bytes) -> tuple[int, int, bytes]:
    if len(octets) != MARK.size:
        return 0, 0, b""
    committed, begun, boot, crc = MARK.unpack(octets)
    return (committed, begun, boot) if zlib.crc32(octets[:-4]) == crc else (0, 0, b"")


def _this_boot() -> bytes:
    """Names the time since the machine started: what was written in it and not synced is there."""
    try:
        return uuid.UUID(BOOT_ID.read_text().strip()).bytes
    except (OSError, ValueError):
        return struct.pack("<qq", 0, int(psutil.boot_time()))
