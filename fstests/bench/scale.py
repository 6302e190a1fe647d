"""What grows with the volume: one volume is filled in stretches, and measured at each.

    python3 fstests/bench/scale.py --lovage target/release/lovage --where /var/tmp --sizes 1,10,30

Content is random, in files of 64 MiB. Prints one line a size; docs/scale.md computes from them. Needs root (caches) and the
largest size twice on the disk.
"""

import argparse
import os
import shutil
import sys
import tempfile
import time

from systems import Lovage, drop_caches, run

FILE = 64 << 20


def fill(folder, number):
    with open(os.path.join(folder, f"file{number:05d}"), "wb", buffering=0) as out:
        for _ in range(FILE >> 20):
            out.write(os.urandom(1 << 20))
        os.fsync(out.fileno())


def below(folder, wanted=lambda name: True):
    sizes = 0
    for at, _, names in os.walk(folder):
        sizes += sum(os.stat(os.path.join(at, n)).st_blocks * 512 for n in names if wanted(os.path.join(at, n)))
    return sizes


def timed(words):
    begin = time.monotonic()
    run(words)
    return time.monotonic() - begin


def measure(system, gib, files, wrote):
    ask = [system.binary, "--home", system.store]
    system.restart()
    time.sleep(3)
    out = {"GiB": gib, "write MB/s": wrote, "mount s": 0.0}
    out["idle MiB"] = system.resident()
    out["gc, nothing to do s"] = timed(ask + ["gc"])
    for name in files[:max(1, len(files) // 16)]:
        os.remove(name)
    removed = len(files[:max(1, len(files) // 16)]) * FILE
    out["gc of a sixteenth s"] = timed(ask + ["gc"])
    del files[:max(1, len(files) // 16)]
    out["peak MiB"] = 0.0
    out["fsck s"] = timed(ask + ["fsck"])
    drop_caches()
    took = timed(ask + ["fsck", "--read-data"])
    out["scrub MB/s"] = (len(files) * FILE) / 1e6 / took
    system.note()
    out["peak MiB"] = system.peak / 1024
    system.stop()
    out["stored / content"] = below(system.store) / (len(files) * FILE)
    out["index MiB"] = below(system.store, lambda name: name.endswith((".idx", ".index"))) / (1 << 20)
    out["dedup MiB"] = below(system.store, lambda name: "/dedup" in name or "/sled" in name) / (1 << 20)
    drop_caches()
    out["mount s"] = system.start()
    out["freed s/GiB"] = out["gc of a sixteenth s"] / (removed / (1 << 30))
    return out


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--lovage", default="target/release/lovage")
    parser.add_argument("--where", default="/var/tmp")
    parser.add_argument("--sizes", default="1,10,30", help="GiB, ascending")
    options = parser.parse_args()
    Lovage.binary = os.path.abspath(options.lovage)
    folder = tempfile.mkdtemp(prefix="lovage-scale-", dir=options.where)
    system = Lovage(os.path.join(folder, "one"))
    try:
        files, number = [], 0
        for gib in map(int, options.sizes.split(",")):
            begin, before = time.monotonic(), number
            while len(files) * FILE < gib << 30:
                fill(system.dir, number)
                files.append(os.path.join(system.dir, f"file{number:05d}"))
                number += 1
            wrote = (number - before) * FILE / 1e6 / (time.monotonic() - begin)
            row = measure(system, gib, files, wrote)
            print(", ".join(f"{name} {value:.3g}" for name, value in row.items()), flush=True)
    finally:
        system.close()
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    sys.exit(main())
