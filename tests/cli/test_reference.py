"""docs/cli.md has every command, and no page names one that is not there."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import Annotated, TypedDict

import pytest
import typer
from typer.main import get_command

from openalgo_cache.cli import reference
from openalgo_cache.cli.app import SHAPES
from openalgo_cache.cli.commands import app
from openalgo_cache.cli.exits import MEANINGS, Code

ROOT = Path(__file__).resolve().parent.parent.parent
WORDS = [words for words, _ in reference.commands(get_command(app))]


def test_the_page_is_fresh() -> None:
    """A command that was added or changed without `make docs-check ARGS=--write` fails here, too."""
    assert reference.markdown() in (ROOT / "docs" / "cli.md").read_text(encoding="utf-8")


def test_every_command_is_there() -> None:
    """The commands are those that are promised."""
    assert set(WORDS) == {
        "info", "stats", "get", "set", "delete", "list", "clear", "copy", "export", "import", "use", "doctor",
        "encrypt-files", "keys list", "keys create", "keys add", "keys activate", "keys verify",
        "keys rotate", "keys retire",
        "symbols import", "symbols search", "symbols show", "symbols generate", "symbols status", "symbols sync",
        "audit verify", "audit tail", "audit search",
        "access list", "access check",
    }  # fmt: skip
    assert set(SHAPES) == set(WORDS)


def test_every_exit_code_has_its_meaning() -> None:
    """The enumeration and the table say the same."""
    assert set(MEANINGS) == set(Code)


class Bare(TypedDict):
    """A shape with a field that nobody described."""

    described: Annotated[str, "well"]
    bare: int


def test_what_is_not_documented_fails() -> None:
    """No help, an option without words, a field without a meaning: none gets into the reference."""
    with pytest.raises(reference.UndocumentedError, match="bare"):
        list(reference.fields(Bare))
    for words, documented in (("silent", False), ("option", True)):
        stray = typer.Typer(rich_markup_mode=None)

        def command(hidden_meaning: str = "") -> None:
            """Do something."""

        stray.command(words, epilog="openalgo-cache x", help="Do it." if documented else None)(command)
        stray.callback()(lambda: None)
        (only,) = reference.commands(get_command(stray))
        with pytest.raises(reference.UndocumentedError):
            list(reference._section(*only) if not documented else reference._table(only[1], "Option"))


def mentioned() -> list[tuple[str, str]]:
    """Return what the pages show as commands of ours: (page, line)."""
    found = []
    for page in sorted({*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), ROOT / ".env.example"}):
        text = page.read_text(encoding="utf-8")
        code = [match[1] for match in re.finditer(r"`(openalgo-cache [^`\n]+)`", text)]
        code += re.findall(r"^(openalgo-cache [^\n]+)$", text, re.MULTILINE)
        found += [(page.name, line) for line in code]
    return found


def test_pages_name_only_commands_that_exist() -> None:
    """`openalgo-cache ...` in any page is a command, with options that it has."""
    seen = mentioned()
    assert len(seen) > 30
    program = get_command(app)
    known = dict(reference.commands(program))
    for page, line in seen:
        words = shlex.split(line.partition(" #")[0].partition(" <")[0])[1:]
        while words and words[0].startswith("-"):
            words = words[2 if words[0] == "--env-file" else 1 :]
        if not words:
            continue
        if words[0] not in known and len(words) == 1:
            continue  # a group as such
        name = words[0] if words[0] in known else " ".join(words[:2])
        assert name in known, f"{page}: {line}"
        options = {option for parameter in known[name].params for option in parameter.opts} | {"--help"}
        used = {word for word in words if re.fullmatch(r"--[a-z-]+", word)}
        assert used <= options, f"{page}: {line}"
