"""Private files: mode, atomicity and who wins a race."""

from __future__ import annotations

import contextlib
import errno
import os
import stat
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from openalgo_cache import files
from tests.patching import patch_here

if TYPE_CHECKING:
    from collections.abc import Iterator

posix_only = pytest.mark.skipif(sys.platform == "win32", reason="Windows has no file modes")

PROCESSES = 10
ROUNDS = 20


def mode_of(path: Path) -> int:
    """Return the permission bits of ``path``."""
    return stat.S_IMODE(path.stat().st_mode)


def names_in(folder: Path) -> list[str]:
    """Return what lies in ``folder``, hidden files too."""
    return sorted(path.name for path in folder.iterdir())


@pytest.fixture
def open_umask() -> Iterator[None]:
    """Set the most permissive umask, so that a mode that only the umask tightened shows."""
    before = os.umask(0)
    yield
    os.umask(before)


# Folders


@posix_only
@pytest.mark.usefixtures("open_umask")
def test_a_created_folder_and_its_created_parents_are_private(tmp_path: Path) -> None:
    """Every folder that did not exist is 0700, not only the last."""
    files.ensure_folder(tmp_path / "a" / "b" / "c")
    assert [mode_of(tmp_path / part) for part in ("a", "a/b", "a/b/c")] == [0o700] * 3


@posix_only
def test_a_folder_that_exists_keeps_its_mode(tmp_path: Path) -> None:
    """A folder of the user's is left as it is."""
    folder = tmp_path / "shared"
    folder.mkdir()
    folder.chmod(0o755)
    files.ensure_folder(folder)
    assert mode_of(folder) == 0o755


def test_a_folder_may_be_ensured_again(tmp_path: Path) -> None:
    """The second call changes nothing and raises nothing."""
    files.ensure_folder(tmp_path / "db")
    files.ensure_folder(tmp_path / "db")
    assert (tmp_path / "db").is_dir()


def test_a_file_in_the_way_of_a_folder_is_an_error(tmp_path: Path) -> None:
    """A file where the folder should be, or where a parent should be, is named in the error."""
    (tmp_path / "db").write_text("")
    for wanted in (tmp_path / "db", tmp_path / "db" / "cache"):
        with pytest.raises(NotADirectoryError, match="db"):
            files.ensure_folder(wanted)


def test_a_relative_folder_is_created_in_the_working_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A relative path works without a parent part."""
    monkeypatch.chdir(tmp_path)
    files.ensure_folder(Path("db"))
    assert (tmp_path / "db").is_dir()


# New files


@posix_only
@pytest.mark.usefixtures("open_umask")
def test_a_new_file_is_private_before_its_first_byte(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """At each write the open file has mode 0600 already, whatever the umask."""
    seen: list[int] = []
    real_write = os.write

    def spying_write(descriptor: int, data: memoryview) -> int:
        seen.append(stat.S_IMODE(os.fstat(descriptor).st_mode))
        return real_write(descriptor, data)

    patch_here(monkeypatch, os, "write", spying_write)
    assert files.write_private_new(tmp_path / "new", b"first")
    files.replace_private(tmp_path / "new", b"second")
    assert seen == [0o600, 0o600]
    assert mode_of(tmp_path / "new") == 0o600


def test_a_new_file_is_created_once(tmp_path: Path) -> None:
    """The second call reports that the file is there and leaves it untouched."""
    path = tmp_path / "ring"
    assert files.write_private_new(path, b"mine") is True
    assert files.write_private_new(path, b"yours") is False
    assert path.read_bytes() == b"mine"
    assert names_in(tmp_path) == ["ring"]


def test_an_empty_file_can_be_created(tmp_path: Path) -> None:
    """No bytes are a content too."""
    assert files.write_private_new(tmp_path / "empty", b"")
    assert (tmp_path / "empty").read_bytes() == b""


def test_a_dangling_link_counts_as_an_existing_file(tmp_path: Path) -> None:
    """A link that leads nowhere is not followed, so nothing is created at its target."""
    (tmp_path / "ring").symlink_to(tmp_path / "elsewhere")
    assert files.write_private_new(tmp_path / "ring", b"mine") is False
    assert not (tmp_path / "elsewhere").exists()


def test_short_writes_are_continued(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A system that takes three bytes at a time still ends with the whole content."""
    real_write = os.write
    patch_here(monkeypatch, os, "write", lambda descriptor, data: real_write(descriptor, data[:3]))
    files.write_private_new(tmp_path / "ring", b"0123456789")
    assert (tmp_path / "ring").read_bytes() == b"0123456789"


def test_a_full_disk_leaves_neither_file_nor_temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The error is passed on, the target does not exist, and an older file stands as it was."""
    (tmp_path / "old").write_bytes(b"old")

    def full(descriptor: int, data: object) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    patch_here(monkeypatch, os, "write", full)
    with pytest.raises(OSError, match="No space left"):
        files.write_private_new(tmp_path / "new", b"content")
    with pytest.raises(OSError, match="No space left"):
        files.replace_private(tmp_path / "old", b"content")
    assert names_in(tmp_path) == ["old"]
    assert (tmp_path / "old").read_bytes() == b"old"


def test_a_missing_folder_is_an_error(tmp_path: Path) -> None:
    """The folder is the caller's matter: it is not created in passing."""
    with pytest.raises(FileNotFoundError):
        files.write_private_new(tmp_path / "none" / "ring", b"mine")


@posix_only
def test_a_file_system_without_hard_links_keeps_the_promise(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where ``link`` is refused (FAT, some mounts), creation is still exclusive and leaves nothing behind."""

    def refuse(source: object, target: object) -> None:
        raise PermissionError(errno.EPERM, "Operation not permitted")

    patch_here(monkeypatch, os, "link", refuse)
    assert files.write_private_new(tmp_path / "ring", b"mine") is True
    assert files.write_private_new(tmp_path / "ring", b"yours") is False
    assert (tmp_path / "ring").read_bytes() == b"mine"
    assert names_in(tmp_path) == ["ring"]


CONTENDER = """
import errno, os, sys
from pathlib import Path
from openalgo_cache import files

folder, number, hard_links = Path(sys.argv[1]), sys.argv[2].encode(), sys.argv[3]
if hard_links == "no":
    def refuse(source, target):
        raise PermissionError(errno.EPERM, "Operation not permitted")
    os.link = refuse
print("ready", flush=True)
for turn in sys.stdin:
    path = folder / f"ring-{turn.strip()}"
    created = files.write_private_new(path, number + b"x" * 50_000)
    read = path.read_bytes()  # more than a page: half a file would be noticed
    print(created, read.rstrip(b"x").decode(), len(read.lstrip(b"0123456789")), flush=True)
"""


def tell(process: subprocess.Popen[str], line: str) -> None:
    """Send one line to a process."""
    assert process.stdin is not None
    process.stdin.write(line)
    process.stdin.flush()


def hear(process: subprocess.Popen[str]) -> str:
    """Wait for one line of a process; the test's own time limit ends a wait in vain."""
    assert process.stdout is not None
    return process.stdout.readline().strip()


@pytest.mark.parametrize("hard_links", ["yes", pytest.param("no", marks=posix_only)])
def test_ten_processes_that_start_at_once_agree_on_one_file(tmp_path: Path, hard_links: str) -> None:
    """In every round exactly one process creates the file, and all ten read that one's whole content at once."""
    environment = os.environ | {"PYTHONPATH": str(Path(files.__file__).parents[1])}
    with contextlib.ExitStack() as stack:
        contenders = [
            stack.enter_context(
                subprocess.Popen(
                    [sys.executable, "-c", CONTENDER, str(tmp_path), str(number), hard_links],
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    text=True,
                    env=environment,
                )
            )
            for number in range(PROCESSES)
        ]
        assert [hear(contender) for contender in contenders] == ["ready"] * PROCESSES
        for turn in range(ROUNDS):
            for contender in contenders:
                tell(contender, f"{turn}\n")
            answers = [hear(contender) for contender in contenders]
            winners = [number for number, answer in enumerate(answers) if answer.startswith("True")]
            assert len(winners) == 1
            assert {answer.split(" ", 1)[1] for answer in answers} == {f"{winners[0]} 50000"}
    assert len(list(tmp_path.iterdir())) == ROUNDS


# Replacing


@posix_only
def test_replacing_makes_a_file_private(tmp_path: Path) -> None:
    """A file that others could read is 0600 after it was replaced."""
    path = tmp_path / "record"
    path.write_bytes(b"old")
    path.chmod(0o644)
    files.replace_private(path, b"new")
    assert (path.read_bytes(), mode_of(path)) == (b"new", 0o600)
    assert names_in(tmp_path) == ["record"]


def test_replacing_creates_a_missing_file(tmp_path: Path) -> None:
    """No older file is needed."""
    files.replace_private(tmp_path / "record", b"new")
    assert (tmp_path / "record").read_bytes() == b"new"


# Examining


@posix_only
@pytest.mark.parametrize("mode", [0o600, 0o400, 0o700])
def test_a_private_file_passes(tmp_path: Path, mode: int) -> None:
    """Whatever only the owner may do is fine."""
    path = tmp_path / "ring"
    path.write_bytes(b"")
    path.chmod(mode)
    assert files.check_private(path) is None


@posix_only
@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o602, 0o666])
def test_a_file_open_to_others_is_found_with_the_fix(tmp_path: Path, mode: int) -> None:
    """Reading and writing by the group or by everybody are findings that name the file and the command."""
    path = tmp_path / "ring"
    path.write_bytes(b"")
    path.chmod(mode)
    finding = files.check_private(path)
    assert finding is not None
    assert f"{mode:04o}" in finding
    assert f"chmod 600 {path}" in finding


@posix_only
def test_a_folder_open_to_others_is_found_with_the_fix(tmp_path: Path) -> None:
    """A folder needs its x bit, so the advice is 700."""
    tmp_path.chmod(0o755)
    assert f"chmod 700 {tmp_path}" in (files.check_private(tmp_path) or "")


@posix_only
def test_a_file_of_somebody_else_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever owns the file can change it, so its mode does not help."""
    path = tmp_path / "ring"
    files.write_private_new(path, b"")
    owner = path.stat().st_uid
    monkeypatch.setattr(os, "geteuid", lambda: owner + 1)
    assert f"belongs to user id {owner}" in (files.check_private(path) or "")


@posix_only
@pytest.mark.skipif(sys.platform == "win32" or os.geteuid() != 0, reason="needs a file that belongs to root")
@pytest.mark.parametrize("mode, accepted", [(0o600, True), (0o440, True), (0o444, False), (0o660, False)])
def test_a_file_of_root_is_accepted_where_allowed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mode: int, accepted: bool
) -> None:
    """A mounted secret may belong to root and be readable by our group, but not by everybody."""
    path = tmp_path / "secret"
    path.write_bytes(b"")
    path.chmod(mode)
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert files.check_private(path) is not None
    assert (files.check_private(path, allow_root_owner=True) is None) is accepted


def test_a_missing_path_cannot_be_examined(tmp_path: Path) -> None:
    """The caller asked about a file that should be there."""
    if sys.platform != "win32":
        with pytest.raises(FileNotFoundError):
            files.check_private(tmp_path / "none")
