"""One node: commands go out together, replies come back, all of it within the time that an operation may take."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from time import monotonic
from typing import TYPE_CHECKING, Any

from openalgo_cache.backends.resp.breaker import Breaker, OutageListener
from openalgo_cache.backends.resp.dialling import Address, Dialler, limit
from openalgo_cache.backends.resp.errors import Errors, Failure
from openalgo_cache.backends.resp.pool import Pool, Pools
from openalgo_cache.errors import BackendUnavailableError

if TYPE_CHECKING:
    from openalgo_cache.backends.resp.driver import Connection, Driver
    from openalgo_cache.settings import Server

Command = Sequence[Any]
"""The words of a command: text, bytes, numbers."""


class Node:
    """A server that holds entries.

    Args:
        driver: The client library.
        server: How to log in, and how long to wait.
        dialler: Opens connections.
        locate: Returns where it is, by a deadline; asked before each connection is opened.
        name: Where it is, for messages.
        listeners: Whom to tell of outages.
        look_round: What the prober does besides, while this node is away.
    """

    def __init__(  # noqa: PLR0913  # what a node is made of
        self,
        driver: Driver,
        server: Server,
        dialler: Dialler,
        locate: Callable[[float], Address],
        name: str,
        listeners: Sequence[OutageListener],
        look_round: Callable[[], None] = lambda: None,
    ) -> None:
        self._driver = driver
        self._server = server
        self._dialler = dialler
        self._locate = locate
        self._errors = Errors(driver, server)
        self._timeout = server.operation_timeout
        self._reached = False
        self._look_round = look_round
        self._pools = Pools(self._dial, server.pool_size, f"{server.name.upper()}_POOL_SIZE")
        self._broken = driver.broken
        self._reply_error = driver.reply_error
        self.name = name
        self.breaker = Breaker(f"{server.title} at {name}", self._probe, listeners)

    def call(self, *words: Any) -> Any:
        """Send one command and return the reply; raise the library's error if that is one."""
        (reply,) = self.calls((words,))
        if isinstance(reply, Exception):
            raise reply
        return reply

    def calls(self, commands: Sequence[Command], *, repeatable: bool = True) -> list[Any]:
        """Send commands in one go and return the replies; those that are errors stand among them.

        Args:
            commands: What to send.
            repeatable: Whether they may be sent twice: if not, a connection is looked at before it is used.

        Raises:
            BackendUnavailableError: The node does not answer, or not in time.
            BackendMisconfiguredError: It does not let us in.
        """
        pool = self._pools.own()
        deadline = self._begin(pool)
        connection, new = self._take(pool, deadline, live=not repeatable)
        try:
            return self._converse(pool, connection, commands, deadline)
        except self._broken as error:
            if new or not repeatable or isinstance(error, self._driver.exceptions.TimeoutError):
                raise self._failed(error) from error
        # The server has closed what lay idle, so it was restarted: once more, on a new connection.
        pool.empty()
        connection, _ = self._take(pool, deadline)
        try:
            return self._converse(pool, connection, commands, deadline)
        except self._broken as error:
            raise self._failed(error) from error

    def exchange(
        self, key: str, decide: Callable[[bytes | None], Sequence[Command] | None], after: Sequence[Command] = ()
    ) -> list[Any] | None:
        """Look at a key and change it in one atomic step.

        Args:
            key: The key.
            decide: Gets what is there; returns the commands to run if nobody changes the key meanwhile, or None.
            after: Commands to run behind them.

        Returns:
            The replies of EXEC and of ``after``, errors among them; None if ``decide`` said so. The first is None if
            somebody changed the key meanwhile.

        Raises:
            BackendUnavailableError: As for calls; it may have happened all the same.
            BackendMisconfiguredError: As for calls.
        """
        pool = self._pools.own()
        deadline = self._begin(pool)
        connection, _ = self._take(pool, deadline, live=True)
        try:
            watched, value = self._say(connection, (("WATCH", key), ("GET", key)), deadline)
            _raise_first(watched, value)
            commands = decide(value)
            replies = None
            if commands is None:
                self._say(connection, (("UNWATCH",),), deadline)
            else:
                queued = len(commands) + 1
                replies = self._say(connection, (("MULTI",), *commands, ("EXEC",), *after), deadline)
                _raise_first(*replies[:queued])
                replies = replies[queued:]
        except self._reply_error:
            pool.drop(connection)  # it may still be watching
            raise
        except self._broken as error:
            pool.drop(connection)
            raise self._failed(error) from error
        except BaseException:
            pool.drop(connection)
            raise
        pool.give(connection)
        return replies

    def forget(self) -> None:
        """Close what lies idle: the node may be at another place now."""
        self._pools.own().empty()

    def close(self) -> None:
        """Close everything; it opens again when it is used again."""
        self.breaker.close()
        self._pools.close()

    def retire(self) -> None:
        """Close everything, since others serve what was served here."""
        self.breaker.retire()
        self._pools.close()

    def abandon(self) -> None:
        """Begin anew, in a forked child."""
        self._pools.abandon()
        self.breaker.close()

    def _begin(self, pool: Pool) -> float:
        """Return by when an operation that begins now has to be over. Raise if the node is away."""
        pool.line_up(self._server.timeout)
        if self.breaker.is_open:
            pool.wake()  # the next in the line shall not wait in vain either
            raise self.breaker.refusal()
        return monotonic() + (self._timeout if self._reached else max(self._timeout, self._server.timeout))

    def _take(self, pool: Pool, deadline: float, *, live: bool = False) -> tuple[Connection, bool]:
        """Return a connection, and whether it is new; if it must be live, none that the server has closed."""
        connection, new = pool.take(deadline)
        while live and not new:
            try:
                if not connection.can_read():
                    break
            except self._broken:
                pass
            pool.drop(connection)
            connection, new = pool.take(deadline)
        if self.breaker.is_open:  # while we waited for it
            pool.give(connection)
            raise self.breaker.refusal()
        return connection, new

    def _converse(self, pool: Pool, connection: Connection, commands: Sequence[Command], deadline: float) -> list[Any]:
        try:
            replies = self._say(connection, commands, deadline)
        except BaseException:
            pool.drop(connection)
            raise
        pool.give(connection)
        return replies

    def _say(self, connection: Connection, commands: Sequence[Command], deadline: float) -> list[Any]:
        left = deadline - monotonic()
        hurried = left < 0.9 * self._timeout  # opening, or waiting for a connection, took its share
        if hurried:
            limit(connection, left)
        if len(commands) == 1:
            connection.send_packed_command(connection.pack_command(*commands[0]))
        else:
            connection.send_packed_command(connection.pack_commands(commands))
        replies = []
        for _ in commands:
            try:
                replies.append(connection.read_response())
            except self._reply_error as error:
                replies.append(error)
            except (TypeError, ValueError):  # a map whose keys can be none; a redirection that cannot be taken apart
                raise self._driver.exceptions.InvalidResponse from None
        if hurried:
            limit(connection, self._timeout)
        return replies

    def _dial(self, deadline: float) -> Connection:
        try:
            connection = self._dialler.dial(self._locate(deadline), deadline)
        except BackendUnavailableError as error:  # no Sentinel answers
            raise self.breaker.trip(error) from None
        except (*self._broken, self._reply_error) as error:
            raise self._failed(error) from error
        self._reached = True
        return connection

    def _failed(self, error: Exception) -> Exception:
        if not self._reached and self._dialler.meets_plain_text(error):
            failure: Failure = self._errors.of_plain_text(self.name)
        else:
            failure = self._errors.of_connection(error, self.name, reached=self._reached)
        if isinstance(failure, BackendUnavailableError):
            self._pools.own().empty()
            return self.breaker.trip(failure)
        return failure

    def _probe(self) -> None:
        self._look_round()
        deadline = monotonic() + max(self._timeout, 0.25)
        try:
            self._dialler.dial(self._locate(deadline), deadline).disconnect()
        except BackendUnavailableError:  # which is an OSError, too
            raise
        except (*self._broken, self._reply_error) as error:
            raise self._errors.of_connection(error, self.name, reached=True) from error


def _raise_first(*replies: Any) -> None:
    for reply in replies:
        if isinstance(reply, Exception):
            raise reply
