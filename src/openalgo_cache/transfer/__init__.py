"""Caches on the move: from one store to another, into a file, and back.

What is moved are the contents of records: the value as it was serialised, which is never decoded, when it was made,
when it expires, its tags. They are verified where they come from, sealed anew for where they go, and read back there.
Nothing is ever deleted, at either end.
"""

from __future__ import annotations

from openalgo_cache.transfer.copying import copy_cache
from openalgo_cache.transfer.exporting import export_caches
from openalgo_cache.transfer.importing import Export, ExportedCache, import_caches, verify_export
from openalgo_cache.transfer.report import Existing, TransferReport

__all__ = [
    "Existing",
    "Export",
    "ExportedCache",
    "TransferReport",
    "copy_cache",
    "export_caches",
    "import_caches",
    "verify_export",
]
