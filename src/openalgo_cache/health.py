"""How a cache is: what its handle knows without asking, and, if that is wanted, what one look at the store says."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Final, Literal, TypedDict

from openalgo_cache.coherence.near import UNTRUSTED
from openalgo_cache.coherence.streamed import StreamedTier
from openalgo_cache.errors import BackendUnavailableError, CacheError

if TYPE_CHECKING:
    from openalgo_cache.handle import Handle
    from openalgo_cache.stack import Stack

Status = Literal["healthy", "degraded", "unavailable"]

_BEST_FIRST: Final[tuple[Status, ...]] = ("healthy", "degraded", "unavailable")


class Health(TypedDict):
    """How one cache is.

    Attributes:
        status: ``healthy``; ``degraded``: it works, and something needs attention; ``unavailable``: its store fails, so
            reads are misses or raise.
        reason: What is wrong, in words; None if nothing is.
        backend: The backend's name; None if the cache was never used.
        since: When the present outage began, seconds since the epoch; None if there is none.
        failed_operations: How many failed since the process began.
        last_error: The class of the last failure; None if there was none.
        pending_deletes: How many deletes that failed are still to be carried out.
        near: ``serving``; ``bypassed`` while invalidations cannot be heard; ``off`` where there is no near tier.
    """

    status: Status
    reason: str | None
    backend: str | None
    since: float | None
    failed_operations: int
    last_error: str | None
    pending_deletes: int
    near: Literal["serving", "bypassed", "off"]


class Healths(TypedDict):
    """How all caches of a manager are.

    Attributes:
        status: That of the cache that is worst.
        reason: Its reason, with its name; None if nothing is wrong.
        caches: Each cache that was asked for.
    """

    status: Status
    reason: str | None
    caches: dict[str, Health]


class Trouble:
    """What a handle remembers of its store's failures.

    Attributes:
        since: When the present outage began, seconds since the epoch; None if there is none.
        told: Whether its beginning was logged.
        last_error: The class of the last failure.
    """

    __slots__ = ("last_error", "since", "told")

    def __init__(self) -> None:
        self.since: float | None = None
        self.told = False
        self.last_error: str | None = None


def health_of(cache: Handle, *, probe: bool) -> Health:
    """Return how a cache is; never raises.

    Args:
        cache: The cache.
        probe: Whether to read one key from its store first, which opens it if need be.
    """
    problem = _probe(cache) if probe else None
    stack, trouble = cache._stack, cache._trouble
    health = Health(
        status="healthy",
        reason=problem,
        backend=None if stack is None else stack.backend_name,
        since=trouble.since,
        failed_operations=cache._counters.errors,
        last_error=trouble.last_error,
        pending_deletes=0 if stack is None else stack.pending_deletes(),
        near="off" if stack is None else _near(stack),
    )
    if problem is not None or cache._outage:
        health["status"] = "unavailable"
        health["reason"] = problem or "its store fails"
    elif stack is not None and (reason := _blemish(stack)) is not None:
        health["status"], health["reason"] = "degraded", reason
    return health


def healths_of(caches: Iterable[Handle], *, probe: bool) -> Healths:
    """Return how all of some caches are (see :func:`health_of`); a probe opens none that was never used."""
    healths = {cache.name: health_of(cache, probe=probe and cache._stack is not None) for cache in caches}
    report = Healths(status="healthy", reason=None, caches=healths)
    for name, health in healths.items():
        if _BEST_FIRST.index(health["status"]) > _BEST_FIRST.index(report["status"]):
            report["status"], report["reason"] = health["status"], f"cache {name}: {health['reason']}"
    return report


def _probe(cache: Handle) -> str | None:
    """Look at the store; return what is wrong with it, in words."""
    try:
        stack = cache._opened()
        stack.backend.get(f"{stack.keyspace.prefix}!h")  # no key that anybody could store
    except CacheError as error:
        if cache._stack is not None and isinstance(error, BackendUnavailableError):
            cache._note_failure(error)
        cache._trouble.last_error = type(error).__name__
        return str(error)
    if cache._outage:
        cache._recovered()
    return None


def _blemish(stack: Stack) -> str | None:
    """Return what is wrong with a cache whose store answers."""
    if stack.ring is not None and stack.ring.problem is not None:
        return stack.ring.problem
    if stack.lost is None:
        return None
    journal = stack.lost.journal
    if pending := stack.pending_deletes():
        return f"{pending} lost {'delete is' if pending == 1 else 'deletes are'} still to be carried out"
    if journal.problem is not None:
        return f"deletes that fail cannot be noted on the disk: {journal.problem}"
    if journal.damaged:
        return f"{journal.damaged} notes of lost deletes cannot be read"
    return None


def _near(stack: Stack) -> Literal["serving", "bypassed", "off"]:
    if not stack.near.keeps:
        return "off"
    return "bypassed" if isinstance(stack.near, StreamedTier) and stack.near.words is UNTRUSTED else "serving"
