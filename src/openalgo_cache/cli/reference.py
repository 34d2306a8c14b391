"""The reference in docs/cli.md, made from the commands: ``python -m openalgo_cache.cli.reference`` prints it.

A command, an argument, an option or a field of ``--json`` without a description is an error, so that none gets into a
release.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from types import NoneType, UnionType
from typing import Annotated, Any, Final, Literal, Union, get_args, get_origin, get_type_hints, is_typeddict

from typer.core import TyperArgument, TyperGroup
from typer.main import get_command

from openalgo_cache.cli.app import SHAPES
from openalgo_cache.cli.commands import app
from openalgo_cache.cli.exits import MEANINGS

PROGRAM: Final = "openalgo-cache"

_JSON_TYPES: Final = {
    str: "string",
    int: "integer",
    float: "number",
    bool: "true or false",
    NoneType: "null",
    Any: "any value",
}
_SAME_EVERYWHERE: Final = frozenset({"--json", "--help"})


class UndocumentedError(Exception):
    """Something that a user meets has no description."""


def markdown() -> str:
    """Return the reference: global options, every command, the exit codes.

    Raises:
        UndocumentedError: Something has no description.
    """
    program: Any = get_command(app)
    lines = ["## Global options", "", *_table(program, "Option"), "## Commands", ""]
    lines += [f"- [`{words}`](#{words.replace(' ', '-')}): {_summary(command)}" for words, command in commands(program)]
    for words, command in commands(program):
        lines += ["", *_section(words, command)]
    lines += ["", "## Exit codes", "", "| Code | Meaning |", "|---|---|"]
    lines += [f"| {code.value} | {meaning} |" for code, meaning in MEANINGS.items()]
    return "\n".join(lines)


def commands(group: Any, before: str = "") -> Iterator[tuple[str, Any]]:
    """Yield what is typed for each command of a group, and the command."""
    for name, command in group.commands.items():
        words = f"{before} {name}".strip()
        if isinstance(command, TyperGroup):
            yield from commands(command, words)
        else:
            yield words, command


def fields(shape: Any, before: str = "") -> Iterator[tuple[str, str, str]]:
    """Yield the fields of what a command prints with ``--json``, nested ones by their path: name, type, meaning.

    Raises:
        UndocumentedError: A field has no description.
    """
    for name, hint in get_type_hints(shape, include_extras=True).items():
        if get_origin(hint) is not Annotated:
            raise UndocumentedError(f"the field {before}{name} of {shape.__name__} has no description")
        kind, meaning = get_args(hint)[:2]
        yield f"{before}{name}", json_type(kind), meaning
        inner = next((part for part in (kind, *get_args(kind)) if is_typeddict(part)), None)
        if inner is not None:
            yield from fields(inner, f"{before}{name}{'[]' if get_origin(kind) is list else ''}.")


def json_type(kind: Any) -> str:
    """Say a type in JSON's words."""
    origin, parts = get_origin(kind), get_args(kind)
    if origin in {Union, UnionType}:
        return " or ".join(json_type(part) for part in parts)
    if origin is Literal:
        return " or ".join(f'`"{part}"`' for part in parts)
    if origin is list:
        return f"list of {json_type(parts[0])}s"
    if origin is dict:
        return f"object of {json_type(parts[1])}s"
    return "object" if is_typeddict(kind) else _JSON_TYPES[kind]


def _section(words: str, command: Any) -> Iterator[str]:
    help_text, examples = command.help, command.epilog
    if words not in SHAPES or not help_text or not examples:
        raise UndocumentedError(f"the command {words!r} lacks its help, its examples or the shape of its JSON")
    yield from (f"### {words}", "", _prose(help_text), "")
    arguments = " ".join(_shown(parameter) for parameter in command.params if isinstance(parameter, TyperArgument))
    yield from ("```text", f"{PROGRAM} {words} [OPTIONS] {arguments}".rstrip(), "```", "")
    yield from _table(command, "Argument or option")
    yield from ("```sh", *(line.strip() for line in examples.splitlines() if line.strip().startswith(PROGRAM)), "```")
    yield from ("", "`--json` prints one object:", "", "| Field | Type | Meaning |", "|---|---|---|")
    yield from (f"| `{name}` | {kind} | {_cell(meaning)} |" for name, kind, meaning in fields(SHAPES[words]))


def _table(command: Any, heading: str) -> Iterator[str]:
    rows = []
    for parameter in command.params:
        shown = _shown(parameter)
        if not parameter.help:
            raise UndocumentedError(f"{shown} of {command.name!r} has no description")
        if not _SAME_EVERYWHERE.intersection(parameter.opts):
            valued = not isinstance(parameter, TyperArgument) and not parameter.is_flag
            name = f"{shown} {parameter.metavar}" if valued and parameter.metavar else shown
            shows_default = valued and parameter.show_default and parameter.default is not None
            default = f" Default: {parameter.default}." if shows_default else ""
            rows.append(f"| `{_cell(name)}` | {_cell(parameter.help)}{default} |")
    if rows:
        yield from (f"| {heading} | Meaning |", "|---|---|", *rows, "")


def _shown(parameter: Any) -> str:
    """Return how an argument or an option is typed."""
    return str(parameter.metavar) if isinstance(parameter, TyperArgument) else ", ".join(parameter.opts)


def _summary(command: Any) -> str:
    return _prose(command.help or "").partition("\n")[0]


def _prose(text: str) -> str:
    """Return a help text as Markdown: paragraphs in one line each."""
    return "\n\n".join(" ".join(paragraph.split()) for paragraph in text.split("\n\n"))


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


if __name__ == "__main__":
    sys.stdout.write(markdown() + "\n")
