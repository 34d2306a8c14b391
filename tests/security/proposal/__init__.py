"""A model of what the proposal describes, to be attacked. Each part names the section that it follows.

Its faults are the point: a test that does not find them here proves nothing elsewhere. It is no part of what is
installed, and nothing but a test, or a process that a test has started, can import it.
"""

from __future__ import annotations

import os
import sys

if "pytest" not in sys.modules and "PYTEST_CURRENT_TEST" not in os.environ:
    raise ImportError("tests.security.proposal is a target of attacks, not a cache: use openalgo_cache")
