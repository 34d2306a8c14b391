"""The program: its global options, how commands join it, and how it ends."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from shutil import get_terminal_size
from typing import Annotated, Any, Final, TypeVar

import typer
from typer.core import TyperGroup

from openalgo_cache.cli.exits import Code, code_of

_WIDEST_HELP: Final = 96
_ROWS_SHOWN: Final = 20


class Program(TyperGroup):
    """The group of all commands, which turns errors into one clear line and an exit code."""

    def main(  # noqa: D102  # see typer
        self,
        args: Sequence[str] | None = None,
        prog_name: str | None = None,
        complete_var: str | None = None,
        standalone_mode: bool = True,  # noqa: FBT001, FBT002  # typer's own signature
        windows_expand_args: bool = False,  # noqa: FBT001, FBT002  # a key such as NIFTY* is no file
        **extra: Any,
    ) -> Any:
        given = list(sys.argv[1:] if args is None else args)
        extra.setdefault("terminal_width", min(get_terminal_size().columns, _WIDEST_HELP) - 1)
        as_json = "--json" in given[: given.index("--")] if "--" in given else "--json" in given
        for stream in (sys.stdout, sys.stderr):
            if hasattr(stream, "reconfigure"):  # a console that lacks a character gets its number, not a traceback
                stream.reconfigure(errors="backslashreplace")
        try:
            ended = super().main(given, prog_name, complete_var, False, windows_expand_args, **extra)
            code = Code(ended) if isinstance(ended, int) else Code.OK
        except Exception as error:  # noqa: BLE001  # the top of the program: every error becomes a line and a code
            code = _report(error, as_json=as_json)
        if standalone_mode:
            sys.exit(code)
        return code


def _report(error: Exception, *, as_json: bool) -> Code:
    """Say on stderr what went wrong, and return the exit code."""
    if isinstance(error, typer.Abort):
        code, kind, message = Code.NO, "Declined", "nothing was done"
    elif isinstance(error, typer.TyperException):
        code, kind, message = Code.USAGE, "UsageError", error.format_message()
        if not as_json and hasattr(error, "show"):
            error.show()
            return code
    else:
        code, kind, message = code_of(error), type(error).__name__, str(error)
        if isinstance(error, OSError) and error.strerror is not None:
            message = f"{error.filename}: {error.strerror}" if error.filename is not None else error.strerror
    if as_json:
        if code is Code.BUG:  # nobody knows what its message holds
            message = "this was not foreseen; without --json there is a traceback"
        report: dict[str, Any] = {"type": kind, "message": message}
        if (problems := getattr(error, "problems", None)) is not None:
            report["problems"] = [{"row": row, "problem": problem} for row, problem in problems]
        sys.stderr.write(json.dumps({"error": report}) + "\n")
    elif code is Code.BUG:
        import traceback  # noqa: PLC0415  # only where something unforeseen happened

        traceback.print_exception(error)
    else:
        from openalgo_cache.cli.output import printable  # noqa: PLC0415  # brings rich, which a good end may not need

        lines = [*f"error: {message}".splitlines(), *_rows(getattr(error, "problems", []))]
        sys.stderr.write("\n".join(map(printable, lines)) + "\n")
    return code


def _rows(problems: Sequence[tuple[int, str]]) -> list[str]:
    """Return a line for each of the first bad rows of a file."""
    lines = [f"  row {row}: {problem}" for row, problem in problems[:_ROWS_SHOWN]]
    if len(problems) > _ROWS_SHOWN:
        lines.append("  and more; --json lists up to 1,000")
    return lines


def _version(asked: bool) -> None:  # noqa: FBT001  # typer's own signature
    if asked:
        from importlib.metadata import version  # noqa: PLC0415  # slow to import, and only needed here

        sys.stdout.write(f"openalgo-cache {version('openalgo-cache')}\n")
        raise typer.Exit


app = typer.Typer(
    name="openalgo-cache",
    cls=Program,
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,  # the plain help needs no rich, which would take longer to load than all the rest
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="Every command takes --json and --help; docs/cli.md describes them all.",
)


@app.callback()
def _start(
    context: typer.Context,
    *,
    env_file: Annotated[
        Path | None,
        typer.Option(
            "--env-file",
            metavar="PATH",
            help="Read the settings from this file, not from .env in the current folder.",
            show_default=False,
        ),
    ] = None,
    version: Annotated[  # noqa: ARG001  # its callback has done all
        bool, typer.Option("--version", help="Print the version.", callback=_version, is_eager=True)
    ] = False,
) -> None:
    """Look after the caches of an application: what is in them, where they are, what is wrong."""
    context.obj = env_file


SHAPES: Final[dict[str, type]] = {}
"""What each command prints with ``--json``, by the command's words."""

Function = TypeVar("Function", bound=Callable[..., None])


def command(group: typer.Typer, words: str, shape: type, *examples: str) -> Callable[[Function], Function]:
    """Make a decorator that adds a function to a group as a command.

    Args:
        group: The program, or a group of it.
        words: What is typed for the command, the group's name included.
        shape: What it prints with ``--json``.
        examples: What its help shows, each without the program's name.
    """

    def add(function: Function) -> Function:
        SHAPES[words] = shape
        lines = "\n".join(f"  openalgo-cache {example}" for example in examples)
        # \b keeps the lines as they are.
        return group.command(words.rsplit(maxsplit=1)[-1], epilog=f"\b\nExamples:\n{lines}")(function)

    return add
