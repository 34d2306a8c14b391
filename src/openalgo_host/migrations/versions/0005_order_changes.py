"""When a user's orders last changed, by an index alone."""

from __future__ import annotations

from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create the index."""
    op.create_index("ix_orders_changes", "orders", ["user_id", "updated_at"])


def downgrade() -> None:
    """Remove it."""
    op.drop_index("ix_orders_changes", "orders")
