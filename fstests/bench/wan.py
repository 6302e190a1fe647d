"""Far away: the same daemons behind `fstests/link`, beside iperf3 in the same minutes.

A rate is held against what iperf3 carries over the same ways just before and just after.
"""

import json
import os
import random
import statistics
import subprocess
import threading
import time

from machines import Shaped, until
from standing import arrive, make_volume
from syncing import MIB, flush, quiet, seconds, whole

WAN = "rate=25000000;delay=12.5;queue=1250000"
LOSSY = WAN + ";loss=0.5"
NEAR = ""
# A source at 50 Mbit/s behind a round trip of 50 ms; the receiver's own way does not limit.
SOURCE = "rate=6250000;delay=25;queue=312500"


def link(*shapes):
    def build(kind, folder, corpus):
        return kind(folder, Shaped(corpus.link, [f"{up},{down}" for up, down in shapes]))

    return build


class Bare:
    """Machines in which nothing runs, to measure the link itself."""

    def __init__(self, folder, network):
        self.folder, self.network = folder, network

    def close(self):
        self.network.close()


def bare(kind, folder, corpus):
    return Bare(folder, Shaped(corpus.link, [f"{WAN},{WAN}"] * 2))


def itself(link, corpus):
    """Whether the link is what was asked for: round trip and rate on the clean line, rate with loss, a slow line."""
    network = link.network
    asked = {"": (WAN, 25e6, 50), "slow": ("rate=1250000;delay=25;queue=125000", 1.25e6, 100)}
    out = {}
    for name, (way, rate, trip) in asked.items():
        for n in (0, 1):
            network.reshape(n, f"{way},{way}")
        label = f"link, {name}" if name else "link"
        out[f"{label}: round trip / asked"] = round_trip(network) / trip
        # What is asked for counts whole IP packets; TCP carries 1,448 of 1,500 bytes.
        out[f"{label}: rate / asked"] = iperf(network, 0, 1) * 1500 / 1448 / rate
    return out


def iperf(network, source, target, length=5):
    """Bytes a second of payload that TCP carries from machine to machine."""
    server = subprocess.Popen(network.enter(target) + ["iperf3", "-s", "-1"], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        time.sleep(0.3)
        said = json.loads(network.run(source, ["iperf3", "-J", "-O", "2", "-t", str(length), "-c", network.address(target)]))
        server.wait(20)
        return said["end"]["sum_received"]["bits_per_second"] / 8
    finally:
        server.kill()
        server.wait()


def round_trip(network):
    """Milliseconds, the median of pings."""
    out = network.run(1, ["ping", "-c", "9", "-i", "0.1", network.address(0)])
    return statistics.median(float(line.split("time=")[1].split()[0]) for line in out.splitlines() if "time=" in line)


def make(pair, name, size, seed):
    dice = random.Random(seed)
    path = os.path.join(pair.left, name)
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "wb") as out:
        for at in range(0, size, MIB):
            out.write(dice.randbytes(min(MIB, size - at)))
    return path


def first_byte(path):
    handle = os.open(path, os.O_RDONLY)
    try:
        os.posix_fadvise(handle, 0, 0, os.POSIX_FADV_RANDOM)
        return 1000 * seconds(lambda: os.pread(handle, 1, 0))
    finally:
        os.close(handle)


def read_whole(path):
    def work():
        with open(path, "rb", buffering=0) as file:
            while file.read(MIB):
                pass

    return seconds(work)


def pin_rate(pair, n, name, size):
    took = seconds(lambda: (pair.pin(n, name), pair.pinned(n)))
    return size / took


def far(pair, corpus):
    """200 Mbit/s, 50 ms: first bytes, reading through, a pin beside iperf3, reads beside a pin."""
    out, size = {}, max(32, int(1024 * corpus.wan_share)) * MIB
    for n in range(12):
        make(pair, f"first/large-{n}", 2 * MIB, 100 + n)
        make(pair, f"first/small-{n}", 4096, 200 + n)
    for n in range(30):
        make(pair, f"beside/{n}", 64 << 10, 300 + n)
    make(pair, "through", size // 4, 401)
    make(pair, "pinned/file", size, 402)
    filling = max(96 * MIB, size // 2)
    make(pair, "saturating/file", filling, 403)
    flush(pair.left)
    pair.listed(12 * 2 + 30 + 3)
    pair.equal()
    quiet(pair)
    trip = round_trip(pair.network)
    for kind in ("large", "small"):
        samples = []
        for n in range(12):
            time.sleep(1.0)
            samples.append(first_byte(os.path.join(pair.right, f"first/{kind}-{n}")))
        print(f"#   lovage first byte, {kind}: round trip {trip:.1f} ms; " + " ".join(f"{s:.0f}" for s in samples), flush=True)
        out[f"WAN: first byte, {kind} file"] = (statistics.median(samples) - 5) / trip
    # Beside a pin that fills the link, against the same without it.
    alone = [1000 * read_whole(os.path.join(pair.right, f"beside/{n}")) for n in range(12)]
    done = threading.Event()
    pinning = threading.Thread(target=lambda: (pin_rate(pair, 1, "saturating", filling), done.set()))
    pinning.start()
    time.sleep(2)
    loaded = []
    for n in range(12, 30):
        if done.is_set():
            break
        time.sleep(0.2)
        loaded.append(1000 * read_whole(os.path.join(pair.right, f"beside/{n}")))
    pinning.join()
    print(f"#   lovage 64 KiB reads, alone: {[round(a) for a in alone]}; beside a pin: {[round(a) for a in loaded]}", flush=True)
    out["WAN: read beside a pin"] = (statistics.median(loaded) - 10) / statistics.median(alone)
    quiet(pair)
    before = iperf(pair.network, 0, 1)
    rate = pin_rate(pair, 1, "pinned", size)
    between = iperf(pair.network, 0, 1)
    through = size / 4 / read_whole(os.path.join(pair.right, "through"))
    line = max(before, between)
    print(f"#   WAN: iperf3 {before / 1e6:.2f} and {between / 1e6:.2f} MB/s, pin {rate / 1e6:.2f}, read through {through / 1e6:.2f}; {peers(pair)}", flush=True)
    out["WAN: pin / iperf3"], out["WAN: read through / iperf3"] = rate / line, through / line
    return out


def peers(pair, n=1):
    return [(p["device"], p["transport"], round(p["rtt_ms"], 1), p["received_bytes"]) for p in pair.status(n)["peers"]]


def lossy(pair, corpus):
    """The same with one packet in two hundred lost each way."""
    size = max(32, int(512 * corpus.wan_share)) * MIB
    make(pair, "pinned/file", size, 501)
    for n in range(20):
        make(pair, f"first/{n}", 4096, 600 + n)
    flush(pair.left)
    pair.listed(21)
    pair.equal()
    before = iperf(pair.network, 0, 1)
    trip = round_trip(pair.network)
    samples = []
    for n in range(20):
        time.sleep(0.3)
        samples.append(first_byte(os.path.join(pair.right, f"first/{n}")))
    rate = pin_rate(pair, 1, "pinned", size)
    after = iperf(pair.network, 0, 1)
    print(f"#   WAN with loss: iperf3 {before / 1e6:.2f} and {after / 1e6:.2f} MB/s, pin {rate / 1e6:.2f}; first bytes {[round(s) for s in samples]}; {peers(pair)}", flush=True)
    return {"WAN, 0.5 % loss: pin / iperf3": rate / max(before, after), "WAN, 0.5 % loss: first byte": (statistics.median(samples) - 5) / trip}


def sources(pair, corpus):
    """Four machines that have it, each with 50 Mbit/s up; one that pins it."""
    size = max(32, int(256 * corpus.wan_share)) * MIB
    make(pair, "wanted/file", size, 701)
    flush(pair.left)
    for n in (2, 3):
        pair.join(n)
    pair.equal(0, 1, 2, 3)
    known = pair.status(1)["daemon"]["received_bytes"]
    for n in (1, 2, 3):
        pair.pin(n)
        pair.pinned(n, size)
        if n == 1:
            needed = pair.status(1)["daemon"]["received_bytes"] - known
    for n in range(4):
        pair.network.reshape(n, f"{SOURCE},")
    pair.join(4)
    until("four connections", lambda: sum(p["connected"] for p in pair.status(4)["peers"]) == 4, 120)
    pair.equal(0, 4)
    time.sleep(3)
    one = iperf(pair.network, 1, 4)
    before = {p["device"]: p["received_bytes"] for p in pair.status(4)["peers"]}
    rate = pin_rate(pair, 4, "wanted", size)
    time.sleep(1)
    got = {p["device"]: p["received_bytes"] - before.get(p["device"], 0) for p in pair.status(4)["peers"]}
    total = sum(got.values())
    print(f"#   four sources: iperf3 of one {one / 1e6:.2f} MB/s, pin {rate / 1e6:.2f}; {got} of {size}, from one source {needed}; {peers(pair, 4)}", flush=True)
    return {"four sources: pin / sum": rate / (4 * one), "four sources: more than needed": 100 * max(0, total - needed) / needed}


def far_tree(pair, corpus):
    """The tree over the same link: many files are many round trips for whoever asks one after the other."""
    corpus.make_tree()
    found = whole(pair, corpus.tree, corpus.files, corpus.bytes, "WAN tree")
    return {figure: found[figure] for figure in ("WAN tree: listed", "WAN tree: whole") if figure in found}


def far_fresh(pair, corpus):
    """A fresh device far from a large volume."""
    count = make_volume(pair, corpus)
    pair.network.reshape(2, f"{WAN},{WAN}")
    return arrive(pair, 2, count, "fresh device, WAN")


far.build = link((WAN, WAN), (WAN, WAN))
lossy.build = link((LOSSY, WAN), (LOSSY, WAN))
sources.build = link(*[(NEAR, NEAR)] * 5)
far_fresh.build = link(*[(NEAR, NEAR)] * 3)
far_tree.build = link((WAN, WAN), (WAN, WAN))
far_tree.systems = ["lovage", "rsync", "syncthing"]
far.systems = lossy.systems = sources.systems = far_fresh.systems = ["lovage"]
itself.build, itself.systems = bare, ["lovage"]
GROUPS = {"sync-link": itself, "sync-wan": far, "sync-wan-tree": far_tree, "sync-loss": lossy, "sync-sources": sources, "sync-wan-join": far_fresh}
