"""Code execution would show here: bytes that run something in a reader that trusts them, and ears for it."""

from __future__ import annotations

import secrets
import sys
from pathlib import Path
from typing import Any, Final, Self

_TELLING: Final = frozenset(
    {"compile", "exec", "os.exec", "os.posix_spawn", "os.system", "os.mkdir", "subprocess.Popen"}
)
"""Audit events that mean that bytes of ours were run, if their arguments name the canary."""

_UNPICKLING: Final = "pickle.find_class"
_listening: Final[list[Canary]] = []
_ears: Final[list[bool]] = []


class Canary:
    """A folder that appears if any of its baits is run, in whatever process.

    Args:
        folder: An existing folder.
    """

    def __init__(self, folder: Path) -> None:
        self._word = f"canary-{secrets.token_hex(8)}"
        self._song = folder / self._word
        self._heard: list[str] = []

    @property
    def sang(self) -> bool:
        """Whether code ran, or was about to."""
        return self._song.exists() or bool(self._heard)

    def __repr__(self) -> str:
        return f"<Canary, heard {self._heard}, {'there' if self._song.exists() else 'no'} song>"

    def hush(self) -> None:
        """Forget what was heard."""
        self._heard.clear()
        if self._song.exists():
            self._song.rmdir()

    @property
    def pickles(self) -> dict[str, bytes]:
        """Pickles that run something when they are loaded, written by hand: no one needs the module for it."""
        path = str(self._song)
        statement = f"__import__('os').mkdir({path!r})"
        short = path.encode()
        return {
            "a call": b"cos\nmkdir\n(S" + repr(path).encode() + b"\ntR.",
            "a call, protocol 4": b"\x80\x04\x8c\x02os\x8c\x05mkdir\x93\x8c" + bytes([len(short)]) + short + b"\x85R.",
            "a shell": b"cos\nsystem\n(S" + repr(f"mkdir {path}").encode() + b"\ntR.",
            "exec": b"cbuiltins\nexec\n(S" + repr(statement).encode() + b"\ntR.",
        }

    @property
    def baits(self) -> dict[str, bytes]:
        """What other trusting readers would run: of text, YAML, jsonpickle, and MessagePack with types of its own."""
        path = str(self._song)
        statement = f"__import__('os').mkdir({path!r})"
        call = b"\x92\xa8os.mkdir\x91" + _packed(path)
        return {
            "text for eval": statement.encode(),
            "text for a template": f"{{{{ {statement} }}}}".encode(),
            "YAML": f"!!python/object/apply:os.mkdir [{path}]".encode(),
            "jsonpickle": f'{{"py/reduce": [{{"py/function": "os.mkdir"}}, {{"py/tuple": ["{path}"]}}]}}'.encode(),
            **{f"MessagePack, type {number}": _extension(number, call) for number in (0, 1, 5, 6, 12, 42, 127)},
            **{f"pickle in MessagePack: {name}": _packed(body) for name, body in self.pickles.items()},
        }

    def __enter__(self) -> Self:
        if not _ears:
            sys.addaudithook(_hear)  # for good: there is no way to take one away
            _ears.append(True)
        _listening.append(self)
        return self

    def __exit__(self, *_: object) -> None:
        _listening.remove(self)

    def hear(self, event: str, arguments: tuple[Any, ...]) -> None:
        """Listen to an audit event."""
        if event == _UNPICKLING or (event in _TELLING and self._word in repr(_told(arguments))):
            self._heard.append(event)


def _hear(event: str, arguments: tuple[Any, ...]) -> None:
    if _listening and (event in _TELLING or event == _UNPICKLING):
        for canary in _listening:
            canary.hear(event, arguments)


def _told(arguments: tuple[Any, ...]) -> list[Any]:
    """Return the arguments of an event, and what a code object among them holds."""
    return [getattr(one, "co_consts", one) for one in arguments]


def _packed(value: str | bytes) -> bytes:
    body = value.encode() if isinstance(value, str) else value
    return (b"\xd9" if isinstance(value, str) else b"\xc4") + bytes([len(body)]) + body


def _extension(number: int, body: bytes) -> bytes:
    return b"\xc7" + bytes([len(body), number]) + body
