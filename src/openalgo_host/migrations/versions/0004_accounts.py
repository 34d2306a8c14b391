"""Broker sessions, strategies with webhooks, Telegram preferences, and the status of the symbol master."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create the tables."""
    op.create_table(
        "broker_sessions",
        sa.Column("user_id", sa.Integer, sa.ForeignKey("users.id"), primary_key=True),
        sa.Column("broker", sa.String(64), nullable=False),
        sa.Column("auth_token", sa.LargeBinary, nullable=False),
        sa.Column("feed_token", sa.LargeBinary, nullable=False),
        sa.Column("connected_at", sa.Double, nullable=False),
        sa.Column("revoked", sa.Boolean, nullable=False),
    )
    op.create_table(
        "strategies",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("user_id", sa.Integer, sa.ForeignKey("users.id"), nullable=False),
        sa.Column("name", sa.String(64), nullable=False),
        sa.Column("digest", sa.String(64), nullable=False, unique=True),
        sa.Column("sealed", sa.LargeBinary, nullable=False),
        sa.Column("active", sa.Boolean, nullable=False),
        sa.Column("symbol", sa.String(200), nullable=False),
        sa.Column("exchange", sa.String(20), nullable=False),
        sa.Column("product", sa.String(4), nullable=False),
        sa.Column("quantity", sa.BigInteger, nullable=False),
        sa.Column("actions", sa.String(16), nullable=False),
        sa.UniqueConstraint("user_id", "name", name="uq_strategies_name"),
    )
    op.create_table(
        "telegram_preferences",
        sa.Column("user_id", sa.Integer, sa.ForeignKey("users.id"), primary_key=True),
        sa.Column("enabled", sa.Boolean, nullable=False),
        sa.Column("alerts", sa.JSON, nullable=False),
        sa.Column("contact", sa.LargeBinary, nullable=False),
    )
    op.create_table(
        "symbol_master_status",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("source", sa.String(200), nullable=False),
        sa.Column("total", sa.BigInteger, nullable=False),
        sa.Column("started_at", sa.Double, nullable=False),
        sa.Column("finished_at", sa.Double),
        sa.Column("error", sa.String(200), nullable=False),
    )


def downgrade() -> None:
    """Remove them."""
    for table in ("symbol_master_status", "telegram_preferences", "strategies", "broker_sessions"):
        op.drop_table(table)
