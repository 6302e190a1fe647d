"""How two machines on a LAN become alike: each group takes a fresh pair and gives back {figure: value}.

What is timed begins when the files lie in the left folder, closed and flushed, unless the figure says otherwise.
Must never time its own preparation, and looks afterwards whether what came is what was sent.
"""

import filecmp
import os
import random
import shutil
import statistics
import subprocess
import time

from machines import until
from pairs import SyncthingWatchingPair

MIB = 1 << 20
QUIET = 2.0


def flush(folder):
    handle = os.open(folder, os.O_RDONLY)
    os.fsync(handle)
    os.close(handle)


def place(source, target):
    """A copy that is at rest: closed and flushed."""
    subprocess.run(["cp", "-a", source, target], check=True)
    subprocess.run(["sync", "-f", os.path.dirname(target)], check=True)
    flush(os.path.dirname(target))


def seconds(work):
    begin = time.monotonic()
    work()
    return time.monotonic() - begin


def percentile(samples, share):
    return sorted(samples)[min(len(samples) - 1, int(len(samples) * share))]


def reads(path, content):
    try:
        with open(path, "rb") as file:
            return file.read() == content
    except OSError:
        return False


def visible_after(pair, name, content, tell):
    """Milliseconds from the close on the left until it reads as written on the right."""
    path, seen = os.path.join(pair.left, name), os.path.join(pair.right, name)
    with open(path, "wb") as out:
        out.write(content)
    begin = time.monotonic()
    if tell:
        pair.changed()
    while not reads(seen, content):
        if time.monotonic() - begin > 60:
            raise RuntimeError(f"{name} was not seen within a minute")
        time.sleep(0.001)
    return 1000 * (time.monotonic() - begin)


def lags(pair, count, label, tell=False, pause=0.5):
    dice, samples = random.Random(21), []
    for n in range(count + 2):
        time.sleep(dice.uniform(0.2, pause))
        samples.append(visible_after(pair, f"{label}-{n}", dice.randbytes(dice.randint(100, 8000)), tell))
    samples = samples[2:]
    print(f"#   {pair.name} {label}: " + " ".join(f"{s:.0f}" for s in samples), flush=True)
    return {f"close to visible, {label}, p50": statistics.median(samples), f"close to visible, {label}, p95": percentile(samples, 0.95)}


def lag(pair, corpus):
    """Small files, one at a time."""
    if pair.name == "rsync":
        samples = []
        for n in range(10):
            with open(os.path.join(pair.left, f"f{n}"), "wb") as out:
                out.write(os.urandom(4000))
            samples.append(1000 * seconds(lambda: pair.bring(n)))
        return {"close to visible, unpinned, p50": statistics.median(samples), "close to visible, unpinned, p95": percentile(samples, 0.95)}
    if pair.name == "syncthing":
        return lags(pair, 20, "unpinned", tell=True)
    pair.equal()
    out = lags(pair, 60, "unpinned")
    pair.pin()
    return {**out, **lags(pair, 60, "pinned")}


def lag_watching(pair, corpus):
    """The same where nobody tells Syncthing: its watcher as it comes."""
    found = lags(pair, 4, "unpinned", pause=0.3)
    return {"close to visible, watching": found["close to visible, unpinned, p50"]}


def watching(kind, folder, corpus):
    return SyncthingWatchingPair(folder) if kind.name == "syncthing" else kind(folder)


lag_watching.build, lag_watching.systems = watching, ["lovage", "syncthing"]


def whole(pair, source, files, size, label):
    """Copied in on the left, then brought to the right."""
    pair.forget_peaks()
    cpu, sent, begin = pair.processor(), pair.wire(), time.monotonic()
    target = os.path.join(pair.left, os.path.basename(source))
    place(source, target)
    rest, cpu_rest = time.monotonic(), pair.processor()
    out = {}
    if pair.name == "lovage":
        pair.listed(files)
        out[f"{label}: listed"] = time.monotonic() - rest
        pair.equal()
    start, sent_start, cpu_start = time.monotonic(), pair.wire(), pair.processor()
    pair.bring(files)
    done = time.monotonic()
    out[f"{label}: whole"] = done - start
    out[f"{label}: whole, copying in included"] = (done - start) + (rest - begin) + out.get(f"{label}: listed", 0)
    out[f"{label}: processor"] = pair.processor() - cpu
    out[f"{label}: peak memory"] = pair.most_memory()
    out[f"{label}: wire / payload"] = (pair.wire() - sent_start) / size
    print(f"#   {pair.name} {label}: in {rest - begin:.2f} s (cpu {cpu_rest - cpu:.2f}), until start cpu {cpu_start - cpu_rest:.2f}, "
          f"whole {done - start:.2f} s (cpu {pair.processor() - cpu_start:.2f}), wire {(pair.wire() - sent) / 1e6:.1f} MB", flush=True)
    same(source, os.path.join(pair.right, os.path.basename(source)))
    return out


def same(source, seen):
    if os.path.isdir(source):
        done = subprocess.run(["diff", "-rq", "--no-dereference", source, seen], stdout=subprocess.PIPE, text=True)
        if done.returncode != 0:
            raise RuntimeError(f"what came differs: {done.stdout[:500]}")
    elif not filecmp.cmp(source, seen, shallow=False):
        raise RuntimeError("what came differs")


def big(pair, corpus):
    corpus.make_big()
    return whole(pair, corpus.big, 1, corpus.big_size, "big file")


def tree(pair, corpus):
    corpus.make_tree()
    return whole(pair, corpus.tree, corpus.files, corpus.bytes, "tree")


def make_many(folder, count, each=100):
    os.makedirs(folder)
    for n in range(count):
        with open(os.path.join(folder, f"file-{n:06}"), "wb") as out:
            out.write(b"%d\n" % n * (each // 8))


def is_there(path):
    try:
        os.lstat(path)
        return True
    except OSError:
        return False


def quiet(pair):
    """Wait until nothing is said any more; the bytes carried so far."""
    last = pair.wire()
    for _ in range(60):
        time.sleep(QUIET)
        now = pair.wire()
        if now - last < 2000:
            return now
        last = now
    return last


def rename(pair, corpus):
    """A directory of 10,000 files gets another name."""
    count = max(200, int(10_000 * corpus.share))
    make_many(os.path.join(pair.left, "old"), count)
    flush(pair.left)
    if pair.name == "lovage":
        pair.listed(count)
        pair.equal()
        os.listdir(os.path.join(pair.right, "old"))
    else:
        pair.bring(count)
    out, samples, wires = {}, [], []
    names = ["old", "new", "newer", "newest"] if pair.name == "lovage" else ["old", "new"]
    for before, after in zip(names, names[1:]):
        sent = quiet(pair)
        begin = time.monotonic()
        os.rename(os.path.join(pair.left, before), os.path.join(pair.left, after))
        if pair.name == "lovage":
            last = os.path.join(pair.right, after, f"file-{count - 1:06}")
            while not is_there(last) or is_there(os.path.join(pair.right, before)):
                if time.monotonic() - begin > 120:
                    raise RuntimeError("the rename was not seen within two minutes")
                time.sleep(0.001)
        else:
            pair.bring(count)
            until("the rename", lambda: is_there(os.path.join(pair.right, after, f"file-{count - 1:06}")) and not is_there(os.path.join(pair.right, before)), 300)
        samples.append(1000 * (time.monotonic() - begin))
        time.sleep(QUIET)
        wires.append((pair.wire() - sent) / 1024)
    print(f"#   {pair.name} rename: ms {samples}, KiB {wires}", flush=True)
    out["rename of 10k: visible"] = statistics.median(samples)
    out["rename of 10k: wire"] = statistics.median(wires)
    return out


GROUPS = {"sync-lag": lag, "sync-watch": lag_watching, "sync-big": big, "sync-tree": tree, "sync-rename": rename}
