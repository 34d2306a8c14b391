"""Print or check what is made from the settings: ``python -m openalgo_cache.settings reference``."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from openalgo_cache.settings.reference import env_example, markdown


def main(arguments: list[str] | None = None) -> int:
    """Run one command; return 0, or 1 if ``check`` found a stale file.

    Args:
        arguments: The command line without the program; ``sys.argv`` if left out.
    """
    parser = argparse.ArgumentParser(prog="python -m openalgo_cache.settings", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("reference", help="print the tables of docs/configuration.md")
    commands.add_parser("env-example", help="print .env.example")
    commands.add_parser("write", help="write .env.example in the current folder")
    commands.add_parser("check", help="fail if .env.example or docs/configuration.md in the current folder is stale")
    command = parser.parse_args(arguments).command
    if command == "reference":
        sys.stdout.write(markdown() + "\n")
    elif command == "env-example":
        sys.stdout.write(env_example())
    elif command == "write":
        Path(".env.example").write_text(env_example(), encoding="utf-8", newline="\n")
    else:
        return _check()
    return 0


def _check() -> int:
    stale = []
    if _text(".env.example") != env_example():
        stale.append(".env.example is stale: run python -m openalgo_cache.settings write")
    if markdown().rstrip() not in _text("docs/configuration.md"):
        stale.append("docs/configuration.md is stale: run make docs-check ARGS=--write")
    sys.stderr.writelines(f"{line}\n" for line in stale)
    return 1 if stale else 0


def _text(name: str) -> str:
    path = Path(name)
    return path.read_text(encoding="utf-8") if path.is_file() else ""


if __name__ == "__main__":
    sys.exit(main())
