"""What it costs to belong: one change in a large volume, a fresh device, doing nothing, bytes beside the payload.

Only lovage has all of it; Syncthing stands beside it where it does nothing.
"""

import math
import os
import random
import statistics
import time

from machines import Network, cpu_of, ip, memory_of, until
from syncing import MIB, flush, place, quiet, reads, seconds

IDLE = 60.0
PEERS = 8


def network(machines):
    def build(kind, folder, corpus):
        return kind(folder, Network(machines if kind.name == "lovage" else 2))

    return build


def make_volume(pair, corpus):
    """`many_files` small files in directories of a thousand; known on both sides when it returns."""
    count = max(2000, int(corpus.many_files * corpus.share))
    for n in range(count):
        folder = os.path.join(pair.left, f"many/{n // 1000:05}")
        if n % 1000 == 0:
            os.makedirs(folder)
        with open(os.path.join(folder, f"file-{n:07}"), "wb") as out:
            out.write(b"%d\n" % n)
    flush(pair.left)
    pair.listed(count)
    pair.equal()
    return count


def change(pair, corpus):
    """4 KiB written to one file of many."""
    count = make_volume(pair, corpus)
    dice, times, wires = random.Random(31), [], []
    for _ in range(7):
        n, content = dice.randrange(count), dice.randbytes(4096)
        path = f"many/{n // 1000:05}/file-{n:07}"
        sent = quiet(pair)
        with open(os.path.join(pair.left, path), "wb") as out:
            out.write(content)
        begin = time.monotonic()
        while not reads(os.path.join(pair.right, path), content):
            if time.monotonic() - begin > 60:
                raise RuntimeError("the change was not seen within a minute")
            time.sleep(0.001)
        times.append(1000 * (time.monotonic() - begin))
        time.sleep(2)
        wires.append((pair.wire() - sent) / 1024)
    print(f"#   {pair.name} change among {count}: ms {[round(t) for t in times]}, KiB {[round(w, 1) for w in wires]}", flush=True)
    return {"one change among many: visible": statistics.median(times), "one change among many: wire": statistics.median(wires)}


def received(pid):
    """Bytes that came in through the interface of a process's namespace."""
    with open(f"/proc/{pid}/net/dev") as table:
        for line in table:
            name, _, rest = line.partition(":")
            if name.strip() in ("eth0", "wan0"):
                return int(rest.split()[0])
    return 0


def arrive(pair, n, count, label):
    """Machine n joins: what `ls /` took, then until every name is here."""
    link, before = pair.invite(), pair.network.traffic(n)[1]
    begin = time.monotonic()
    pair.host(n, ["join", link, pair.dir(n)], wait=False)
    pid = pair.daemons[n].pid
    while True:
        names = os.listdir(pair.dir(n))
        if names:
            break
        if pair.daemons[n].poll() is not None:
            raise RuntimeError(pair.said(f"log{n}"))
        time.sleep(0.001)
    looked, got = time.monotonic() - begin, received(pid) - before
    last, last_at = received(pid), time.monotonic()
    while time.monotonic() - last_at < 4:
        now = received(pid)
        if now - last > 4000:
            last, last_at = now, time.monotonic()
        time.sleep(0.02)
    whole = last_at - begin
    ip("-n", pair.network.namespace(n), "link", "set", pair.network.device, "down")
    walk = time.monotonic()
    found = sum(len(files) for _, _, files in os.walk(pair.dir(n)))
    walk = time.monotonic() - walk
    memory = memory_of(pid, "VmHWM")
    print(f"#   lovage {label}: ls / after {looked:.3f} s and {got / 1024:.1f} KiB, all after {whole:.2f} s and {(last - before) / 1e6:.2f} MB, "
          f"offline walk of {found} files {walk:.2f} s, peak {memory:.0f} MiB, cpu {cpu_of(pid):.2f} s", flush=True)
    if found < count:
        print(f"#   only {found} of {count} files are listed offline: not all names came", flush=True)
        whole = math.inf
    return {f"{label}: ls /": looked, f"{label}: received until ls /": got / 1024, f"{label}: all names": whole, f"{label}: peak memory": memory}


def fresh(pair, corpus):
    count = make_volume(pair, corpus)
    quiet(pair)
    return arrive(pair, 2, count, "fresh device")


def idle(pair, corpus):
    """A minute in which nobody does anything; lovage with eight peers, all connected to all."""
    peers = 1
    if pair.name == "lovage":
        peers = PEERS
        for n in range(2, 1 + PEERS):
            pair.join(n)
        until("everybody is connected", lambda: all(sum(p["connected"] for p in pair.status(n)["peers"]) == PEERS for n in range(1 + PEERS)), 120)
        pair.equal(*range(1 + PEERS))
    time.sleep(15)
    serving = pair.daemons[0].pid if pair.name == "lovage" else pair.processes[0].pid
    cpu, before = cpu_of(serving), sum(pair.network.traffic(0))
    time.sleep(IDLE)
    carried, busy = sum(pair.network.traffic(0)) - before, cpu_of(serving) - cpu
    print(f"#   {pair.name} idle, {peers} peers: {carried} bytes and {busy:.2f} cpu s in {IDLE:.0f} s", flush=True)
    return {"idle: traffic a peer": carried * 8 / 1000 / IDLE / peers, "idle: processor": 100 * busy / IDLE, "idle: memory with peers": memory_of(serving, "VmRSS")}


def overhead(pair, corpus):
    """Bytes of the streams beside bytes of the files: one large file, then files of 4 KiB; nothing compresses."""
    out, dice = {}, random.Random(41)
    size, count = max(16, int(256 * corpus.share)) * MIB, max(200, int(5000 * corpus.share))
    big = os.path.join(pair.folder, "large")
    with open(big, "wb") as file:
        for _ in range(size // MIB):
            file.write(dice.randbytes(MIB))
    place(big, os.path.join(pair.left, "large"))
    os.makedirs(os.path.join(pair.left, "small"))
    for n in range(count):
        with open(os.path.join(pair.left, f"small/{n}"), "wb") as file:
            file.write(dice.randbytes(4096))
    flush(pair.left)
    pair.listed(count + 1)
    pair.equal()
    for name, payload, label in (("large", size, "large file"), ("small", count * 4096, "4 KiB files")):
        quiet(pair)
        stream, wire = pair.status(1)["daemon"]["received_bytes"], pair.wire()
        took = seconds(lambda name=name: (pair.pin(1, name), pair.pinned(1)))
        time.sleep(1)
        stream, wire = pair.status(1)["daemon"]["received_bytes"] - stream, pair.wire() - wire
        out[f"stream bytes / payload, {label}"] = stream / payload
        out[f"wire bytes / payload, {label}"] = wire / payload
        print(f"#   lovage {label}: {payload} payload, {stream} stream, {wire} wire, {took:.2f} s", flush=True)
    return out


fresh.build, idle.build = network(3), network(1 + PEERS)
change.systems = fresh.systems = overhead.systems = ["lovage"]
idle.systems = ["lovage", "syncthing"]
GROUPS = {"sync-change": change, "sync-join": fresh, "sync-idle": idle, "sync-overhead": overhead}
