"""A variable is declared once, as the field of a dataclass; reading, redaction and the reference follow from it."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from openalgo_cache.settings.parsers import Parser

T = TypeVar("T")


@dataclasses.dataclass(slots=True, eq=False, repr=False)
class Variable:
    """An environment variable.

    Attributes:
        name: Its name; the attribute of the settings is the same in lower case.
        parser: How it is read.
        default: Its value where it is not set.
        help: What it does, in a sentence or two.
        section: The heading that it begins in the reference; empty for the section of the one before.
        not_yet: Why it has no effect in this version; empty if it acts.
        twin: The attribute whose value it takes where it is not set.
        aliases: Other names that are read in its place.
    """

    name: str
    parser: Parser[Any]
    default: Any
    help: str
    section: str
    not_yet: str
    twin: str
    aliases: tuple[str, ...]


def variable(  # noqa: PLR0913  # they are the columns of a table
    default: T,
    parser: Parser[T],
    help: str,  # noqa: A002  # the word that argparse and typer use
    *,
    section: str = "",
    not_yet: str = "",
    twin: str = "",
    aliases: tuple[str, ...] = (),
) -> T:
    """Declare a variable as the default of a field; the arguments are those of :class:`Variable`."""
    declaration = {
        "parser": parser,
        "default": default,
        "help": help,
        "section": section,
        "not_yet": not_yet,
        "twin": twin,
        "aliases": aliases,
    }
    field: T = dataclasses.field(default=default, metadata=declaration)
    return field


def variables_of(settings: type) -> tuple[Variable, ...]:
    """Return the variables that a dataclass declares, in their order."""
    return tuple(
        Variable(name=field.name.upper(), **field.metadata) for field in dataclasses.fields(settings) if field.metadata
    )
