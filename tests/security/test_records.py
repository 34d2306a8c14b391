"""Weak points 1 to 3: what somebody who may write to the store can make of its records."""

from __future__ import annotations

import ast
from contextlib import closing
from pathlib import Path

import pytest

import openalgo_cache
from openalgo_cache.testing import FakeClock
from openalgo_cache.testing.clock import PatientClock
from tests.faults.processes import Process
from tests.security import proposal
from tests.security.attack import Attack
from tests.security.canary import Canary
from tests.security.conftest import SUBJECTS
from tests.security.subjects import OnFile, OnServer, Subject, signed
from tests.servers.process import ServerProcess

pytestmark = pytest.mark.server

CACHES = ["auth", "settings", "user_strategies", "quotes"]
TOKEN = "broker-token-of-ann"

SET_AND_SHOW = """
import sys
from pathlib import Path
from tests.security.subjects import OnFile, signed
cache = signed(OnFile(sys.argv[1], Path(sys.argv[2])))
if sys.argv[3] == "set":
    cache.set("symbols", {f"SYMBOL {number}" for number in range(50)})
print(cache.get("symbols") == {f"SYMBOL {number}" for number in range(50)})
"""


@pytest.mark.attack("01", "a pickle planted as a record")
@pytest.mark.parametrize("name", CACHES)
def test_01_planted_row_runs_no_code(anywhere: Subject, canary: Canary, attack: Attack, name: str) -> None:
    """Bytes are verified before anything is made of them, so what was planted is never run."""
    for what, gadget in canary.pickles.items():
        anywhere.cache(name).set("key", "honest")
        anywhere.plant(name, "key", gadget)
        anywhere.cache(name).get("key")
        attack.tried(succeeded=canary.sang, what=f"{what} in {name}")
        canary.hush()


@pytest.mark.attack("01", "a pickle planted as a signed record")
def test_01_signature_is_verified_before_anything_is_read(subject: Subject, canary: Canary, attack: Attack) -> None:
    """A signature is of no use to a reader that parses what it is about first."""
    cache = signed(subject)
    for what, gadget in canary.pickles.items():
        cache.set("key", "honest")
        subject.plant("quotes", "key", gadget)
        try:
            cache.get("key")
        except TypeError:  # what was run returned nothing that could be signed
            assert subject.is_proposal
        attack.tried(succeeded=canary.sang, what=what)
        canary.hush()


@pytest.mark.attack("01", "bait for other readers: eval, YAML, MessagePack")
@pytest.mark.parametrize("name", [*CACHES, "running_strategies"])
def test_01_planted_bait_is_not_taken(tmp_path: Path, canary: Canary, attack: Attack, name: str) -> None:
    """Whatever reader somebody may hope for, there is none."""
    with closing(OnFile("ours", tmp_path)) as ours:
        for what, bait in canary.baits.items():
            for record in (bait, (ours.read(name, "key") or b"")[:-40] + bait):
                ours.cache(name).set("key", "honest")
                ours.plant(name, "key", record)
                try:
                    assert ours.cache(name).get("key") is None
                except openalgo_cache.UnreadableRecordError:
                    assert name == "running_strategies"
                attack.tried(succeeded=canary.sang, what=f"{what} in {name}")


@pytest.mark.attack("01", "an import of pickle or its kin in the package")
@pytest.mark.parametrize("name", SUBJECTS)
def test_01_nothing_can_unpickle(name: str, attack: Attack) -> None:
    """The package never imports what runs what it reads; nor the proposal's model."""
    package = proposal if name == "proposal" else openalgo_cache
    forbidden = {"pickle", "_pickle", "cPickle", "cloudpickle", "dill", "shelve", "marshal", "jsonpickle", "tests"}
    found = {imported.split(".")[0] for path in package.__path__ for imported in imports(Path(path))}
    assert {"logging", "time"} <= found, "nothing was looked at"
    attack.tried(succeeded=bool(found & forbidden), what=found & forbidden)


def imports(folder: Path) -> set[str]:
    """Return what the modules of a folder import, anywhere."""
    found: set[str] = set()
    for path in folder.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                found.update(alias.name for alias in node.names)
            elif isinstance(node, ast.ImportFrom) and node.module is not None:
                found.add(node.module)
    return found


@pytest.mark.attack("02", "a record moved to another key")
@pytest.mark.parametrize("name", ["auth", "settings"])
def test_02_record_moved_to_another_key(anywhere: Subject, attack: Attack, name: str) -> None:
    """Ann's record under Bob's key is nobody's."""
    cache = anywhere.cache(name)
    cache.set("ann", TOKEN)
    cache.set("bob", "token of bob")
    record = anywhere.read(name, "ann")
    assert record is not None
    anywhere.plant(name, "bob", record)
    attack.tried(succeeded=cache.get("bob") == TOKEN, what=name)


@pytest.mark.attack("02", "a signed record moved to another key")
def test_02_signed_record_moved_to_another_key(subject: Subject, attack: Attack) -> None:
    """A signature that covers the value alone is good under every key."""
    cache = signed(subject)
    cache.set("RELIANCE", 2500)
    cache.set("INFY", 1500)
    record = subject.read("quotes", "RELIANCE")
    assert record is not None
    subject.plant("quotes", "INFY", record)
    attack.tried(succeeded=cache.get("INFY") == 2500)


@pytest.mark.attack("02", "a record moved to another cache")
def test_02_record_moved_to_another_cache(anywhere: Subject, attack: Attack) -> None:
    """One key for all caches does not make them one cache."""
    anywhere.cache("tokens").set("key", TOKEN)
    anywhere.cache("auth").set("key", "another")
    record = anywhere.read("tokens", "key")
    assert record is not None
    anywhere.plant("auth", "key", record)
    attack.tried(succeeded=anywhere.cache("auth").get("key") == TOKEN)


@pytest.mark.attack("02", "a record given a longer life")
@pytest.mark.parametrize("name", ["auth", "settings"])
@pytest.mark.parametrize("who", SUBJECTS)
def test_02_prolonged_record(tmp_path: Path, attack: Attack, who: str, name: str) -> None:
    """A record ends when its seal says, whatever the store says."""
    clock = FakeClock()
    with closing(OnFile(who, tmp_path, clock)) as subject:
        subject.cache(name).set("key", TOKEN, 60)
        subject.prolong(name, "key")
        clock.advance(61)
        attack.tried(succeeded=subject.cache(name).get("key") == TOKEN, what=name)


@pytest.mark.attack("02", "a record given a longer life")
@pytest.mark.parametrize("who", SUBJECTS)
def test_02_prolonged_record_on_a_server(tmp_path: Path, redis_server: ServerProcess, attack: Attack, who: str) -> None:
    """Likewise: PERSIST on the server does not make a token last."""
    with closing(OnServer(who, tmp_path, redis_server)) as subject:
        subject.cache("auth").set("key", TOKEN, 1)
        subject.prolong("auth", "key")
        PatientClock().advance(1)
        attack.tried(succeeded=subject.cache("auth").get("key") == TOKEN)


@pytest.mark.attack("03", "an honest value with a set, after a restart")
@pytest.mark.parametrize("who", SUBJECTS)
def test_03_honest_set_survives_a_restart(tmp_path: Path, attack: Attack, who: str) -> None:
    """What is signed are the stored bytes, not what another process would make of the value."""

    def run(verb: str, seed: int) -> str:
        with Process(SET_AND_SHOW, who, tmp_path, verb, env={"PYTHONHASHSEED": str(seed)}) as process:
            return process.hear()

    assert run("set", 1) == "True", "in the same process it is readable"
    attack.tried(succeeded=run("get", 2) != "True")
