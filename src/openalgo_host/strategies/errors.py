"""Why a strategy cannot be had."""

from __future__ import annotations


class RefusedStrategyError(Exception):
    """It cannot be like that, or not now; the message is for the user."""


class UnknownStrategyError(Exception):
    """The user has no such strategy."""
