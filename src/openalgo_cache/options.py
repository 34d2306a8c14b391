"""The options of ``get_cache``: what a caller may ask of a cache besides its name, and what becomes of its policy."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta
from typing import Literal, TypedDict

from openalgo_cache.catalogue import LONGEST_LOAD, Durability, Policy, Sealing
from openalgo_cache.errors import ConfigurationError
from openalgo_cache.expiry import Lifetime, expires_at


class Options(TypedDict, total=False):
    """What ``get_cache`` takes besides the name.

    Attributes:
        ttl: The lifetime of entries that are set without one.
        maxsize: The most entries; None for no bound.
        encrypted: Whether records are encrypted; signed otherwise.
        blinded: Whether the store gets keyed hashes in place of keys.
        backend: The backend's name, in place of the configured one.
        local: Whether the cache stays in this process, whatever the backend.
        on_error: ``"miss"`` or ``"raise"``: what a failing store means.
        stale_for: Seconds past its expiry for which a value may stand in for one that cannot be loaded; None for none.
        load_within: Seconds for which others wait for a loader, in case its process is paused or dead; 30 if left out.
    """

    ttl: Lifetime
    maxsize: int | None
    encrypted: bool | None
    blinded: bool
    backend: str
    local: bool
    on_error: Literal["miss", "raise"]
    stale_for: float | timedelta | None
    load_within: float | timedelta


def with_options(policy: Policy, name: str, options: Mapping[str, object]) -> Policy:
    """Return ``policy`` with a caller's options of ``get_cache`` worked in.

    Args:
        policy: The policy that the catalogue or the settings give.
        name: The cache's name, for messages.
        options: Some of :class:`Options`.

    Raises:
        ConfigurationError: An option is unknown, or contradicts what the catalogue demands.
    """
    _require_known(name, options)
    changes: dict[str, object] = {}
    if "ttl" in options:
        lifetime: Lifetime = options["ttl"]  # type: ignore[assignment]  # the next line refuses what is none
        expires_at(lifetime, 0.0)
        changes["lifetime"] = lifetime
    if "maxsize" in options:
        maxsize = options["maxsize"]
        if maxsize is not None and (type(maxsize) is not int or maxsize < 1):
            raise ConfigurationError(
                f"cache {name!r}: maxsize is a number from 1 up, or None for no bound, not {maxsize!r}"
            )
        changes["maxsize"] = None if policy.durability is Durability.STATE else maxsize
    if options.get("encrypted") is not None:
        if not options["encrypted"] and policy.sealing is Sealing.ENCRYPTED:
            raise ConfigurationError(
                f"cache {name!r} is encrypted by the catalogue or CACHE_ENCRYPTED_NAMES: leave encrypted=False out "
                "(CACHE_ENCRYPTION_ENABLED=false turns encryption off for all new records)"
            )
        if options["encrypted"]:
            changes["sealing"] = Sealing.ENCRYPTED
    if "blinded" in options:
        changes["blinded"] = bool(options["blinded"]) or policy.blinded
    if options.get("local"):
        if policy.durability is Durability.STATE:
            raise ConfigurationError(f"cache {name!r} is the only copy of what it holds: it cannot be local")
        changes["durability"] = Durability.LOCAL
        changes["sealing"] = Sealing.PLAIN
        changes["blinded"] = False
    if "on_error" in options:
        if options["on_error"] not in {"raise", "miss"}:
            raise ConfigurationError(f"cache {name!r}: on_error is 'raise' or 'miss', not {options['on_error']!r}")
        changes["raises"] = options["on_error"] == "raise" or policy.durability is Durability.STATE
    changed = replace(policy, **changes)  # type: ignore[arg-type]  # each value was checked above
    return _with_loads(changed, name, options)


def backend_asked(name: str, options: Mapping[str, object]) -> str | None:
    """Return the backend that a caller asks for; None for the configured one.

    Raises:
        ConfigurationError: That is no name.
    """
    backend = options.get("backend")
    if backend is not None and not isinstance(backend, str):
        raise ConfigurationError(
            f"get_cache({name!r}): backend is a name such as 'sqlite', not {type(backend).__name__}"
        )
    return backend


def _require_known(name: str, options: Mapping[str, object]) -> None:
    if unknown := sorted(set(options) - set(Options.__annotations__)):
        known = ", ".join(sorted(Options.__annotations__))
        raise ConfigurationError(f"get_cache({name!r}) has no option {', '.join(unknown)}: there are {known}")


def _with_loads(policy: Policy, name: str, options: Mapping[str, object]) -> Policy:
    """Return ``policy`` with the options about loading worked in."""
    if "load_within" in options:
        seconds = expires_at(options["load_within"], 0.0)  # type: ignore[arg-type]  # it refuses what is none
        if seconds is None or seconds > LONGEST_LOAD:
            raise ConfigurationError(f"cache {name!r}: load_within is at most {LONGEST_LOAD:g} seconds")
        policy = replace(policy, load_within=seconds)
    return _with_stale_for(policy, name, options["stale_for"]) if "stale_for" in options else policy


def _with_stale_for(policy: Policy, name: str, stale_for: object) -> Policy:
    """Return a policy by which expired values are served, unless what it is for must not be used past its expiry."""
    seconds = expires_at(stale_for, 0.0)  # type: ignore[arg-type]  # it refuses what is none
    if seconds is None:
        return policy
    secret = policy.sealing is Sealing.ENCRYPTED or policy.blinded
    if secret or policy.limit is not None or policy.durability is Durability.STATE:
        what = "is encrypted" if secret else "ends with the session" if policy.limit is not None else "holds state"
        raise ConfigurationError(
            f"cache {name!r} {what}, and what it holds must not be used past its expiry: leave stale_for out"
        )
    return replace(policy, stale_for=seconds)
