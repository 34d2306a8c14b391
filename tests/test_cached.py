"""The decorator: which calls share an entry, and what it makes of functions."""

from __future__ import annotations

import asyncio
import functools
import inspect
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from openalgo_cache.cache import Cache
from openalgo_cache.errors import ConfigurationError, InvalidKeyError, UnsupportedValueError
from openalgo_cache.testing import FakeClock
from tests.stacks import manager


@pytest.fixture
def clock() -> FakeClock:
    """A clock to turn."""
    return FakeClock()


@pytest.fixture
def cache(tmp_path: Path, clock: FakeClock) -> Iterator[Cache]:
    """A cache in memory."""
    house = manager(tmp_path, clock, "memory")
    yield house.get_cache("quotes", ttl=100)
    house.close()


class Calls(list[Any]):
    """What a function was called with."""

    def __call__(self, *args: Any, **kwargs: Any) -> int:
        """Note a call, and return which one it was."""
        self.append((args, kwargs))
        return len(self)


@pytest.fixture
def calls() -> Calls:
    """Nothing so far."""
    return Calls()


def test_a_key_is_made_of_the_parameters(cache: Cache, calls: Calls) -> None:
    """By name, however they are passed; what is not in the key does not matter."""

    @cache.cached(key="{exchange}:{symbol}")
    def quote(symbol: str, exchange: str = "NSE", *, verbose: bool = False) -> int:
        return calls(symbol, exchange, verbose)

    assert [quote("SBIN"), quote(symbol="SBIN"), quote("SBIN", "NSE"), quote("SBIN", verbose=True)] == [1] * 4
    assert quote("SBIN", "BSE") == 2
    assert sorted(cache.keys()) == ["BSE:SBIN", "NSE:SBIN"]


def test_a_key_may_look_into_its_parameters(cache: Cache, calls: Calls) -> None:
    """Attributes, items and format specifications, as in any format string."""

    @cache.cached(key="{user.id:05d}/{order[symbol]}/{{braces}}")
    def fees(user: Any, order: dict[str, str]) -> int:
        return calls(user, order)

    assert fees(SimpleNamespace(id=7), {"symbol": "SBIN", "side": "BUY"}) == 1
    assert fees(SimpleNamespace(id=7), {"symbol": "SBIN", "side": "SELL"}) == 1
    assert list(cache.keys()) == ["00007/SBIN/{braces}"]


@pytest.mark.parametrize("template", ["{nobody}", "{}", "{0}", "{user} {nobody.id}"])
def test_a_key_that_names_no_parameter_is_refused_at_once(cache: Cache, template: str) -> None:
    """Where the function is defined, not at its first call; the message says which there are."""

    def load(user: str) -> str:
        return user

    with pytest.raises(ConfigurationError, match="has only user"):
        cache.cached(key=template)(load)


def test_without_a_key_all_arguments_count(cache: Cache, calls: Calls) -> None:
    """Defaults are arguments, too; by position or by name is one."""

    @cache.cached()
    def add(a: int, b: int = 2, *, c: int = 3) -> int:
        return calls(a, b, c)

    assert [add(1), add(1, 2), add(a=1, b=2), add(1, c=3)] == [1] * 4
    assert [add(2), add(1, 3), add(1, c=4)] == [2, 3, 4]


def test_arguments_of_different_types_are_different(cache: Cache, calls: Calls) -> None:
    """1 is not True, nor "1"."""

    @cache.cached()
    def show(value: Any) -> int:
        return calls(value)

    values = [1, True, "1", b"1", (1,), ("1",), None, ()]
    assert [show(value) for value in values] == list(range(1, len(values) + 1))
    assert [show(value) for value in values] == list(range(1, len(values) + 1))


def test_positional_and_named_extras_are_kept_apart(cache: Cache, calls: Calls) -> None:
    """``f("a", 1)`` is not ``f(a=1)``."""

    @cache.cached()
    def anything(*args: Any, **kwargs: Any) -> int:
        return calls(*args, **kwargs)

    variants: list[tuple[tuple[Any, ...], dict[str, Any]]] = [
        ((), {}),
        (("a", 1), {}),
        ((), {"a": 1}),
        ((("a", 1),), {}),
        (((("a", 1),),), {}),
        (("b",), {"a": 1}),
        (("b", "a", 1), {}),
        ((), {"a": 1, "b": 2}),
    ]
    assert [anything(*args, **kwargs) for args, kwargs in variants] == list(range(1, len(variants) + 1))
    assert anything(b=2, a=1) == len(variants), "the order of named ones does not count"


def test_functions_are_kept_apart(cache: Cache) -> None:
    """By their qualified names, where no key is given."""

    class First:
        @staticmethod
        @cache.cached()
        def name(value: str) -> str:
            return f"first {value}"

    class Second:
        @staticmethod
        @cache.cached()
        def name(value: str) -> str:
            return f"second {value}"

    assert [First.name("x"), Second.name("x"), First.name("x")] == ["first x", "second x", "first x"]


def test_arguments_that_are_no_keys_are_refused(cache: Cache) -> None:
    """A method's ``self``, a float, a list: give a key that is made of something else."""

    class Service:
        @cache.cached()
        def load(self) -> int:
            return 1

        @cache.cached(key="service {number}")
        def load_number(self, number: float) -> float:
            return number

    with pytest.raises(InvalidKeyError):
        Service().load()
    assert Service().load_number(1.5) == 1.5
    assert list(cache.keys()) == ["service 1.5"]


def test_lifetimes(cache: Cache, clock: FakeClock, calls: Calls) -> None:
    """The decorator's own, or the cache's; a changed entry is loaded again only when it has gone."""

    @cache.cached("short {x}", ttl=timedelta(seconds=10))
    def short(x: int) -> int:
        return calls(x)

    @cache.cached("own {x}")
    def own(x: int) -> int:
        return calls(x)

    assert [short(1), own(1)] == [1, 2]
    clock.advance(10)
    assert [short(1), own(1)] == [3, 2]
    clock.advance(90)
    assert [short(1), own(1)] == [4, 5]


def test_an_entry_can_be_dropped_by_its_key(cache: Cache, calls: Calls) -> None:
    """As any other of the cache."""

    @cache.cached("user {user_id}")
    def profile(user_id: int) -> int:
        return calls(user_id)

    assert profile(7) == 1
    cache.delete("user 7")
    assert profile(7) == 2


def test_what_is_returned_is_the_callers_own(cache: Cache) -> None:
    """Changing it does not change what the next caller gets."""

    @cache.cached("x")
    def load() -> dict[str, list[int]]:
        return {"a": [1]}

    load()["a"].append(2)
    load()["a"].append(3)
    assert load() == {"a": [1]}


def test_none_is_a_result(cache: Cache, calls: Calls) -> None:
    """A function that found nothing is not asked again."""

    @cache.cached("x")
    def load() -> None:
        calls()

    assert [load(), load()] == [None, None]
    assert len(calls) == 1


def test_a_result_that_cannot_be_kept_is_an_error(cache: Cache) -> None:
    """Not a function that is silently called each time."""

    @cache.cached("x")
    def load() -> object:
        return object()

    with pytest.raises(UnsupportedValueError):
        load()


def test_wrong_arguments_raise_what_the_function_would(cache: Cache) -> None:
    """A TypeError, and nothing is kept."""

    @cache.cached("{x}")
    def load(x: int) -> int:
        return x

    with pytest.raises(TypeError):
        load()
    with pytest.raises(TypeError):
        load(1, 2)
    assert cache.size() == 0


def test_the_function_keeps_its_face(cache: Cache) -> None:
    """Name, docstring, signature, and whether it is a coroutine function."""

    @cache.cached("{x}")
    def plain(x: int) -> int:
        """Return x."""
        return x

    @cache.cached("{x}")
    async def waiting(x: int) -> int:
        """Await x."""
        return x

    assert (plain.__name__, plain.__doc__) == ("plain", "Return x.")
    assert (waiting.__name__, waiting.__doc__) == ("waiting", "Await x.")
    assert inspect.iscoroutinefunction(waiting)
    assert not inspect.iscoroutinefunction(plain)
    assert asyncio.run(waiting(5)) == asyncio.run(waiting(x=5)) == 5
    assert list(cache.keys()) == ["5"]


def test_other_callables_can_be_wrapped(cache: Cache, calls: Calls) -> None:
    """A partial function has no name that a key could begin with: it needs a key of its own."""

    def load(a: str, b: str) -> int:
        return calls(a, b)

    partial = cache.cached("partial {b}")(functools.partial(load, "x"))
    with pytest.raises(ConfigurationError, match="give a key"):
        cache.cached()(functools.partial(load, "x"))
    with pytest.raises(ConfigurationError, match="the function has only b"):
        cache.cached("{nobody}")(functools.partial(load, "x"))
    assert [partial("y"), partial("y"), partial("z")] == [1, 1, 2]
