"""Strategies that others drive: a webhook each, under which a message becomes an order."""

from __future__ import annotations

import hashlib
import hmac
import secrets
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Final

from sqlalchemy import BigInteger, ForeignKey, String, UniqueConstraint, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Mapped, Session, mapped_column

from openalgo_cache import register
from openalgo_host.database import Base, Database
from openalgo_host.sandbox.ticket import ACTIONS, PRODUCTS, RefusedOrderError, Ticket

if TYPE_CHECKING:
    from openalgo_cache import Cache, CacheManager
    from openalgo_cache.symbols import SymbolMaster
    from openalgo_host.vault import Vault

LONGEST_NAME: Final = 64
_PURPOSE: Final = "openalgo-host webhooks"
_PLACE: Final = "strategies.sealed/"


class StrategyRow(Base):
    """A row of the table of strategies that have a webhook.

    ``digest`` is a keyed hash of the webhook's token, by which it is found; ``sealed`` the token itself, encrypted, for
    its owner to see. A ``quantity`` of 0 is the message's.
    """

    __tablename__ = "strategies"
    __table_args__ = (UniqueConstraint("user_id", "name", name="uq_strategies_name"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    user_id: Mapped[int] = mapped_column(ForeignKey("users.id"))
    name: Mapped[str] = mapped_column(String(LONGEST_NAME))
    digest: Mapped[str] = mapped_column(String(64), unique=True)
    sealed: Mapped[bytes]
    active: Mapped[bool]
    symbol: Mapped[str] = mapped_column(String(200))
    exchange: Mapped[str] = mapped_column(String(20))
    product: Mapped[str] = mapped_column(String(4))
    quantity: Mapped[int] = mapped_column(BigInteger)
    actions: Mapped[str] = mapped_column(String(16))


@register
@dataclass(frozen=True, slots=True)
class Order:
    """What a webhook orders.

    Attributes:
        symbol: OpenAlgo's symbol.
        exchange: OpenAlgo's exchange.
        product: CNC, NRML or MIS.
        quantity: How many; 0 if the message says so.
        actions: What a message may ask for, of BUY and SELL.
    """

    symbol: str
    exchange: str
    product: str
    quantity: int = 0
    actions: tuple[str, ...] = ACTIONS


@register
@dataclass(frozen=True, slots=True)
class Webhook:
    """A strategy with a webhook; its token is not among this.

    Attributes:
        id: The strategy's number.
        user_id: Whose it is.
        name: Its name, unique among its owner's.
        active: Whether messages become orders.
        order: Which.
    """

    id: int
    user_id: int
    name: str
    active: bool
    order: Order


class RefusedWebhookError(Exception):
    """A webhook cannot be as it is wanted; the message says why, and goes to its owner."""


class UnknownWebhookError(Exception):
    """A user has no webhook of this number."""


class Webhooks:
    """The webhooks in the database, read through caches that all instances share.

    A change ends what the caches have of it, after its commit: it holds for the next message, on whatever instance.

    Args:
        database: Where they are.
        manager: Where the caches and the secret of the hashes come from.
        vault: Encrypts the tokens.
        symbols: What can be ordered.
    """

    def __init__(self, database: Database, manager: CacheManager, vault: Vault, symbols: SymbolMaster) -> None:
        self._database = database
        self._vault = vault
        self._symbols = symbols
        self._secret = manager.ring().subkey(_PURPOSE, b"")
        self._by_token: Cache = manager.get_cache("strategy_webhook")
        self._of_user: Cache = manager.get_cache("user_strategies")

    def list(self, user_id: int) -> Sequence[Webhook]:
        """Return a user's webhooks, by name."""

        def load() -> list[Webhook]:
            with self._database.reading() as session:
                wanted = select(StrategyRow).where(StrategyRow.user_id == user_id).order_by(StrategyRow.name)
                return [_view(row) for row in session.scalars(wanted)]

        found: list[Webhook] = self._of_user.get_or_set(f"user_{user_id}", load)
        return found

    def find(self, token: str) -> Webhook | None:
        """Return the active webhook of a token; None if there is none.

        A token is looked for by its keyed hash, so how long that takes tells nothing of the tokens there are.
        """
        digest = self._digest(token)

        def load() -> Webhook:
            with self._database.reading() as session:
                row = session.scalar(select(StrategyRow).where(StrategyRow.digest == digest))
            if row is None or not row.active:
                raise UnknownWebhookError
            return _view(row)

        try:
            found: Webhook = self._by_token.get_or_set(digest, load)
        except UnknownWebhookError:  # nothing of it is kept: it may come to be at any moment
            return None
        return found

    def token(self, user_id: int, number: int) -> str:
        """Return a webhook's token, for its owner's eyes alone.

        Raises:
            UnknownWebhookError: The user has no such webhook.
            VaultError: It was sealed with another key ring.
        """
        with self._database.reading() as session:
            row = _own(session, user_id, number)
        return self._vault.open(_PLACE + row.digest, row.sealed)

    def add(self, user_id: int, name: str, order: Order) -> Webhook:
        """Add a webhook, which is active from now on.

        Args:
            user_id: Whose.
            name: Its name, unique among the user's.
            order: What it orders.

        Raises:
            RefusedWebhookError: The name is taken or no name, or this cannot be ordered.
        """
        self._check(name, order)
        digest, sealed = self._new_token()
        row = StrategyRow(user_id=user_id, name=name, digest=digest, sealed=sealed, active=True, **_columns(order))
        try:
            with self._database.writing() as session:
                session.add(row)
        except IntegrityError:
            raise RefusedWebhookError(f"There is a strategy {name!r} already: give another name") from None
        self._forget(user_id)
        return _view(row)

    def set_active(self, user_id: int, number: int, *, on: bool) -> Webhook:
        """Let messages become orders, or refuse them.

        Raises:
            UnknownWebhookError: The user has no such webhook.
        """

        def change(row: StrategyRow) -> None:
            row.active = on

        return self._change(user_id, number, change)

    def renew_token(self, user_id: int, number: int) -> str:
        """Give a webhook another token, and return it; the old one is unknown from now on.

        Raises:
            UnknownWebhookError: The user has no such webhook.
        """

        def change(row: StrategyRow) -> None:
            row.digest, row.sealed = self._new_token()

        self._change(user_id, number, change)
        return self.token(user_id, number)

    def remove(self, user_id: int, number: int) -> None:
        """Remove a webhook; its orders stay.

        Raises:
            UnknownWebhookError: The user has no such webhook.
        """
        with self._database.writing() as session:
            row = _own(session, user_id, number)
            session.delete(row)
        self._forget(user_id, row.digest)

    # --- the steps of these -------------------------------------------------------------------------------------------

    def _change(self, user_id: int, number: int, change: Callable[[StrategyRow], None]) -> Webhook:
        with self._database.writing() as session:
            row = _own(session, user_id, number)
            old = row.digest
            change(row)
        self._forget(user_id, old)
        return _view(row)

    def _forget(self, user_id: int, *digests: str) -> None:
        """Remove entries from both caches, and from each although the other one fails.

        Raises:
            BackendUnavailableError: The change is made, and will be seen by all as soon as the cache answers.
        """
        with ExitStack() as each:
            each.callback(self._of_user.delete, f"user_{user_id}")
            each.callback(self._by_token.delete_many, digests)

    def _check(self, name: str, order: Order) -> None:
        if not 0 < len(name) <= LONGEST_NAME or not name.isprintable() or name != name.strip():
            raise RefusedWebhookError(f"A name has up to {LONGEST_NAME} characters that can be printed")
        if not order.actions or not set(order.actions) <= set(ACTIONS):
            raise RefusedWebhookError(f"The actions are some of {', '.join(ACTIONS)}")
        if order.product not in PRODUCTS:
            raise RefusedWebhookError(f"The product is one of {', '.join(PRODUCTS)}")
        instrument = self._symbols.by_symbol(order.symbol, order.exchange)
        quantity = order.quantity or (1 if instrument is None else max(instrument.lotsize, 1))
        try:
            ticket(name, order, order.actions[0], quantity).check(instrument)
        except RefusedOrderError as error:
            raise RefusedWebhookError(str(error)) from None

    def _new_token(self) -> tuple[str, bytes]:
        token = secrets.token_urlsafe(32)
        digest = self._digest(token)
        return digest, self._vault.seal(_PLACE + digest, token)

    def _digest(self, token: str) -> str:
        return hmac.new(self._secret, token.encode(), hashlib.sha256).hexdigest()


def ticket(name: str, order: Order, action: str, quantity: int) -> Ticket:
    """Return what a strategy orders at the market."""
    return Ticket(name, order.symbol, order.exchange, action, order.product, "MARKET", quantity)


def _columns(order: Order) -> dict[str, object]:
    return {**asdict(order), "actions": " ".join(order.actions)}


def _view(row: StrategyRow) -> Webhook:
    order = Order(row.symbol, row.exchange, row.product, row.quantity, tuple(row.actions.split()))
    return Webhook(row.id, row.user_id, row.name, row.active, order)


def _own(session: Session, user_id: int, number: int) -> StrategyRow:
    row = session.get(StrategyRow, number, with_for_update=True)
    if row is None or row.user_id != user_id:
        raise UnknownWebhookError(f"Strategy {number} not found")
    return row
