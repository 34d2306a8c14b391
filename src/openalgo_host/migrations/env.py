"""What Alembic runs: it takes the connection, and the transaction, of whoever called it."""

from __future__ import annotations

from alembic import context

from openalgo_host.database import Base

context.configure(
    connection=context.config.attributes["connection"], target_metadata=Base.metadata, render_as_batch=True
)
context.run_migrations()
