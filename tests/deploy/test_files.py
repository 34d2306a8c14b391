"""The files of ``deploy`` that nothing else tries: what systemd, sh and the page of deployment say of them."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.deploy.composed import DEPLOY

_ROOT = DEPLOY.parent
_PAGE = (_ROOT / "docs" / "deployment.md").read_text(encoding="utf-8")


def test_the_page_names_files_that_are_there() -> None:
    """Whoever follows it finds each of them."""
    named = set(re.findall(r"\bdeploy/[\w.@/-]*\w", _PAGE)) - {"deploy/secrets"}  # which is made
    assert len(named) > 10
    assert [name for name in sorted(named) if not (_ROOT / name).exists()] == []


def test_each_file_is_named() -> None:
    """By itself or as one of a folder, on that page or on the one of hardening."""
    text = _PAGE + (_ROOT / "docs" / "hardening.md").read_text(encoding="utf-8")
    files = [path.relative_to(DEPLOY) for path in DEPLOY.rglob("*") if path.is_file() and "secrets" not in path.parts]
    assert [str(file) for file in files if file.name not in text and f"{file.parts[0]}/`" not in text] == []


def test_systemd_understands_the_units(tmp_path: Path) -> None:
    """With a program in the place of the one that is not installed here."""
    program = shutil.which("systemd-analyze")
    if program is None:
        pytest.skip("there is no systemd-analyze on this machine")
    for unit in (DEPLOY / "systemd").glob("openalgo-host*"):
        text = re.sub(r"/opt/openalgo/bin/[a-z-]+", "/bin/true", unit.read_text(encoding="utf-8"))
        (tmp_path / unit.name).write_text(text, encoding="utf-8")
    units = [tmp_path / "openalgo-host@1.service", tmp_path / "openalgo-host.target"]
    done = subprocess.run([program, "verify", *units], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("script", ["make-secrets.sh", "redis/make-certificates.sh", "systemd/openalgo-run"])
def test_scripts_without_arguments(script: str) -> None:
    """They are sh; one that cannot do anything shows how it is used."""
    sh = shutil.which("sh")
    if sh is None:
        pytest.skip("there is no sh")
    assert subprocess.run([sh, "-n", DEPLOY / script], check=False).returncode == 0
    if script != "make-secrets.sh":  # which makes secrets
        done = subprocess.run([sh, DEPLOY / script], capture_output=True, text=True, check=False)
        assert done.returncode == 2
        assert Path(script).name in done.stderr
