"""What whoever runs it is told to do: "Redis Security Checklist", "Session Management", "Troubleshooting Guide"."""

from __future__ import annotations

from typing import Final

REDIS_CONF: Final = {"rename-command": ['FLUSHDB ""', 'FLUSHALL ""', 'CONFIG ""'], "protected-mode": "yes"}
"""``redis.conf``, besides ``requirepass``."""

SESSION_DATABASE: Final = 1
"""``SESSION_REDIS=redis://redis-cluster.internal:6379/1``."""

TEST_CONNECTION: Final = "redis-cli -h $REDIS_HOST -p $REDIS_PORT -a $REDIS_PASSWORD ping"
