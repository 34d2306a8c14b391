"""Serving an application to clients that need a socket."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import waitress  # type: ignore[import-untyped]  # it brings no types
from flask import Flask


@contextmanager
def serving(app: Flask, threads: int = 2, port: int = 0) -> Iterator[str]:
    """Serve it in a thread; the address goes to the block.

    Args:
        app: The application.
        threads: How many requests at once.
        port: Where; 0 for any that is free.
    """
    server = waitress.create_server(app, host="127.0.0.1", port=port, threads=threads)

    stopping = threading.Event()

    def run() -> None:
        while not stopping.is_set():
            server.asyncore.loop(timeout=1, map=server._map, count=1)

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.effective_port}"
    finally:
        stopping.set()
        server.pull_trigger()
        thread.join(10)  # or it would look at sockets that are closed meanwhile
        server.task_dispatcher.shutdown(timeout=10)
        for channel in list(server.active_channels.values()):
            channel.handle_close()
        server.close()
