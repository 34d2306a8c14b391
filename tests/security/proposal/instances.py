"""Several instances beside one server: "Cache Invalidation Strategy", solution 2."""

from __future__ import annotations

import json
import threading
from typing import Any, Final

import redis

CHANNEL: Final = "cache:invalidate"


class Instance:
    """One instance, with copies in its memory that messages of others are to end.

    Args:
        cache: The shared cache.
        client: The connection for messages.
        to_the_letter: Whether to subscribe exactly as the proposal has it; else by what redis-py has in its place.
    """

    def __init__(self, cache: Any, client: redis.Redis, *, to_the_letter: bool = False) -> None:
        self._cache = cache
        self._client = client
        self._local: dict[str, Any] = {}
        self._over = threading.Event()
        self._pubsub: Any = client.pubsub()  # type: ignore[no-untyped-call]
        self._pubsub.subscribe(CHANNEL)
        self.handled = threading.Event()
        work = self._listen_as_written if to_the_letter else self._listen
        self._thread = threading.Thread(target=work, daemon=True)
        self._thread.start()

    def get(self, key: str) -> Any:
        if key not in self._local:
            self._local[key] = self._cache.get(key)
        return self._local[key]

    def set(self, key: str, value: Any) -> None:
        self._cache.set(key, value)
        self._local[key] = value
        self._client.publish(CHANNEL, json.dumps({"cache": "quotes", "key": key}))

    def on_invalidation_message(self, message: dict[str, Any]) -> None:
        data = json.loads(message["data"])
        self._local.pop(data["key"], None)
        self._cache.delete(data["key"])
        self.handled.set()

    def close(self) -> None:
        self._over.set()
        self._thread.join(1.0)
        self._client.close()

    def _listen_as_written(self) -> None:
        try:
            self._pubsub.listen(self.on_invalidation_message)  # which takes no argument
        except TypeError:
            self.handled.set()

    def _listen(self) -> None:
        while not self._over.is_set():
            try:
                message = self._pubsub.get_message(ignore_subscribe_messages=True, timeout=0.02)
            except redis.ConnectionError:  # redis-py subscribes again by itself, and says nothing
                continue
            if message is not None:
                self.on_invalidation_message(message)
