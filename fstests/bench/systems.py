"""The filesystems and archivers that stand side by side, each behind the same few methods.

A system starts only what it can end: every process is a child, every mount is undone in `close`.
"""

import os
import shutil
import signal
import subprocess
import time

EXAMPLES = "/usr/share/doc/libfuse3-dev/examples"


class Unavailable(Exception):
    """The system is not on this machine; the reason is the text."""


def run(words, **more):
    done = subprocess.run(words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, **more)
    if done.returncode != 0:
        raise RuntimeError(f"{' '.join(map(str, words))}: exit {done.returncode}\n{done.stdout[-2000:]}")
    return done.stdout


def mounted(folder):
    with open("/proc/self/mounts") as table:
        return any(line.split(" ")[1] == folder for line in table)


def drop_caches():
    os.sync()
    with open("/proc/sys/vm/drop_caches", "w") as knob:
        knob.write("3")


class Mounted:
    """A filesystem to work in. `dir` is where; `store` is where its bytes end up."""

    name = "?"
    process = None

    def __init__(self, folder):
        self.folder = folder
        self.store = os.path.join(folder, "store")
        self.dir = os.path.join(folder, "mnt")
        os.makedirs(self.store)
        os.makedirs(self.dir)
        self.peak = 0
        self.cpu = 0.0
        self.prepare()
        self.start()

    @classmethod
    def available(cls, tools):
        return None

    def prepare(self):
        """Once per fresh store."""

    def command(self):
        raise NotImplementedError

    def start(self):
        """Mounts; the seconds until it answered."""
        begin = time.monotonic()
        log = open(os.path.join(self.folder, "log"), "ab")
        self.process = subprocess.Popen(self.command(), stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        while not (mounted(self.dir) and self.answers()):
            if self.process.poll() is not None or time.monotonic() - begin > 120:
                with open(os.path.join(self.folder, "log")) as said:
                    raise RuntimeError(f"{self.name} did not mount: {said.read()[-2000:]}")
            time.sleep(0.002)
        return time.monotonic() - begin

    def answers(self):
        try:
            os.statvfs(self.dir)
            return True
        except OSError:
            return False

    def note(self):
        """Remembers peak memory (KiB) and processor seconds of the serving process."""
        if self.process is None or self.process.poll() is not None:
            return
        with open(f"/proc/{self.process.pid}/status") as status:
            self.peak = max([self.peak] + [int(line.split()[1]) for line in status if line.startswith("VmHWM")])
        with open(f"/proc/{self.process.pid}/stat") as stat:
            words = stat.read().rpartition(")")[2].split()
            self.cpu_now = (int(words[11]) + int(words[12])) / os.sysconf("SC_CLK_TCK")

    def resident(self):
        """Resident MiB now."""
        with open(f"/proc/{self.process.pid}/status") as status:
            return [int(line.split()[1]) for line in status if line.startswith("VmRSS")][0] / 1024

    def stop(self):
        if self.process is None:
            return
        self.note()
        self.cpu += getattr(self, "cpu_now", 0.0)
        self.unmount()
        try:
            self.process.wait(120)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            raise RuntimeError(f"{self.name} did not end after unmounting")
        finally:
            self.process = None

    def unmount(self):
        run(["fusermount3", "-u", self.dir])

    def kill(self):
        self.note()
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()
        self.process = None

    def restart(self):
        self.stop()
        return self.start()

    def cold(self):
        """Nothing cached, neither by the kernel nor by the serving process."""
        self.restart()
        drop_caches()

    def close(self):
        try:
            if self.process is not None and self.process.poll() is None:
                self.note()
                self.cpu += getattr(self, "cpu_now", 0.0)
                self.process.terminate()
                try:
                    self.process.wait(30)
                except subprocess.TimeoutExpired:
                    self.process.kill()
                    self.process.wait()
        finally:
            while mounted(self.dir):
                subprocess.run(["umount", "-l", self.dir], check=False)
            shutil.rmtree(self.folder, ignore_errors=True)


class Ext4(Mounted):
    """The plain directory beneath all the others."""

    name = "ext4"

    def __init__(self, folder):
        self.folder, self.peak, self.cpu = folder, 0, 0.0
        self.dir = self.store = os.path.join(folder, "store")
        os.makedirs(self.dir)

    def restart(self):
        os.sync()
        return 0.0

    def kill(self):
        pass

    def start(self):
        return 0.0

    def resident(self):
        return 0.0

    def close(self):
        shutil.rmtree(self.folder, ignore_errors=True)


class Lovage(Mounted):
    """Ours."""

    name = "lovage"
    binary = None

    @classmethod
    def available(cls, tools):
        cls.binary = tools.lovage
        return None if cls.binary and os.access(cls.binary, os.X_OK) else f"no {cls.binary}: build it or name it with --lovage"

    def command(self):
        return [self.binary, "--home", self.store, "mount", self.dir, "--offline"]

    def unmount(self):
        self.process.terminate()


class Gocryptfs(Mounted):
    name = "gocryptfs"

    @classmethod
    def available(cls, tools):
        return None if shutil.which("gocryptfs") else "not installed"

    def prepare(self):
        run(["gocryptfs", "-init", "-q", "-scryptn", "10", "-extpass", "echo bench", self.store])

    def command(self):
        return ["gocryptfs", "-fg", "-q", "-extpass", "echo bench", self.store, self.dir]


class Bindfs(Mounted):
    name = "bindfs"

    @classmethod
    def available(cls, tools):
        return None if shutil.which("bindfs") else "not installed"

    def command(self):
        return ["bindfs", "-f", self.store, self.dir]


class PassthroughLl(Mounted):
    """libfuse's example, built from the source that the package libfuse3-dev ships."""

    name = "passthrough_ll"
    binary = None

    @classmethod
    def available(cls, tools):
        cls.binary = os.path.join(tools.folder, "passthrough_ll")
        if not os.path.exists(f"{EXAMPLES}/passthrough_ll.c"):
            return "libfuse3-dev is not installed"
        if not (shutil.which("gcc") and shutil.which("pkg-config")):
            return "no gcc or pkg-config"
        flags = run(["pkg-config", "--cflags", "--libs", "fuse3"]).split()
        run(["gcc", "-O2", f"{EXAMPLES}/passthrough_ll.c", "-o", cls.binary, *flags])
        return None

    def command(self):
        return [self.binary, "-f", "-o", f"source={self.store}", self.dir]


MOUNTED = [Ext4, PassthroughLl, Bindfs, Gocryptfs, Lovage]


class Archiver:
    """Something that takes files in: a fresh store per instance."""

    name = "?"
    tool = None

    def __init__(self, folder):
        self.folder = folder
        self.store = os.path.join(folder, "store")
        os.makedirs(folder)
        self.environment = dict(os.environ, HOME=folder, XDG_CACHE_HOME=os.path.join(folder, "cache"))
        self.prepare()

    @classmethod
    def available(cls, tools):
        return None if shutil.which(cls.tool) else "not installed"

    def run(self, words):
        run(words, env=self.environment)

    def prepare(self):
        os.makedirs(self.store)

    def take(self, path):
        raise NotImplementedError

    def close(self):
        shutil.rmtree(self.folder, ignore_errors=True)


class Cp(Archiver):
    name, tool = "cp", "cp"

    def take(self, path):
        self.run(["cp", "-a", path, self.store])
        self.run(["sync", "-f", self.store])


class Restic(Archiver):
    name, tool = "restic", "restic"

    def prepare(self):
        self.environment.update(RESTIC_REPOSITORY=self.store, RESTIC_PASSWORD="bench")
        self.run(["restic", "init", "-q"])

    def take(self, path):
        self.run(["restic", "backup", "-q", path])


class Borg(Archiver):
    name, tool = "borg", "borg"

    def prepare(self):
        self.environment.update(BORG_PASSPHRASE="bench", BORG_UNKNOWN_UNENCRYPTED_REPO_ACCESS_IS_OK="yes")
        self.run(["borg", "init", "-e", "repokey", self.store])
        self.takes = 0

    def take(self, path):
        self.takes += 1
        self.run(["borg", "create", f"{self.store}::take{self.takes}", path])


class Casync(Archiver):
    name, tool = "casync", "casync"

    def take(self, path):
        kind = ".caidx" if os.path.isdir(path) else ".caibx"
        index = os.path.join(self.store, os.path.basename(path) + kind)
        self.run(["casync", "make", f"--store={self.store}/default.castr", index, path])


class Bup(Archiver):
    name, tool = "bup", "bup"

    def prepare(self):
        self.environment.update(BUP_DIR=self.store)
        self.run(["bup", "init"])

    def take(self, path):
        self.run(["bup", "index", path])
        self.run(["bup", "save", "-q", "-n", "bench", path])


class LovageTakes(Archiver):
    """`cp -a` into our mount, then everything flushed to disk."""

    name = "lovage"

    @classmethod
    def available(cls, tools):
        return Lovage.available(tools)

    def prepare(self):
        shutil.rmtree(self.folder)
        self.mount = Lovage(self.folder)

    def take(self, path):
        self.run(["cp", "-a", path, self.mount.dir])
        os.sync()
        top = os.open(self.mount.dir, os.O_RDONLY)
        os.fsync(top)
        os.close(top)

    def close(self):
        self.mount.close()


ARCHIVERS = [Cp, Restic, Borg, Casync, Bup, LovageTakes]
