"""What a failed request is answered with: a page, or JSON where a program asked."""

from __future__ import annotations

import logging
from typing import Final

from flask import Flask, Response, jsonify, make_response, render_template, request
from sqlalchemy.exc import DataError, SQLAlchemyError
from werkzeug.exceptions import BadRequest, HTTPException, ServiceUnavailable

from openalgo_cache import (
    BackendUnavailableError,
    CacheError,
    KeyRingError,
    LockTimeoutError,
    UnreadableRecordError,
)

_log = logging.getLogger("openalgo_host")

_ON_PAGES: Final = {404: "There is no such page.", 405: "This address is not for what was asked of it."}
"""What pages say where nobody has said more; the framework speaks of URLs and servers."""
_FOR_PROGRAMS: Final = ("/api/", "/diagnostics/", "/metrics", "/strategy/webhook/")


def install(app: Flask) -> None:
    """Let ``app`` answer every failure in its own style, without a trace of its inside."""

    @app.errorhandler(HTTPException)
    def refuse(error: HTTPException) -> Response:
        if error.response is not None:  # it is an answer already, such as a redirection
            return make_response(error.response)
        if request.path.startswith(_FOR_PROGRAMS):
            answer = make_response(jsonify(status="error", message=error.description), error.code or 500)
        else:
            # The page asks for no session: that it cannot be read may be what failed.
            if error.description == type(error).description:
                error.description = _ON_PAGES.get(error.code or 500, error.description)
            answer = make_response(render_template("error.html", error=error), error.code or 500)
        for name, value in error.get_headers():
            if name not in {"Content-Type", "Content-Length"}:
                answer.headers[name] = value
        return answer

    @app.errorhandler(BackendUnavailableError)
    def without_cache(error: BackendUnavailableError) -> Response:
        _log.error("%s", error)
        return refuse(ServiceUnavailable("Part of the host's memory does not answer at the moment: try again shortly."))

    @app.errorhandler(DataError)
    def no_value(_error: DataError) -> Response:
        return refuse(BadRequest("There is something in this request that no database can keep."))

    @app.errorhandler(KeyRingError)
    @app.errorhandler(UnreadableRecordError)
    def without_key(error: CacheError) -> Response:
        _log.error("what is kept cannot be read: %s", error)
        return refuse(
            ServiceUnavailable(
                "What is kept here cannot be read: it is damaged, or the host has another key ring than it was written "
                "with. It is left as it is; openalgo-cache doctor says more."
            )
        )

    @app.errorhandler(LockTimeoutError)
    def without_lock(_error: LockTimeoutError) -> Response:
        return refuse(ServiceUnavailable("Somebody else is changing this at the moment: try again shortly."))

    @app.errorhandler(SQLAlchemyError)
    def without_database(error: SQLAlchemyError) -> Response:
        _log.error("the database fails: %s", type(error).__name__)
        return refuse(ServiceUnavailable("The database does not answer at the moment: try again shortly."))
