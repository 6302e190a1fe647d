"""What the figures are measured on: a source-like tree, incompressible files, a text tree.

Made from files every Debian machine has, in an order that depends on their names only, filled up with
generated ones where a machine has too few. Must never be written to after it was made.
"""

import hashlib
import os
import random
import shutil
import subprocess

TEXT_ROOTS = ["/usr/include", "/usr/share", "/usr/lib/python3", "/usr/lib/python3.11"]
BINARY_ROOTS = ["/usr/lib/x86_64-linux-gnu", "/usr/bin", "/usr/lib"]
SOURCE = (".h", ".c", ".hpp", ".py", ".pl", ".pm", ".sh", ".txt", ".xml", ".json", ".js", ".css", ".html", ".cmake", ".m4")


def candidates(roots):
    """(path, size) of regular files below the roots, ordered by a hash of the path."""
    found = []
    for root in roots:
        for folder, folders, files in os.walk(root):
            folders.sort()
            for name in files:
                path = os.path.join(folder, name)
                try:
                    info = os.lstat(path)
                except OSError:
                    continue
                if os.path.isfile(path) and not os.path.islink(path) and 0 < info.st_size <= 8 << 20:
                    found.append((path, info.st_size))
    return sorted(set(found), key=lambda item: hashlib.sha256(item[0].encode("utf8", "surrogateescape")).digest())


def text(seed, size):
    """Generated source-like text."""
    words = "let fn return self block match value index if else for while struct impl pub use".split()
    dice = random.Random(seed)
    out = []
    length = 0
    while length < size:
        line = "    " * dice.randint(0, 3) + " ".join(dice.choice(words) for _ in range(dice.randint(1, 9))) + ";\n"
        out.append(line)
        length += len(line)
    return "".join(out)[:size].encode()


class Corpus:
    """Everything the figures need, below one folder. `share` scales sizes and counts."""

    def __init__(self, folder, share):
        self.folder = folder
        self.share = share
        self.files = max(300, int(15_000 * share))
        self.bytes = int(350e6 * share)
        self.tree = os.path.join(folder, "tree")
        self.tar = os.path.join(folder, "tree.tar")
        self.repository = os.path.join(folder, "repository")
        self.source = os.path.join(folder, "source")
        self.big = os.path.join(folder, "big")
        self.big_size = max(16, int(1024 * share)) << 20

    def make_big(self):
        if os.path.exists(self.big):
            return
        dice = random.Random(11)
        with open(self.big, "wb") as out:
            for _ in range(self.big_size >> 20):
                out.write(dice.randbytes(1 << 20))

    def make_tree(self):
        if os.path.exists(self.tar):
            return
        count, size = self._copy(candidates(TEXT_ROOTS), int(self.files * 0.97), self.bytes * 0.6, 0, 0, 1, 400_000)
        count, size = self._copy(candidates(BINARY_ROOTS), self.files, self.bytes, count, size, 100_000, 8 << 20)
        dice = random.Random(12)
        while count < self.files or size < self.bytes:
            length = max(200, min(200_000, int(dice.expovariate(1 / 9_000)))) if count < self.files else 2 << 20
            data = text(count, length) if count < self.files else dice.randbytes(length)
            path = os.path.join(self.tree, f"made/{count % 97}/{count}.txt")
            os.makedirs(os.path.dirname(path), exist_ok=True)
            with open(path, "wb") as out:
                out.write(data)
            count, size = count + 1, size + length
        subprocess.run(["tar", "-C", self.folder, "-cf", self.tar, "tree"], check=True)
        self.files, self.bytes = count, size

    def _copy(self, pool, files, limit, count, size, least, most):
        for path, length in pool:
            if count >= files or size >= limit:
                break
            if not least <= length <= most:
                continue
            target = self.tree + path
            if os.path.exists(target):
                continue
            os.makedirs(os.path.dirname(target), exist_ok=True)
            shutil.copyfile(path, target)
            count, size = count + 1, size + length
        return count, size

    def make_repository(self):
        if os.path.exists(self.repository):
            return
        self.make_tree()
        shutil.copytree(self.tree, self.repository)
        git = ["git", "-C", self.repository, "-c", "user.name=bench", "-c", "user.email=bench@localhost", "-c", "gc.auto=0"]
        for words in (["init", "-q"], ["add", "-A", "-f"], ["commit", "-qm", "all"], ["repack", "-adq"]):
            subprocess.run(git + words, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def make_source(self):
        """Only source text, for the size ratio."""
        if os.path.exists(self.source):
            return
        limit, size = int(100e6 * self.share), 0
        for path, length in candidates(TEXT_ROOTS):
            if size >= limit:
                break
            if not path.endswith(SOURCE) or length > 400_000:
                continue
            os.makedirs(os.path.dirname(self.source + path), exist_ok=True)
            shutil.copyfile(path, self.source + path)
            size += length
        os.makedirs(self.source, exist_ok=True)
        if size < limit:
            for n in range((limit - size) // 20_000 + 1):
                with open(os.path.join(self.source, f"made-{n}.c"), "wb") as out:
                    out.write(text(n, 20_000))


def apparent(folder):
    """Bytes of the regular files below a folder, as a program reads them."""
    return sum(os.lstat(os.path.join(at, name)).st_size for at, _, names in os.walk(folder) for name in names)


def stored(folder):
    """Bytes a folder takes on its disk."""
    total = 0
    for at, _, names in os.walk(folder):
        for name in names:
            total += os.lstat(os.path.join(at, name)).st_blocks * 512
    return total
