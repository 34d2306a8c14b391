"""What ``access`` says: which modules may use which caches, and why."""

from __future__ import annotations

from typing import TYPE_CHECKING

from openalgo_cache.cli.exits import Code
from openalgo_cache.cli.output import Column, Pen, show
from openalgo_cache.cli.session import Session
from openalgo_cache.cli.shapes.access import AccessListed, Allowed, Granted
from openalgo_cache.policy.callers import is_own
from openalgo_cache.policy.rules import RIGHTS, Grant, Right

if TYPE_CHECKING:
    from pathlib import Path


def list_rules(env_file: Path | None, *, as_json: bool) -> None:
    """Show the rules.

    Args:
        env_file: Where the settings are read from.
        as_json: Whether to print JSON.
    """
    with Session(env_file, quiet=True) as session:
        rules = session.manager.access_rules()
    report = AccessListed(rules=None, caches=[], default=_granted("", Grant.of(("*",))))
    if rules is not None:
        caches = [_granted(name, grant) for name, grant in sorted(rules.caches.items())]
        report = AccessListed(rules=rules.name, caches=caches, default=_granted("", rules.default))
    show(report, lambda pen: _draw(pen, report), as_json=as_json)


def check(env_file: Path | None, name: str, module: str, *, as_json: bool) -> Code:
    """Say what a module may do with a cache.

    Args:
        env_file: Where the settings are read from.
        name: The cache.
        module: The module.
        as_json: Whether to print JSON.
    """
    with Session(env_file, quiet=True) as session:
        rules = session.manager.access_rules()
    own = is_own(module)
    grant = Grant.of(("*",)) if rules is None else rules.grant(name)
    why: dict[Right, str | None] = {right: None if own else grant.pattern(module, right) for right in RIGHTS}
    report = Allowed(
        cache=name,
        module=module,
        rules=None if rules is None else rules.name,
        read=own or why["read"] is not None,
        write=own or why["write"] is not None,
        clear=own or why["clear"] is not None,
        patterns={right: pattern for right, pattern in why.items() if pattern is not None},
    )

    def draw(pen: Pen) -> None:
        if rules is None:
            pen.line("There are no access rules (CACHE_ACCESS_RULES): every module may use every cache.")
            return
        for right in RIGHTS:
            if own:
                pen.line(f"{right}: yes, as a part of openalgo-cache that acts for itself")
            elif (pattern := why[right]) is not None:
                pen.line(f"{right}: yes, by the pattern {pattern}")
            else:
                pen.line(f"{right}: no, only {grant.describe(right)}")
        pen.line(f"The rules are {rules.name}.", "dim")

    show(report, draw, as_json=as_json)
    return Code.OK if report["read"] and report["write"] and report["clear"] else Code.NO


def _granted(name: str, grant: Grant) -> Granted:
    return Granted(cache=name, read=list(grant.read), write=list(grant.write), clear=list(grant.clear))


def _draw(pen: Pen, report: AccessListed) -> None:
    if report["rules"] is None:
        pen.line("There are no access rules (CACHE_ACCESS_RULES): every module may use every cache.")
        return
    pen.line(f"The rules are {report['rules']}. What they do not allow is denied.")
    columns = [Column("cache"), Column("read", flexible=True), Column("write", flexible=True)]
    columns.append(Column("clear", flexible=True))
    rows = [*report["caches"], Granted(**{**report["default"], "cache": "(every other)"})]
    pen.line()
    pen.table(columns, [(row["cache"], *(_listed(row[right]) for right in RIGHTS)) for row in rows])


def _listed(patterns: list[str]) -> str:
    return ", ".join(patterns) or "nobody"
