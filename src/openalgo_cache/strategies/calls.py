"""Calls of a host's API, from a strategy's own process: repeated while the host is away."""

from __future__ import annotations

import http.client
import json
import os
import time
from collections.abc import Callable, Iterator
from typing import Any, Final
from urllib.parse import urlsplit

from openalgo_cache.errors import ConfigurationError
from openalgo_cache.strategies.errors import HostRefusedError, HostUnavailableError, RunReplacedError, StaleStateError

_ANSWERS_WITHIN: Final = 10.0
"""Seconds for one answer."""
_SHORTEST_PAUSE: Final = 0.1
_LONGEST_PAUSE: Final = 2.0
_TRY_AGAIN: Final = frozenset({408, 425, 429, 500, 502, 503, 504})
"""Statuses that say nothing about what was asked."""


class HostCalls:
    """Calls a host's API with a strategy's key.

    Args:
        server: The host's address, such as ``http://127.0.0.1:5000``; left out, HOST_SERVER of the environment.
        api_key: The key; left out, OPENALGO_API_KEY of the environment.
        patience: Seconds for which a call is repeated while the host does not answer.

    Raises:
        ConfigurationError: Address or key are missing, or the address is none.
    """

    def __init__(self, server: str | None = None, api_key: str | None = None, patience: float = 30.0) -> None:
        self.server = (server or os.environ.get("HOST_SERVER", "")).rstrip("/")
        self.api_key = api_key or os.environ.get("OPENALGO_API_KEY", "")
        if not self.server or not self.api_key:
            raise ConfigurationError(
                "HOST_SERVER and OPENALGO_API_KEY say where the host is and who calls; the host gives them to the "
                "strategies that it runs. Elsewhere set them, or pass server= and api_key=."
            )
        parts = urlsplit(self.server)
        if parts.scheme not in {"http", "https"} or not parts.hostname:
            raise ConfigurationError(f"HOST_SERVER={self.server!r:.100} is no address such as http://127.0.0.1:5000")
        self._patience = patience
        self._parts = parts

    def ask(self, path: str, **fields: Any) -> dict[str, Any]:
        """Return what the host answers to a call.

        Args:
            path: Below ``/api/v1``, such as ``/strategy/state``.
            **fields: Of the call, besides the key.

        Raises:
            HostUnavailableError: It does not answer, or cannot now.
            RunReplacedError: It does not take the key any more.
            StaleStateError: A version of the state is not the one that is there.
            HostRefusedError: It refuses for another reason.
        """
        body = json.dumps({"apikey": self.api_key, **fields}, allow_nan=False).encode()

        def once() -> dict[str, Any]:
            try:
                status, answer = self._post(path, body)
            except (OSError, http.client.HTTPException, ValueError) as error:
                raise HostUnavailableError(f"{self.server} does not answer: {type(error).__name__}") from None
            if status == 200:
                return answer
            message = str(answer.get("message", status))
            if status in _TRY_AGAIN:
                raise HostUnavailableError(f"{self.server} cannot answer now: {message}")
            kind = {403: RunReplacedError, 409: StaleStateError}.get(status, HostRefusedError)
            raise kind(message)

        return self.patiently(once)

    def patiently(self, act: Callable[[], dict[str, Any]]) -> dict[str, Any]:
        """Return what ``act`` returns; call it again, with growing pauses, while it raises HostUnavailableError."""
        deadline = time.monotonic() + self._patience
        for pause in _pauses():
            try:
                return act()
            except HostUnavailableError:
                if time.monotonic() + pause > deadline:
                    raise
            time.sleep(pause)
        raise AssertionError("pauses never end")  # pragma: no cover

    def _post(self, path: str, body: bytes) -> tuple[int, dict[str, Any]]:
        """Send a body straight to the host, by no proxy and with no redirection: it holds a key."""
        is_tls = self._parts.scheme == "https"
        kind = http.client.HTTPSConnection if is_tls else http.client.HTTPConnection
        connection = kind(self._parts.hostname or "", self._parts.port, timeout=_ANSWERS_WITHIN)
        try:
            place = f"{self._parts.path}/api/v1{path}"
            connection.request("POST", place, body, {"Content-Type": "application/json", "Connection": "close"})
            response = connection.getresponse()
            answer = response.read()
        finally:
            connection.close()
        found = json.loads(answer) if response.status == 200 or _is_json(response) else {}
        return response.status, found if isinstance(found, dict) else {}


def _is_json(response: http.client.HTTPResponse) -> bool:
    return response.headers.get_content_type() == "application/json"


def _pauses() -> Iterator[float]:
    pause = _SHORTEST_PAUSE
    while True:
        yield pause
        pause = min(2 * pause, _LONGEST_PAUSE)
