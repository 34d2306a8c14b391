"""What a check finds."""

from __future__ import annotations

from openalgo_cache.cli.shapes.doctor import Check


def ok(check: str, what: str) -> Check:
    """Say that something is as it should be."""
    return Check(check=check, status="ok", what=what, fix=None)


def warning(check: str, what: str, fix: str) -> Check:
    """Say that something works but should be otherwise."""
    return Check(check=check, status="warning", what=what, fix=fix)


def error(check: str, what: str, fix: str) -> Check:
    """Say that something does not work, or soon will not."""
    return Check(check=check, status="error", what=what, fix=fix)
