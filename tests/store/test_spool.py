"""The spool keeps what it was given: in order, whole, through kills and full disks."""

import os
import resource
import shutil
import signal
import sqlite3
import subprocess
import sys
import textwrap
from contextlib import closing
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.store.batch import Batch
from app.store.errors import AlreadyWriting, SpoolBroken, SpoolFull
from app.store.packing import pack
from app.store.spool import Snapshot, Spool
from tests.servers import last_words
from tests.store.builders import NOW, SECOND, everything, series
from tests.store.test_packing import assert_same_batch

ROOT = Path(__file__).parents[2]


@pytest.fixture
def spool(tmp_path):
    opened = Spool(tmp_path)
    opened.open()
    yield opened
    opened.close()


def drained(spool):
    numbers = []
    while (batch := spool.peek()) is not None:
        numbers.append(batch.id)
        spool.drop(batch.id)
    return numbers


def small(number, count=1):
    return Batch(id=number, at=NOW + number * SECOND, **series(count))


def test_batches_come_out_as_they_went_in(spool, tmp_path):
    batches = [everything(1), small(2), small(3, 500)]
    for batch in batches:
        spool.append(batch)
    assert (spool.depth(), spool.newest(), spool.age(NOW + 61 * SECOND)) == (3, 3, 60.0)
    spool.close()
    again = Spool(tmp_path)
    again.open()
    assert (again.depth(), again.newest(), again.age(NOW + 61 * SECOND)) == (3, 3, 60.0)
    assert again.bytes_used() == sum(len(pack(batch)) for batch in batches)
    for batch in batches:
        assert_same_batch(again.peek(), batch)
        again.drop(batch.id)
    assert again.peek() is None
    assert (again.depth(), again.newest(), again.bytes_used(), again.age(NOW)) == (0, 0, 0, 0.0)
    again.close()


@given(st.lists(st.integers(1, 4), max_size=12), st.data())
@settings(max_examples=30, deadline=None)
def test_order_holds_however_the_spool_is_used(tmp_path_factory, steps, data):
    directory = tmp_path_factory.mktemp("spool")
    with closing(Spool(directory)) as spool:
        spool.open()
        use(spool, steps, data)


def use(spool, steps, data):
    waiting, number = [], 0
    for step in steps:
        if data.draw(st.booleans()):
            for _ in range(step):
                number += 1
                spool.append(small(number))
                waiting.append(number)
        elif waiting:
            dropped = waiting[min(step, len(waiting)) - 1]
            spool.drop(dropped)
            waiting = [n for n in waiting if n > dropped]
        if step == 4:
            spool.close()
            spool.open()
        assert spool.depth() == len(waiting)
        oldest = spool.peek()
        assert (oldest.id if oldest else None) == (waiting[0] if waiting else None)
    assert drained(spool) == waiting


def test_the_file_shrinks_when_the_spool_is_empty(spool):
    for number in range(1, 20):
        spool.append(small(number, 3000))
    assert spool.path.stat().st_size + Path(f"{spool.path}-wal").stat().st_size > 2_000_000
    drained(spool)
    assert spool.path.stat().st_size + Path(f"{spool.path}-wal").stat().st_size < 100_000


def test_a_full_spool_keeps_nothing_of_the_next_batch(tmp_path):
    size = len(pack(small(1, 100)))
    spool = Spool(tmp_path, max_bytes=3 * size)
    spool.open()
    for number in range(1, 4):
        spool.append(small(number, 100))
    with pytest.raises(SpoolFull, match="3 batches"):
        spool.append(small(4, 100))
    spool.drop(1)
    spool.append(small(4, 100))
    assert drained(spool) == [2, 3, 4]
    spool.close()


def run(code, *arguments, **options):
    return subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(code), *map(str, arguments)],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        text=True,
        **options,
    )


FILL = """
    import sys, signal
    from pathlib import Path
    from app.store.batch import Batch
    from app.store.errors import SpoolFull
    from app.store.spool import Spool
    from tests.store.builders import NOW, series
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    spool = Spool(Path(sys.argv[1]))
    spool.open()
    number = spool.newest()
    try:
        while True:
            number += 1
            spool.append(Batch(id=number, at=NOW, **series(int(sys.argv[2]))))
            print(number, flush=True)
    except SpoolFull:
        print("full", flush=True)
        spool.save_snapshot(b"small", number - 1) if len(sys.argv) > 3 else None
"""


def test_a_disk_that_is_full_is_a_full_spool(tmp_path):
    limit = 1_000_000

    def small_files():
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))

    child = run(FILL, tmp_path, 200, preexec_fn=small_files)
    said = child.communicate(timeout=60)[0].split()
    assert child.returncode == 0
    assert said[-1] == "full"
    kept = [int(number) for number in said[:-1]]
    assert kept
    spool = Spool(tmp_path)
    spool.open()
    assert drained(spool) == kept
    spool.append(small(len(kept) + 1))
    spool.close()


@pytest.mark.parametrize("after", [1, 7, 40])
def test_a_kill_at_any_moment_leaves_every_batch_that_was_kept(tmp_path, after):
    child = run(FILL, tmp_path, 50)
    kept = [int(child.stdout.readline()) for _ in range(after)]
    child.send_signal(signal.SIGKILL)
    kept += map(int, last_words(child))
    spool = Spool(tmp_path)
    spool.open()
    found = drained(spool)
    assert found[: len(kept)] == kept
    # the one it was about to report may be there, whole
    assert found in (kept, [*kept, len(kept) + 1])
    spool.close()


def test_a_torn_last_write_costs_only_what_was_not_acknowledged(tmp_path):
    child = run(FILL, tmp_path, 50)
    for _ in range(10):
        child.stdout.readline()
    child.send_signal(signal.SIGKILL)
    kept = 10 + len(last_words(child))
    journal = tmp_path / "spool.sqlite-wal"
    size = journal.stat().st_size
    os.truncate(journal, size - 3000)
    spool = Spool(tmp_path)
    spool.open()
    found = drained(spool)
    assert found == list(range(1, len(found) + 1))
    assert len(found) >= kept - 1
    spool.close()


def test_one_process_at_a_time(spool, tmp_path):
    second = Spool(tmp_path)
    with pytest.raises(AlreadyWriting, match=f"process {os.getpid()} on "):
        second.open()
    spool.close()
    second.open()
    second.close()


def test_a_damaged_file_says_so(tmp_path):
    (tmp_path / "spool.sqlite").write_bytes(b"SQLite format 3\0" + os.urandom(5000))
    with pytest.raises(SpoolBroken, match="recover"):
        Spool(tmp_path).open()


def test_a_damaged_batch_is_not_replayed(spool, tmp_path):
    spool.append(everything(1))
    spool.close()
    file = sqlite3.connect(tmp_path / "spool.sqlite")
    packed = bytearray(file.execute("SELECT packed FROM batch").fetchone()[0])
    packed[100] ^= 1
    file.execute("UPDATE batch SET packed = ?", (bytes(packed),))
    file.commit()
    file.close()
    spool.open()
    with pytest.raises(SpoolBroken, match="batch 1"):
        spool.peek()


def test_a_closed_spool_says_so(tmp_path):
    with pytest.raises(SpoolBroken, match="not open"):
        Spool(tmp_path).append(small(1))


def test_the_snapshot_is_the_last_one(spool, tmp_path):
    assert spool.load_snapshot() is None
    spool.save_snapshot(b"one", 7)
    spool.save_snapshot(b"two" * 100_000, 9, exact=False)
    spool.close()
    spool.open()
    assert spool.load_snapshot() == Snapshot(b"two" * 100_000, 9, exact=False)


def test_a_damaged_snapshot_is_none(spool, tmp_path):
    spool.save_snapshot(b"state", 7)
    spool.close()
    file = sqlite3.connect(tmp_path / "spool.sqlite")
    file.execute("UPDATE snapshot SET state = ?", (b"stale",))
    file.commit()
    file.close()
    spool.open()
    assert spool.load_snapshot() is None


def test_what_was_committed_is_known_after_a_kill(tmp_path):
    code = """
        import sys, os, signal
        from pathlib import Path
        from app.store.spool import Spool
        spool = Spool(Path(sys.argv[1]))
        spool.open()
        for number in range(1, 500):
            spool.note_committed(number)
        os.kill(os.getpid(), signal.SIGKILL)
    """
    run(code, tmp_path).communicate(timeout=30)
    spool = Spool(tmp_path)
    spool.open()
    assert spool.last_committed() == 499
    spool.close()
    (tmp_path / "spool.committed").write_bytes(b"torn mark...")
    spool.open()
    assert spool.last_committed() == 0
    spool.close()


def rows_of(directory):
    """What a restart finds."""
    again = Spool(directory)
    again.open()
    snapshot = again.load_snapshot()
    found = drained(again)
    again.close()
    return found, snapshot and snapshot.state


def take_away(spool, what):
    directory = spool.path.parent
    match what:
        case "everything":
            shutil.rmtree(directory)
        case "moved":
            directory.rename(directory.with_name(f"elsewhere-{os.urandom(4).hex()}"))
        case "replaced":
            other = sqlite3.connect(directory / "other")
            other.execute("CREATE TABLE x (y)")
            other.close()
            (directory / "other").replace(spool.path)
        case "emptied":
            os.truncate(spool.path, 0)
            os.truncate(f"{spool.path}-wal", 0)
        case _:
            for part in what.split():
                Path(f"{spool.path}{part.removeprefix('file')}").unlink(missing_ok=True)


TAKEN = [
    "file",
    "file-wal",
    "file-shm",
    "file file-wal file-shm",
    "everything",
    "moved",
    "replaced",
]


@pytest.mark.parametrize("what", TAKEN)
@pytest.mark.parametrize("snapshot", [False, True])
def test_what_is_taken_away_while_open_is_written_anew(tmp_path, what, snapshot):
    spool = Spool(tmp_path / "spool")
    spool.open()
    spool.save_snapshot(b"before", 0)
    for number in (1, 2, 3):
        spool.append(small(number, 100))
    spool.drop(1)
    spool.note_committed(1)
    take_away(spool, what)
    if snapshot:
        spool.save_snapshot(b"after", 3)
    else:
        spool.append(small(4))
    assert spool.depth() == 3 - snapshot
    second = Spool(tmp_path / "spool")
    with pytest.raises(AlreadyWriting):
        second.open()
    # killed now: nothing is closed, the files are what they are
    shutil.copytree(tmp_path / "spool", tmp_path / "found")
    expected = ([2, 3], b"after") if snapshot else ([2, 3, 4], b"before")
    assert rows_of(tmp_path / "found") == expected
    spool.append(small(5))
    spool.drop(2)
    assert drained(spool) == [3, *([] if snapshot else [4]), 5]
    assert spool.last_committed() == 1
    spool.append(small(6))
    spool.close()
    assert rows_of(tmp_path / "spool")[0] == [6]


def test_taken_away_again_and_again(tmp_path):
    spool = Spool(tmp_path / "spool")
    spool.open()
    for number, what in enumerate(TAKEN * 2, 1):
        spool.append(small(number, 10))
        take_away(spool, what)
    spool.append(small(100))
    spool.close()
    assert rows_of(tmp_path / "spool")[0] == [*range(1, 2 * len(TAKEN) + 1), 100]


def test_what_cannot_be_written_anew_is_not_acknowledged_and_is_when_it_can(tmp_path):
    spool = Spool(tmp_path / "spool")
    spool.open()
    spool.append(small(1))
    shutil.rmtree(tmp_path / "spool")
    (tmp_path / "spool").write_text("a file where the directory was")
    for number in (2, 2, 3):
        with pytest.raises(SpoolBroken, match="was taken away"):
            spool.append(small(number))
        with pytest.raises(SpoolBroken, match="was taken away"):
            spool.check(1000)
    assert (spool.depth(), spool.newest()) == (1, 1)
    (tmp_path / "spool").unlink()
    spool.check(1000)
    spool.append(small(2))
    spool.close()
    assert rows_of(tmp_path / "spool")[0] == [1, 2]


REOPEN = """
    import os, resource, signal, sys
    from pathlib import Path
    from app.store.errors import SpoolBroken, SpoolFull
    from app.store.spool import Spool
    from tests.store.test_spool import small
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    spool = Spool(Path(sys.argv[1]))
    spool.open()
    spool.append(small(1))
    for part in ("", "-wal", "-shm"):
        os.unlink(f"{spool.path}{part}")
    resource.setrlimit(resource.RLIMIT_FSIZE, (32_000, resource.RLIM_INFINITY))  # less than -shm
    for _ in range(3):
        try:
            spool.append(small(2))
        except (SpoolBroken, SpoolFull) as error:
            print(type(error).__name__, spool.depth(), flush=True)
    resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    spool.append(small(2))
    print(spool.depth(), flush=True)
"""


def test_a_file_that_cannot_be_opened_again_keeps_nothing_until_it_can(tmp_path):
    child = run(REOPEN, tmp_path)
    said = [line for line in child.communicate(timeout=60)[0].splitlines() if "taken" not in line]
    assert said == ["SpoolFull 1"] * 3 + ["2"]
    assert rows_of(tmp_path)[0] == [1, 2]


def test_what_was_destroyed_is_said_and_nothing_behind_it_acknowledged(tmp_path):
    spool = Spool(tmp_path)
    spool.open()
    for number in range(1, 8):
        spool.append(small(number, 12_000))  # more together than SQLite remembers
    take_away(spool, "emptied")
    for _ in range(2):
        with pytest.raises(SpoolBroken, match="cannot be read any more"):
            spool.append(small(8))
    assert spool.depth() == 7
    spool.close()


def test_a_rescue_that_was_cut_short_is_finished_at_the_start(tmp_path):
    spool = Spool(tmp_path)
    spool.open()
    spool.append(small(1))
    spool.close()
    (tmp_path / "spool.sqlite").rename(tmp_path / "spool.rescued")
    (tmp_path / "spool.part").write_bytes(b"half a copy")
    (tmp_path / "spool.sqlite").write_bytes(b"somebody else's")
    (tmp_path / "spool.sqlite-wal").write_bytes(b"of somebody else")
    assert rows_of(tmp_path)[0] == [1]
    assert (tmp_path / "spool.replaced").read_bytes() == b"somebody else's"


def test_room_is_looked_for_before_readings_are_taken_again(tmp_path):
    spool = Spool(tmp_path, max_bytes=10_000)
    spool.open()
    spool.check(9_000)
    spool.append(small(1))
    with pytest.raises(SpoolFull, match="1 batches"):
        spool.check(9_900)
    assert drained(spool) == [1]
    spool.close()
