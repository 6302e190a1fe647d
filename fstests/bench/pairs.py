"""Two machines whose folders are kept alike: by lovage, by Syncthing, by rsync over ssh, behind the same few methods.

`left` is where things are made, `right` where they are to be seen. Every process is a child, every mount and
namespace is undone in `close`.
"""

import ctypes
import http.client
import json
import os
import resource
import shutil
import signal
import socket
import subprocess
import time

from machines import Network, cpu_of, forget_peak, memory_of, until
from systems import Lovage, mounted


LIBC = ctypes.CDLL(None)


def end_with_us():
    """For a child: it ends when this process does, however that ends."""
    LIBC.prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG


class Pair:
    """What the groups need."""

    name = "?"

    def __init__(self, folder, network=None):
        os.makedirs(folder)
        self.folder = folder
        self.network = network or Network(2)
        self.processes = []
        try:
            self.prepare()
        except BaseException:
            self.close()
            raise

    @classmethod
    def available(cls, tools):
        return None

    def start(self, n, words, log, **more):
        """A child in machine n."""
        out = open(os.path.join(self.folder, log), "ab")
        child = subprocess.Popen(self.network.enter(n) + words, stdin=subprocess.DEVNULL, stdout=out, stderr=out, preexec_fn=end_with_us, **more)
        out.close()
        self.processes.append(child)
        return child

    def said(self, log):
        with open(os.path.join(self.folder, log), errors="replace") as text:
            return text.read()[-2000:]

    def dir(self, n):
        return os.path.join(self.folder, f"m{n}")

    @property
    def left(self):
        return self.dir(0)

    @property
    def right(self):
        return self.dir(1)

    def changed(self):
        """The left side changed; those that do not see it by themselves are told."""

    def bring(self, files):
        """Until all `files` files of the left are whole on the right."""
        raise NotImplementedError

    def listed(self, files):
        """Until the right knows of all files; None for those that make no difference."""
        return None

    def processor(self):
        """Processor seconds of everything that serves, on both sides."""
        return sum(cpu_of(child.pid) for child in self.processes)

    def most_memory(self):
        return sum(memory_of(child.pid, "VmHWM") for child in self.processes)

    def forget_peaks(self):
        for child in self.processes:
            forget_peak(child.pid)

    def wire(self):
        """Bytes that machine 1's interface has carried, both ways."""
        return sum(self.network.traffic(1))

    def end(self, child):
        child.terminate()
        try:
            child.wait(60)
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()
        if child in self.processes:
            self.processes.remove(child)

    def close(self):
        for child in list(self.processes):
            self.end(child)
        self.network.close()
        shutil.rmtree(self.folder, ignore_errors=True)


class LovagePair(Pair):
    """Two daemons with mounts; `more` machines can be added."""

    name = "lovage"

    @classmethod
    def available(cls, tools):
        return Lovage.available(tools)

    def prepare(self):
        self.daemons = {}
        self.mount(0)
        self.join(1)

    def home(self, n):
        return os.path.join(self.folder, f"home{n}")

    def environment(self, n):
        kept = {k: v for k, v in os.environ.items() if k != "LOVAGE_HOME"}
        return dict(kept, LOVAGE_DEVICE_NAME=f"machine{n}")

    def host(self, n, words, wait=True):
        os.makedirs(self.dir(n), exist_ok=True)
        child = self.start(n, [Lovage.binary, "--home", self.home(n), *words], f"log{n}", env=self.environment(n))
        self.daemons[n] = child
        if wait:
            self.mounted(n)

    def mounted(self, n):
        def ready():
            if self.daemons[n].poll() is not None:
                raise RuntimeError(f"machine {n}: {self.said(f'log{n}')}")
            return mounted(self.dir(n)) and self.answers(n)

        until(f"mount of machine {n}", ready, step=0.005)

    def answers(self, n):
        try:
            os.statvfs(self.dir(n))
            return True
        except OSError:
            return False

    def mount(self, n):
        self.host(n, ["mount", "default", self.dir(n)])

    def invite(self, n=0):
        return self.json(n, "invite", "default")["link"]

    def join(self, n, of=0):
        """With a second and a third try: an invite made in the moment the network starts may name no address yet."""
        for left in (2, 1, 0):
            try:
                self.host(n, ["join", self.invite(of), self.dir(n)])
                break
            except RuntimeError as problem:
                print(f"# joining failed, {left} tries left: {str(problem).splitlines()[-2:]}", flush=True)
                self.processes.remove(self.daemons.pop(n))
                if not left:
                    raise
        until("a connection", lambda: any(p["connected"] for p in self.status(n)["peers"]))

    def json(self, n, *words):
        return json.loads(self.network.run(n, [Lovage.binary, "--home", self.home(n), *words, "--json"]) or "null")

    def status(self, n):
        return self.json(n, "status")

    def root(self, n):
        return self.status(n)["volumes"][0]["root"]

    def equal(self, *machines, limit=300):
        """Until all show one root."""
        return until("equal roots", lambda: len({self.root(n) for n in machines or (0, 1)}) == 1, limit, 0.05)

    def stop(self, n):
        self.end(self.daemons.pop(n))

    def pin(self, n=1, path="."):
        self.json(n, "pin", os.path.join(self.dir(n), path))

    def pinned(self, n, least=0, limit=900):
        """Until every pin of machine n is complete and covers `least` bytes."""

        def complete():
            pins = self.json(n, "pins")
            return pins and all(p["complete"] for p in pins) and sum(p["bytes"] for p in pins) >= least

        return until("complete pins", complete, limit, 0.02)

    def listed(self, files):
        until("the listing", lambda: self.status(1)["volumes"][0]["files"] >= files, 600)
        found = sum(len(names) for _, _, names in os.walk(self.right))
        if found < files:
            raise RuntimeError(f"{found} of {files} files are listed")

    def bring(self, files):
        self.pin()
        self.pinned(1)

    def close(self):
        try:
            super().close()
        finally:
            for n in range(self.network.machines):
                while mounted(self.dir(n)):
                    subprocess.run(["umount", "-l", self.dir(n)], check=False)
            shutil.rmtree(self.folder, ignore_errors=True)


class Door(http.client.HTTPConnection):
    """HTTP over a unix socket: reaches a daemon in another namespace."""

    def __init__(self, path):
        super().__init__("localhost", timeout=120)
        self.path = path

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(120)
        self.sock.connect(self.path)


class SyncthingPair(Pair):
    """No discovery, no relays, static addresses. Told of changes at once unless it watches (10 s, its default)."""

    name = "syncthing"
    watch = False

    @classmethod
    def available(cls, tools):
        return None if shutil.which("syncthing") else "not installed"

    def prepare(self):
        ids = []
        for n in (0, 1):
            os.makedirs(self.dir(n))
            done = subprocess.run(["syncthing", "generate", f"--home={self.home(n)}", "--no-default-folder"], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
            if done.returncode != 0:
                raise RuntimeError(f"syncthing generate: {done.stdout[-500:]}")
            ids.append(subprocess.run(["syncthing", f"--home={self.home(n)}", "--device-id"], stdout=subprocess.PIPE, text=True, check=True).stdout.strip())
        for n in (0, 1):
            with open(os.path.join(self.home(n), "config.xml"), "w") as out:
                out.write(self.config(n, ids))
            words = ["syncthing", "serve", f"--home={self.home(n)}", "--no-browser", "--no-restart", "--no-upgrade", "--skip-port-probing"]
            self.start(n, words, f"log{n}", env=dict(os.environ, STNOUPGRADE="1", HOME=self.folder))
        for n in (0, 1):
            until("an answer of syncthing", lambda n=n: self.answers(n))
        until("a connection", lambda: any(c["connected"] for c in self.ask(0, "GET", "system/connections")["connections"].values()))

    def home(self, n):
        return os.path.join(self.folder, f"home{n}")

    def config(self, n, ids):
        # Only machine 1 dials: over a long link two that dial at once end each other's connections.
        at = [f"tcp://{self.network.address(m)}:22000" if n == 1 else "dynamic" for m in (0, 1)]
        devices = "".join(f'<device id="{d}" name="m{m}" compression="metadata"><address>{at[m]}</address></device>' for m, d in enumerate(ids))
        shares = "".join(f'<device id="{d}"/>' for d in ids)
        watching = "true" if self.watch else "false"
        options = {"listenAddress": "tcp://0.0.0.0:22000", "globalAnnounceEnabled": "false", "localAnnounceEnabled": "false", "relaysEnabled": "false",
                   "natEnabled": "false", "urAccepted": "-1", "autoUpgradeIntervalH": "0", "crashReportingEnabled": "false", "startBrowser": "false",
                   "setLowPriority": "false", "reconnectionIntervalS": "1"}
        return (f'<configuration version="36"><folder id="bench" label="bench" path="{self.dir(n)}" type="sendreceive" rescanIntervalS="0" '
                f'fsWatcherEnabled="{watching}" fsWatcherDelayS="10">{shares}</folder>{devices}'
                f'<gui enabled="true" tls="false"><address>{self.folder}/s{n}</address><apikey>bench</apikey></gui>'
                f'<options>{"".join(f"<{k}>{v}</{k}>" for k, v in options.items())}</options></configuration>')

    def ask(self, n, method, what):
        door = Door(f"{self.folder}/s{n}")
        try:
            door.request(method, f"/rest/{what}", headers={"X-API-Key": "bench"})
            answer = door.getresponse()
            body = answer.read()
            if answer.status != 200:
                raise RuntimeError(f"syncthing {what}: {answer.status} {body[:200]}")
            return json.loads(body) if body.strip() else None
        finally:
            door.close()

    def answers(self, n):
        if self.processes[n].poll() is not None:
            raise RuntimeError(f"syncthing: {self.said(f'log{n}')}")
        try:
            return bool(self.ask(n, "GET", "system/ping"))
        except (OSError, RuntimeError, http.client.HTTPException):
            return False

    def changed(self):
        self.ask(0, "POST", "db/scan?folder=bench")

    def bring(self, files):
        self.changed()

        def whole():
            left, right = (self.ask(n, "GET", "db/status?folder=bench") for n in (0, 1))
            return right["globalFiles"] >= files and left["state"] == right["state"] == "idle" and right["needTotalItems"] == 0

        until("syncthing has it", whole, 900, 0.05)


class SyncthingWatchingPair(SyncthingPair):
    watch = True


class RsyncPair(Pair):
    """`rsync -a` pushed over ssh to a private sshd in the other machine."""

    name = "rsync"

    @classmethod
    def available(cls, tools):
        return None if shutil.which("rsync") and os.path.exists("/usr/sbin/sshd") else "rsync or sshd is not installed"

    def prepare(self):
        self.clients, self.client_peak = 0.0, 0.0
        os.makedirs(self.left)
        os.makedirs(self.right)
        os.makedirs("/run/sshd", exist_ok=True)
        for key in ("host", "user"):
            subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", f"{self.folder}/{key}"], check=True)
        os.rename(f"{self.folder}/user.pub", f"{self.folder}/allowed")
        settings = ["Port=2222", f"HostKey={self.folder}/host", f"AuthorizedKeysFile={self.folder}/allowed", "PidFile=none", "StrictModes=no",
                    "UsePAM=no", "PermitRootLogin=yes", "PasswordAuthentication=no", "UseDNS=no"]
        self.start(1, ["/usr/sbin/sshd", "-D", "-e", "-f", "/dev/null", *[w for s in settings for w in ("-o", s)]], "sshd")
        self.ssh = f"ssh -i {self.folder}/user -p 2222 -o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null -o LogLevel=ERROR"
        until("sshd", lambda: self.try_once())

    def words(self, more=()):
        return ["rsync", "-a", "--delete", *more, "-e", self.ssh, f"{self.left}/", f"root@{self.network.address(1)}:{self.right}/"]

    def try_once(self):
        if self.processes[0].poll() is not None:
            raise RuntimeError(f"sshd: {self.said('sshd')}")
        done = subprocess.run(self.network.enter(0) + self.words(), stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        return done.returncode == 0

    def bring(self, files):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        child = subprocess.Popen(self.network.enter(0) + self.words(), stdin=subprocess.DEVNULL)
        while child.poll() is None:
            self.client_peak = max(self.client_peak, memory_of(child.pid, "VmHWM") + memory_of(self.processes[0].pid, "VmHWM"))
            time.sleep(0.1)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        self.clients += after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
        if child.returncode != 0:
            raise RuntimeError(f"rsync: exit {child.returncode}")

    def processor(self):
        return super().processor() + self.clients

    def most_memory(self):
        return max(super().most_memory(), self.client_peak)

    def forget_peaks(self):
        self.client_peak = 0.0


PAIRS = [RsyncPair, SyncthingPair, LovagePair]
