"""Who is behind a call: through threads, greenlets, decorators, loaders and what stands between."""

from __future__ import annotations

import asyncio
import copy
import pickle  # noqa: TID251  # that a handle refuses it
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from openalgo_cache import AccessDeniedError, copy_cache, export_caches, on_behalf_of
from openalgo_cache.cache import Cache
from openalgo_cache.manager import CacheManager
from openalgo_cache.policy.callers import NOBODY, Caller, calling
from openalgo_cache.wrappers import AuditCacheWrapper
from tests.policy.modules import FRIEND, STRANGER, await_as, ruled, run_as

OWNER = "blueprints.auth"
RULES = f"""
default = ['{FRIEND}', '{STRANGER}', '{__name__}']
[caches]
auth = ['{OWNER}']
"""


@pytest.fixture
def house(tmp_path: Path) -> Iterator[CacheManager]:
    """A manager with one cache that only its owner may use."""
    house = ruled(tmp_path, RULES)
    yield house
    house.close()


@pytest.fixture
def auth(house: CacheManager) -> Cache:
    """That cache, with an entry."""
    auth = house.get_cache("auth")
    run_as(OWNER, "auth['user'] = 'token'", auth=auth)
    return auth


@pytest.fixture
def other(house: CacheManager) -> Cache:
    """A cache that the stranger may use, too."""
    return house.get_cache("quotes")


# What the frames say


@pytest.mark.parametrize("module", ["auth", "plugins.auth", "blueprints.auth.plugins", "blueprintsXauth", "__main__"])
def test_modules_of_like_names_are_told_apart(auth: Cache, module: str) -> None:
    """Their whole dotted names count, also after the other one was let in."""
    for _ in range(2):
        assert run_as(OWNER, "result = auth.get('user')", auth=auth) == "token"
        with pytest.raises(AccessDeniedError):
            run_as(module, "auth.get('user')", auth=auth)


def test_a_handle_that_was_imported_by_name_is_judged(auth: Cache) -> None:
    """It does not matter who asked for it first, or holds it: who calls is judged."""
    owner = run_as(OWNER, "import types\nresult = types.SimpleNamespace(cache=auth)", auth=auth)
    with pytest.raises(AccessDeniedError):
        run_as(STRANGER, "cache = owner.cache\ncache.get('user')", owner=owner)
    with pytest.raises(AccessDeniedError):
        run_as(STRANGER, "get = owner.cache.get\nget('user')", owner=owner)


def test_a_function_of_the_owner_acts_as_the_owner(auth: Cache) -> None:
    """That is the way in for everybody else."""
    lookup = run_as(OWNER, "def result(name): return auth.get(name)", auth=auth)
    assert run_as(STRANGER, "result = lookup('user')", lookup=lookup) == "token"


@pytest.mark.parametrize(
    "source",
    [
        "list(map(auth.get, ['user']))",
        "sorted(['user'], key=auth.get)",
        "import functools\nfunctools.partial(auth.get, 'user')()",
        "import operator\noperator.getitem(auth, 'user')",
        "import contextlib\nwith contextlib.ExitStack() as stack:\n    stack.callback(auth.get, 'user')",
        "import collections\ncollections.ChainMap({}, auth)['user']",
        "exec('auth.get(\"user\")', {'auth': auth})",
    ],
)
def test_the_standard_library_acts_for_who_called_it(auth: Cache, source: str) -> None:
    """Its frames are passed over."""
    run_as(OWNER, source, auth=auth)
    with pytest.raises(AccessDeniedError) as denied:
        run_as(STRANGER, source, auth=auth)
    assert denied.value.module == STRANGER


def test_a_caller_in_words() -> None:
    """Module and function, and for whom it acts."""

    class Inner:
        def ask(self) -> Caller:
            return calling()

    name = f"{__name__}.test_a_caller_in_words.<locals>.Inner.ask"
    assert str(Inner().ask()) == name
    with on_behalf_of(OWNER):
        assert str(Inner().ask()) == f"{OWNER} (by {name})"
    assert str(run_as(STRANGER, "result = calling()", calling=calling)) == STRANGER


# What the library itself calls


@pytest.mark.parametrize(
    "source",
    [
        "other.get_or_set('x', partial(auth.get, 'user'))",
        "other.set_many({'x': 1} | dict(zip('y', map(auth.get, ['user']))))",
        "other.get_many(map(auth.get, ['user']))",
        "other.update(zip('y', map(auth.get, ['user'])))",
        "other.cached()(auth.get)('user')",
    ],
)
def test_the_library_lends_nobody_its_rights(auth: Cache, other: Cache, source: str) -> None:
    """A loader, an iterator or a decorated verb that the library calls acts for whoever handed it over."""
    with pytest.raises(AccessDeniedError) as denied:
        run_as(STRANGER, source, auth=auth, other=other, partial=partial)
    assert (denied.value.module, denied.value.cache) == (STRANGER, "auth")
    assert "token" not in list(run_as(STRANGER, "result = list(other.values())", other=other))


@pytest.mark.parametrize(
    "source",
    [
        "await other.aio.get_or_set('x', partial(auth.get, 'user'))",
        "await other.aio.get_or_set('x', partial(auth.aio.get, 'user'))",
        "await asyncio.create_task(auth.aio.get('user'))",
        "await asyncio.gather(auth.aio.get('user'))",
        "await asyncio.to_thread(auth.get, 'user')",
    ],
)
def test_nor_on_a_loop(auth: Cache, other: Cache, source: str) -> None:
    """Whoever calls an asyncio verb is judged, whoever awaits it; a thread of the loop's has nobody behind it."""
    with pytest.raises(AccessDeniedError) as denied:
        await_as(STRANGER, source, auth=auth, other=other, partial=partial, asyncio=asyncio)
    assert denied.value.module in {STRANGER, NOBODY}


def test_a_task_of_the_owner(auth: Cache) -> None:
    """Is let in, since its code is the owner's."""
    source = "return await asyncio.gather(auth.aio.get('user'), asyncio.create_task(auth.aio.exists('user')))"
    assert await_as(OWNER, source, auth=auth, asyncio=asyncio) == ["token", True]


def test_the_manager_and_the_wrappers_act_for_their_callers(house: CacheManager, auth: Cache) -> None:
    """Clearing all caches is clearing each of them."""
    with pytest.raises(AccessDeniedError) as denied:
        run_as(STRANGER, "house.clear_all()", house=house)
    assert (denied.value.module, denied.value.verb) == (STRANGER, "clear")
    with pytest.raises(AccessDeniedError):
        run_as(STRANGER, "wrap(auth, 'auth').get('user')", wrap=AuditCacheWrapper, auth=auth)
    assert run_as(STRANGER, "result = house.get_stats()", house=house)["auth"]["denied"] == 2
    assert run_as(STRANGER, "result = house.health()", house=house)["status"] == "healthy"


def test_copies_and_exports_act_for_their_callers(
    house: CacheManager, auth: Cache, other: Cache, tmp_path: Path
) -> None:
    """Whoever may not have the store may not have it copied."""
    names: dict[str, Any] = {"auth": auth, "other": other, "copy": copy_cache, "export": export_caches, "house": house}
    for source in ("copy(auth, other)", "copy(other, auth)", f"export({str(tmp_path / 'x')!r}, [auth], manager=house)"):
        with pytest.raises(AccessDeniedError) as denied:
            run_as(STRANGER, source, **names)
        assert (denied.value.module, denied.value.verb) == (STRANGER, "backend")
    assert not (tmp_path / "x").exists()
    report = run_as(OWNER, f"result = export({str(tmp_path / 'x')!r}, [auth], manager=house)", **names)
    assert [one.moved for one in report] == [1]


# Threads and greenlets


def test_threads_have_their_own_frames(auth: Cache) -> None:
    """A function of a module is that module in any thread; a verb by itself has nobody behind it."""
    work = run_as(OWNER, "def result(): return auth.get('user')", auth=auth)
    with ThreadPoolExecutor(1) as pool:
        assert pool.submit(work).result() == "token"
        with pytest.raises(AccessDeniedError, match="there is no module") as denied:
            pool.submit(auth.get, "user").result()
        assert denied.value.module == NOBODY
        acting = on_behalf_of(OWNER)(auth.get)
        assert pool.submit(acting, "user").result() == "token"


def test_greenlets_have_their_own_frames(auth: Cache) -> None:
    """Likewise, and a verb by itself begins with no frame at all."""
    greenlet = pytest.importorskip("greenlet").greenlet
    assert greenlet(run_as(OWNER, "def result(): return auth.get('user')", auth=auth)).switch() == "token"
    for verb in (auth.get, auth.exists):
        with pytest.raises(AccessDeniedError) as denied:
            greenlet(verb).switch("user")
        assert denied.value.module == NOBODY


def test_everybody_means_nobody_too(tmp_path: Path) -> None:
    """Where all may read, it does not matter that nobody can be told."""
    house = ruled(tmp_path, "default = ['*']")
    with ThreadPoolExecutor(1) as pool:
        assert pool.submit(house.get_cache("quotes").get, "key", 7).result() == 7
    house.close()


# Decorated functions


def test_a_decorated_function_acts_for_who_decorated_it(auth: Cache, house: CacheManager) -> None:
    """Whoever calls it; and the decorator itself refuses nobody, so that modules can be imported."""
    owners = run_as(OWNER, "@auth.cached('{name}')\ndef result(name): return name.upper()", auth=auth)
    assert run_as(STRANGER, "result = owners('ann')", owners=owners) == "ANN"
    strangers = run_as(STRANGER, "@auth.cached('{name}')\ndef result(name): return name", auth=auth)
    with pytest.raises(AccessDeniedError) as denied:
        run_as(OWNER, "strangers('ann')", strangers=strangers)
    assert denied.value.module == STRANGER
    with on_behalf_of(OWNER):
        assert run_as(STRANGER, "result = strangers('ann')", strangers=strangers) == "ANN"
    house.close()


def test_a_decorated_coroutine_function_does_so_too(auth: Cache) -> None:
    """On a loop."""
    owners = run_as(OWNER, "@auth.cached('{name}')\nasync def result(name): return name.upper()", auth=auth)
    assert await_as(STRANGER, "return await owners('ann')", owners=owners) == "ANN"
    strangers = run_as(STRANGER, "@auth.cached('{name}')\nasync def result(name): return name", auth=auth)
    with pytest.raises(AccessDeniedError):
        await_as(OWNER, "return await strangers('ann')", strangers=strangers)


# On behalf of others


def test_code_can_act_for_another_module(auth: Cache) -> None:
    """In a block and in a decorated function, plain and async; it ends with them, and can be nested."""
    names: dict[str, Any] = {"auth": auth, "behalf": on_behalf_of}
    block = f"with behalf('{OWNER}'):\n    result = auth.get('user')"
    assert run_as(STRANGER, block, **names) == "token"
    function = f"@behalf('{OWNER}')\ndef look(): return auth.get('user')\nresult = look()"
    assert run_as(STRANGER, function, **names) == "token"
    coroutine = f"@behalf('{OWNER}')\nasync def look(): return await auth.aio.get('user')\nreturn await look()"
    assert await_as(STRANGER, coroutine, **names) == "token"
    nested = f"with behalf('{OWNER}'):\n  with behalf('{STRANGER}'):\n    auth.get('user')"
    for source in ("auth.get('user')", nested):
        with pytest.raises(AccessDeniedError):
            run_as(OWNER if "behalf" in source else STRANGER, source, **names)


def test_who_acts_for_a_module_without_rights_has_none(auth: Cache) -> None:
    """Also a module that was let in a moment before."""
    run_as(OWNER, "auth.get('user')", auth=auth)
    with on_behalf_of(STRANGER), pytest.raises(AccessDeniedError) as denied:
        run_as(OWNER, "auth.get('user')", auth=auth)
    assert denied.value.module == STRANGER


def test_it_is_this_threads_and_this_tasks_alone(auth: Cache) -> None:
    """Others go on acting for themselves; one object can serve many at once."""
    acting = on_behalf_of(OWNER)

    async def one(*, acts: bool) -> bool:
        if acts:
            with acting:
                await asyncio.sleep(0)
                return bool(run_as(STRANGER, "result = 'user' in auth", auth=auth))
        await asyncio.sleep(0)
        with pytest.raises(AccessDeniedError):
            run_as(STRANGER, "'user' in auth", auth=auth)
        return False

    async def all_of_them() -> list[bool]:
        return await asyncio.gather(*(one(acts=bool(number % 2)) for number in range(10)))

    assert asyncio.run(all_of_them()) == [False, True] * 5
    with acting:
        denied: list[bool] = []

        def elsewhere() -> None:
            with pytest.raises(AccessDeniedError):
                run_as(STRANGER, "auth.get('user')", auth=auth)
            denied.append(True)

        thread = threading.Thread(target=elsewhere)
        thread.start()
        thread.join()
        assert denied == [True]


def test_what_cannot_act_for_others() -> None:
    """No name, no text; and generators, whose code runs where they are used."""
    with pytest.raises(ValueError, match="such as"):
        on_behalf_of("")
    with pytest.raises(TypeError, match="not int"):
        on_behalf_of(5)  # type: ignore[arg-type]  # what is tested

    def generator() -> Iterator[int]:
        yield 1

    with pytest.raises(TypeError, match="a generator goes on where it is used"):
        on_behalf_of(OWNER)(generator)


def test_a_decorated_function_stays_what_it_is() -> None:
    """Its name, and what it raises."""

    @on_behalf_of(OWNER)
    def fail() -> None:
        raise LookupError("as ever")

    assert fail.__name__ == "fail"
    with pytest.raises(LookupError, match="as ever"):
        fail()
    assert calling().acting_for is None


# Copies of handles


def test_a_guarded_handle_is_not_copied(auth: Cache) -> None:
    """A copy would be a handle without its cache."""
    for make in (copy.copy, copy.deepcopy, pickle.dumps):
        with pytest.raises(TypeError, match="get_cache gives it anywhere"):
            make(auth)
