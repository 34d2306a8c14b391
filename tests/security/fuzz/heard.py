"""What servers say: replies to commands, and messages that nobody asked for."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Final

import hiredis

from openalgo_cache import Settings
from openalgo_cache.backends.base import Entry, Request
from openalgo_cache.backends.invalidation import announcements
from openalgo_cache.backends.invalidation.announcements import Names, Sequence
from openalgo_cache.backends.invalidation.stream import Stream
from openalgo_cache.backends.invalidation.ways import Channel, Tracking
from openalgo_cache.backends.redis import RedisBackend
from openalgo_cache.coherence.streamed import StreamedTier
from openalgo_cache.errors import BackendMisconfiguredError, BackendUnavailableError
from tests.security.fuzz.judging import SECRET, Run, Target, split

_PREFIX: Final = "openalgo:quotes:"
_GREETINGS: Final = (b"HELLO", b"AUTH", b"CLIENT", b"SELECT", b"PING", b"INFO", b"WATCH", b"UNWATCH")


class HostileServer:
    """Listens on this machine, is polite until asked for something, and answers that with whatever it was told to."""

    def __init__(self) -> None:
        self.reply = b""
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        """Listen no more."""
        self._listener.close()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        with connection, suppress(OSError):
            reader = hiredis.Reader()
            while data := connection.recv(65_536):
                reader.feed(data)
                while (command := reader.gets()) is not False:
                    word = command[0].upper()
                    if word in _GREETINGS:
                        connection.sendall(b"+PONG\r\n" if word == b"PING" else b"+OK\r\n")
                    else:
                        connection.sendall(self.reply)
                        connection.shutdown(socket.SHUT_WR)
                        return


@contextmanager
def _replies(_: Path) -> Iterator[Run]:
    server = HostileServer()
    settings = Settings(
        redis_host="127.0.0.1", redis_port=server.port, redis_password=SECRET, redis_operation_timeout=0.25
    )

    def run(data: bytes) -> None:
        way, server.reply = split(data, 7)
        request = Request(
            cache="quotes",
            namespace=None,
            prefix=_PREFIX,
            maxsize=None,
            durable=False,
            is_intact=lambda _stored, _record: True,
            subkey=lambda _purpose: bytes(32),
            settings=settings,
            clock=lambda: 1.0,
        )
        backend = RedisBackend.create(request)
        key = _PREFIX + "key"
        try:
            if way == 0:
                found: Any = backend.get(key)
            elif way == 1:
                found = backend.get_many([key, key + "2"])
            elif way == 2:
                found = backend.compare_and_set(key, b"old", Entry(b"new", None))
            elif way == 3:
                found = list(backend.scan())
            elif way == 4:
                found = backend.delete_many([key])
            elif way == 5:
                found = backend.clear()
            else:
                backend.set(key, Entry(b"new", None))
                found = backend.exists(key)
            repr(found)
        finally:
            backend.close()

    yield run
    server.close()


@contextmanager
def _messages(_: Path) -> Iterator[Run]:
    settings = Settings(redis_password=SECRET)
    secret, names = bytes(range(32)), Names.of("openalgo:")
    wire: Any = SimpleNamespace(ask=lambda *_words: None)

    def run(data: bytes) -> None:
        way, data = split(data, 4)
        if way == 0:
            if announcements.open_sealed(secret, names.channel, data) is not None:
                raise AssertionError("an announcement that nobody sealed is believed")
            return
        if way == 1:
            body = announcements._mac(secret, names.channel, data) + data
            if (said := announcements.open_sealed(secret, names.channel, body)) is not None:
                Sequence().has_gap(said)
            return
        stream = Stream(settings.server("redis"), "openalgo:", lambda: secret)
        tier = StreamedTier(16, 30.0, lambda _tier: None)
        stream._listeners = {_PREFIX: {tier}}  # type: ignore[dict-item]  # nothing else would hold it
        tier.resume()
        begun = tier.begin_fill()
        tier.fill("key", (_PREFIX + "key",), 1, None, 0.0, 1e12, begun)
        took: Tracking | Channel
        if way == 2:
            took = Tracking(wire, "openalgo:", stream)
        else:
            took = object.__new__(Channel)
            took._names, took._secret, took._hearer, took._sequence = names, secret, stream, Sequence()
        reader = hiredis.Reader()
        reader.feed(data)
        with suppress(Exception):  # whatever it is: the link is taken for lost then, and nothing is served from near
            while (message := reader.gets()) is not False:
                if isinstance(message, list):
                    took.take(message)
        if len(tier.entries) > 1 or any(entry.held != 1 for entry in tier.entries.values()):
            raise AssertionError("a message put something near")

    yield run


TARGETS: Final = (
    Target("replies", _replies, (BackendUnavailableError, BackendMisconfiguredError)),
    Target("messages", _messages),
)
