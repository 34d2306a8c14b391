"""Who calls the API."""

from __future__ import annotations

from typing import NamedTuple

from openalgo_host.leases import Lease


class Caller(NamedTuple):
    """Who calls.

    Attributes:
        user_id: The user's number.
        lease: What the key of a strategy's run is bound to; None for a user's own.
    """

    user_id: int
    lease: Lease | None = None
