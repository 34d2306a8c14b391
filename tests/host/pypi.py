"""The ``openalgo`` client from PyPI, closed when it is not needed any more."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

from openalgo import api


@contextmanager
def client_of(address: str, key: str) -> Iterator[Any]:
    """The client of a host; from version 2 on, which needs Python 3.12, it keeps connections.

    Args:
        address: Where the host serves.
        key: An API key.
    """
    client = api(api_key=key, host=address)
    with ExitStack() as stack:
        if hasattr(client, "close"):
            stack.callback(client.close)
        yield client
