#!/usr/bin/env python3
"""Recompute every golden vector from its inputs and compare.

An independent reading of docs/format-seal.md: shares no code with the implementation. Exits non-zero on any
mismatch. Needs: pip install blake3 cryptography argon2-cffi
"""

import json
import struct
import sys
from pathlib import Path

from argon2.low_level import Type, hash_secret_raw
from blake3 import blake3
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

checks = 0
failures = []


def expect(what, got, want):
    global checks
    checks += 1
    if got != want:
        failures.append(what)
        print(f"MISMATCH {what}\n  got  {shown(got)}\n  want {shown(want)}")


def shown(value):
    text = value.hex() if isinstance(value, bytes) else repr(value)
    return text if len(text) < 400 else text[:400] + "..."


# --- primitives -----------------------------------------------------------------------------------

def kdf(purpose, material, length=32):
    return blake3(material, derive_key_context="lovage 2026 v1 " + purpose).digest(length=length)


def keyed(key, message):
    return blake3(message, key=key).digest()


def plain_hash(message):
    return blake3(message).digest()


def u32(n):
    return struct.pack("<I", n)


def u64(n):
    return struct.pack("<Q", n)


def hchacha20(key, nonce16):
    state = list(struct.unpack("<4I", b"expand 32-byte k") + struct.unpack("<8I", key) + struct.unpack("<4I", nonce16))

    def quarter(a, b, c, d):
        for x, y, z, rot in ((a, b, d, 16), (c, d, b, 12), (a, b, d, 8), (c, d, b, 7)):
            state[x] = (state[x] + state[y]) & 0xFFFFFFFF
            v = state[z] ^ state[x]
            state[z] = ((v << rot) | (v >> (32 - rot))) & 0xFFFFFFFF

    for _ in range(10):
        for i in range(4):
            quarter(i, i + 4, i + 8, i + 12)
        for i in range(4):
            quarter(i, 4 + (i + 1) % 4, 8 + (i + 2) % 4, 12 + (i + 3) % 4)
    return struct.pack("<8I", *state[:4], *state[12:])


def xchacha_seal(key, nonce, aad, plain):
    subkey = hchacha20(key, nonce[:16])
    return ChaCha20Poly1305(subkey).encrypt(b"\0\0\0\0" + nonce[16:], plain, aad)


def public_of(seed):
    return Ed25519PrivateKey.from_private_bytes(seed).public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)


def sign(seed, message):
    return Ed25519PrivateKey.from_private_bytes(seed).sign(message)


# --- the format -----------------------------------------------------------------------------------

def body(length):
    return bytes((i * 31 + 7) % 251 for i in range(length))


def padded(length):
    """Padme: keep the top floor(log2 e) + 1 bits below the leading one, e = floor(log2 length)."""
    if length < 2:
        return length
    exponent = length.bit_length() - 1
    kept = exponent.bit_length()
    grain = 1 << max(0, exponent - kept)
    return -(-length // grain) * grain


def frame(codec, plain_len, content, salt):
    header = bytes([1, codec, 1 if salt else 0, 0]) + u32(plain_len) + u32(len(content))
    return header + (salt or b"") + content + bytes(padded(len(content)) - len(content))


def block(volume, v):
    secret = bytes.fromhex(v["secret"])
    kind = bytes([v["type"], v["level"]])
    salt = bytes.fromhex(v["salt"]) if v["salt"] else None
    e = frame(v["codec"], v["plain_len"], body(v["body_len"]), salt)
    siv = keyed(kdf("block siv", secret), volume + kind + e)
    stream = kdf("block key and nonce", siv, 44)
    aad = b"blk1" + volume + u32(v["epoch"]) + kind
    sealed = ChaCha20Poly1305(stream[:32]).encrypt(stream[32:], e, aad)
    bid = plain_hash(b"blk1" + sealed)
    return sealed, bid + siv + u32(v["epoch"]) + u32(v["plain_len"])


def author_seed(root, volume, incarnation):
    return kdf("device author", root + volume + u32(incarnation))


def head(volume, v):
    seed = author_seed(bytes.fromhex(v["root"]), volume, v["incarnation"])
    content = body(v["body_len"])
    prefix = b"hed1" + volume + public_of(seed) + u32(v["writer"]) + u64(v["seq"]) + u32(v["epoch"])
    inner = public_of(seed) + u32(v["writer"]) + u64(v["seq"]) + u32(len(content))
    inner += content + bytes(padded(len(content)) - len(content))
    nonce = bytes.fromhex(v["bytes"])[len(prefix):len(prefix) + 24]
    signed = prefix + nonce + xchacha_seal(kdf("head", bytes.fromhex(v["secret"])), nonce, prefix, inner)
    return signed + sign(seed, signed), plain_hash(signed)


def genesis(v):
    nonce = bytes.fromhex(v["nonce"])
    seed = kdf("volume admin", bytes.fromhex(v["root"]) + nonce)
    name = v["name"].encode()
    signed = b"gen1" + public_of(seed) + nonce + struct.pack("<q", v["created"])
    signed += bytes([0 if v["cdc"] else 1]) + b"".join(map(u32, v["cdc"] or [0, 0, 0]))
    signed += bytes([int(v["dedup"]), len(name)]) + name
    return signed + sign(seed, signed), plain_hash(signed)[:16]


def keystore(v):
    file = bytes.fromhex(v["file"])
    salt, nonce = file[24:40], file[88:112]
    if v["passphrase"] is None:
        cost, kind = (0, 0, 0), 0
        master = kdf("keystore without passphrase", salt)
    else:
        cost, kind = (v["memory_kib"], v["passes"], v["lanes"]), 1
        master = hash_secret_raw(v["passphrase"].encode(), salt, time_cost=cost[1], memory_cost=cost[0],
                                 parallelism=cost[2], hash_len=32, type=Type.ID, version=0x13)
    header = b"lvgkeys1" + bytes([kind, 0, 0, 0]) + b"".join(map(u32, cost)) + salt
    header += kdf("keystore commitment", master)
    header += plain_hash(header)[:16]
    plain = b"\x02" + bytes.fromhex(v["root"]) + u32(2)
    plain += bytes.fromhex(v["volume"]) + u32(v["incarnation"]) + u32(len(v["epochs"]))
    plain += b"".join(u32(n) + bytes.fromhex(secret) for n, secret in v["epochs"])
    plain += u32(v["genesis_len"]) + body(v["genesis_len"])
    address = v["address"].encode()
    plain += u32(v["writer"]) + u32(v["membership_len"]) + body(v["membership_len"])
    plain += u32(1) + bytes.fromhex(v["peer"]) + u32(1) + u32(len(address)) + address
    plain += bytes.fromhex(v["second_volume"]) + u32(0) + u32(0) + u32(0) + u32(0) + u32(0) + u32(0)
    return header + nonce + xchacha_seal(kdf("keystore key", master), nonce, header, plain)


# --- the checks -----------------------------------------------------------------------------------

def check_primitives():
    # draft-irtf-cfrg-xchacha-03, 2.2.1: so that our own HChaCha20 is not its own judge.
    got = hchacha20(bytes(range(32)), bytes.fromhex("000000090000004a0000000031415927"))
    expect("HChaCha20 test vector", got.hex(), "82413b4227b27bfed30e42508a877d73a0f9e4d58a74a853c12ec41326d3ecdc")


def check_epochs(vectors):
    for i, v in enumerate(vectors["epochs"]):
        secret, first = bytes.fromhex(v["secret"]), bytes.fromhex(v["epoch0_secret"])
        expect(f"epochs[{i}].cut_key", kdf("chunker cut", secret).hex(), v["cut_key"])
        expect(f"epochs[{i}].pack_key", kdf("pack order", secret).hex(), v["pack_key"])
        expect(f"epochs[{i}].head_key", kdf("head", secret).hex(), v["head_key"])
        expect(f"epochs[{i}].logical_key", kdf("tree logical", first).hex(), v["logical_key"])
        p = v["pid"]
        message = bytes([p["type"], p["level"]]) + u64(p["body_len"]) + body(p["body_len"])
        expect(f"epochs[{i}].pid", keyed(kdf("block pid", secret), message).hex(), p["pid"])


def check_blocks(vectors):
    volume = bytes.fromhex(vectors["volume"])
    for i, v in enumerate(vectors["blocks"]):
        sealed, reference = block(volume, v)
        expect(f"blocks[{i}].reference", reference.hex(), v["reference"])
        expect(f"blocks[{i}].sealed_len", len(sealed), v["sealed_len"])
        if v["sealed"] is not None:
            expect(f"blocks[{i}].sealed", sealed.hex(), v["sealed"])


def check_device(vectors):
    volume, v = bytes.fromhex(vectors["volume"]), vectors["device"]
    root = bytes.fromhex(v["root"])
    identity = kdf("device identity", root)
    expect("device.identity_seed", identity.hex(), v["identity_seed"])
    expect("device.device_id", plain_hash(b"dev1" + public_of(identity)).hex(), v["device_id"])
    expect("device.box_seed", kdf("device box", root).hex(), v["box_seed"])
    expect("device.local_key", kdf("device local", root + volume).hex(), v["local_key"])
    for a in v["authors"]:
        seed = author_seed(root, volume, a["incarnation"])
        expect(f"device.author {a['incarnation']}", public_of(seed).hex(), a["public"])
    admin = kdf("volume admin", root + bytes.fromhex(v["admin"]["nonce"]))
    expect("device.admin", public_of(admin).hex(), v["admin"]["public"])


def check_local(vectors):
    v = vectors["local"]
    nonce = bytes.fromhex(v["sealed"])[:24]
    sealed = xchacha_seal(bytes.fromhex(v["key"]), nonce, b"loc1" + bytes.fromhex(v["purpose"]), body(v["body_len"]))
    expect("local.sealed", (nonce + sealed).hex(), v["sealed"])


def check_signed(vectors):
    volume = bytes.fromhex(vectors["volume"])
    for i, v in enumerate(vectors["heads"]):
        data, digest = head(volume, v)
        expect(f"heads[{i}].bytes", data.hex(), v["bytes"])
        expect(f"heads[{i}].hash", digest.hex(), v["hash"])
        Ed25519PublicKey.from_public_bytes(data[20:52]).verify(data[-64:], data[:-64])
    for i, v in enumerate(vectors["geneses"]):
        data, volume_id = genesis(v)
        expect(f"geneses[{i}].bytes", data.hex(), v["bytes"])
        expect(f"geneses[{i}].id", volume_id.hex(), v["id"])


def main():
    path = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).with_name("vectors.json")
    vectors = json.loads(path.read_text())
    check_primitives()
    for i, v in enumerate(vectors["padding"]):
        expect(f"padding[{i}]", padded(v["len"]), v["padded"])
    check_epochs(vectors)
    check_blocks(vectors)
    check_device(vectors)
    check_local(vectors)
    check_signed(vectors)
    for i, v in enumerate(vectors["keystores"]):
        expect(f"keystores[{i}].file", keystore(v).hex(), v["file"])
    print(f"{checks} checks, {len(failures)} mismatches")
    return 1 if failures or checks < 60 else 0


if __name__ == "__main__":
    sys.exit(main())
