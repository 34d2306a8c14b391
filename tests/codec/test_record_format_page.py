"""``docs/record-format.md`` tells the truth: its worked-out record is computed anew from what the page says."""

from __future__ import annotations

import hashlib
import hmac
import re
import struct
from pathlib import Path

from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from tests.codec import vectors

PAGE = (Path(__file__).parents[2] / "docs" / "record-format.md").read_text(encoding="utf-8")


def worked_out() -> dict[str, bytes]:
    """Return the rows of the page's two tables of bytes."""
    part = PAGE.partition("<!-- worked out -->")[2].partition("<!-- end worked out -->")[0]
    rows = re.findall(r"^\| ([^|]+?) \| `([0-9a-f]+)` \|$", part, re.MULTILINE)
    return {what.partition(":")[0]: bytes.fromhex(digits) for what, digits in rows}


def test_the_worked_out_record_is_a_golden_one() -> None:
    """The bytes of the first table, one after the other, are the golden record of the number 42."""
    parts = list(worked_out().values())[:12]
    assert b"".join(parts).hex() == vectors.load()["aead: value int small"].record


def test_the_worked_out_record_follows_from_the_page() -> None:
    """Context, info, subkey, head, ciphertext and tag, made with nothing but HKDF and AES-GCM."""
    row = worked_out()
    texts = [b"000102030405060708090a0b0c0d0e0f", b"golden", b"openalgo:golden:key"]
    context = b"openalgo-cache/1\0" + b"".join(struct.pack(">H", len(text)) + text for text in texts)
    assert row["context"] == context
    assert row["the ring's key"] == bytes(range(0x20, 0x40))
    assert row["info of the subkey"] == b"openalgo-cache/1 encrypt\0golden\0" + row["writer id"]
    extracted = hmac.digest(bytes(32), row["the ring's key"], hashlib.sha256)  # RFC 5869, sections 2.2 and 2.3
    assert row["subkey"] == hmac.digest(extracted, row["info of the subkey"] + b"\x01", hashlib.sha256)
    head = struct.pack(">3sBBBHdd", b"OAC", 1, 1, 1, 0, 1_700_000_000.25, 1_700_000_300.5)
    head += row["key id"] + row["writer id"] + row["nonce"]
    sealed = AESGCM(row["subkey"]).encrypt(row["nonce"], b"\x2a", context + head)
    assert sealed == row["encrypted body"] + row["tag"]
    assert b"".join(list(row.values())[:10]) == head


def test_a_reader_made_from_the_page_verifies_every_sealed_golden_record() -> None:
    """Whoever implements the page needs nothing else: each record opens, whatever its optional fields."""
    for vector in vectors.load().values():
        if vector.mode == "plain":
            continue
        record = bytes.fromhex(vector.record)
        mode, codec, flags = struct.unpack_from(">BBH", record, 4)
        at = 56
        if flags & 1:
            at += 8
        if flags & 2:
            at += 1 + record[at]
        if flags & 4:
            at += 1 + 24 * record[at]
        texts = [vector.namespace.encode(), vector.cache.encode(), vector.stored.encode()]
        context = b"openalgo-cache/1\0" + b"".join(struct.pack(">H", len(text)) + text for text in texts)
        purpose = {1: b"encrypt", 2: b"sign"}[mode]
        info = b"openalgo-cache/1 " + purpose + b"\0" + texts[1] + b"\0" + record[28:44]
        key = {one.id: one.secret for one in (vectors.FIRST, vectors.SECOND)}[int.from_bytes(record[24:28], "big")]
        subkey = hmac.digest(hmac.digest(bytes(32), key, hashlib.sha256), info + b"\x01", hashlib.sha256)
        cipher = AESGCM(subkey)
        if mode == 1:
            body = cipher.decrypt(record[44:56], record[at:], context + record[:at])
        else:
            body = record[at:-16]
            assert cipher.decrypt(record[44:56], record[-16:], context + record[:-16]) == b""
        assert (body.hex(), codec) == (vector.body, vector.codec)
