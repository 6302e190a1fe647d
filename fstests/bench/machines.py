"""Machines of a benchmark: a network namespace each, joined by a bridge or by a shaped link, and what runs in them.

Must never touch the network of the machine itself, nor end a process that it did not start.
"""

import itertools
import json
import os
import subprocess
import time

TICK = os.sysconf("SC_CLK_TCK")
COUNT = itertools.count()


def ip(*words):
    done = subprocess.run(["ip", *words], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    if done.returncode != 0:
        raise RuntimeError(f"ip {' '.join(words)}: {done.stderr.strip()}")
    return done.stdout


def until(what, check, limit=120.0, step=0.01):
    """The seconds until `check` holds. The step grows with the time waited, so that looking costs little."""
    begin = time.monotonic()
    while not check():
        waited = time.monotonic() - begin
        if waited > limit:
            raise RuntimeError(f"not within {limit:.0f} s: {what}")
        time.sleep(max(step, waited / 50))
    return time.monotonic() - begin


class Network:
    """`machines` namespaces. `address(n)` is where machine n is; `traffic(n)` the bytes it has sent and received."""

    device = "eth0"
    subnet = "10.79.0"

    def __init__(self, machines):
        self.tag = f"lb{os.getpid()}-{next(COUNT)}"
        self.machines = machines
        self.named = []
        try:
            for n in range(machines):
                self.add(self.namespace(n))
                ip("-n", self.namespace(n), "link", "set", "lo", "up")
                self.roomy(n)
            self.connect()
        except BaseException:
            self.close()
            raise

    def add(self, name):
        ip("netns", "add", name)
        self.named.append(name)

    def namespace(self, n):
        return f"{self.tag}-m{n}"

    def address(self, n):
        return f"{self.subnet}.{n + 1}"

    def enter(self, n):
        return ["nsenter", f"--net=/run/netns/{self.namespace(n)}"]

    def run(self, n, words, **more):
        done = subprocess.run(self.enter(n) + words, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **more)
        if done.returncode != 0:
            raise RuntimeError(f"{' '.join(words)}: exit {done.returncode}\n{done.stderr[-2000:]}")
        return done.stdout

    def roomy(self, n):
        """Socket buffers as large as a long fat link needs; per namespace, so nobody else is changed."""
        for name in ("tcp_rmem", "tcp_wmem"):
            self.run(n, ["sh", "-c", f"echo 4096 262144 33554432 > /proc/sys/net/ipv4/{name}"])

    def traffic(self, n):
        """(sent, received) bytes of machine n's interface, every header included."""
        stats = json.loads(ip("-n", self.namespace(n), "-s", "-j", "link", "show", "dev", self.device))[0]["stats64"]
        return stats["tx"]["bytes"], stats["rx"]["bytes"]

    def connect(self):
        """A bridge in a namespace of its own."""
        hub = f"{self.tag}-hub"
        self.add(hub)
        ip("-n", hub, "link", "add", "br0", "type", "bridge")
        ip("-n", hub, "link", "set", "br0", "up")
        for n in range(self.machines):
            ip("-n", hub, "link", "add", f"port{n}", "type", "veth", "peer", "name", self.device, "netns", self.namespace(n))
            ip("-n", hub, "link", "set", f"port{n}", "master", "br0", "up")
            self.up(n)

    def up(self, n):
        ip("-n", self.namespace(n), "addr", "add", f"{self.address(n)}/24", "dev", self.device)
        ip("-n", self.namespace(n), "link", "set", self.device, "up")
        ip("-n", self.namespace(n), "route", "add", "default", "dev", self.device)

    def close(self):
        for name in self.named:
            subprocess.run(["ip", "netns", "del", name], stderr=subprocess.DEVNULL)
        self.named = []


class Shaped(Network):
    """Machines behind `fstests/link`: each has a way up and a way down of its own rate, delay, jitter, loss, queue."""

    device = "wan0"
    subnet = "10.80.0"

    def __init__(self, binary, profiles):
        self.binary, self.profiles, self.link = binary, profiles, None
        super().__init__(len(profiles))

    def connect(self):
        words = [self.binary]
        for n, profile in enumerate(self.profiles):
            words += ["--machine", f"/run/netns/{self.namespace(n)},{self.address(n)},{profile}"]
        self.link = subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        if self.link.stdout.readline().strip() != "ready":
            raise RuntimeError("the shaped link did not start")
        for n in range(self.machines):
            self.run(n, ["sh", "-c", "echo 1 > /proc/sys/net/ipv6/conf/all/disable_ipv6"])
            ip("-n", self.namespace(n), "link", "set", self.device, "mtu", "1500", "txqueuelen", "4000")
            self.up(n)

    def reshape(self, n, profile):
        """A new profile from now on; what is in the queues keeps its old one."""
        self.link.stdin.write(f"{self.address(n)},{profile}\n")
        self.link.stdin.flush()
        if self.link.stdout.readline().strip() != "ready":
            raise RuntimeError("the shaped link did not take the profile")

    def close(self):
        if self.link is not None:
            self.link.stdin.close()
            try:
                self.link.wait(5)
            except subprocess.TimeoutExpired:
                self.link.kill()
                self.link.wait()
            self.link = None
        super().close()


def family(root):
    """A process and all that it started and that still run: {pid: the fields of its stat after the name}."""
    found = {}
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            try:
                with open(f"/proc/{entry}/stat") as stat:
                    found[int(entry)] = stat.read().rpartition(")")[2].split()
            except OSError:
                continue
    members, grown = {root}, True
    while grown:
        more = {pid for pid, fields in found.items() if int(fields[1]) in members} - members
        grown = bool(more)
        members |= more
    return {pid: found[pid] for pid in members if pid in found}


def cpu_of(root):
    """Processor seconds of a process and its descendants, those that ended and were waited for included."""
    return sum(sum(int(fields[n]) for n in (11, 12, 13, 14)) for fields in family(root).values()) / TICK


def memory_of(root, key):
    """MiB of a process and its descendants: key VmHWM (largest so far) or VmRSS (now)."""
    total = 0
    for pid in family(root):
        try:
            with open(f"/proc/{pid}/status") as status:
                total += sum(int(line.split()[1]) for line in status if line.startswith(key))
        except OSError:
            continue
    return total / 1024


def forget_peak(root):
    """Let VmHWM begin again."""
    for pid in family(root):
        try:
            with open(f"/proc/{pid}/clear_refs", "w") as knob:
                knob.write("5")
        except OSError:
            continue
