"""Who may use a folder on Windows, which has no modes: a list of rights, set and read back by ``icacls``.

Names of users and groups are different in every language of Windows, so that SIDs are used throughout. The list is read
in the form in which ``icacls /save`` writes it, UTF-16 with the path in one line and SDDL in the next
(https://learn.microsoft.com/windows/win32/secauthz/security-descriptor-string-format). Written by that description; not
yet run on Windows.
"""

from __future__ import annotations

import os
import re
import subprocess
import tempfile
from pathlib import Path
from typing import Final, NamedTuple

_SYSTEM: Final = "S-1-5-18"
_ADMINISTRATORS: Final = "S-1-5-32-544"
_ABBREVIATIONS: Final = {"SY": _SYSTEM, "BA": _ADMINISTRATORS, "CO": "S-1-3-0", "OW": "S-1-3-4"}
"""Of SDDL, for those who may be there; whoever else has one may not."""
_OF_THE_OWNER: Final = frozenset({"S-1-3-0", "S-1-3-4"})
_ALLOWING: Final = frozenset({"A", "OA", "XA"})
_LIST: Final = re.compile(r"D:([A-Z_]*)((?:\(.*\))?)(?:S:.*)?$")
_ENTRY: Final = re.compile(r"\(([A-Z]+);[^;()]*;[^;()]*;[^;()]*;[^;()]*;([^;()]+)")
"""Its kind, and whom it is about; a condition may follow."""
_SECONDS: Final = 30.0


class AccessList(NamedTuple):
    """A list of rights.

    Attributes:
        inherits: Whether those of the folder above count, too.
        allowed: The SIDs of all who may do something, or what SDDL calls them; None if everybody may do everything.
    """

    inherits: bool
    allowed: frozenset[str] | None

    def strangers(self, user: str) -> list[str]:
        """Return who may do something besides a user, the system and the administrators, sorted."""
        if self.allowed is None:
            return ["everybody"]
        return sorted(self.allowed - _OF_THE_OWNER - {user, _SYSTEM, _ADMINISTRATORS})


def parse(saved: bytes) -> AccessList:
    """Read what ``icacls /save`` wrote about one path.

    Raises:
        ValueError: It is no such list.
    """
    text = saved.decode("utf-16" if saved[:2] in {b"\xff\xfe", b"\xfe\xff"} else "utf-16-le")
    lines = [line for line in text.splitlines() if line.strip()]
    match = _LIST.search(lines[1]) if len(lines) == 2 else None
    if match is None:
        raise ValueError("no list of rights")
    flags, entries = match.groups()
    if flags.endswith("NO_ACCESS_CONTROL"):
        return AccessList(inherits=False, allowed=None)
    allowed = {_ABBREVIATIONS.get(who, who) for kind, who in _ENTRY.findall(entries) if kind in _ALLOWING}
    return AccessList(inherits="P" not in flags, allowed=frozenset(allowed))


def user_of(told: str) -> str:
    """Read the SID in what ``whoami /user /fo csv /nh`` prints.

    Raises:
        ValueError: There is none.
    """
    if (match := re.search(r'"(S-1-[0-9-]+)"\s*$', told)) is None:
        raise ValueError("no SID")
    return match[1]


def read(folder: Path) -> list[str]:
    """Return who may use a folder besides its user, the system and the administrators.

    Raises:
        OSError: That cannot be told.
    """
    with tempfile.TemporaryDirectory() as nowhere:
        saved = Path(nowhere) / "saved"
        _run("icacls", str(folder), "/save", str(saved), "/q")
        try:
            return parse(saved.read_bytes()).strangers(_user())
        except ValueError:
            raise OSError(None, "who may use it cannot be told", str(folder)) from None


def close(folder: Path) -> None:
    """Close a folder, and what will be made in it, to everybody but its user, the system and the administrators.

    Raises:
        OSError: It cannot be closed, or is not closed after all.
    """
    rights = [f"*{sid}:(OI)(CI)F" for sid in (_user(), _SYSTEM, _ADMINISTRATORS)]
    _run("icacls", str(folder), "/inheritance:r", "/grant:r", *rights, "/q")
    if strangers := read(folder):
        raise PermissionError(None, f"it is still open to {', '.join(strangers)}", str(folder))


def _user() -> str:
    try:
        return user_of(_run("whoami", "/user", "/fo", "csv", "/nh"))
    except ValueError:
        raise OSError(None, "whoami does not say who we are") from None


def _run(program: str, *arguments: str) -> str:
    """Run a program of Windows', by its place: another one of that name may be in the path."""
    place = Path(os.environ.get("SYSTEMROOT", r"C:\Windows")) / "System32" / f"{program}.exe"
    try:
        done = subprocess.run(  # noqa: S603  # a program of the system, with arguments of ours
            [place, *arguments], capture_output=True, text=True, errors="replace", timeout=_SECONDS, check=False
        )
    except subprocess.TimeoutExpired:
        raise OSError(None, f"{program} does not end") from None
    if done.returncode != 0:
        raise OSError(None, f"{program} failed with {done.returncode}")
    return done.stdout
