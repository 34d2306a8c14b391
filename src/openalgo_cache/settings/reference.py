"""The reference of the variables, made from their declarations: tables for a page, and ``.env.example``."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator
from pathlib import Path

from openalgo_cache.settings.model import VARIABLES
from openalgo_cache.settings.variables import Variable

_WIDTH = 100

_HEAD = """\
Settings of openalgo-cache. Copy this file to .env in the folder where the application starts, and change what you \
need: every line below says what holds anyway. docs/configuration.md explains how it is read.

Variables of the process win over this file. An empty variable counts as not set."""

_UNITS = ((86_400, "day"), (3_600, "hour"), (60, "minute"))

_COMMENTED_OUT = {"CACHE_BACKEND": "sqlite"}
"""Lines that would change something by being there: a named backend ends the automatic choice."""


def markdown() -> str:
    """Return a heading and a table for each section."""
    lines: list[str] = []
    for section, variables in _sections():
        lines += [f"### {section}", ""]
        lines += ["| Variable | Default | Accepts | What it does |", "|---|---|---|---|"]
        lines += [_row(variable) for variable in variables]
        lines.append("")
    return "\n".join(lines)


def env_example() -> str:
    """Return the text of ``.env.example``: every variable, with its default."""
    lines = _comment(_HEAD)
    for section, variables in _sections():
        lines += ["", "#" + "-" * (_WIDTH - 1), f"# {section}", "#" + "-" * (_WIDTH - 1)]
        for variable in variables:
            lines += ["", *_comment(variable.help)]
            if not variable.twin:
                lines += _comment(f"Accepts: {variable.parser.accepts}{_in_words(variable, '; {} is {}')}")
            lines += _comment(_not_yet(variable)) if variable.not_yet else []
            if variable.name in _COMMENTED_OUT:
                lines.append(f"# {variable.name}={_COMMENTED_OUT[variable.name]}")
            else:
                lines.append(f"{variable.name}={_default(variable)}")
    return "\n".join(lines) + "\n"


def _sections() -> Iterator[tuple[str, list[Variable]]]:
    """Yield each heading with its variables."""
    starts = [position for position, variable in enumerate(VARIABLES) if variable.section]
    for start, end in zip(starts, [*starts[1:], len(VARIABLES)], strict=True):
        yield VARIABLES[start].section, list(VARIABLES[start:end])


def _row(variable: Variable) -> str:
    default = _default(variable)
    shown = (
        f"`{default}`{_in_words(variable, ' ({1})')}"
        if default
        else f"that of {variable.twin.upper()}"
        if variable.twin
        else "not set"
    )
    name = f"`{variable.name}`" + "".join(f", or `{alias}`" for alias in variable.aliases)
    text = f"{variable.help} *{_not_yet(variable)}*" if variable.not_yet else variable.help
    cells = (name, shown, variable.parser.accepts, text)
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def _default(variable: Variable) -> str:
    if isinstance(variable.default, Path):
        return variable.default.as_posix()
    return variable.parser.show(variable.default)


def _in_words(variable: Variable, form: str) -> str:
    """Return the default in minutes, hours or days, where it is a number of seconds that is hard to read."""
    if variable.parser.accepts.startswith("seconds") and (variable.default or 0) > 60:
        size, unit = next((size, unit) for size, unit in _UNITS if variable.default % size == 0)
        count = variable.default // size
        return form.format(variable.default, f"{count} {unit}{'' if count == 1 else 's'}")
    return ""


def _not_yet(variable: Variable) -> str:
    return f"Read and checked, but without effect in this version: {variable.not_yet}."


def _comment(text: str) -> list[str]:
    lines = [line for paragraph in text.splitlines() for line in textwrap.wrap(paragraph, _WIDTH - 2) or [""]]
    return [f"# {line}".rstrip() for line in lines]
