"""The figures themselves: each group prepares one fresh system and gives back {figure: value}.

A group is run for every system in turn, then again, so that a slow minute of the machine hits all alike.
Must never time its own preparation.
"""

import multiprocessing
import os
import random
import shutil
import statistics
import subprocess
import time

from corpus import apparent, stored
from systems import drop_caches, run

MIB = 1 << 20


def timed(work):
    begin = time.monotonic()
    work()
    return time.monotonic() - begin


def prepared_write(path, pieces):
    fd = os.open(path, os.O_CREAT | os.O_TRUNC | os.O_WRONLY, 0o644)
    for piece in pieces:
        os.write(fd, piece)
    os.fsync(fd)
    os.close(fd)


def unique_pieces(size, seed):
    dice = random.Random(seed)
    return [dice.randbytes(MIB) for _ in range(size // MIB)]


def read_through(path, block=MIB):
    space = bytearray(block)
    with open(path, "rb", buffering=0) as file:
        while file.readinto(space):
            pass


def random_reads(path, size, count, seed):
    dice = random.Random(seed)
    offsets = [dice.randrange(size // 4096) * 4096 for _ in range(count)]
    fd = os.open(path, os.O_RDONLY)
    os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_RANDOM)
    begin = time.monotonic()
    for offset in offsets:
        os.pread(fd, 4096, offset)
    took = time.monotonic() - begin
    os.close(fd)
    return took


def sequential(system, corpus):
    """Write, read cold, read warm, copy inside; then random access in the same file."""
    size, out = corpus.big_size, {}
    path = os.path.join(system.dir, "big")
    pieces = unique_pieces(size, 5)
    out["seq write+fsync"] = size / 1e6 / timed(lambda: prepared_write(path, pieces))
    del pieces
    system.cold()
    out["seq read cold"] = size / 1e6 / timed(lambda: read_through(path))
    out["seq read warm"] = size / 1e6 / min(timed(lambda: read_through(path)) for _ in range(2))
    copy = os.path.join(system.dir, "copy")
    out["cp inside"] = timed(lambda: run(["cp", path, copy]))
    os.remove(copy)
    out.update(random_access(system, corpus, path, size))
    return out


def random_access(system, corpus, path, size):
    out = {}
    count = max(1_000, int(8_000 * corpus.share))
    system.cold()
    out["random 4k read cold"] = count / random_reads(path, size, count, 1)
    system.cold()
    # Not a pool: that has threads, and a process forked beside a thread may wait for ever for a lock.
    readers = [multiprocessing.get_context("fork").Process(target=random_reads, args=(path, size, count, seed))
               for seed in range(2, 6)]
    begin = time.monotonic()
    for reader in readers:
        reader.start()
    for reader in readers:
        reader.join()
    out["random 4k read cold x4"] = 4 * count / (time.monotonic() - begin)
    assert all(reader.exitcode == 0 for reader in readers), "a reader failed"
    out["random 4k write"] = random_writes(path, size, max(2_000, int(40_000 * corpus.share)), False)
    out["random 4k write+fsync"] = random_writes(path, size, max(300, int(1_500 * corpus.share)), True)
    return out


def random_writes(path, size, count, sync):
    """Writes a second, the final close included."""
    dice = random.Random(7)
    data = dice.randbytes(4096 + count)
    offsets = [dice.randrange(size // 4096) * 4096 for _ in range(count)]
    fd = os.open(path, os.O_WRONLY)
    begin = time.monotonic()
    for n, offset in enumerate(offsets):
        os.pwrite(fd, data[n:n + 4096], offset)
        if sync:
            os.fsync(fd)
    os.close(fd)
    took = time.monotonic() - begin
    os.sync()
    return count / took


def append(system, corpus):
    count = max(100, int(600 * corpus.share))
    data = random.Random(3).randbytes(4096 + count)
    fd = os.open(os.path.join(system.dir, "log"), os.O_CREAT | os.O_WRONLY | os.O_APPEND, 0o644)
    times = []
    for n in range(count):
        times.append(timed(lambda: (os.write(fd, data[n:n + 4096]), os.fsync(fd))))
    os.close(fd)
    return {"append 4k+fsync p50": statistics.median(times) * 1e3}


def read_every_file(folder):
    for at, _, names in os.walk(folder):
        for name in names:
            with open(os.path.join(at, name), "rb", buffering=0) as file:
                while file.read(MIB):
                    pass


def tree(system, corpus):
    corpus.make_tree()
    read_through(corpus.tar)
    out, top = {}, os.path.join(system.dir, "tree")
    out["untar"] = timed(lambda: run(["tar", "-C", system.dir, "-xf", corpus.tar]))
    system.cold()
    out["find cold"] = timed(lambda: run(["find", top, "-name", "nothing"]))
    system.cold()
    out["ls -lR cold"] = timed(lambda: subprocess.run(["ls", "-lR", top], check=True, stdout=subprocess.DEVNULL))
    system.cold()
    out["read all cold"] = timed(lambda: read_every_file(top))
    out["rm -rf"] = timed(lambda: run(["rm", "-rf", top]))
    return out


def clone(system, corpus):
    """From a plain path outside: git's local transport, which copies objects where it cannot link them."""
    corpus.make_repository()
    read_every_file(os.path.join(corpus.repository, ".git"))
    out, target = {}, os.path.join(system.dir, "clone")
    git = ["git", "-c", "safe.directory=*"]
    out["git clone, local"] = timed(lambda: run(git + ["clone", "-q", corpus.repository, target]))
    system.cold()
    out["git status cold"] = timed(lambda: run(git + ["-C", target, "status", "--porcelain"]))
    return out


def many(system, corpus):
    """One wide directory: create, list cold, mount with it, kill -9 and mount, unlink."""
    count, out = max(1_000, int(100_000 * corpus.share)), {}
    wide = os.path.join(system.dir, "wide")
    os.mkdir(wide)
    names = [os.path.join(wide, f"file-{n:07d}") for n in range(count)]

    def create():
        for name in names:
            os.close(os.open(name, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o644))

    out["create 100k"] = count / timed(create)
    system.cold()
    seen = []
    out["list 100k cold"] = timed(lambda: seen.extend(os.listdir(wide)))
    assert len(seen) == count, f"{len(seen)} of {count} listed"
    out["unlink 100k"] = count / timed(lambda: [os.unlink(name) for name in names])
    return out


def start(system, corpus):
    """Mount times: a volume of many files, and after kill -9 under load."""
    if system.name == "ext4":
        return {}
    out, count = {}, max(2_000, int(corpus.many_files * corpus.share))
    for folder in range(count // 1000):
        base = os.path.join(system.dir, f"d{folder:04d}")
        os.mkdir(base)
        for n in range(1000):
            os.close(os.open(f"{base}/f{n}", os.O_CREAT | os.O_WRONLY, 0o644))
    system.stop()
    drop_caches()
    out["mount, many files"] = system.start()
    writer = subprocess.Popen(["dd", "if=/dev/urandom", f"of={system.dir}/load", "bs=1M", "count=4000"],
                              stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    time.sleep(2)
    system.kill()
    writer.wait()
    if system.name != "lovage":
        subprocess.run(["umount", "-l", system.dir], check=True)
    out["mount after kill -9"] = system.start()
    assert len(os.listdir(system.dir)) >= count // 1000
    return out


def idle(system, corpus):
    if system.name == "ext4":
        return {}
    time.sleep(3)
    return {"idle memory": system.resident()}


def flush(system):
    os.sync()
    top = os.open(system.dir, os.O_RDONLY)
    os.fsync(top)
    os.close(top)


def settled(system):
    """Store bytes with the system stopped: a running one holds space it reserved ahead, which is not data."""
    flush(system)
    system.stop()
    size = stored(system.store)
    system.start()
    return size


def growth(system, work):
    """Store bytes taken by some work, both ends measured the same way: stopped."""
    before = settled(system)
    work()
    return settled(system) - before


def plausible(ratio, what):
    """Incompressible bytes cannot take less room than they have: such a value is a broken measurement."""
    if ratio < 1.0:
        raise RuntimeError(f"{what}: {ratio:.3f}x of incompressible data is impossible")
    return ratio


def dedup(system, corpus):
    """Store growth: new data, equal data twice, a byte at the front, source text."""
    out = {}
    corpus.make_source()
    corpus.make_big()
    quarter = corpus.big_size // 4
    pieces = unique_pieces(quarter, 21)
    both = growth(system, lambda: [prepared_write(os.path.join(system.dir, f"same{n}"), pieces) for n in range(2)])
    out["same data twice"] = plausible(both / quarter, "same data twice")
    inserted = os.path.join(system.dir, "inserted")
    once = growth(system, lambda: run(["cp", corpus.big, os.path.join(system.dir, "original")]))
    out["new data stored"] = plausible(once / corpus.big_size, "new data stored")

    def insert():
        with open(corpus.big, "rb") as source, open(inserted, "wb") as target:
            target.write(b"x")
            shutil.copyfileobj(source, target, MIB)

    out["byte inserted at front"] = growth(system, insert) / MIB
    grown = growth(system, lambda: run(["cp", "-a", corpus.source, system.dir]))
    out["source text ratio"] = grown / apparent(corpus.source)
    return out


def ingest(archiver, corpus):
    corpus.make_big()
    corpus.make_tree()
    out = {}
    for what, path in (("1 GiB", corpus.big), ("tree", corpus.tree)):
        drop_caches()
        (read_through if what == "1 GiB" else read_every_file)(path)
        out[f"ingest {what}"] = timed(lambda: archiver.take(path))
    return out


MOUNT_GROUPS = {"sequential": sequential, "append": append, "tree": tree, "clone": clone, "many": many, "start": start,
                "idle": idle, "dedup": dedup}
ARCHIVE_GROUPS = {"ingest": ingest}
