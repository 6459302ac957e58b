"""The spool's SQLite file: on the disk when it says so, also after somebody took it away."""

import errno
import os
import sqlite3
import zlib
from collections.abc import Callable
from contextlib import closing, suppress
from pathlib import Path
from typing import Final, NamedTuple, TypeVar

import structlog

from app.store.errors import SpoolBroken, SpoolFull

T = TypeVar("T")
Work = Callable[[sqlite3.Connection], T]

TABLES: Final = """
    CREATE TABLE IF NOT EXISTS batch (
        id INTEGER PRIMARY KEY, at INTEGER NOT NULL, crc INTEGER NOT NULL, packed BLOB NOT NULL
    );
    CREATE TABLE IF NOT EXISTS snapshot (
        one INTEGER PRIMARY KEY CHECK (one = 1), last_batch INTEGER NOT NULL,
        exact INTEGER NOT NULL, crc INTEGER NOT NULL, state BLOB NOT NULL
    );
    CREATE TABLE IF NOT EXISTS note (one INTEGER PRIMARY KEY CHECK (one = 1), content BLOB NOT NULL);
    CREATE TABLE IF NOT EXISTS room (content BLOB);
"""

FULL: Final = {sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR_WRITE, sqlite3.SQLITE_IOERR_SHMSIZE,
               sqlite3.SQLITE_IOERR_FSYNC, sqlite3.SQLITE_IOERR_TRUNCATE}  # fmt: skip
"""How SQLite says that the disk, a quota or the largest file size is reached."""

PARTS: Final = ("", "-wal")
"""What has to be in its place for a commit to be found again."""
LEFT: Final = ("-wal", "-shm", "-journal")

log = structlog.get_logger(__name__)


class Place(NamedTuple):
    """Which file lies where one was opened, and how long it is."""

    device: int
    inode: int
    size: int


class SpoolFile:
    """One SQLite file that nobody else writes.

    A file that is deleted stays open: SQLite would go on writing to what no restart finds. So every
    write makes sure that the file is still in its place; if it is not, what is open is written
    to a new one.
    """

    def __init__(self, path: Path, claim: Callable[[], None]) -> None:
        self.path = path
        self._claim = claim  # makes sure that the directory is still ours
        self._rescued = path.with_suffix(".rescued")  # whole, and not yet in its place
        self._open: sqlite3.Connection | None = None
        self._places: list[Place] | None = None  # not known: not in its place
        self._wanted = False
        self._counted = False  # since it was opened

    def open(self) -> None:
        """Open it, made when it is not there.

        Raises:
            SpoolBroken: it cannot be read or made.
        """
        self._wanted, self._counted = True, False
        try:
            if self._rescued.exists():
                self._put_in_place()
            self._open = sqlite3.connect(self.path, isolation_level=None, check_same_thread=False)
        except (OSError, sqlite3.OperationalError) as error:
            raise SpoolBroken(f"{self.path} cannot be opened: {error}") from error
        try:
            self.ask(_prepare)
        except BaseException:
            self._open.close()
            self._open = None
            raise
        self._places = self._found()

    def close(self) -> None:
        """Give it up."""
        self._wanted = False
        if self._open is not None:
            self._open.close()
            self._open = None

    def ask(self, work: Work[T]) -> T:
        """Do something that nobody is told of.

        Raises:
            SpoolBroken: it cannot be read.
            SpoolFull: there is no room.
        """
        if self._open is None:
            if not self._wanted:
                raise SpoolBroken(f"{self.path} is not open")
            self.open()
        assert self._open is not None  # noqa: S101 - it was opened
        try:
            done = work(self._open)
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode in FULL:
                raise SpoolFull(f"no room for {self.path}: {error}") from error
            raise SpoolBroken(f"{self.path}: {error}") from error
        except sqlite3.DatabaseError as error:
            raise SpoolBroken(
                f"{self.path} is damaged ({error}): move it away to start without what it holds, "
                f"`sqlite3 {self.path.name} .recover` may save the batches in it"
            ) from error
        return done

    def change(self, work: Work[T]) -> T:
        """Do something that may make the file shorter."""
        sound = self._in_place()
        done = self.ask(work)
        if sound:
            self._places = self._found() or self._places
        return done

    def keep(self, work: Work[object], undo: Work[object], before: int, after: int) -> None:
        """Do something that is on the disk, where a restart finds it, when this returns.

        The file holds so many batches before and after it; ``undo`` takes it back.

        Raises:
            SpoolBroken, SpoolFull: nothing was kept.
        """
        if self._open is not None and not self._in_place():
            self._rescue(before)
        if not self._counted:
            if (count := self.ask(_depth)) != before:
                raise self._gone(f"{before - count} of {before} batches")
            self._counted = True
        self.ask(work)
        try:
            if not self._in_place():
                self._rescue(after)
        except BaseException:
            with suppress(SpoolBroken, SpoolFull):
                self.ask(undo)
            raise
        self._places = self._found() or self._places

    def _found(self) -> list[Place] | None:
        try:
            found = [Path(f"{self.path}{part}").stat() for part in PARTS]
        except OSError:
            return None
        return [Place(one.st_dev, one.st_ino, one.st_size) for one in found]

    def _in_place(self) -> bool:
        found = self._found()
        then = self._places
        return (
            found is not None
            and then is not None
            and all(
                now[:2] == before[:2] and now.size >= before.size
                for now, before in zip(found, then, strict=True)
            )
        )

    def _rescue(self, depth: int) -> None:
        """Write what is open to a new file, and put that in its place."""
        log.warning("the spool was taken away; it is written anew", path=str(self.path))
        assert self._open is not None  # noqa: S101 - whoever closed it asks for nothing
        part = self._rescued.with_suffix(".part")
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._claim()
            _forget(part)
            with closing(sqlite3.connect(part, isolation_level=None)) as new:
                self._copy(new, depth)
            part.replace(self._rescued)
            settle(self.path.parent)
            old, self._open, self._places = self._open, None, None
            old.close()  # removes the journal by its name: nothing new may be there yet
        except (OSError, sqlite3.OperationalError) as error:
            kind = SpoolFull if _no_room(error) else SpoolBroken
            raise kind(
                f"{self.path} was taken away, and cannot be written anew: {error}"
            ) from error
        self.open()

    def _copy(self, new: sqlite3.Connection, depth: int) -> None:
        assert self._open is not None  # noqa: S101 - see above
        new.execute("PRAGMA auto_vacuum = INCREMENTAL")
        new.execute("PRAGMA synchronous = FULL")
        new.execute("PRAGMA fullfsync = ON")
        new.executescript(TABLES)
        new.execute("BEGIN")
        count = 0
        try:
            for row in self._open.execute("SELECT id, at, crc, packed FROM batch ORDER BY id"):
                if zlib.crc32(row[3]) != row[2]:
                    raise self._gone(f"batch {row[0]}")
                new.execute("INSERT INTO batch VALUES (?, ?, ?, ?)", row)
                count += 1
            for row in self._open.execute("SELECT * FROM snapshot"):
                new.execute("INSERT INTO snapshot VALUES (?, ?, ?, ?, ?)", row)
            for row in self._open.execute("SELECT * FROM note"):
                new.execute("INSERT INTO note VALUES (?, ?)", row)
        except sqlite3.DatabaseError as error:
            if _no_room(error):
                raise
            raise self._gone(str(error)) from error
        if count != depth:
            raise self._gone(f"{depth - count} of {depth} batches")
        new.execute("COMMIT")

    def _gone(self, what: str) -> SpoolBroken:
        return SpoolBroken(
            f"{self.path} was changed by somebody else, and what it held cannot be read any more "
            f"({what}); put it back from a copy, or start without what it holds"
        )

    def _put_in_place(self) -> None:
        for left in LEFT:
            Path(f"{self.path}{left}").unlink(missing_ok=True)
        if self.path.exists():
            self.path.replace(self.path.with_suffix(".replaced"))  # for a person to look at
        self._rescued.replace(self.path)
        settle(self.path.parent)


def _no_room(error: OSError | sqlite3.Error) -> bool:
    if isinstance(error, OSError):
        return error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
    return getattr(error, "sqlite_errorcode", 0) in FULL


def _forget(path: Path) -> None:
    for left in ("", *LEFT):
        Path(f"{path}{left}").unlink(missing_ok=True)


def settle(directory: Path) -> None:
    """Make names in a directory durable."""
    handle = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _depth(file: sqlite3.Connection) -> int:
    (count,) = file.execute("SELECT count(*) FROM batch").fetchone()
    return int(count)


def _prepare(file: sqlite3.Connection) -> None:
    file.execute("PRAGMA auto_vacuum = INCREMENTAL")
    file.execute("PRAGMA journal_mode = WAL")
    file.execute("PRAGMA synchronous = FULL")
    file.execute("PRAGMA fullfsync = ON")  # macOS, where an fsync alone stays in the drive's cache
    file.executescript(TABLES)
