"""What becomes durable while the database is away: a file of batches, and what to start from."""

import fcntl
import os
import socket
import sqlite3
import struct
import threading
import uuid
import zlib
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Final, NamedTuple

import psutil

from app.store.batch import Batch
from app.store.errors import AlreadyWriting, SpoolBroken, SpoolFull
from app.store.packing import pack, unpack
from app.store.spool_file import SpoolFile, settle

DEFAULT_MAX_BYTES: Final = 4 * 2**30

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
        self._file = SpoolFile(self.path, self._claim)
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
        settle(self.path.parent.parent)
        self._take_lock()
        try:
            with self._turn:
                self._file.open()
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
            self._file.close()
            for handle in (self._mark, self._lock):
                if handle >= 0:
                    os.close(handle)
            self._lock = self._mark = -1

    def append(self, batch: Batch) -> None:
        """Keep a batch behind the others; it is on the disk when this returns.

        Raises:
            SpoolFull, SpoolBroken: nothing of it was kept.
        """
        packed = pack(batch)
        with self._turn:
            self._heed_limit(len(packed))
            row = (batch.id, batch.at, zlib.crc32(packed), packed)
            self._file.keep(
                lambda file: file.execute("INSERT INTO batch VALUES (?, ?, ?, ?)", row),
                lambda file: file.execute("DELETE FROM batch WHERE id = ?", row[:1]),
                self._depth,
                self._depth + 1,
            )
            self._depth += 1
            self._bytes += len(packed)
            self._newest = batch.id
            if self._oldest is None:
                self._oldest = batch.at

    def check(self, size: int) -> None:
        """Make sure that a batch of this size could be kept now.

        Raises:
            SpoolFull, SpoolBroken: it could not.
        """
        with self._turn:
            self._heed_limit(size)
            content = (bytes(size),)
            self._file.keep(
                lambda file: file.execute("INSERT INTO room VALUES (?)", content),
                lambda file: file.execute("DELETE FROM room"),
                self._depth,
                self._depth,
            )
            self._file.change(lambda file: file.execute("DELETE FROM room"))

    def _heed_limit(self, size: int) -> None:
        if self._bytes + size > self.max_bytes:
            raise SpoolFull(
                f"the spool holds {self._bytes / 2**20:.0f} MB in {self._depth} batches, "
                f"{self.max_bytes / 2**20:.0f} MB is its limit"
            )

    def peek(self) -> Batch | None:
        """The oldest batch, or None."""
        with self._turn:
            row = self._file.ask(
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
            ids = self._file.ask(
                lambda file: file.execute(
                    "SELECT id FROM batch WHERE id > ? ORDER BY id", (number,)
                ).fetchall()
            )
        for (one,) in ids:
            with self._turn:
                crc, packed = self._file.ask(
                    lambda file, one=one: file.execute(  # type: ignore[misc]
                        "SELECT crc, packed FROM batch WHERE id = ?", (one,)
                    ).fetchone()
                )
            yield self._sound(one, crc, packed)

    def drop(self, number: int) -> None:
        """Forget this batch and those before it, once they are in the database."""
        with self._turn:
            dropped, freed, self._oldest = self._file.change(lambda file: _drop(file, number))
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
            SpoolFull, SpoolBroken: the one before is still there.
        """
        row = (last_batch, int(exact), zlib.crc32(state), state)
        with self._turn:
            self._file.keep(
                lambda file: file.execute(
                    "INSERT OR REPLACE INTO snapshot VALUES (1, ?, ?, ?, ?)", row
                ),
                lambda _: None,  # one snapshot or the other: both are true
                self._depth,
                self._depth,
            )

    def load_snapshot(self) -> Snapshot | None:
        """The snapshot, if there is a sound one."""
        with self._turn:
            row = self._file.ask(
                lambda file: file.execute(
                    "SELECT last_batch, exact, crc, state FROM snapshot"
                ).fetchone()
            )
        if row is None or zlib.crc32(row[3]) != row[2]:
            return None
        return Snapshot(row[3], row[0], bool(row[1]))

    def save_note(self, content: bytes) -> None:
        """Keep what is still to be done once the spool is empty, in place of the note before.

        Raises:
            SpoolFull, SpoolBroken: the one before is still there.
        """
        with self._turn:
            self._file.keep(
                lambda file: file.execute("INSERT OR REPLACE INTO note VALUES (1, ?)", (content,)),
                lambda _: None,  # more to be done, or less: both are harmless
                self._depth,
                self._depth,
            )

    def load_note(self) -> bytes | None:
        """The note, if there is one."""
        with self._turn:
            row = self._file.ask(lambda file: file.execute("SELECT content FROM note").fetchone())
        return None if row is None else bytes(row[0])

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
        try:
            os.pwrite(self._mark, mark + struct.pack("<I", zlib.crc32(mark)), 0)
        except OSError:  # some file systems need room even for this: then nothing is known
            os.ftruncate(self._mark, 0)
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

    def _claim(self) -> None:
        """Have the lock and the mark in their places, also after somebody took them away."""
        if not _lies_at(self._lock, self._lock_path):
            before = self._lock
            self._take_lock()
            os.close(before)
        if not _lies_at(self._mark, self._mark_path):
            before, self._mark = self._mark, os.open(self._mark_path, os.O_RDWR | os.O_CREAT, 0o600)
            os.close(before)
            if self._marked_in == self._boot:
                self._note(self._last_committed, self._last_begun)

    def _count(self) -> None:
        totals = "SELECT count(*), coalesce(sum(length(packed)), 0), min(at), max(id) FROM batch"
        self._depth, self._bytes, self._oldest, newest = self._file.ask(
            lambda file: file.execute(totals).fetchone()
        )
        self._newest = newest or 0


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


def _lies_at(handle: int, path: Path) -> bool:
    with suppress(OSError):
        return os.path.samestat(os.fstat(handle), path.stat())
    return False


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
