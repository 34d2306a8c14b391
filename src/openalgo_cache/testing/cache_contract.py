"""What every cache promises, whatever store it stands on and however it seals: the verbs of ``Cache``."""

from __future__ import annotations

from openalgo_cache.testing.cache_epochs import CacheEpochs
from openalgo_cache.testing.cache_locks import CacheLocks
from openalgo_cache.testing.cache_stale import CacheStale
from openalgo_cache.testing.cache_tags import CacheTags
from openalgo_cache.testing.cache_times import CacheTimes
from openalgo_cache.testing.cache_values import CacheValues
from openalgo_cache.testing.cache_verbs import CacheVerbs


class CacheContract(CacheValues, CacheVerbs, CacheTimes, CacheTags, CacheEpochs, CacheLocks, CacheStale):
    """A cache on the backend, sealed in every way. Inherit it beside ``BackendContract``."""
