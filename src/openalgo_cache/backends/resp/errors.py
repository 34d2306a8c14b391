"""What an error of a client library means here: the store is away, or it refuses us."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from openalgo_cache.errors import BackendMisconfiguredError, BackendUnavailableError

if TYPE_CHECKING:
    from openalgo_cache.backends.resp.driver import Driver
    from openalgo_cache.settings import Server

Failure = BackendUnavailableError | BackendMisconfiguredError

_LONGEST: Final = 120

_PASSING: Final = {
    "BUSY": "runs a script",
    "CLUSTERDOWN": "is a cluster that is not whole",
    "LOADING": "is still loading",
    "MASTERDOWN": "has lost its primary",
    "MISCONF": "cannot save to its disk, and so refuses to write",
    "NOREPLICAS": "has too few replicas, and so refuses to write",
    "OOM": "is full (maxmemory), and so refuses to write",
    "READONLY": "is a replica, and so refuses to write",
    "TRYAGAIN": "is moving keys between its nodes",
    "UNBLOCKED": "has become a replica",
    "ERR max number of clients": "has no connection left",
}
"""How the replies begin of a server that will do what we ask, but not now."""

_REARRANGING: Final = dict.fromkeys(("ASK", "MOVED"), "is moving keys between its nodes")
"""The same, of a node of a cluster."""

_REFUSING: Final = {
    "WRONGPASS": "does not accept our login: correct {0}_PASSWORD or {0}_USERNAME (or those parts of {0}_URL)",
    "invalid username-password": "does not accept our login: correct {0}_PASSWORD or {0}_USERNAME",
    "Authentication required": "asks for a password: set {0}_PASSWORD (and {0}_USERNAME)",
    "ERR invalid password": "does not accept our password: correct {0}_PASSWORD (or that part of {0}_URL)",
    "ERR AUTH": "knows no passwords, and {0}_PASSWORD is set: remove it",
    "ERR Client sent AUTH": "knows no passwords, and {0}_PASSWORD is set: remove it",
    "NOAUTH": "asks for a password: set {0}_PASSWORD (and {0}_USERNAME)",
    "NOPERM": "does not allow our user what a cache needs: give {0}_USERNAME the rights that docs/redis.md lists",
    "DENIED": "is in protected mode and talks to its own machine alone: give it a password, and set {0}_PASSWORD",
    "WRONGTYPE": "holds something of another application under our keys: set {0}_KEY_PREFIX",
    "ERR DB index": "has no database of that number: correct {0}_DB",
    "ERR SELECT": "has database 0 alone: set {0}_DB=0",
    "ERR invalid DB": "has no database of that number: correct {0}_DB",
    "ERR This instance has cluster support disabled": "is no cluster: set {0}_CLUSTER=false",
    "MOVED": "is a node of a cluster: set {0}_CLUSTER=true",
    "CROSSSLOT": "is a node of a cluster: set {0}_CLUSTER=true",
}
"""How the replies begin of a server that will not do it until somebody has corrected something. valkey-py cuts some."""


class Errors:
    """Translates one server's errors.

    Args:
        driver: Whose errors they are.
        server: What they are about.
    """

    def __init__(self, driver: Driver, server: Server) -> None:
        self._exceptions = driver.exceptions
        self._variables = server.name.upper()
        self._title = server.title
        self._passing = _PASSING | _REARRANGING if server.cluster else _PASSING

    def of_reply(self, error: Exception, address: str) -> Failure:
        """Return what a server's refusal means."""
        text = _text(error)
        for start, meaning in self._passing.items():
            if text.startswith(start):
                return BackendUnavailableError(f"{self._title} at {address} {meaning}")
        for start, meaning in _REFUSING.items():
            if text.startswith(start):
                return BackendMisconfiguredError(f"{self._title} at {address} {meaning.format(self._variables)}")
        return BackendMisconfiguredError(f"{self._title} at {address} refuses: {text[:_LONGEST]}")

    def of_connection(self, error: Exception, address: str, *, reached: bool) -> Failure:
        """Return what a broken connection means.

        Args:
            error: What the library raised.
            address: Where the server is.
            reached: Whether this process has ever talked to the server: then it is away. Before, it may be something
                else.
        """
        exceptions = self._exceptions
        if isinstance(error, exceptions.AuthenticationError | exceptions.ResponseError):
            return self.of_reply(error, address)
        if isinstance(error, exceptions.BusyLoadingError):
            return BackendUnavailableError(f"{self._title} at {address} {_PASSING['LOADING']}")
        if isinstance(error, exceptions.TimeoutError):
            return BackendUnavailableError(f"{self._title} at {address} does not answer in time")
        cause = error.__context__
        if not reached and (refusal := self._refusal(error, cause)) is not None:
            return BackendMisconfiguredError(f"{self._title} at {address} {refusal}")
        why = (getattr(cause, "strerror", None) or "it closed the connection").lower()
        if not reached:
            why += f" (see {self._variables}_HOST and {self._variables}_PORT, or {self._variables}_URL)"
        return BackendUnavailableError(f"{self._title} at {address} does not answer: {why}")

    def of_nonsense(self, address: str) -> Failure:
        """Return the error of a reply of a kind that its command does not have."""
        names = f"{self._variables}_PORT and {self._variables}_TLS"
        return BackendMisconfiguredError(f"{self._title} at {address} does not speak its protocol: look at {names}")

    def of_plain_text(self, address: str) -> Failure:
        """Return the error of a server that speaks no TLS."""
        names = f"{self._variables}_TLS and {self._variables}_PORT"
        return BackendMisconfiguredError(f"{self._title} at {address} speaks no TLS there: look at {names}")

    def _refusal(self, error: Exception, cause: BaseException | None) -> str | None:
        """Return what keeps us from ever talking to the server; None if it may just be away."""
        variables = self._variables
        if isinstance(error, self._exceptions.InvalidResponse):
            return f"does not speak its protocol: look at {variables}_PORT and {variables}_TLS"
        kind = type(cause).__name__  # so that ssl is not loaded where nobody asked for it
        if kind == "SSLCertVerificationError":
            detail = getattr(cause, "verify_message", "")
            return f"has a certificate that is not accepted ({detail}): look at {variables}_TLS_CA and {variables}_HOST"
        if kind.startswith("SSL"):
            reason = getattr(cause, "reason", None) or "closed"
            names = f"{variables}_TLS, {variables}_TLS_CERT and {variables}_PORT"
            return f"does not agree on TLS ({reason}): look at {names}"
        if cause is None or isinstance(cause, ConnectionResetError | BrokenPipeError):
            names = f"{variables}_TLS, {variables}_TLS_CERT"  # a certificate that is missing may show in this way, too
            return f"closes the connection without an answer: it may want TLS ({names}), or not want us"
        return None


def _text(error: Exception) -> str:
    """Return a server's reply as it was sent, since the libraries cut some; but nothing that it quotes of a command."""
    text = str(error)
    code = getattr(error, "status_code", None) or _CODES.get(type(error).__name__, "")
    if code and not text.startswith(code):
        text = f"{code} {text}"
    return text.partition(", with args")[0]


_CODES: Final = {
    "AskError": "ASK",
    "BusyLoadingError": "LOADING",
    "ClusterCrossSlotError": "CROSSSLOT",
    "ClusterDownError": "CLUSTERDOWN",
    "MasterDownError": "MASTERDOWN",
    "MovedError": "MOVED",
    "NoPermissionError": "NOPERM",
    "OutOfMemoryError": "OOM",
    "ReadOnlyError": "READONLY",
    "TryAgainError": "TRYAGAIN",
}
