"""The verbs of a cache that are judged and noted: which rights they take, and what is to be told of them."""

from __future__ import annotations

from enum import Enum, auto
from typing import Final, NamedTuple

from openalgo_cache.policy.rules import ALL, CLEAR, READ, READ_AND_WRITE, WRITE, Rights


class Keys(Enum):
    """Where the keys of a call are."""

    NONE = auto()
    FIRST = auto()
    MANY = auto()
    MAPPING = auto()
    PAIRS = auto()
    RESULT = auto()


class Hit(Enum):
    """What says whether an entry was there."""

    NO_QUESTION = auto()
    TRUTH = auto()
    ABSENCE = auto()
    VALUE = auto()
    MEMBERSHIP = auto()
    LOADER = auto()


class Verb(NamedTuple):
    """A verb of a cache.

    Attributes:
        name: Its name.
        operation: What the log calls it.
        needs: The rights that it takes.
        keys: Where its keys are.
        hit: What says whether an entry was there.
        key_name: The name of the parameter for the key.
    """

    name: str
    operation: str
    needs: Rights
    keys: Keys = Keys.FIRST
    hit: Hit = Hit.NO_QUESTION
    key_name: str = "key"


_VERBS: Final = (
    Verb("get", "GET", READ, hit=Hit.VALUE),
    Verb("__getitem__", "GET", READ, hit=Hit.VALUE),
    Verb("get_many", "GET", READ, Keys.MANY, Hit.MEMBERSHIP),
    Verb("exists", "EXISTS", READ, hit=Hit.TRUTH),
    Verb("__contains__", "EXISTS", READ, hit=Hit.TRUTH),
    Verb("ttl", "TTL", READ, hit=Hit.VALUE),
    Verb("keys", "KEYS", READ, Keys.RESULT),
    Verb("__iter__", "KEYS", READ, Keys.RESULT),
    Verb("items", "ITEMS", READ, Keys.RESULT),
    Verb("values", "ITEMS", READ, Keys.RESULT),
    Verb("size", "SIZE", READ, Keys.NONE),
    Verb("__len__", "SIZE", READ, Keys.NONE),
    Verb("set", "SET", WRITE),
    Verb("__setitem__", "SET", WRITE),
    Verb("set_many", "SET", WRITE, Keys.MAPPING),
    Verb("update", "SET", WRITE, Keys.PAIRS),
    Verb("add", "ADD", WRITE, hit=Hit.ABSENCE),
    Verb("touch", "TOUCH", WRITE, hit=Hit.TRUTH),
    Verb("incr", "INCR", READ_AND_WRITE),
    Verb("pop", "POP", READ_AND_WRITE, hit=Hit.VALUE),
    Verb("delete", "DELETE", WRITE, hit=Hit.TRUTH),
    Verb("__delitem__", "DELETE", WRITE, hit=Hit.VALUE),
    Verb("delete_many", "DELETE", WRITE, Keys.MANY),
    Verb("clear", "CLEAR", CLEAR, Keys.NONE),
    Verb("get_or_set", "GET_OR_SET", READ_AND_WRITE, hit=Hit.LOADER),
    Verb("setdefault", "GET_OR_SET", READ_AND_WRITE),
    Verb("lock", "LOCK", WRITE, key_name="name"),
    Verb("backend", "BACKEND", ALL, Keys.NONE),
)

VERBS: Final = {verb.name: verb for verb in _VERBS}
"""Every verb that is judged. What else a cache has tells nothing of its entries; a test lists it, with the reasons."""
