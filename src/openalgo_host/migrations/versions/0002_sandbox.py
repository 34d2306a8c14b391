"""Orders, trades, positions and settings, and API keys that belong to a strategy's run."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create the tables of the sandbox; give API keys a lease."""
    op.add_column("api_keys", sa.Column("hash", sa.String(200), nullable=False, server_default=""))
    op.add_column("api_keys", sa.Column("sealed", sa.LargeBinary, nullable=False, server_default=""))
    op.add_column("api_keys", sa.Column("lease_name", sa.String(200)))
    op.add_column("api_keys", sa.Column("lease_fence", sa.BigInteger))
    op.create_table(
        "settings",
        sa.Column("name", sa.String(64), primary_key=True),
        sa.Column("value", sa.JSON, nullable=False),
    )
    op.create_table(
        "orders",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("user_id", sa.Integer, sa.ForeignKey("users.id"), nullable=False),
        sa.Column("strategy", sa.String(200), nullable=False),
        sa.Column("symbol", sa.String(200), nullable=False),
        sa.Column("exchange", sa.String(20), nullable=False),
        sa.Column("action", sa.String(4), nullable=False),
        sa.Column("product", sa.String(4), nullable=False),
        sa.Column("pricetype", sa.String(6), nullable=False),
        sa.Column("quantity", sa.BigInteger, nullable=False),
        sa.Column("price", sa.BigInteger, nullable=False),
        sa.Column("trigger_price", sa.BigInteger, nullable=False),
        sa.Column("status", sa.String(16), nullable=False),
        sa.Column("reason", sa.String(200), nullable=False),
        sa.Column("average_price", sa.BigInteger, nullable=False),
        sa.Column("placed_at", sa.Double, nullable=False),
        sa.Column("updated_at", sa.Double, nullable=False),
        sa.Column("idempotency_key", sa.String(200)),
        sa.Column("digest", sa.String(64), nullable=False),
        sa.UniqueConstraint("user_id", "idempotency_key", name="uq_orders_idempotency"),
    )
    op.create_index("ix_orders_of_user", "orders", ["user_id", "status"])
    op.create_table(
        "trades",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("order_id", sa.Integer, sa.ForeignKey("orders.id"), nullable=False, unique=True),
        sa.Column("quantity", sa.BigInteger, nullable=False),
        sa.Column("price", sa.BigInteger, nullable=False),
        sa.Column("traded_at", sa.Double, nullable=False),
    )
    op.create_table(
        "positions",
        sa.Column("user_id", sa.Integer, sa.ForeignKey("users.id"), primary_key=True),
        sa.Column("symbol", sa.String(200), primary_key=True),
        sa.Column("exchange", sa.String(20), primary_key=True),
        sa.Column("product", sa.String(4), primary_key=True),
        sa.Column("quantity", sa.BigInteger, nullable=False),
        sa.Column("cost", sa.BigInteger, nullable=False),
        sa.Column("realised", sa.BigInteger, nullable=False),
    )


def downgrade() -> None:
    """Remove them."""
    for table in ("positions", "trades", "orders", "settings"):
        op.drop_table(table)
    with op.batch_alter_table("api_keys") as keys:
        for name in ("hash", "sealed", "lease_name", "lease_fence"):
            keys.drop_column(name)
