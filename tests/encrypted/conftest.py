"""These tests need the apsw that encrypts files; ``tests/test_encrypted_files.py`` runs them with it."""

from __future__ import annotations

import apsw

collect_ignore_glob = [] if hasattr(apsw, "mc_version") else ["test_*.py"]
