"""Keys: what is allowed, the stored form, and that no two are ever confused."""

from __future__ import annotations

import string
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from openalgo_cache import keys
from openalgo_cache.errors import BlindedKeysError, ConfigurationError, InvalidKeyError
from openalgo_cache.keys import BlindedKeyspace, Key, Keyspace
from openalgo_cache.testing.values import BAD_KEYS

SECRET = bytes(range(32))

# What separators, escapes, tags and glob patterns are made of, and little else: so that examples run into each other.
AWKWARD = ":@~!%{}*?[]\\^0123456789aiIbsntx.-_ E"

texts = st.one_of(
    st.text(AWKWARD, max_size=12),
    st.text(st.characters(exclude_categories=("Cc", "Cs", "Zl", "Zp")), max_size=40),
)
atoms = st.one_of(
    texts,
    st.integers(-(2**511), 2**511),
    st.integers(-12, 12),
    st.booleans(),
    st.binary(max_size=12),
)
typed_keys: st.SearchStrategy[Any] = st.recursive(
    atoms, lambda inner: st.lists(st.one_of(inner, st.none()), max_size=3).map(tuple), max_leaves=6
)
names = st.text("ab01_-", min_size=1, max_size=4)
labels = st.text("ab01_.-A", min_size=1, max_size=4)
spaces = st.tuples(labels, names, st.none() | labels)


def exactly(key: object) -> object:
    """Return something that is equal only for keys of equal content and equal types, all the way down."""
    return (type(key), tuple(map(exactly, key)) if isinstance(key, tuple) else key)


def fits(key: Key) -> bool:
    """Return whether a key is within the length that is allowed."""
    try:
        keys.text(key)
    except InvalidKeyError:
        return False
    return True


@given(typed_keys.filter(fits))
@example("")
@example("!")
@example("!i1")
@example("~")
@example("%2A")
@example(((), ((),), "", ("",)))
def test_a_stored_key_leads_back_to_the_key(key: Key) -> None:
    """Of any type: the key that listing a cache returns is the one that was used."""
    keyspace = Keyspace("openalgo", "quotes", "space")
    stored = keyspace.stored(key)
    assert exactly(keyspace.original(stored)) == exactly(key)
    assert keyspace.stored(key) == stored, "the same each time"


@given(st.tuples(spaces, typed_keys.filter(fits)), st.tuples(spaces, typed_keys.filter(fits)))
@example((("p", "a", None), "b:c"), (("p", "a", "b"), "c"))
@example((("p", "a", None), "a:b"), (("p", "a", None), ("a", "b")))
@example((("p", "a", None), 1), (("p", "a", None), True))
@example((("p", "a", None), b"1"), (("p", "a", None), "!x31"))
@example((("p", "a", None), ("a:b", "c")), (("p", "a", None), ("a", "b:c")))
@example((("p", "a", None), "%25"), (("p", "a", None), "%"))
def test_no_two_keys_share_a_stored_form(one: Any, other: Any) -> None:
    """Neither within a cache, nor across caches, namespaces and prefixes."""
    (one_space, one_key), (other_space, other_key) = one, other
    same = one_space == other_space and exactly(one_key) == exactly(other_key)
    assert (_stored(one_space, one_key) == _stored(other_space, other_key)) is same


def _stored(space: tuple[str, str, str | None], key: Key) -> str:
    prefix, cache, namespace = space
    return Keyspace(prefix, cache, namespace).stored(key)


@given(texts, texts)
@example("a", "a*")
@example("!", "!i1")
@example("~", "~b")
def test_a_prefix_of_a_key_is_a_prefix_of_the_stored_key(prefix: str, rest: str) -> None:
    """So that a store can select by it; and what does not begin with it is not selected."""
    keyspace = Keyspace("openalgo", "quotes")
    assert keyspace.stored(prefix + rest).startswith(keyspace.matching(prefix))
    if not rest.startswith(prefix):
        assert not keyspace.stored(rest).startswith(keyspace.matching(prefix)), (prefix, rest)


@given(typed_keys.filter(fits).filter(lambda key: type(key) is not str), texts.filter(bool))
def test_a_prefix_selects_no_key_of_another_type(key: Key, prefix: str) -> None:
    """Only str keys begin with text."""
    keyspace = Keyspace("openalgo", "quotes")
    assert not keyspace.stored(key).startswith(keyspace.matching(prefix))
    assert keyspace.stored(key).startswith(keyspace.matching(""))


@given(texts)
def test_nothing_in_a_stored_key_is_syntax(text: str) -> None:
    """No glob character, no cluster hash tag: a pattern or a cluster takes it for text."""
    stored = Keyspace("openalgo", "quotes").stored(text)
    assert not set(stored) & set("{}*?[]\\^")
    assert len(stored.encode()) <= len(b"openalgo:quotes:") + 3 * len(text.encode()) + 2


def test_plain_keys_are_readable_in_the_store() -> None:
    """What traders use as keys stands there as it is."""
    keyspace = Keyspace("openalgo", "auth")
    for key in ("user_123", "M&M|NSE", "NIFTY 50", "auth-user@example.com", "BTCUSD.P", "NSE:RELIANCE", "रुपया"):
        assert keyspace.stored(key) == f"openalgo:auth:{key}"
    assert Keyspace("openalgo", "auth", "prod-1").stored("k") == "openalgo@prod-1:auth:k"


@pytest.mark.parametrize(
    "key, stored",
    [
        (2026, "!i2026"),
        (-1, "!i-1"),
        (True, "!b1"),
        (False, "!b0"),
        (b"\x01\xff", "!x01ff"),
        (b"", "!x"),
        ((), "!t"),
        (("a", 1), "!t1:a3:!i1"),
        ((None, ("b",)), "!t2:!n5:!t1:b"),
        ("!i1", "!s!i1"),
        ("~x", "!s~x"),
        ("a*?[]{}\\^%", "a%2A%3F%5B%5D%7B%7D%5C%5E%25"),
    ],
    ids=repr,
)
def test_the_stored_form_is_frozen(key: Key, stored: str) -> None:
    """What an older version stored is found by a newer one."""
    keyspace = Keyspace("p", "c")
    assert keyspace.stored(key) == f"p:c:{stored}"
    assert exactly(keyspace.original(f"p:c:{stored}")) == exactly(key)


@pytest.mark.parametrize("key", BAD_KEYS.values(), ids=BAD_KEYS.keys())
def test_what_is_no_key_is_refused(key: Any) -> None:
    """With or without blinding, again and again, with a message that does not end in the key."""
    for keyspace in (Keyspace("p", "c"), BlindedKeyspace("p", "c", None, SECRET)):
        for _ in range(2):
            with pytest.raises(InvalidKeyError):
                keyspace.stored(key)


@pytest.mark.parametrize(
    "key",
    ["x" * 512, "य" * 170 + "xx", "%" * 512, "!" + "x" * 509, bytes(255), 2**511, ("x" * 250, "y" * 250)],
    ids=["ASCII", "UTF-8", "escaped", "tagged", "bytes", "int", "tuple"],
)
def test_long_keys(key: Key) -> None:
    """Up to 512 bytes, counted before escaping."""
    keyspace = Keyspace("p", "c")
    assert keyspace.original(keyspace.stored(key)) == key


def test_a_tuple_that_is_nested_too_deeply_is_refused() -> None:
    """Whichever limit it meets first."""
    key: Any = ()
    for _ in range(5_000):
        key = (key,)
    with pytest.raises(InvalidKeyError):
        Keyspace("p", "c").stored(key)


def test_subclasses_are_no_keys() -> None:
    """They could be equal to something else than they show."""

    class Text(str):
        __slots__ = ()

    class Number(int):
        pass

    for key in (Text("a"), Number(1), (Text("a"),)):
        with pytest.raises(InvalidKeyError):
            Keyspace("p", "c").stored(key)


@given(st.tuples(names, typed_keys.filter(fits)), st.tuples(names, typed_keys.filter(fits)))
def test_blinded_keys_tell_nothing_and_stay_apart(one: tuple[str, Any], other: tuple[str, Any]) -> None:
    """A fixed length, nothing of the key, and the same hash only for the same key of the same cache."""
    stored = []
    for cache, key in (one, other):
        keyspace = BlindedKeyspace("p", cache, None, SECRET)
        stored.append(keyspace.stored(key))
        assert keyspace.stored(key) == stored[-1]
        assert len(stored[-1]) == len(keyspace.prefix) + 33
        assert set(stored[-1].removeprefix(keyspace.prefix)[1:]) <= set(string.ascii_letters + string.digits + "-_")
    same = one[0] == other[0] and exactly(one[1]) == exactly(other[1])
    assert (stored[0] == stored[1]) is same


def test_blinding_depends_on_the_secret() -> None:
    """Without it, nobody can tell which key a hash belongs to by trying."""
    one = BlindedKeyspace("p", "c", None, SECRET).stored("key")
    assert one != BlindedKeyspace("p", "c", None, bytes(32)).stored("key")
    assert one.startswith("p:c:~")


def test_blinded_keys_do_not_lead_back() -> None:
    """Listing is refused, by key and by prefix."""
    keyspace = BlindedKeyspace("p", "c", None, SECRET)
    with pytest.raises(BlindedKeysError):
        keyspace.original(keyspace.stored("key"))
    for prefix in ("", "k"):
        with pytest.raises(BlindedKeysError):
            keyspace.matching(prefix)


@pytest.mark.parametrize("name", ["a", "quotes", "api_keys-2", "0", "x" * 64])
def test_cache_names(name: str) -> None:
    """Lower case, digits, underscore and hyphen."""
    assert keys.check_cache_name(name) == name


@pytest.mark.parametrize("name", ["", "A", "a b", "a:b", "a@b", "a/b", "..", "a.b", "é", "a\n", "x" * 65, None, 1])
def test_what_is_no_cache_name(name: Any) -> None:
    """Above all nothing that could leave a folder or be taken for another cache's key."""
    with pytest.raises(ConfigurationError, match="cache name"):
        Keyspace("openalgo", name)


@pytest.mark.parametrize("label", ["", "a:b", "a@b", "a*", "a b", "a\n", "x" * 65])
def test_what_is_no_prefix_and_no_namespace(label: str) -> None:
    """The message names the variable."""
    with pytest.raises(ConfigurationError, match="REDIS_KEY_PREFIX"):
        Keyspace(label, "quotes")
    with pytest.raises(ConfigurationError, match="CACHE_NAMESPACE"):
        Keyspace("openalgo", "quotes", label)


@given(st.text("!sibxtn:0123456789a-%", max_size=12))
def test_a_stored_key_that_nobody_made_is_no_crash(text: str) -> None:
    """Whoever can write to the store can put anything there: reading it gives a key or our error."""
    keyspace = Keyspace("p", "c")
    try:
        key = keyspace.original("p:c:" + text)
    except InvalidKeyError:
        return
    hash(key)
