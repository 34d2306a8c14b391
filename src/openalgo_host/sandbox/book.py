"""The order book: place, modify, cancel, and what a user has of orders, trades, positions and funds.

Everything that changes an account happens in one transaction that has locked it first, so orders of one account come
one after the other, on whatever instance. A caller that acts under a lease (a strategy's own key) is checked in that
same transaction: whoever was taken over places nothing.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from sqlalchemy import func, or_, select

from openalgo_host.caller import Caller
from openalgo_host.leases import check
from openalgo_host.sandbox.funds import Funds, binds
from openalgo_host.sandbox.matching import execution_price, fill, is_reached
from openalgo_host.sandbox.money import to_units
from openalgo_host.sandbox.tables import PENDING, OrderRow, PositionRow, Status, TradeRow
from openalgo_host.sandbox.ticket import RefusedOrderError, Ticket
from openalgo_host.users import lock_user

if TYPE_CHECKING:
    from sqlalchemy.orm import Session

    from openalgo_cache.symbols import SymbolMaster
    from openalgo_host.database import Database
    from openalgo_host.market.paper import PaperMarket


class OrderBook:
    """The accounts in the database, and the market that fills their orders.

    Args:
        database: Where they are.
        symbols: What is traded.
        market: At what price.
    """

    def __init__(self, database: Database, symbols: SymbolMaster, market: PaperMarket) -> None:
        self._database = database
        self._symbols = symbols
        self._market = market

    # --- orders -------------------------------------------------------------------------------------------------------

    def place(self, caller: Caller, ticket: Ticket, idempotency_key: str | None = None) -> OrderRow:
        """Place an order; one that the account cannot pay is kept as rejected.

        Args:
            caller: Who wants it.
            ticket: What is wanted.
            idempotency_key: The caller's own name for this order: sent again, it returns the order that is there.

        Raises:
            RefusedOrderError: It cannot be ordered, or the name belongs to another order.
            FencedOffError: Another instance runs the strategy now.
        """
        digest = ticket.digest()
        with self._database.writing() as session:
            self._lock(session, caller)
            there = _named(session, caller, idempotency_key, digest)
            return there or self._place(session, caller, ticket, idempotency_key, digest)

    def reach(self, caller: Caller, ticket: Ticket, target: int, idempotency_key: str | None = None) -> OrderRow | None:
        """Order what a position lacks, or has too much; None if it is as it is to be.

        Args:
            caller: Who wants it.
            ticket: What is wanted. Its own action and quantity count where there is no position, and none is wanted.
            target: How many the position is to have then; negative for sold.
            idempotency_key: As with :meth:`place`.

        Raises:
            RefusedOrderError: It cannot be ordered, or the name belongs to another order.
            FencedOffError: Another instance runs the strategy now.
        """
        digest = ticket.digest(target)
        with self._database.writing() as session:
            self._lock(session, caller)
            if (there := _named(session, caller, idempotency_key, digest)) is not None:
                return there
            held = _quantity(session, (caller.user_id, ticket.symbol, ticket.exchange, ticket.product))
            lacks = target - held if held or target else ticket.quantity * (1 if ticket.action == "BUY" else -1)
            if not lacks:
                return None
            ticket = replace(ticket, action="BUY" if lacks > 0 else "SELL", quantity=abs(lacks))
            return self._place(session, caller, ticket, idempotency_key, digest)

    def modify(self, caller: Caller, order_id: int, ticket: Ticket) -> OrderRow:
        """Change quantity and prices of a pending order.

        Raises:
            RefusedOrderError: There is no such order, it is not pending, or it cannot become that.
            FencedOffError: Another instance runs the strategy now.
        """
        ticket.check(self._symbols.by_symbol(ticket.symbol, ticket.exchange))
        with self._database.writing() as session:
            self._lock(session, caller)
            order = _pending(session, caller, order_id)
            if (order.symbol, order.exchange, order.action) != (ticket.symbol, ticket.exchange, ticket.action):
                raise RefusedOrderError("Symbol, exchange and action of an order cannot be modified")
            order.product, order.pricetype, order.quantity = ticket.product, ticket.pricetype, ticket.quantity
            order.price, order.trigger_price = to_units(ticket.price), to_units(ticket.trigger_price)
            order.status = Status.TRIGGER_PENDING if ticket.pricetype.startswith("SL") else Status.OPEN
            order.updated_at = now = self._database.now(session)
            self._try(session, order, now)
            return order

    def cancel(self, caller: Caller, order_id: int) -> OrderRow:
        """Cancel a pending order.

        Raises:
            RefusedOrderError: There is no such order, or it is not pending.
            FencedOffError: Another instance runs the strategy now.
        """
        with self._database.writing() as session:
            self._lock(session, caller)
            order = _pending(session, caller, order_id)
            order.status, order.updated_at = Status.CANCELLED, self._database.now(session)
            return order

    def cancel_all(self, caller: Caller) -> list[OrderRow]:
        """Cancel every pending order, whichever strategy's; return them."""
        with self._database.writing() as session:
            self._lock(session, caller)
            wanted = select(OrderRow).where(OrderRow.user_id == caller.user_id, OrderRow.status.in_(PENDING))
            orders = list(session.scalars(wanted.order_by(OrderRow.id)))
            for order in orders:
                order.status, order.updated_at = Status.CANCELLED, self._database.now(session)
            return orders

    def settle(self, user_id: int | None = None) -> int:
        """Fill the pending orders that the market reaches now, of one user or of all; return how many."""
        with self._database.reading() as session:
            wanted = select(OrderRow).where(OrderRow.status.in_(PENDING))
            if user_id is not None:
                wanted = wanted.where(OrderRow.user_id == user_id)
            pending = list(session.scalars(wanted))
        filled = 0
        for found in pending:
            if not is_reached(found, self.price(found.symbol, found.exchange)):  # most: they cost no transaction
                continue
            with self._database.writing() as session:
                self._lock(session, Caller(found.user_id))
                order = session.get(OrderRow, found.id)
                if order is not None and order.status in PENDING:
                    self._try(session, order, self._database.now(session))
                    filled += order.status == Status.COMPLETE
        return filled

    def end_day(self, session: Session, midnight: float) -> None:
        """Cancel what is still pending of the days before: orders are for the day.

        Args:
            session: Of ``Database.writing()``.
            midnight: When this day began, in seconds since the epoch.
        """
        old = (OrderRow.status.in_(PENDING), OrderRow.placed_at < midnight)
        for owner in session.scalars(select(OrderRow.user_id).where(*old).distinct().order_by(OrderRow.user_id)):
            self._lock(session, Caller(owner))
            for order in session.scalars(select(OrderRow).where(OrderRow.user_id == owner, *old)):
                order.status, order.updated_at = Status.CANCELLED, self._database.now(session)

    # --- what there is ------------------------------------------------------------------------------------------------

    def order(self, user_id: int, order_id: int) -> OrderRow:
        """Return one order.

        Raises:
            RefusedOrderError: The user has no such order.
        """
        self.settle(user_id)
        with self._database.reading() as session:
            return _own(session, user_id, order_id)

    def orders(self, user_id: int, since: float = 0.0) -> list[OrderRow]:
        """Return a user's orders that were placed since a moment, the oldest first."""
        self.settle(user_id)
        with self._database.reading() as session:
            wanted = select(OrderRow).where(OrderRow.user_id == user_id, OrderRow.placed_at >= since)
            return list(session.scalars(wanted.order_by(OrderRow.id)))

    def newest(self, user_id: int, since: float, limit: int) -> list[OrderRow]:
        """Return the newest orders since a moment and all that are pending since then, the newest first.

        Args:
            user_id: The user's number.
            since: The moment, in seconds since the epoch.
            limit: How many at most, but for what is pending.
        """
        self.settle(user_id)
        own = (OrderRow.user_id == user_id, OrderRow.placed_at >= since)
        last = select(OrderRow.id).where(*own).order_by(OrderRow.id.desc()).limit(limit)
        wanted = select(OrderRow).where(*own, or_(OrderRow.status.in_(PENDING), OrderRow.id.in_(last)))
        with self._database.reading() as session:
            return list(session.scalars(wanted.order_by(OrderRow.id.desc())))

    def earlier(self, user_id: int, before: float, below: int, limit: int) -> list[OrderRow]:
        """Return a user's orders that were placed before a moment, the newest first.

        Args:
            user_id: The user's number.
            before: The moment, in seconds since the epoch.
            below: The number that all of them are below, to go on from a list that ended there.
            limit: How many at most.
        """
        with self._database.reading() as session:
            wanted = select(OrderRow).where(OrderRow.user_id == user_id, OrderRow.placed_at < before)
            return list(session.scalars(wanted.where(OrderRow.id < below).order_by(OrderRow.id.desc()).limit(limit)))

    def revision(self, user_id: int) -> tuple[float | None, int]:
        """Return what is another one whenever a user's orders have changed, at the cost of two looks into an index."""
        own = OrderRow.user_id == user_id
        changed = select(func.max(OrderRow.updated_at)).where(own).scalar_subquery()
        pending = select(func.count()).where(own, OrderRow.status.in_(PENDING)).scalar_subquery()
        with self._database.reading() as session:
            at, count = session.execute(select(changed, pending)).one()
            return at, count

    def open_prices(self, user_id: int) -> tuple[int, ...]:
        """Return what the market pays for each open position of a user, in units."""
        with self._database.reading() as session:
            is_open = (PositionRow.user_id == user_id, PositionRow.quantity != 0)
            held = list(session.execute(select(PositionRow.symbol, PositionRow.exchange).where(*is_open)))
        return tuple(self.price(symbol, exchange) for symbol, exchange in held)

    def trades(self, user_id: int, since: float = 0.0, limit: int | None = None) -> list[tuple[OrderRow, TradeRow]]:
        """Return a user's trades since a moment with their orders, the oldest first; all, or so many of the newest."""
        self.settle(user_id)
        with self._database.reading() as session:
            wanted = select(OrderRow, TradeRow).join(TradeRow, TradeRow.order_id == OrderRow.id)
            wanted = wanted.where(OrderRow.user_id == user_id, TradeRow.traded_at >= since)
            wanted = wanted.order_by(TradeRow.id.desc()).limit(limit)
            return [(order, trade) for order, trade in session.execute(wanted)][::-1]

    def positions(self, user_id: int) -> list[PositionRow]:
        """Return what a user holds, and what was closed already."""
        self.settle(user_id)
        with self._database.reading() as session:
            wanted = select(PositionRow).where(PositionRow.user_id == user_id)
            return list(session.scalars(wanted.order_by(PositionRow.symbol, PositionRow.exchange, PositionRow.product)))

    def quantity(self, user_id: int, symbol: str, exchange: str, product: str) -> int:
        """Return how many of an instrument a user holds; negative for sold."""
        with self._database.reading() as session:
            return _quantity(session, (user_id, symbol, exchange, product))

    def funds(self, user_id: int) -> Funds:
        """Return an account's money."""
        return Funds.of(self.positions(user_id), self.price)

    def price(self, symbol: str, exchange: str) -> int:
        """Return the market's price in units; 0 for what the symbol master does not have any more."""
        instrument = self._symbols.by_symbol(symbol, exchange)
        return 0 if instrument is None else to_units(self._market.price(instrument))

    # --- inside a transaction -----------------------------------------------------------------------------------------

    def _lock(self, session: Session, caller: Caller) -> None:
        """Let nobody else change the account, and nobody be taken over, before the transaction ends."""
        lock_user(session, caller.user_id)
        if caller.lease is not None:
            check(session, caller.lease)

    def _place(
        self, session: Session, caller: Caller, ticket: Ticket, idempotency_key: str | None, digest: str
    ) -> OrderRow:
        """Place an order of an account that is locked."""
        ticket.check(self._symbols.by_symbol(ticket.symbol, ticket.exchange))
        now = self._database.now(session)
        order = OrderRow(
            user_id=caller.user_id,
            strategy=ticket.strategy,
            symbol=ticket.symbol,
            exchange=ticket.exchange,
            action=ticket.action,
            product=ticket.product,
            pricetype=ticket.pricetype,
            quantity=ticket.quantity,
            price=to_units(ticket.price),
            trigger_price=to_units(ticket.trigger_price),
            status=Status.TRIGGER_PENDING if ticket.pricetype.startswith("SL") else Status.OPEN,
            placed_at=now,
            updated_at=now,
            idempotency_key=idempotency_key,
            digest=digest,
        )
        session.add(order)
        session.flush()
        self._try(session, order, now)
        return order

    def _try(self, session: Session, order: OrderRow, now: float) -> None:
        """Fill an order if the market reaches it and the account can pay it."""
        price = execution_price(order, self.price(order.symbol, order.exchange))
        if price is None:
            return
        held = session.scalars(select(PositionRow).where(PositionRow.user_id == order.user_id)).all()
        if binds(order, price, held) > Funds.of(held, self.price).available:
            order.status, order.reason, order.updated_at = Status.REJECTED, "Insufficient funds", now
        else:
            fill(session, order, price, now)


def _named(session: Session, caller: Caller, idempotency_key: str | None, digest: str) -> OrderRow | None:
    """Return the order that a caller has placed under a name, if any; refuse the name for another one."""
    if idempotency_key is None:
        return None
    wanted = (OrderRow.user_id == caller.user_id, OrderRow.idempotency_key == idempotency_key)
    there = session.scalar(select(OrderRow).where(*wanted))
    if there is not None and there.digest != digest:
        raise RefusedOrderError("This idempotency key belongs to another order")
    return there


def _quantity(session: Session, key: tuple[int, str, str, str]) -> int:
    position = session.get(PositionRow, key)
    return 0 if position is None else position.quantity


def _own(session: Session, user_id: int, order_id: int) -> OrderRow:
    order = session.get(OrderRow, order_id) if 0 < order_id < 2**31 else None
    if order is None or order.user_id != user_id:
        raise RefusedOrderError(f"Order {order_id} not found")
    return order


def _pending(session: Session, caller: Caller, order_id: int) -> OrderRow:
    order = _own(session, caller.user_id, order_id)
    if order.status not in PENDING:
        raise RefusedOrderError(f"Order {order_id} is {order.status}, and only a pending one can be changed")
    return order
