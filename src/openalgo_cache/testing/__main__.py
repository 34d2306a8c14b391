"""``python -m openalgo_cache.testing NAME``: run the whole suite on a backend that is registered under that name."""

from __future__ import annotations

import argparse
import sys

from openalgo_cache.backends import registry


def main(arguments: list[str]) -> int:
    """Run the suite and return pytest's exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m openalgo_cache.testing",
        description="Run the conformance suite on a backend. Whatever else is given goes to pytest: -x, -k clear, -q.",
    )
    parser.add_argument("name", help="as CACHE_BACKEND takes it: memory, sqlite, or what a package registers")
    parser.add_argument("--private", action="store_true", help="each backend has a store of its own, as in memory")
    parser.add_argument("--unbounded", action="store_true", help="the backend leaves maxsize to its store")
    parser.add_argument("--own-clock", action="store_true", help="the store expires entries by its own clock")
    options, rest = parser.parse_known_args(arguments)

    backend = registry.load(options.name)

    import pytest  # noqa: PLC0415  # --help and a wrong name work without

    class Suite:
        """A plug-in that makes the test class."""

        def pytest_configure(self) -> None:
            """Import the contracts now, not earlier: so that pytest rewrites their asserts."""
            from openalgo_cache.testing import Contract, suite  # noqa: F401, PLC0415  # the first registers all of them

            suite.TestBackend = suite.suite(
                backend, shared=not options.private, bounded=not options.unbounded, own_clock=options.own_clock
            )

    arguments = ["--pyargs", "openalgo_cache.testing.suite", "-p", "no:cacheprovider", *rest]
    return int(pytest.main(arguments, plugins=[Suite()]))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
