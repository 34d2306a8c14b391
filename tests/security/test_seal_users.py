"""Who uses a key of the ring is known, and what of theirs is attacked where."""

from __future__ import annotations

import ast
from pathlib import Path

import openalgo_cache
from tests.security.kinds import USERS

SOURCES = Path(openalgo_cache.__file__).parents[1]
TELLING = {"AESGCM", "subkey", "sealing_subkey", "RingSeal", "hmac", "Fernet", "ChaCha20Poly1305", "HKDF"}
"""Names whose use in a call means that something is sealed, signed, hashed with a key, or verified."""


def uses_a_key(source: str) -> bool:
    """Return whether a module calls anything that needs a key."""
    for node in ast.walk(ast.parse(source)):
        if not isinstance(node, ast.Call):
            continue
        names = {part.attr for part in ast.walk(node.func) if isinstance(part, ast.Attribute)}
        names |= {part.id for part in ast.walk(node.func) if isinstance(part, ast.Name)}
        keyed = "blake2b" in names and any(keyword.arg == "key" for keyword in node.keywords)
        if keyed or names & TELLING:
            return True
    return False


def test_every_user_of_a_key_is_listed() -> None:
    """A new module that seals anything fails here until ``kinds.py`` says what it is and where it is attacked."""
    users = {
        path.relative_to(SOURCES).as_posix()
        for path in sorted(SOURCES.rglob("*.py"))
        if uses_a_key(path.read_text(encoding="utf-8"))
    }
    assert users - USERS.keys() == set(), "say in tests/security/kinds.py what it seals, and attack it"
    assert USERS.keys() - users == set(), "nothing is sealed there any more"


def test_the_look_finds_users() -> None:
    """It would not say that all is well of a module that does all of it."""
    for call in ("AESGCM(key)", "ring.subkey('x', b'')", "hmac.new(a, b, c)", "blake2b(key=x)", "a.sealing_subkey(1)"):
        assert uses_a_key(f"def f():\n    return {call}\n")
    assert not uses_a_key("import hmac\nhashlib.blake2b(digest_size=3)\n")
