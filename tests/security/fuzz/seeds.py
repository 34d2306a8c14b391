"""Where fuzzing begins: what is genuine, for each target, and what was thought of to do harm."""

from __future__ import annotations

import gzip
import json
import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Final

import ormsgpack

from openalgo_cache.audit import line
from openalgo_cache.audit.event import Event
from openalgo_cache.codec import keyring
from openalgo_cache.slots import SLOT, LostDelete, Slots
from openalgo_cache.symbols import COLUMNS
from tests.codec import vectors
from tests.codec.vectors import RING
from tests.transfer import golden

CORPUS: Final = Path(__file__).parents[1] / "corpus"
"""What fuzzing has found, or found worth keeping: a folder a target."""

_SHAPES: Final[tuple[object, ...]] = ([], {}, None)
_HUGE: Final = (b"\xff\xff\xff\xff", b"\x7f\xff\xff\xff", b"\x80\x00\x00\x00", b"\x00\x10\x00\x00")


def seeds_of(name: str) -> list[bytes]:
    """Return the cases that a target begins with: those written here, then those in its folder."""
    folder = CORPUS / name
    kept = [path.read_bytes() for path in sorted(folder.iterdir())] if folder.is_dir() else []
    return list(dict.fromkeys([*_SEEDS[name](), *kept]))


def _ways(bodies: list[bytes], *ways: int) -> list[bytes]:
    return [bytes([way]) + body for way in ways for body in bodies]


def _extension(tag: int, content: bytes) -> bytes:
    return b"\xc9" + len(content).to_bytes(4, "big") + bytes([tag]) + content


def _nested(wrap: Callable[[bytes], bytes], times: int, core: bytes = b"\xc0") -> bytes:
    for _ in range(times):
        core = wrap(core)
    return core


def _packed() -> list[bytes]:
    """Bodies of values: MessagePack that is honest, and that is not."""
    tags = range(1, 14)
    return [
        *(b"\x91" * depth + b"\xc0" for depth in (100, 1000, 1025, 60_000)),  # lists in lists
        *(b"\x81\xa1a" * depth + b"\xc0" for depth in (100, 1100)),
        *(_nested(lambda core: _extension(1, b"\x91" + core), depth) for depth in (99, 399, 401, 2000)),
        *(_nested(lambda core: _extension(12, b"\x92\xa1x" + core), depth) for depth in (99, 410)),
        *(
            kind + size for kind in (b"\xdd", b"\xdf", b"\xc6", b"\xdb", b"\xc9") for size in _HUGE
        ),  # that are not there
        *(_extension(tag, body) for tag in tags for body in (b"", b"\xc0", b"\x90", b"\x93\x01\x02\x03", b"\xff" * 9)),
        *(_extension(tag, kind + size) for tag in (1, 2, 5, 12) for kind in (b"\xdd", b"\xdf") for size in _HUGE[:2]),
        _extension(4, b"\x7f" + b"\xff" * 2000),  # an int of 16,000 bits
        b"\xcf" + b"\xff" * 8,  # 2^64 - 1
        _extension(4, b"\x01" + bytes(8)),  # 2^64
        b"\xcb\x7f\xf8" + bytes(6),  # nan
        b"\xcb\x7f\xf0" + bytes(6),  # infinity
        b"\x92\xcb\xff\xf0" + bytes(6) + b"\xca\x7f\xc0\x00\x00",
        b"\xa3\xed\xa0\x80",  # a surrogate
        b"\xa2\xc3\x28",  # no UTF-8
        b"\x82\xa1a\x01\xa1a\x02",  # a key twice
        b"\x81\x90\x01",  # a list for a key
        b"\x82\x01\x01\xc3\x02",  # 1 and True
        _extension(5, b"\x92\x92\x90\x01\x92\x01\x01"),  # a list for a key, in pairs
        _extension(2, b"\x92" + _extension(5, b"\x90") + b"\xc0"),  # a dict in a set
        _extension(5, b"\x92\x92\x01\x01\x92\xc3\x02"),
        _extension(6, ormsgpack.packb([9999, 12, 31, 23, 59, 59, 999_999, 0, 3, "../../etc/passwd"])),
        _extension(6, ormsgpack.packb([2024, 1, 1, 0, 0, 0, 0, 0, 3, "America"])),
        _extension(6, ormsgpack.packb([1, 1, 1, 0, 0, 0, 0, 1, 2, [0, 86_399, 0, "x"]])),
        _extension(6, ormsgpack.packb([1, 1, 1, 0, 0, 0, 0, 1, 4, ["Asia/Kolkata", 1e300]])),
        _extension(6, ormsgpack.packb([10**18, 1, 1, 0, 0, 0, 0, 0, 0, None])),
        _extension(7, ormsgpack.packb([2**63, 1, 1])),
        _extension(9, ormsgpack.packb([10**15, 0, 0])),
        _extension(9, ormsgpack.packb([float("nan"), 0, 0])),
        _extension(10, b"1E+999999999999999999"),
        _extension(10, b"9" * 5000),
        _extension(10, b"sNaN"),
        _extension(2, b"\x91" + _extension(10, b"sNaN")),
        _extension(10, "١٢".encode()),
        _extension(11, bytes(15)),
        _extension(12, ormsgpack.packb(["golden.Order", ["X", 1]])),
        _extension(12, ormsgpack.packb(["golden.Side", "__class__"])),
        _extension(12, ormsgpack.packb(["os.system", "true"])),
        _extension(13, b""),
        _extension(127, b""),
        _extension(255, b""),
        b"cos\nsystem\n(S'true'\ntR.",  # a pickle
        b"\xc1",
        b"",
    ]


def _records() -> list[bytes]:
    golden_records = [bytes.fromhex(one.record) for one in vectors.load().values() if len(one.record) < 600]
    bombs = [bytes(1 << 20), bytes((1 << 20) + 1), bytes(40 << 20)]
    squeezed = [zlib.compress(bomb, 9) for bomb in bombs]
    return [
        *_ways(golden_records[::7], 0, 1, 2),
        *_ways(_packed(), 3),
        *_ways([*map(bytes.fromhex, (one.body for one in vectors.load().values() if len(one.body) < 200))], 3, 4),
        *_ways([body for body in _packed() if len(body) < 4000], 4),
        *_ways([*squeezed, zlib.compress(b"\x2a")[:-1], zlib.compress(b"\x2a") * 2, b"x"], 6),
    ]


def _keys() -> list[bytes]:
    return [
        b"RELIANCE", b"M&M|NSE", b"!i12", b"!i" + b"9" * 6000, b"!i-0", b"!i 1_0", "!i\u0661".encode(), b"!b1",
        b"!b2", b"!x00ff", b"!x0", b"!x 0 0", b"!n", b"!t", b"!t1:a3:!i1", b"!t-1:a", b"!t99999999999999999999:a",
        b"!t1:", b"!t" * 4000, b"!t2:!t", b"%25", b"%", b"%zz", b"%2A%5B", b"~hash", b"!s!x", b"\xff\xfe",
        b"\xed\xa0\x80", b"\0", "a\u202eb".encode(), b"a" * 513, b"*", b"a:b:c", b"{x}", b"",
    ]  # fmt: skip


def _journals() -> list[bytes]:
    slots = Slots(RING, "openalgo:auth:")
    one = slots.seal(LostDelete("openalgo:auth:key", 1.0), 0)
    everything = slots.seal(LostDelete(None, 1.0), 0)
    foreign = Slots(keyring.KeyRing.of_one(bytes(range(32))), "openalgo:auth:").seal(LostDelete(None, 1.0), 0)
    owner = one[:8]
    return [
        *_ways([b"", b"OACLOST1", b"OACLOST2" + bytes(8), b"OACLOST1" + b"\xff" * 8], 0),
        *_ways([one, everything, foreign, bytes(SLOT) + one, one * 2, one * 64, one * 65, b"\xff" * SLOT * 64], 1, 2),
        *_ways([owner + bytes(SLOT - 16) + owner, b"\1" * 8 + one[8:-8] + b"\1" * 8, one[:-1] + b"\0"], 2),
        *_ways([b"\x10\x00\xff", b"\x00\x08" + b"\xff" * 8, b"\x00\x00\x00"], 3),
    ]


def _key_rings() -> list[bytes]:
    honest = json.loads(RING.to_json())
    one: dict[str, object] = honest["keys"][0]

    def ring(**changes: object) -> bytes:
        return json.dumps({**honest, **changes}).encode()

    def key(**changes: object) -> bytes:
        return ring(keys=[{**one, **changes}])

    return _ways(
        [
            RING.to_json(), b"", b" \n", b"A" * 44, b"A" * 43 + b"=", b"\xff" * 44, b"{}", b"[]", b"1", b"null", b'"x"',
            b"[" * 100_000, b'{"a":' * 5000, b'{"format": 1, "check": NaN}', b"\xef\xbb\xbf{}", b"\0" * 100,
            ring(format=2), ring(format=True), ring(format=None), ring(keys=[]), ring(keys={}), ring(keys=[one, one]),
            ring(keys=None), ring(keys="keys"), ring(ring_id=1), ring(ring_id="zz"), ring(ring_id=""), ring(root=1),
            ring(root=""), ring(root="é"), ring(keys=[[]]), key(id=0), key(id=-1), key(id=2**32), key(id=2**64),
            key(id=1e400), key(id=float("nan")), key(id="1"), key(id="9" * 5000), key(id=1.5), key(id=True),
            key(state="active "), key(state=[]), key(state={}), key(created_at=10**400), key(created_at="inf"),
            key(created_at=None), key(secret=""), key(secret="A" * 44), key(secret=1), key(secret="\u0130"),
            json.dumps({**honest, "keys": [{**one, "id": 10**400}]}).encode(),
        ],
        0,
        1,
    )  # fmt: skip


def _exports() -> list[bytes]:
    export = golden.FILE.read_bytes()

    def part(kind: int, content: object) -> bytes:
        packed = ormsgpack.packb(content)
        return bytes([len(packed), kind]) + packed

    begin, entry = part(0, ["quotes", False, False]), part(1, ["key", 1.0, None, None, None, [], b"\x2a"])
    return [
        *_ways(
            [export, export[:-1], export + b"\0", export[:20], b"", b"OACEXPRT", export[:8] + b"\2" + export[9:]], 0
        ),
        *_ways([export[:52] + b"\2" + size for size in _HUGE], 0),
        *_ways(
            [begin + entry, entry, begin * 2, part(0, []), part(0, None), part(0, [1, 2, 3]), part(0, [[], {}, 1])], 1
        ),
        *_ways([begin + part(1, other) for other in (*_SHAPES, [1] * 7, ["k", "x", "y", "z", 1, [1], 2])], 1),
        *_ways([part(2, []), part(3, 1), part(4, {})], 1),
    ]


def _small_files() -> list[bytes]:
    texts = [
        b"", b"{", b"[" * 100_000, b"null", b"[]", b'{"format": 1, "backend": "sqlite"}',
        b'{"format": 1, "backend": "../x"}', b'{"format": 1, "backend": ["x"]}',
        b'{"format": 1, "backend": "\\ud800"}', b"\xff\xfe{}", b'{"format": 1}',
        b'{"serial": 1, "version": "", "waiting": ""}', b'{"serial": Infinity, "version": 1, "waiting": 1}',
        b'{"serial": NaN, "version": 1, "waiting": 1}', b'{"serial": ' + b"9" * 5000 + b"}", b'{"serial": "x"}',
        b'{"serial": 1e999, "version": null, "waiting": []}', b"0" * 32, b"0" * 32 + b"\n", b"0" * 32 + b"\n\n..",
        b"../" * 11,
    ]  # fmt: skip
    return _ways(texts, 0, 1, 2)


def _audit_logs() -> list[bytes]:
    key = line.chain_key(RING, "space", "0" * 32)
    signed, _ = line.sign(key, line.Head("0" * 32, 7, line.FIRST), 1.0, Event("auth", "GET", "k", "m"), "i")
    forged = signed.replace(b'"GET"', b'"SET"')
    lines = [
        forged, forged[:-1], forged * 3, b"\n" * 500, b"{", b"[" * 100_000, b"{}\n", b"\xff\n\0\n",
        b"x" * ((1 << 20) + 9), b"", b'{"timestamp":"' * 3000 + b"\n",
        forged.replace(b'"sequence":8', b'"sequence":0'), forged.replace(b":8", b":" + b"9" * 18),
    ]  # fmt: skip
    said = [
        b"", b"after x 1 " + b"0" * 64, b"goes on from " + b"0" * 32 + b" x", b"at 1, 2 bytes, sha256 " + b"0" * 64,
        b"\xff\n", b'"},"mac":"', b"after " + b"a" * 4000 + b" 1 x", b"{" * 5000, b'{"file": 1, "ends": {}}',
        b"\xed\xa0\x80", b"9" * 5000, b"at " + b"9" * 5000 + b", 1 bytes, sha256 " + b"0" * 64,
        b"after x " + b"9" * 4000 + b" " + b"0" * 64,
    ]  # fmt: skip
    return [*_ways(lines, 0), *_ways(said, 1, 2, 3, 4, 5)]


def _key_holders() -> list[bytes]:
    ours = bytes.fromhex(RING.fingerprint())
    frames = [owner + struct.pack(">dH", at, 3) + b"\x91\x90\x90" + bytes(32)
              for owner in (ours, bytes(8)) for at in (1_000.0, float("nan"), float("inf"), -1.0)]  # fmt: skip
    lines = [*frames, b"".join(frames), frames[4] * 1500, frames[0][:-1], b"\xff" * 900, ours + b"\xff" * 40]
    return [b"", b"OACKEYS", b"OACKEYS1" + bytes(70_000), *(b"OACKEYS1" + one for one in lines)]


def _snapshots() -> list[bytes]:
    series = ["NSE", "NSE", "", 1, "EQ", 0.05, None, "", "", 0]
    honest = [1, 1.0, [series], [[0], [0.0], ["X"], [None], ["X"], ["1"]]]
    contents = [
        honest, [], [2], None, 1, "x", {}, [1, "x", [], []], [1, 1.0, [[]], []], [1, 1.0, 7, []], [1, 10**18, [], []],
        [1, None, [series], []],
    ]  # fmt: skip
    packed = [ormsgpack.packb(one) for one in contents]
    bomb = zlib.compress(bytes(30 << 20), 9)
    return [*_ways([*packed, b"\x91" * 5000, b"\xdd\xff\xff\xff\xff", b""], 1), *_ways([bomb, b"", b"x\x9c"], 0)]


def _settings() -> list[bytes]:
    lines = [
        b"CACHE_BACKEND=redis\nREDIS_HOST=localhost\nREDIS_PORT=6379\n", b"REDIS_URL=redis://u:p@h:1/0",
        b"A='b\nc'\n", b"REDIS_URL=rediss://[::1]:6380/1", b"REDIS_URL=redis://[", b"REDIS_URL=redis://h:99999",
        b"REDIS_URL=unix:///x?db=0", "REDIS_URL=redis://\u2100.x/".encode(), b"REDIS_PORT=0x10",
        b"REDIS_PORT=" + b"9" * 5000, b"REDIS_DB=-1", b"CACHE_NEAR_MAX_STALENESS=nan",
        b"CACHE_NEAR_MAX_STALENESS=inf", b"CACHE_NEAR_MAX_STALENESS=1e999", "SETTINGS_CACHE_TTL=١٢".encode(),
        b"SETTINGS_CACHE_TTL=18446744073709551616", b"BROKER_CACHE_TTL=-0", b"REDIS_SENTINELS=m@h:1,[::1]:2,::1",
        b"REDIS_SENTINELS=@", b"REDIS_SENTINELS=,", b"SESSION_EXPIRY_TIME=24:00", b"SESSION_EXPIRY_TIME=03:00\n",
        b"CACHE_NAMESPACE=..", b"CACHE_NAMESPACE=a/b", b"CACHE_KEY_FILE=~nobody-here/x", b"CACHE_KEY_FILE=/\xff",
        b'SQLITE_CACHE_PATH="a\\tb"', b"CACHE_ENCRYPTED_NAMES=a,,b;c", b"\xff\xfeC\0A\0",
        b"\xef\xbb\xbfCACHE_BACKEND=sqlite", b"export  'X' = 'y'", b"'", b"=", b"X", b"X==", b'X="' + b"\\" * 4001,
        b"X='" + b"a'" * 2000, b" " * 50_000 + b"#", b"X=" + b" " * 20_000 + b"x", b"\r\r\n\n", b"X=${X}",
        b"CACHE_TYPO=1\0", b"REDIS_PASS=x\nREDIS_PASWORD=y\n", b"MULTI_INSTANCE_MODE=true\nINSTANCE_ID=\xc3\xa9",
        b"X=\x1b[31m", b"",
    ]  # fmt: skip
    return _ways(lines, 0, 1)


def _rules() -> list[bytes]:
    return [
        b'extends = "catalogue"\n[caches]\nauth = ["services.*"]\n[caches.quotes]\nread = ["*"]\nwrite = ["a.b"]\n',
        b"", b"\xff", b"extends = []", b"extends = {a=1}", b"extends = 1979-05-27", b"a = " + b"[" * 100_000,
        b"a = " + b"{a=" * 5000, b"x = " + b"9" * 6000, b"default = nan", b"default = [{}]",
        b'default = ["' + b"*a" * 3000 + b'"]', b'default = ["[!"]', b'default = ["[z-a]"]', b"caches = []",
        b"[caches]\nauth = 5", b'[caches]\n"a b" = ["x"]', b"[caches.auth]\nread = [[]]",
        b'[caches]\nauth = {read = ["x"], evil = []}', b'"\\ud800" = 1', b"a." * 3000 + b"b = 1",
        b"[" + b"a." * 9000 + b"b]", b"#" * ((1 << 20) + 1),
    ]  # fmt: skip


def _contracts() -> list[bytes]:
    head = ",".join(COLUMNS).encode() + b"\n"
    rows = [
        b"RELIANCE,RELIANCE-EQ,RELIANCE,NSE,NSE,2885,,0,1,EQ,0.05,\n",
        b"X,X,X,NSE,NSE,1,28-MAR-24,24000,50,CE,0.05,1\n", b"X,X,X,NSE,NSE,1,31-FEB-24,1e999,nan,CE,inf,-0\n",
        b"X,X,X,NSE,NSE,1,00-XXX-00,-1,1.5,CE,18446744073709551616,\n", b'"X,X\n', b'"' * 9999 + b"\n", b'"a"b,c\n',
        b"\0\n", b"\xff,\xfe\n", b"X" * 70_000 + b"\n", b",,,,,,,,,,,\n",
        "\u0661,X,X,NSE,NSE,1,,\u0661,1,EQ,0.05,\n".encode(), b"X,\x1b[2J,X,NSE,NSE,1,,0,1,EQ,0.05,\n",
        b"=cmd|' /C calc'!A0,", b"X,X,X,NSE,NSE,1,,0,1_0,EQ,0x5,\n", b"\r", b"\n" * 3000, b"",
    ]  # fmt: skip
    heads = [head, b"\xef\xbb\xbf" + head.upper(), head[:-20], head.replace(b"token", b"symbol"), b"\x1b[2J,symbol\n"]
    bomb = gzip.compress(b"X" * (8 << 20), 9)
    return [
        *_ways([one + rows[0] for one in heads], 0),
        *_ways(rows, 1, 2, 4),
        *_ways([gzip.compress(head + rows[0]), gzip.compress(head)[:-4], bomb, b"\x1f\x8b", b""], 3),
    ]


def _cookies() -> list[bytes]:
    name = b"session="
    cookies = [
        b"", name, name + b"A" * 42, name + b"B" * 43, name + b"A" * 42 + b"\n", name + b'"' + b"B" * 43 + b'"',
        b";" * 3000, name + b"B" * 43 + b"; " + name + b"C" * 43, name + b"\xff" * 43, name + b'"\\101"',
        name + b"eyJ1c2VyIjoiYWRtaW4ifQ.x.y", name + b"../" * 14 + b"A", name + b"A" * 60_000, b"=" * 100,
        name + b"\0" * 43, name + b"cos\nsystem\n",
    ]  # fmt: skip
    fields = [b"\x91\x01|\x92\x01\x02|\x92\x01\x03", b"||", b"\x90|\xc1|\x90", b"\x91" * 3000 + b"|\x90|\x91\x01"]
    return [*_ways(cookies, 0, 1), *_ways(fields, 2)]


def _calls() -> list[bytes]:
    bodies = [
        b'{"apikey": "@KEY@"}', b'{"apikey": "@KEY@", "symbol": "RELIANCE", "exchange": "NSE"}', b"[" * 30_000,
        b'{"apikey": "@KEY@", "query": "REL", "exchange": "NSE"}', b'{"apikey": "@KEY@", "query": "%_\\"*"}', b"{}",
        b"[]", b"", b'{"apikey": "@KEY@", "query": "\\ud800"}', b'{"apikey": NaN}', b'{"apikey": 1e999}',
        b'{"apikey": ["@KEY@"]}', b"\xff", b'{"apikey": "@KEY@", "apikey": ""}', b'{"apikey": ' + b"9" * 5000 + b"}",
        b'{"\\ud800": 1}', b'{"apikey": "\\u0000"}',
        b'{"apikey": "@KEY@", "symbol": "' + b"A" * 5000 + b'", "exchange": ""}',
        b'{"apikey": "@KEY@", "query": "a AND b OR (c"}', b'{"apikey": "@KEY@", "query": "NEAR(a b, 999999999999)"}',
        b'{"apikey": "\' OR 1=1 --"}', b"x" * 70_000, b'{"apikey": "@KEY@", "query": "' + "ﬃ".encode() * 60 + b'"}',
        b"name=admin&password=x&token=y", b"name=%ff&token=%00",
        b'{"apikey": "@KEY@", "query": "' + b"a " * 99 + b'"}', b'{"a": {"b": ' * 900,
    ]  # fmt: skip
    order = b'"symbol": "RELIANCE", "exchange": "NSE", "action": "BUY", "quantity": '
    orders = [
        b'{"apikey": "@KEY@", %s%s}' % (order, more)
        for more in (
            b'"10"', b"1e400", b'true, "price": "nan"', b"1.5", b'"9999999999999999999"', b'-1, "position_size": -0.0',
            b'5, "position_size": 7, "idempotency_key": "\\u0000"',
            b'5, "pricetype": "SL", "price": 1e308, "trigger_price": 0.1',
            b'5, "orderid": "999999999", "price": 1, "pricetype": "LIMIT"', b'5, "orderid": "\xd9\xa1"',
        )
    ]  # fmt: skip
    orders += [
        b'{"apikey": "@KEY@", "orders": [{%s1}, {%s-1}, {}, 7]}' % (order, order),
        b'{"apikey": "@KEY@", "symbols": [{"symbol": "RELIANCE", "exchange": "NSE"}, {"symbol": "", "exchange": []}]}',
        b'{"apikey": "@KEY@", "underlying": "NIFTY", "exchange": "NSE", "expiry_date": "31FEB26", "strike_count": 1e9}',
        b'{"apikey": "@KEY@", "underlying": "RELIANCE", "exchange": "NSE", "expiry_date": "30FEB26"}',
    ]
    return _ways(bodies, 0, 1, 2, 3) + _ways(orders, 6, 7, 8, 9, 10, 11)


def _key_texts() -> list[bytes]:
    return _ways(
        [b"", b"a", b"\xff" * 300, b"!x", b"a\n", b"\xed\xa0\x80", b"\xc8a", b"\xff", b"\0", b"a" * 600], 0, 1, 2
    )


def _replies() -> list[bytes]:
    entry = b"\x7f\xf0" + bytes(6)  # never expires
    said = [
        b"$-1\r\n", b"_\r\n", b"$11\r\n" + entry + b"abc\r\n", b"$3\r\nabc\r\n", b":1\r\n",
        b":9223372036854775808\r\n", b"+OK\r\n", b"-ERR x\r\n", b"-WRONGTYPE x\r\n", b"-MOVED 1 127.0.0.1:1\r\n",
        b"-MOVED\r\n", b"-MOVED x y:z\r\n", b"-ASK 1 :\r\n", b"-\r\n", b"-NOAUTH x\r\n", b"-LOADING x\r\n",
        b"-NOPERM \x1b[2J\xff\r\n", b"*2\r\n$-1\r\n$-1\r\n", b"*0\r\n", b"*-1\r\n", b"*1\r\n:1\r\n",
        b"*2\r\n$11\r\n" + entry + b"abc\r\n:7\r\n", b"*2\r\n$1\r\n0\r\n*1\r\n$2\r\n\xff\xfe\r\n",
        b"*2\r\n$1\r\n0\r\n*0\r\n", b"*2\r\n$1\r\n0\r\n*1\r\n:1\r\n", b"*2\r\n$1\r\n0\r\n$1\r\nx\r\n",
        b"*2\r\n*0\r\n*0\r\n", b"*3\r\n:0\r\n:0\r\n:0\r\n", b",nan\r\n", b",inf\r\n", b"#t\r\n",
        b"%1\r\n:1\r\n:2\r\n", b"~1\r\n:1\r\n", b">2\r\n$10\r\ninvalidate\r\n_\r\n", b"(99999999999999999999\r\n",
        b"=7\r\ntxt:abc\r\n", b"|1\r\n+a\r\n+b\r\n:1\r\n", b"*1\r\n" * 50, b"*1\r\n" * 2000, b"$99999999\r\nx",
        b"*99999\r\n", b"\xff", b"", b"HTTP/1.1 400 Bad Request\r\n\r\n", b"$-2\r\n", b"$18446744073709551617\r\n",
        b":x\r\n", b"$5\r\nab\r\n", b"+" + b"x" * 70_000,
        b"*2\r\n$1\r\n0\r\n*1\r\n$19\r\nopenalgo:quotes:key\r\n$-1\r\n:1\r\n" * 3, b"+OK\r\n+OK\r\n*1\r\n:1\r\n",
        b":1\r\n:1\r\n", b"$8\r\n" + b"\xff" * 8 + b"\r\n:1\r\n",
    ]  # fmt: skip
    return _ways(said, *range(7))


def _messages() -> list[bytes]:
    lists = [
        b">2\r\n$10\r\ninvalidate\r\n*1\r\n$19\r\nopenalgo:quotes:key\r\n", b">2\r\n$10\r\ninvalidate\r\n_\r\n",
        b">0\r\n", b"*0\r\n", b">2\r\n$10\r\ninvalidate\r\n:1\r\n", b">2\r\n$10\r\ninvalidate\r\n*1\r\n:1\r\n",
        b">1\r\n$10\r\ninvalidate\r\n", b">1\r\n*0\r\n", b">2\r\n$10\r\ninvalidate\r\n*1\r\n$2\r\n\xff\xfe\r\n",
        b"*3\r\n$7\r\nmessage\r\n$1\r\nx\r\n$60\r\n" + bytes(60) + b"\r\n",
        b"*3\r\n$7\r\nmessage\r\n$1\r\nx\r\n:1\r\n", b"*1\r\n$7\r\nmessage\r\n", b"*3\r\n$7\r\nmessage\r\n_\r\n_\r\n",
        b"-ERR\r\n", b"*1\r\n" * 400,
    ]  # fmt: skip
    sealed = [
        bytes(24),
        bytes(24) + b"\x00\x03abc",
        bytes(24) + b"\xff\xffabc",
        bytes(24) + b"\x00",
        b"\xff" * 24 + b"\0\0" * 900,
        b"",
    ]
    return [*_ways(lists, 2, 3), *_ways(sealed, 0, 1)]


_SEEDS: Final[dict[str, Callable[[], list[bytes]]]] = {
    "records": _records,
    "keys": _keys,
    "journals": _journals,
    "key-rings": _key_rings,
    "exports": _exports,
    "small-files": _small_files,
    "key-holders": _key_holders,
    "audit-logs": _audit_logs,
    "snapshots": _snapshots,
    "settings": _settings,
    "rules": _rules,
    "contracts": _contracts,
    "cookies": _cookies,
    "calls": _calls,
    "key-texts": _key_texts,
    "replies": _replies,
    "messages": _messages,
}
