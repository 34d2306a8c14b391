"""What keeps the host from starting."""

from __future__ import annotations


class StartError(Exception):
    """The host cannot start; the message says why, and what to do about it."""
