"""Tables of the sandbox: orders, the trades that they led to, and the positions that those add up to.

Prices and amounts are units of :mod:`openalgo_host.sandbox.money`.
"""

from __future__ import annotations

from enum import StrEnum

from sqlalchemy import BigInteger, Double, ForeignKey, Index, String, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from openalgo_host.database import Base


class Status(StrEnum):
    """What has become of an order, in OpenAlgo's words."""

    OPEN = "open"
    TRIGGER_PENDING = "trigger pending"
    COMPLETE = "complete"
    CANCELLED = "cancelled"
    REJECTED = "rejected"


PENDING = (Status.OPEN, Status.TRIGGER_PENDING)
"""What an order can still be modified or cancelled in."""


class OrderRow(Base):
    """An order. It stays, whatever becomes of it.

    ``idempotency_key`` is the caller's own name for the order: sent twice, it is placed once. ``digest`` tells whether
    the second time asks for the same.
    """

    __tablename__ = "orders"
    __table_args__ = (
        UniqueConstraint("user_id", "idempotency_key", name="uq_orders_idempotency"),
        Index("ix_orders_of_user", "user_id", "status"),
        Index("ix_orders_changes", "user_id", "updated_at"),
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    user_id: Mapped[int] = mapped_column(ForeignKey("users.id"))
    strategy: Mapped[str] = mapped_column(String(200))
    symbol: Mapped[str] = mapped_column(String(200))
    exchange: Mapped[str] = mapped_column(String(20))
    action: Mapped[str] = mapped_column(String(4))
    product: Mapped[str] = mapped_column(String(4))
    pricetype: Mapped[str] = mapped_column(String(6))
    quantity: Mapped[int] = mapped_column(BigInteger)
    price: Mapped[int] = mapped_column(BigInteger)
    trigger_price: Mapped[int] = mapped_column(BigInteger)
    status: Mapped[str] = mapped_column(String(16))
    reason: Mapped[str] = mapped_column(String(200), default="")
    average_price: Mapped[int] = mapped_column(BigInteger, default=0)
    placed_at: Mapped[float] = mapped_column(Double)
    updated_at: Mapped[float] = mapped_column(Double)
    idempotency_key: Mapped[str | None] = mapped_column(String(200))
    digest: Mapped[str] = mapped_column(String(64))


class TradeRow(Base):
    """A trade: an order, or a part of one, that was filled."""

    __tablename__ = "trades"

    id: Mapped[int] = mapped_column(primary_key=True)
    order_id: Mapped[int] = mapped_column(ForeignKey("orders.id"), unique=True)
    quantity: Mapped[int] = mapped_column(BigInteger)
    price: Mapped[int] = mapped_column(BigInteger)
    traded_at: Mapped[float] = mapped_column(Double)


class PositionRow(Base):
    """What a user holds of an instrument under a product: sold ones are negative.

    ``cost`` is what the open quantity was traded for, with its sign; ``realised`` what closed trades have brought.
    """

    __tablename__ = "positions"

    user_id: Mapped[int] = mapped_column(ForeignKey("users.id"), primary_key=True)
    symbol: Mapped[str] = mapped_column(String(200), primary_key=True)
    exchange: Mapped[str] = mapped_column(String(20), primary_key=True)
    product: Mapped[str] = mapped_column(String(4), primary_key=True)
    quantity: Mapped[int] = mapped_column(BigInteger, default=0)
    cost: Mapped[int] = mapped_column(BigInteger, default=0)
    realised: Mapped[int] = mapped_column(BigInteger, default=0)
