"""From the environment and ``.env`` to the values of the variables, with everything that is wrong with them."""

from __future__ import annotations

import enum
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from openalgo_cache.settings.findings import HIDDEN, Finding, shown
from openalgo_cache.settings.parsers import InvalidTextError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from openalgo_cache.settings.variables import Variable

DOTENV_VARIABLE: Final = "OPENALGO_CACHE_ENV_FILE"
"""Names the file to read in place of ``.env`` in the current folder."""

_OUR_PREFIXES = ("CACHE_", "SQLITE_", "REDIS_", "VALKEY_", "SYMBOL_CACHE_")
_TYPO_LIKENESS = 0.82  # finds REDIS_PASS and CACHE_ENCRYPT_ENABLED, but not what Kubernetes and Flask-Caching set


class Search(enum.Enum):
    """Stands for "look for the file"."""

    SEARCH = enum.auto()


SEARCH: Final = Search.SEARCH


@dataclass(slots=True, eq=False, repr=False)
class Reading:
    """What was read.

    Attributes:
        values: The values that could be read, by attribute.
        sources: ``environment`` or ``.env``, by variable, for those.
        findings: Everything that is wrong or doubtful.
        unreadable: The variables that are set to something that could not be read.
        dotenv_path: The file that was read.
        base_folder: Where relative paths start.
    """

    values: dict[str, Any] = field(default_factory=dict)
    sources: dict[str, str] = field(default_factory=dict)
    findings: list[Finding] = field(default_factory=list)
    unreadable: set[str] = field(default_factory=set)
    dotenv_path: Path | None = None
    base_folder: Path = field(default_factory=Path.cwd)


def read_variables(variables: Sequence[Variable], environ: Mapping[str, str], dotenv: Path | Search | None) -> Reading:
    """Read ``variables``; a variable that is empty, or blank, is unset and looked for in the next place.

    Args:
        variables: What to read.
        environ: The environment, which wins.
        dotenv: The file; None for none; SEARCH for the one that OPENALGO_CACHE_ENV_FILE names, else ``.env`` in the
            current folder if there is one.
    """
    reading = Reading()
    assigned = _read_file(reading, environ, dotenv)
    places = (("environment", environ), (".env", assigned))
    for variable in variables:
        given = list(_given(variable, places))
        if given:
            name, text, source = given[0]
            _warn_of_others(reading, variable, given)
            _take(reading, variable, name, text, source)
    known = {name for variable in variables for name in (variable.name, *variable.aliases)}
    reading.findings += _typos(known, {**assigned, **environ})
    return reading


def _read_file(reading: Reading, environ: Mapping[str, str], dotenv: Path | Search | None) -> dict[str, str]:
    """Read the file, if there is one, and return its assignments."""
    named = environ.get(DOTENV_VARIABLE, "").strip() if dotenv is SEARCH else ""
    path = Path(named).expanduser() if named else Path(".env") if isinstance(dotenv, Search) else dotenv
    # A virtual environment may be a folder called .env: what was not asked for by name must be a file to count.
    if path is None or (dotenv is SEARCH and not named and not path.is_file()):
        return {}
    from openalgo_cache.settings.dotenv import read_dotenv  # noqa: PLC0415  # only needed where there is a file

    path = path.absolute()
    try:
        file = read_dotenv(path)
    except UnicodeError:
        reading.findings.append(Finding(str(path), "", "is not UTF-8 text", "Save it as UTF-8"))
        return {}
    except OSError as error:
        problem = f"cannot be read ({error.strerror})"
        who = DOTENV_VARIABLE if named else str(path)
        reading.findings.append(Finding(who, shown(named), problem, "Correct the path, or let this user read the file"))
        return {}
    reading.dotenv_path, reading.base_folder = path, path.parent
    for line in file.unreadable_lines:
        problem = "is neither NAME=value nor a comment, and is ignored"
        fix = "Correct it, or put # before it; a quoted value needs its closing quote"
        reading.findings.append(Finding(f"{path.name}:{line}", "", problem, fix, "warning"))
    return file.values


def _given(variable: Variable, places: Sequence[tuple[str, Mapping[str, str]]]) -> Iterator[tuple[str, str, str]]:
    """Yield name, text and source of each place where the variable, or another name for it, is set."""
    for source, texts in places:
        for name in (variable.name, *variable.aliases):
            text = texts.get(name, "")
            if text.strip():
                yield name, text, source


def _warn_of_others(reading: Reading, variable: Variable, given: list[tuple[str, str, str]]) -> None:
    """Warn where two names of one variable say different things in one place."""
    name, text, source = given[0]
    for other, other_text, other_source in given[1:]:
        if other_source == source and other_text != text:
            problem = f"says something else than {name}, another name for the same"
            reading.findings.append(
                Finding(other, _shown(variable, other_text), problem, f"Keep {name} alone", "warning")
            )


def _take(reading: Reading, variable: Variable, name: str, text: str, source: str) -> None:
    """Read one text and note the value, or what is wrong with it."""
    value = _shown(variable, text)
    if source == ".env" and "${" in text:
        problem = "holds ${, which stands for itself: no other variable is put in its place"
        reading.findings.append(Finding(name, value, problem, "Write the value itself, if that was meant", "warning"))
    try:
        parsed = variable.parser.parse(text.strip())
    except InvalidTextError as error:
        reading.unreadable.add(variable.name)
        reading.findings.append(Finding(name, value, error.problem, error.fix))
    else:
        reading.values[variable.name.lower()] = parsed
        reading.sources[variable.name] = source


def _shown(variable: Variable, text: str) -> str:
    """Return a text as it may be shown; a URL or a log-in that strayed into another variable may hold a password."""
    strayed = "://" in text or ":" in text.partition("@")[0] != text
    return HIDDEN if variable.parser.confidential or strayed else shown(text)


def _typos(known: set[str], texts: Mapping[str, str]) -> Iterator[Finding]:
    """Yield a warning for each variable that looks like a misspelt one of ours; what it holds is not shown."""
    strangers = [name for name in texts if name not in known and name.upper().startswith(_OUR_PREFIXES)]
    if not strangers:
        return
    from difflib import get_close_matches  # noqa: PLC0415  # slow to import, and rarely needed

    for name in sorted(strangers):
        for meant in get_close_matches(name.upper(), known, n=1, cutoff=_TYPO_LIKENESS):
            yield Finding(name, "", "is not a variable of the cache", f"Did you mean {meant}?", "warning")
