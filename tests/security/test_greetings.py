"""A server that answers the greeting with something else: whoever holds the port can end no caller by that."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import pytest

from openalgo_cache import MISSING, CacheError
from tests.security.attack import Attack
from tests.stacks import manager

GREETINGS = [
    b"%1\r\n%1\r\n:2\r\n:1\r\n:1\r\n",
    b"*2\r\n:1\r\n$-1\r\n",
    b"%0\r\n",
    b":1\r\n",
    b"$-1\r\n",
    b"$-7\r\n",
    b"*0\r\n",
    b"~1\r\n*1\r\n:1\r\n",
    b">2\r\n+pong\r\n:1\r\n",
    b"-MOVED\r\n",
    b"-MOVED x y\r\n",
    b"-ASK 1\r\n",
    b"HTTP/1.1 200 OK\r\n\r\n",
    b"\x00\xff\r\n",
]


@pytest.fixture
def greet() -> Iterator[Callable[[bytes], int]]:
    """Start a server that says one thing to everything; return its port."""
    listeners: list[socket.socket] = []

    def serve(listener: socket.socket, greeting: bytes) -> None:
        with suppress(OSError):
            while True:
                connection, _ = listener.accept()
                threading.Thread(target=answer, args=(connection, greeting), daemon=True).start()

    def answer(connection: socket.socket, greeting: bytes) -> None:
        with connection, suppress(OSError):
            while connection.recv(65_536):
                connection.sendall(greeting)

    def start(greeting: bytes) -> int:
        listener = socket.create_server(("127.0.0.1", 0))
        listeners.append(listener)
        threading.Thread(target=serve, args=(listener, greeting), daemon=True).start()
        return int(listener.getsockname()[1])

    yield start
    for listener in listeners:
        listener.close()


@pytest.mark.attack("fuzz", "hostile input: greetings")
@pytest.mark.parametrize("brand", ["redis", "valkey"])
def test_greetings(tmp_path: Path, greet: Callable[[bytes], int], attack: Attack, brand: str) -> None:
    """Nothing is found, and nothing but errors of our own is raised."""
    for greeting in GREETINGS:
        there: dict[str, Any] = {"host": "127.0.0.1", "port": greet(greeting), "operation_timeout": 0.1}
        settings = {f"{brand}_{name}": value for name, value in there.items()}
        with closing(manager(tmp_path, backend=brand, **settings)) as house:
            for name in ("quotes", "running_strategies"):
                with suppress(CacheError):
                    assert house.get_cache(name).get("key", MISSING) is MISSING
        attack.tried(succeeded=False, what=greeting)
