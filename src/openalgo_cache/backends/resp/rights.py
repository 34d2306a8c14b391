"""The rights that a user of a server needs for the caches, and no more."""

from __future__ import annotations

from typing import Final

COMMANDS: Final = (
    *("ping", "hello", "client|tracking", "select"),
    *("get", "set", "mget", "getrange", "unlink", "watch", "unwatch", "multi", "exec", "scan", "info"),
    *("wait", "asking", "cluster|slots"),  # behind Sentinels and in a cluster
)
COMMANDS_OF_ANNOUNCERS: Final = ("pexpire", "publish", "subscribe")
"""What is needed besides where the server may not tell which keys changed."""


def patterns(key_prefix: str) -> tuple[str, ...]:
    """Return the patterns of keys that are the caches' own, with and without a namespace."""
    return f"~{key_prefix}:*", f"~{key_prefix}@*"


def acl_line(user: str, password: str, key_prefix: str = "openalgo") -> str:
    """Return the line of an access control list that gives a user these rights."""
    keys = " ".join(patterns(key_prefix))
    commands = " ".join(f"+{command}" for command in COMMANDS)
    return f"user {user} on >{password} {keys} resetchannels -@all {commands}"
