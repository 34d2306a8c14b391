"""Lists of rights of Windows: read as its documentation has them, here where there is no Windows to ask."""

from __future__ import annotations

from pathlib import Path

import pytest

from openalgo_cache import accesslist
from openalgo_cache.accesslist import AccessList, parse, user_of

USER = "S-1-5-21-1004336348-1177238915-682003330-512"
CLOSED = f"D:PAI(A;OICI;FA;;;{USER})(A;OICI;FA;;;SY)(A;OICI;FA;;;BA)"
INHERITED = (
    f"D:AI(A;OICIID;FA;;;SY)(A;OICIID;FA;;;BA)(A;OICIID;FA;;;{USER})(A;OICIID;0x1200a9;;;BU)(A;ID;0x1301bf;;;AU)"
)


def saved(sddl: str, *, mark: bytes = b"") -> bytes:
    """Return what icacls writes for a folder named db."""
    return mark + f"db\r\n{sddl}\r\n".encode("utf-16-le")


@pytest.mark.parametrize(
    "sddl, inherits, strangers",
    [
        (CLOSED, False, []),
        (CLOSED.replace("PAI", "P"), False, []),
        (f"D:P(A;OICI;FA;;;{USER})(A;OICIIO;GA;;;CO)(A;;FA;;;OW)", False, []),
        (f"D:P(A;OICI;FA;;;{USER})(A;OICI;FA;;;S-1-5-18)(A;OICI;FA;;;S-1-5-32-544)", False, []),
        (INHERITED, True, ["AU", "BU"]),
        (CLOSED + "(A;OICI;0x1200a9;;;WD)", False, ["WD"]),
        (CLOSED + "(D;OICI;FA;;;BG)", False, []),
        (CLOSED + "(XA;OICI;FR;;;S-1-1-0;(a==1))", False, ["S-1-1-0"]),
        (CLOSED.replace("D:", "O:BAG:DUD:"), False, []),
        ("D:NO_ACCESS_CONTROL", False, ["everybody"]),
        ("D:P", False, []),
    ],
)
def test_lists(sddl: str, inherits: bool, strangers: list[str]) -> None:
    """Whoever is allowed something and is not the user, the system or an administrator is a stranger."""
    for mark in (b"", b"\xff\xfe"):
        found = parse(saved(sddl, mark=mark))
        assert (found.inherits, found.strangers(USER)) == (inherits, strangers)


@pytest.mark.parametrize("content", [b"", b"db", saved("nothing"), saved("S:P"), b"db\r\nD:P\r\n"])
def test_what_is_no_list(content: bytes) -> None:
    """Nothing is concluded from it."""
    with pytest.raises(ValueError, match=r"list|truncated|decode"):
        parse(content)


def test_the_user() -> None:
    """As whoami prints it; the name may be anything."""
    assert user_of(f'"machine\\a ""name"", S-1","{USER}"\r\n') == USER
    with pytest.raises(ValueError, match="no SID"):
        user_of("")


def test_setting_and_reading_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The list is set by SIDs, and a folder that is open all the same is refused."""
    asked: list[tuple[str, ...]] = []
    lists = [CLOSED, CLOSED + "(A;;FR;;;WD)"]

    def run(program: str, *arguments: str) -> str:
        asked.append((program, *arguments))
        if "/save" in arguments:
            Path(arguments[2]).write_bytes(saved(lists.pop(0)))
        return f'"a","{USER}"' if program == "whoami" else ""

    monkeypatch.setattr(accesslist, "_run", run)
    accesslist.close(tmp_path)
    grant = next(one for one in asked if "/grant:r" in one)
    assert grant[2:] == (
        *("/inheritance:r", "/grant:r"),
        *(f"*{sid}:(OI)(CI)F" for sid in (USER, "S-1-5-18", "S-1-5-32-544")),
        "/q",
    )
    with pytest.raises(PermissionError, match="still open to WD"):
        accesslist.close(tmp_path)


def test_everybody() -> None:
    """A missing list means that everybody may do everything."""
    assert AccessList(inherits=False, allowed=None).strangers(USER) == ["everybody"]
