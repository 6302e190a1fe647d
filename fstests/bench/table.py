"""Targets, verdicts and the one table. Never drops a figure: what was not measured says so."""

import statistics

# figure: unit, higher is better, [(against, factor)]; against None means a bare bound in the figure's unit.
# With "higher" a ratio must reach the factor; otherwise it must stay at or below it.
FIGURES = {
    "seq write+fsync": ("MB/s", True, [("gocryptfs", 2.0)]),
    "seq read cold": ("MB/s", True, [("gocryptfs", 1.8)]),
    "seq read warm": ("MB/s", True, [("gocryptfs", 6.0), ("ext4", 0.4)]),
    "random 4k read cold": ("/s", True, [("gocryptfs", 0.8)]),
    "random 4k read cold x4": ("/s", True, [("gocryptfs", 0.8)]),
    "random 4k write": ("/s", True, [("gocryptfs", 3.0)]),
    "random 4k write+fsync": ("/s", True, [("gocryptfs", 1.3)]),
    "append 4k+fsync p50": ("ms", False, [("ext4", 1.5)]),
    "cp inside": ("s", False, [(None, 0.05)]),
    "untar": ("s", False, [("gocryptfs", 1 / 4), ("passthrough_ll", 1 / 2.5)]),
    "find cold": ("s", False, [("gocryptfs", 1 / 2)]),
    "ls -lR cold": ("s", False, [("gocryptfs", 1 / 2)]),
    "read all cold": ("s", False, [("gocryptfs", 1 / 2)]),
    "rm -rf": ("s", False, [("gocryptfs", 1 / 2)]),
    "git clone, local": ("s", False, [("gocryptfs", 1 / 3)]),
    "git status cold": ("s", False, []),
    "create 100k": ("/s", True, [("gocryptfs", 3.0)]),
    "list 100k cold": ("s", False, [("gocryptfs", 0.15)]),
    "unlink 100k": ("/s", True, [("gocryptfs", 2.0)]),
    "mount, many files": ("s", False, [(None, 1.0)]),
    "mount after kill -9": ("s", False, [(None, 3.0)]),
    "new data stored": ("x", False, []),
    "same data twice": ("x", False, [(None, 1.02)]),
    "byte inserted at front": ("MiB", False, [(None, 1.0)]),
    "source text ratio": ("x", False, [(None, 0.45)]),
    "ingest 1 GiB": ("s", False, [("restic", 1.0), ("borg", 1.0), ("casync", 1.0), ("bup", 1.0)]),
    "ingest tree": ("s", False, [("restic", 1.0), ("borg", 1.0), ("casync", 1.0), ("bup", 1.0), ("cp", 1.5)]),
    "peak memory": ("MiB", False, [(None, 350)]),
    "idle memory": ("MiB", False, [(None, 30)]),
    "close to visible, unpinned, p50": ("ms", False, []),
    "close to visible, unpinned, p95": ("ms", False, [(None, 100)]),
    "close to visible, pinned, p50": ("ms", False, []),
    "close to visible, pinned, p95": ("ms", False, [(None, 100)]),
    "close to visible, watching": ("ms", False, []),
    "big file: listed": ("s", False, []),
    "big file: whole": ("s", False, [("syncthing", 1 / 2)]),
    "big file: whole, copying in included": ("s", False, []),
    "big file: processor": ("s", False, [("syncthing", 1.0)]),
    "big file: peak memory": ("MiB", False, [("syncthing", 1.0)]),
    "big file: wire / payload": ("x", False, []),
    "tree: listed": ("s", False, [(None, 2.0)]),
    "tree: whole": ("s", False, [("syncthing", 1 / 15), ("rsync", 1.3)]),
    "tree: whole, copying in included": ("s", False, []),
    "tree: processor": ("s", False, [("syncthing", 1.0)]),
    "tree: peak memory": ("MiB", False, [("syncthing", 1.0)]),
    "tree: wire / payload": ("x", False, []),
    "rename of 10k: visible": ("ms", False, [(None, 150)]),
    "rename of 10k: wire": ("KiB", False, [(None, 4)]),
    "one change among many: visible": ("ms", False, [(None, 100)]),
    "one change among many: wire": ("KiB", False, [(None, 36)]),
    "fresh device: ls /": ("s", False, [(None, 1.0)]),
    "fresh device: received until ls /": ("KiB", False, [(None, 256)]),
    "fresh device: all names": ("s", False, [(None, 60)]),
    "fresh device: peak memory": ("MiB", False, []),
    "idle: traffic a peer": ("kbit/s", False, [(None, 1.0)]),
    "idle: processor": ("%", False, [(None, 0.1)]),
    "idle: memory with peers": ("MiB", False, [(None, 64)]),
    "stream bytes / payload, large file": ("x", False, [(None, 1.005)]),
    "stream bytes / payload, 4 KiB files": ("x", False, [(None, 1.02)]),
    "wire bytes / payload, large file": ("x", False, []),
    "wire bytes / payload, 4 KiB files": ("x", False, []),
    "link: round trip / asked": ("x", False, [(None, 1.05)]),
    "link: rate / asked": ("x", True, [(None, 0.95)]),
    "link, slow: round trip / asked": ("x", False, [(None, 1.05)]),
    "link, slow: rate / asked": ("x", True, [(None, 0.95)]),
    "WAN: pin / iperf3": ("x", True, [(None, 0.95)]),
    "WAN: read through / iperf3": ("x", True, []),
    "WAN: first byte, large file": ("round trips + 5 ms", False, [(None, 1.2)]),
    "WAN: first byte, small file": ("round trips + 5 ms", False, [(None, 1.2)]),
    "WAN: read beside a pin": ("x alone + 10 ms", False, [(None, 2.0)]),
    "WAN tree: listed": ("s", False, []),
    "WAN tree: whole": ("s", False, [("rsync", 1.3)]),
    "WAN, 0.5 % loss: pin / iperf3": ("x", True, [(None, 0.8)]),
    "WAN, 0.5 % loss: first byte": ("round trips + 5 ms", False, []),
    "four sources: pin / sum": ("x", True, [(None, 0.9)]),
    "four sources: more than needed": ("%", False, [(None, 0.5)]),
    "fresh device, WAN: ls /": ("s", False, []),
    "fresh device, WAN: received until ls /": ("KiB", False, [(None, 256)]),
    "fresh device, WAN: all names": ("s", False, []),
    "fresh device, WAN: peak memory": ("MiB", False, []),
}


def number(value):
    if value is None:
        return "-"
    if value >= 1000:
        return f"{value:,.0f}"
    return f"{value:.0f}" if value >= 100 else f"{value:.2f}" if value >= 1 else f"{value:.3f}"


class Results:
    """Samples by figure and system."""

    def __init__(self):
        self.samples = {}

    def add(self, system, values):
        for figure, value in values.items():
            self.samples.setdefault(figure, {}).setdefault(system, []).append(value)

    def median(self, figure, system):
        values = self.samples.get(figure, {}).get(system)
        return statistics.median(values) if values else None

    def spread(self, figure, system):
        """(largest - smallest) / median, in percent."""
        values = self.samples.get(figure, {}).get(system)
        middle = self.median(figure, system)
        return None if not values or not middle else 100 * (max(values) - min(values)) / abs(middle)

    def verdict(self, figure, ours="lovage"):
        """(ratio texts, target texts, pass, fail or not measured)."""
        _, higher, targets = FIGURES[figure]
        mine, ratios, wanted, verdict = self.median(figure, ours), [], [], "pass"
        sign = ">=" if higher else "<="
        for against, factor in targets:
            wanted.append(f"{sign} {number(factor)}{'x ' + against if against else ''}")
            base = self.median(figure, against) if against else 1
            if mine is None or not base:
                verdict = "fail" if verdict == "fail" else "not measured"
                continue
            ratio = mine / base
            if against:
                ratios.append(f"{number(ratio)} {against}")
            if (ratio < factor) if higher else (ratio > factor):
                verdict = "fail"
        return ratios, wanted, verdict if targets and mine is not None else ("-" if mine is not None else "not measured")

    def rows(self, systems):
        order = [f for f in FIGURES if f in self.samples]
        for figure in order:
            unit = FIGURES[figure][0]
            ratios, wanted, verdict = self.verdict(figure)
            spread = self.spread(figure, "lovage")
            worst = max((s for s in (self.spread(figure, system) for system in systems) if s is not None), default=None)
            cells = [number(self.median(figure, system)) for system in systems]
            shown = f"{number(spread)} / {number(worst)}" if spread is not None else f"- / {number(worst)}"
            yield [f"{figure}, {unit}", *cells, ", ".join(ratios) or "-", shown, ", ".join(wanted) or "-", verdict]


def lines(results, systems):
    """The table as Markdown, aligned so that it reads as plain text too."""
    head = ["figure", *systems, "ours / peer", "spread % ours / worst", "target", "verdict"]
    rows = [head, *results.rows(systems)]
    widths = [max(len(row[n]) for row in rows) for n in range(len(head))]
    text = ["| " + " | ".join(cell.ljust(width) for cell, width in zip(row, widths)) + " |" for row in rows]
    text.insert(1, "|" + "|".join("-" * (width + 2) for width in widths) + "|")
    return text
