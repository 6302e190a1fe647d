"""Side by side: lovage, the filesystems and the archivers a user would pick instead, in one run.

    python3 fstests/bench                     all figures, full size, medians of 3
    python3 fstests/bench --scale quick       a sixteenth of the size, once: does it run at all
    python3 fstests/bench --only tree,append --against gocryptfs,ext4
    python3 fstests/bench --only sync         two machines and more: all groups named sync-...

Root, a real disk and an otherwise idle machine. Needs nothing but the Python standard library; peers that are
not installed are left out and named. Ratios of one run mean something, bare numbers of two machines do not.
"""

import argparse
import json
import os
import platform
import shutil
import signal
import sys
import tempfile
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

import figures  # noqa: E402
import table  # noqa: E402
from corpus import Corpus  # noqa: E402
import standing  # noqa: E402
import syncing  # noqa: E402
import wan  # noqa: E402
from pairs import PAIRS  # noqa: E402
from systems import ARCHIVERS, MOUNTED, Lovage  # noqa: E402

SYNC_GROUPS = {**syncing.GROUPS, **standing.GROUPS, **wan.GROUPS}

SCALES = {"quick": (1 / 16, 1), "quarter": (1 / 4, 3), "full": (1, 3)}


def arguments():
    parser = argparse.ArgumentParser(prog="fstests/bench", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    root = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
    parser.add_argument("--lovage", default=os.path.join(root, "target", "release", "lovage"), help="the binary to measure")
    parser.add_argument("--scale", choices=SCALES, default="full")
    parser.add_argument("--rounds", type=int, help="how often everything is measured (default 3; quick: 1)")
    parser.add_argument("--only", default="", help="groups, comma separated: " + ", ".join([*figures.MOUNT_GROUPS, *figures.ARCHIVE_GROUPS, *SYNC_GROUPS]) + "; sync: all of sync-...")
    parser.add_argument("--against", default="", help="systems to run, comma separated (default: all there are)")
    parser.add_argument("--many-files", type=int, default=100_000, help="files in the large volume of start, sync-change, sync-join (1000000 for the full bar)")
    parser.add_argument("--link", default=os.path.join(root, "target", "release", "shaped-link"), help="fstests/link, for sync-wan and its like")
    parser.add_argument("--wan-share", type=float, help="share of the sizes sent over a shaped link (default: as --scale)")
    parser.add_argument("--where", default="/var/tmp", help="folder on the disk to measure; not a tmpfs")
    parser.add_argument("--json", help="also write all samples there")
    parser.add_argument("--strict", action="store_true", help="exit 1 when a target is missed")
    return parser.parse_args()


def present(classes, wanted, tools):
    """Those that can run here; says why the others cannot."""
    found = []
    for kind in classes:
        if wanted and kind.name not in wanted:
            continue
        reason = kind.available(tools)
        if reason:
            print(f"# left out: {kind.name}: {reason}", flush=True)
        else:
            found.append(kind)
    return found


def measure(kind, group, corpus, folder, results, problems):
    """One group on one fresh system; a failure is recorded, never averaged away."""
    system = None
    try:
        build = getattr(group, "build", None)
        system = build(kind, folder, corpus) if build else kind(folder)
        values = group(system, corpus)
        if getattr(system, "process", None):
            system.note()
        results.add(kind.name, values)
        return system
    except Exception as problem:  # noqa: BLE001 - any failure of a peer is a line in the report
        problems.append(f"{group.__name__} on {kind.name}: {type(problem).__name__}: {problem}")
        print(f"# {problems[-1]}", flush=True)
        return system
    finally:
        if system is not None:
            system.close()
        shutil.rmtree(folder, ignore_errors=True)


def main():
    options = arguments()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that everything is undone
    options.share, rounds = SCALES[options.scale]
    rounds = options.rounds or rounds
    if os.geteuid() != 0:
        sys.exit("fstests/bench: needs root, to drop the kernel's caches")
    only = [name for name in options.only.split(",") if name]
    against = [name for name in options.against.split(",") if name]
    if "sync" in only:
        only = [name for name in only if name != "sync"] + list(SYNC_GROUPS)
    unknown = set(only) - set(figures.MOUNT_GROUPS) - set(figures.ARCHIVE_GROUPS) - set(SYNC_GROUPS)
    if unknown:
        sys.exit(f"fstests/bench: no such group: {', '.join(sorted(unknown))}")
    options.folder = tempfile.mkdtemp(prefix="fstests-bench-", dir=options.where)
    try:
        sys.exit(run(options, rounds, only, against))
    finally:
        shutil.rmtree(options.folder, ignore_errors=True)


def run(options, rounds, only, against):
    corpus = Corpus(os.path.join(options.folder, "corpus"), options.share)
    corpus.many_files, corpus.link = options.many_files, options.link
    corpus.wan_share = options.wan_share or options.share
    os.makedirs(corpus.folder)
    wanted = {name for name in only if name in SYNC_GROUPS}
    mounted, archivers, pairs = [], [], present(PAIRS, against, options) if wanted else []
    if not only or set(only) - wanted:
        mounted, archivers = present(MOUNTED, against, options), present(ARCHIVERS, against, options)
    plan = [(n, g, mounted) for n, g in figures.MOUNT_GROUPS.items() if not only or n in only]
    plan += [(n, g, archivers) for n, g in figures.ARCHIVE_GROUPS.items() if not only or n in only]
    plan += [(n, g, [k for k in pairs if k.name in getattr(g, "systems", [k.name])]) for n, g in SYNC_GROUPS.items() if n in only]
    results, problems, costs = table.Results(), [], {}
    for turn in range(rounds):
        for name, group, kinds in plan:
            for kind in kinds[turn % len(kinds):] + kinds[:turn % len(kinds)] if kinds else []:
                begin = time.monotonic()
                system = measure(kind, group, corpus, os.path.join(options.folder, "work"), results, problems)
                system = getattr(system, "mount", system)
                if getattr(system, "peak", 0):
                    costs.setdefault((name, kind.name), []).append((system.cpu, system.peak / 1024))
                load = os.getloadavg()[0]
                print(f"# round {turn + 1} {name} {kind.name}: {time.monotonic() - begin:.1f} s, load {load:.1f}", flush=True)
    for (_, system), samples in costs.items():
        results.add(system, {})
    peaks = {}
    for (name, system), samples in costs.items():
        peaks[system] = max([peaks.get(system, 0)] + [peak for _, peak in samples])
    for system, peak in peaks.items():
        results.add(system, {"peak memory": peak})
    report(options, rounds, results, costs, problems, list(dict.fromkeys(k.name for k in mounted + archivers + pairs)), corpus)
    missed = [f for f in results.samples if results.verdict(f)[2] == "fail"]
    print(f"{sum(results.verdict(f)[2] == 'pass' for f in results.samples)} passed, {len(missed)} failed, {len(problems)} could not be measured")
    return 1 if options.strict and (missed or problems) else 0


def report(options, rounds, results, costs, problems, systems, corpus):
    systems = [s for s in systems if any(s in by for by in results.samples.values())]
    systems.sort(key=lambda s: s != Lovage.name)
    print(f"\n{platform.machine()}, {os.cpu_count()} processors, Linux {platform.release()}, scale {options.scale}, {rounds} rounds")
    print(f"tree: {corpus.files} files, {corpus.bytes / 1e6:.0f} MB; big file: {corpus.big_size >> 20} MiB; targets hold at scale full\n")
    print("\n".join(table.lines(results, systems)))
    print("\nserving process: processor seconds, peak MiB (medians)")
    for (name, system), samples in sorted(costs.items()):
        middle = sorted(samples)[len(samples) // 2]
        print(f"  {name:12} {system:15} {middle[0]:7.2f} s {middle[1]:7.0f} MiB")
    for problem in problems:
        print(f"not measured: {problem}")
    if options.json:
        with open(options.json, "w") as out:
            json.dump({"scale": options.scale, "rounds": rounds, "samples": results.samples, "problems": problems}, out, indent=1)


if __name__ == "__main__":
    main()
