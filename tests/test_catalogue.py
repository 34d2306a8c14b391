"""The application's caches: what each is like, what settings change, and what a caller may ask for."""

from __future__ import annotations

from dataclasses import FrozenInstanceError
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from openalgo_cache.catalogue import Durability, Policy, Sealing, catalogue, policy_of
from openalgo_cache.errors import ConfigurationError, InvalidLifetimeError
from openalgo_cache.expiry import earliest, expires_at
from openalgo_cache.options import with_options
from openalgo_cache.settings import Settings

NOON = datetime(2026, 1, 1, 6, 30, tzinfo=UTC).timestamp()  # in India
SESSION_END = datetime(2026, 1, 1, 21, 30, tzinfo=UTC).timestamp()  # 03:00 there

PLAIN, SIGNED, ENCRYPTED = Sealing.PLAIN, Sealing.SIGNED, Sealing.ENCRYPTED
CACHE, LOCAL, STATE, SNAPSHOT = Durability.CACHE, Durability.LOCAL, Durability.STATE, Durability.SNAPSHOT

TABLE: dict[str, tuple[float | None, int | None, Sealing, bool, Durability]] = {
    "auth": (SESSION_END - NOON, 1024, ENCRYPTED, True, CACHE),
    "feed_token": (SESSION_END - NOON, 1024, ENCRYPTED, True, CACHE),
    "broker": (300, 1024, ENCRYPTED, True, CACHE),
    "api_keys_verified": (36_000, 1024, ENCRYPTED, True, CACHE),
    "api_keys_invalid": (300, 512, PLAIN, False, LOCAL),
    "settings": (3_600, 10, SIGNED, False, CACHE),
    "strategy_webhook": (300, 5000, ENCRYPTED, True, CACHE),
    "user_strategies": (600, 1000, ENCRYPTED, False, CACHE),
    "symbols": (None, None, SIGNED, False, SNAPSHOT),
    "running_strategies": (None, None, ENCRYPTED, False, STATE),
    "strategy_configs": (None, None, ENCRYPTED, False, STATE),
    "strategy_state": (None, None, ENCRYPTED, False, STATE),
    "audit_heads": (None, None, SIGNED, False, STATE),
}


def seconds(policy: Policy, now: float = NOON) -> float | None:
    """Return how long an entry lives that is written now without a lifetime of its own."""
    ends = expires_at(earliest(policy.lifetime, policy.limit), now)
    return None if ends is None else ends - now


def test_there_are_eleven_and_two_of_our_own() -> None:
    """Those of the table, and no others: what strategies keep, and where the audit log ends, are ours."""
    assert set(catalogue(Settings())) == set(TABLE)


@pytest.mark.parametrize("name", TABLE)
def test_a_cache_of_the_application(name: str) -> None:
    """Lifetime, size, sealing, blinding and durability, as designed."""
    policy = policy_of(name, Settings())
    assert (seconds(policy), policy.maxsize, policy.sealing, policy.blinded, policy.durability) == TABLE[name]
    assert policy.raises is (policy.durability is STATE)


@pytest.mark.parametrize(
    "name, settings, expected",
    [
        ("auth", {"session_expiry_time": "15:30"}, 3.5 * 3_600),
        ("auth", {"auth_cache_ttl": 600.0}, 600),
        ("auth", {"auth_cache_ttl": 1e6}, SESSION_END - NOON),
        ("feed_token", {"auth_cache_ttl": 60.0}, 60),
        ("broker", {"broker_cache_ttl": 3_000.0}, 3_000),
        ("broker", {"broker_cache_ttl": None}, None),
        ("api_keys_verified", {"api_key_cache_ttl": 1e6}, SESSION_END - NOON),
        ("api_keys_verified", {"api_key_cache_ttl": None}, SESSION_END - NOON),
        ("api_keys_invalid", {"api_key_cache_ttl": 10.0}, 300),
        ("settings", {"settings_cache_ttl": 5.0}, 5),
        ("strategy_webhook", {"strategy_cache_ttl": 60.0}, 60),
        ("strategy_webhook", {"strategy_cache_ttl": 6_000.0}, 300),
        ("strategy_webhook", {"strategy_cache_ttl": None}, 300),
        ("user_strategies", {"strategy_cache_ttl": 60.0}, 60),
        ("symbols", {"symbol_cache_ttl": 60.0}, 60),
        ("quotes", {}, 3_600),
        ("quotes", {"sqlite_default_ttl": None}, None),
    ],
)
def test_settings_change_lifetimes(name: str, settings: dict[str, Any], expected: float | None) -> None:
    """Each variable its own caches; nothing outlives the session's end that must not."""
    assert seconds(policy_of(name, Settings(**settings))) == expected


def test_a_session_lives_until_the_next_morning_whenever_it_began() -> None:
    """Not a fixed number of seconds from when the application was started."""
    policy = policy_of("auth", Settings())
    assert seconds(policy, SESSION_END - 1) == 1
    assert seconds(policy, SESSION_END) == 86_400


def test_other_caches_are_signed_and_bounded() -> None:
    """What is not in the catalogue."""
    policy = policy_of("quotes", Settings())
    assert (policy.maxsize, policy.sealing, policy.durability, policy.raises) == (1024, SIGNED, CACHE, False)


@pytest.mark.parametrize(
    "listed, name, sealing",
    [
        ({"quotes"}, "quotes", ENCRYPTED),
        ({"quotes"}, "quotes_old", ENCRYPTED),
        ({"quotes"}, "quotesold", SIGNED),
        ({"quotes"}, "quotes-old", SIGNED),
        ({"quotes"}, "my_quotes", SIGNED),
        ({"quotes_"}, "quotes_old", SIGNED),
        ({"tokens"}, "tokens", ENCRYPTED),
        (set(), "auth", ENCRYPTED),
        ({"settings"}, "settings", ENCRYPTED),
        ({"api_keys"}, "api_keys_invalid", PLAIN),
    ],
)
def test_names_can_be_listed_to_be_encrypted(listed: set[str], name: str, sealing: Sealing) -> None:
    """A name, or a prefix of it that ends at an underscore; the list only adds."""
    assert policy_of(name, Settings(cache_encrypted_names=frozenset(listed))).sealing is sealing


def test_the_defaults_of_the_list() -> None:
    """The proposal's three."""
    settings = Settings()
    for name in ("auth", "api_keys", "api_keys_telegram", "tokens", "tokens_feed"):
        assert policy_of(name, settings).sealing is ENCRYPTED, name


@pytest.mark.parametrize("name", ["api_keys", "api_keys_old", "tokens", "telegram_users", "whatsapp_credentials"])
def test_names_that_tell_of_credentials(name: str) -> None:
    """Such caches are sealed as the catalogue's own, whatever the list says, and their keys are blinded, too."""
    policy = policy_of(name, Settings(cache_encrypted_names=frozenset()))
    assert (policy.sealing, policy.blinded) == (ENCRYPTED, True)


def test_a_name_that_cannot_be_one_is_refused() -> None:
    """Here as everywhere."""
    with pytest.raises(ConfigurationError):
        policy_of("../auth", Settings())


# What a caller may ask for


BASE = Policy()
STATE_POLICY = Policy(durability=STATE, sealing=ENCRYPTED, maxsize=None, raises=True)


@pytest.mark.parametrize(
    "options, changed",
    [
        ({}, {}),
        ({"ttl": 5}, {"lifetime": 5}),
        ({"ttl": None}, {"lifetime": None}),
        ({"ttl": timedelta(1)}, {"lifetime": timedelta(1)}),
        ({"maxsize": 5}, {"maxsize": 5}),
        ({"maxsize": None}, {"maxsize": None}),
        ({"encrypted": True}, {"sealing": ENCRYPTED}),
        ({"encrypted": False}, {}),
        ({"blinded": True}, {"blinded": True}),
        ({"local": True}, {"durability": LOCAL, "sealing": PLAIN}),
        ({"local": False}, {}),
        ({"on_error": "raise"}, {"raises": True}),
        ({"on_error": "miss"}, {"raises": False}),
    ],
    ids=repr,
)
def test_options_change_a_policy(options: dict[str, Any], changed: dict[str, Any]) -> None:
    """And only what they name."""
    policy = with_options(BASE, "quotes", options)
    for field in Policy.__dataclass_fields__:
        assert getattr(policy, field) == changed.get(field, getattr(BASE, field))


@pytest.mark.parametrize(
    "policy, options, message",
    [
        (BASE, {"maxsize": 0}, "maxsize"),
        (BASE, {"maxsize": -1}, "maxsize"),
        (BASE, {"maxsize": True}, "maxsize"),
        (BASE, {"maxsize": "5"}, "maxsize"),
        (BASE, {"maxsize": 1.5}, "maxsize"),
        (BASE, {"on_error": "ignore"}, "on_error"),
        (Policy(sealing=ENCRYPTED), {"encrypted": False}, "CACHE_ENCRYPTION_ENABLED"),
        (STATE_POLICY, {"local": True}, "only copy"),
    ],
    ids=repr,
)
def test_impossible_options(policy: Policy, options: dict[str, Any], message: str) -> None:
    """The message names the cache and the option."""
    with pytest.raises(ConfigurationError, match=message) as refused:
        with_options(policy, "quotes", options)
    assert "quotes" in str(refused.value)


def test_an_impossible_lifetime_is_refused_at_once() -> None:
    """Not only at the first ``set``."""
    with pytest.raises(InvalidLifetimeError):
        with_options(BASE, "quotes", {"ttl": 0})


def test_state_stays_state() -> None:
    """It has no bound and always raises, whatever is asked for."""
    policy = with_options(STATE_POLICY, "strategy_configs", {"maxsize": 5, "on_error": "miss"})
    assert (policy.maxsize, policy.raises) == (None, True)


def test_what_is_blinded_stays_blinded() -> None:
    """Options only add protection; unless the cache leaves the store altogether."""
    policy = Policy(sealing=ENCRYPTED, blinded=True)
    assert with_options(policy, "auth", {"blinded": False}).blinded
    assert not with_options(policy, "auth", {"local": True}).blinded


def test_a_policy_in_words() -> None:
    """For diagnostics; no value can be in it."""
    assert policy_of("auth", Settings(auth_cache_ttl=600.0)).describe() == {
        "lifetime": "600 s, or until 03:00 Asia/Kolkata",
        "maxsize": 1024,
        "sealing": "encrypted",
        "blinded keys": True,
        "durability": "cache",
        "on_error": "miss",
        "stale for": "never",
        "load within": "5 s",
    }


def test_a_policy_does_not_change() -> None:
    """Caches share it."""
    with pytest.raises(FrozenInstanceError):
        BASE.maxsize = 5  # type: ignore[misc]
