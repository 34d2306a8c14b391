"""The audit log: who did what with which cache, in lines that cannot be changed unseen."""

from __future__ import annotations

from openalgo_cache.audit.event import Event
from openalgo_cache.audit.log import AuditLog

__all__ = ["AuditLog", "Event"]
