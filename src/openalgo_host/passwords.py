"""How passwords and keys are hashed."""

from __future__ import annotations

from argon2 import PasswordHasher


def make_hasher() -> PasswordHasher:
    """Make what hashes and verifies: Argon2id with the parameters of RFC 9106 for machines with little memory."""
    return PasswordHasher()
