"""Whatever others may have written is read with our own errors or none: the kept cases, and some at random.

``make fuzz`` looks for more, for as long as it is told to.
"""

from __future__ import annotations

import random
import tracemalloc
import zlib

import pytest

from tests.security.attack import Attack
from tests.security.fuzz.judging import SECRET, Finding, Target, opened
from tests.security.fuzz.mutation import mutate
from tests.security.fuzz.seeds import CORPUS, seeds_of
from tests.security.fuzz.targets import TARGETS

MOST_MEMORY = 96 << 20
"""Bytes that a case may make Python ask for, besides those of the largest value and its copies."""

each_target = pytest.mark.parametrize("target", list(TARGETS.values()), ids=list(TARGETS))


@each_target
@pytest.mark.attack("fuzz", "hostile input: the kept cases")
def test_kept_cases(target: Target, attack: Attack) -> None:
    """Only errors that are promised, in bounded time and memory, and nothing told that is secret."""
    cases = seeds_of(target.name)
    assert cases
    with opened(target) as judge:
        judge(cases[0])  # whatever is made once is made now
        for case in cases:
            judge(case)
        attack.tried(succeeded=False, times=len(cases))


@each_target
@pytest.mark.attack("fuzz", "hostile input: memory")
def test_memory_is_bounded(target: Target, attack: Attack) -> None:
    """Lengths that are not there and bombs that unpack to gigabytes cost no more than the largest value."""
    with opened(target) as judge:
        cases = seeds_of(target.name)
        judge(cases[0])
        tracemalloc.start()
        try:
            for case in cases:
                tracemalloc.reset_peak()
                before, _ = tracemalloc.get_traced_memory()
                judge(case)
                _, peak = tracemalloc.get_traced_memory()
                attack.tried(
                    succeeded=peak - before > MOST_MEMORY, what=f"{target.name}: {case[:40]!r}, {peak:,} bytes"
                )
        finally:
            tracemalloc.stop()


@pytest.mark.parametrize("cases", [300, pytest.param(20_000, marks=pytest.mark.soak)])
@each_target
@pytest.mark.attack("fuzz", "hostile input: at random")
def test_cases_at_random(target: Target, attack: Attack, cases: int) -> None:
    """The same for what is made of them, the same cases each time."""
    chance, corpus = random.Random(zlib.crc32(target.name.encode())), seeds_of(target.name)
    with opened(target) as judge:
        for _ in range(cases):
            judge(mutate(chance, corpus))
        attack.tried(succeeded=False, times=cases)


def test_the_corpus_is_small_and_has_an_owner() -> None:
    """Every folder belongs to a target, and all of them together stay below 300 KB."""
    assert {path.name for path in CORPUS.iterdir()} <= set(TARGETS)
    assert sum(path.stat().st_size for path in CORPUS.rglob("*") if path.is_file()) <= 300_000


@pytest.mark.parametrize("harm", ["error", "told", "logged", "printed"])
def test_the_judge_notices(harm: str) -> None:
    """An unexpected error, and a secret in an error, in the log or in what is printed, each is a finding."""
    from contextlib import contextmanager

    @contextmanager
    def harmful(_folder):  # type: ignore[no-untyped-def]
        def run(data: bytes) -> None:
            import logging

            if harm == "error":
                raise KeyError(data)
            if harm == "told":
                raise ValueError(SECRET)
            if harm == "logged":
                logging.getLogger("openalgo_cache").debug(SECRET)
            else:
                print(SECRET)  # noqa: T201  # that is the harm

        yield run

    with opened(Target("keys", harmful, (ValueError,))) as judge, pytest.raises(Finding):
        judge(b"")
