"""Strategies that the host runs for its users: how they are, what they print and keep, and what becomes of them."""

from __future__ import annotations

import json
import signal
from typing import TYPE_CHECKING, Any, Final

from flask import Blueprint, Response, current_app, flash, make_response, redirect, render_template, request, url_for
from werkzeug.exceptions import Conflict, NotFound, RequestEntityTooLarge

from openalgo_host.pages import members
from openalgo_host.pages.formats import moment
from openalgo_host.strategies import RefusedStrategyError, StrategyView, UnknownStrategyError
from openalgo_host.strategies.configs import LARGEST_SOURCE, LONGEST_NAME
from openalgo_host.strategies.schedule import DAYS, MARKET_DAYS

if TYPE_CHECKING:
    from werkzeug.datastructures import MultiDict
    from werkzeug.wrappers import Response as AnyResponse

    from openalgo_host.host import Host

_USUAL: Final = {"from": "09:15", "to": "15:30", "days": list(MARKET_DAYS), "holidays": []}
"""The hours that a form begins with."""


def make_blueprint(host: Host) -> Blueprint:  # noqa: C901, PLR0915  # a list of pages
    """Make the blueprint of ``/strategies``."""
    blueprint = members.make_blueprint("strategies", host, parts=("rows", "now"))
    blueprint.register_error_handler(
        UnknownStrategyError, lambda _: current_app.handle_user_exception(NotFound("You have no such strategy."))
    )
    blueprint.register_error_handler(RequestEntityTooLarge, _too_large)
    blueprint.add_app_template_filter(_exit, "exit")
    strategies = host.strategies

    def form(status: int, **fields: Any) -> Response:
        body = render_template(
            "strategy_form.html",
            **{"view": None, "problem": "", "source_problem": "", **fields},
            days=DAYS,
            longest_name=LONGEST_NAME,
            largest_source=LARGEST_SOURCE,
        )
        return make_response(body, status)

    def change_form(strategy_id: str, status: int = 200, **fields: Any) -> Response:
        view = strategies.get(members.account().id, strategy_id)
        given = {"given": _filled(view), "source": strategies.source(members.account().id, strategy_id)}
        return form(status, view=view, **given | fields)

    def after(view: StrategyView) -> AnyResponse:
        """Lead to where the form was: the list, or the strategy's own page."""
        if request.form.get("where") == "list":
            return redirect(url_for("strategies.index"), 303)
        return redirect(url_for("strategies.one", strategy_id=view.id), 303)

    @blueprint.get("/strategies")
    def index() -> str:
        return render_template("strategies.html", views=strategies.list(members.account().id))

    @blueprint.get("/strategies/rows")
    def rows() -> str:
        """Return the part of the list that changes, for the script."""
        return render_template("strategy_rows.html", views=strategies.list(members.account().id))

    @blueprint.get("/strategies/add")
    def add_form() -> Response:
        return form(200, given={"name": "", "scheduled": False, **_USUAL}, source="")

    @blueprint.post("/strategies/add")
    def add() -> AnyResponse:
        try:
            source = _source()
            view = strategies.add(members.account().id, request.form.get("name", ""), source, _schedule(request.form))
        except RefusedStrategyError as error:
            return form(422, given=_given(request.form), source=request.form.get("source", ""), problem=f"{error}.")
        flash(f"{view.name} is added. It runs when you start it.")
        return after(view)

    @blueprint.get("/strategies/<strategy_id>")
    def one(strategy_id: str) -> str:
        return render_template("strategy.html", **_now(host, strategy_id))

    @blueprint.get("/strategies/<strategy_id>/now")
    def now(strategy_id: str) -> str:
        """Return the part of a strategy's page that changes, for the script."""
        return render_template("strategy_now.html", **_now(host, strategy_id))

    @blueprint.get("/strategies/<strategy_id>/change")
    def ask_change(strategy_id: str) -> Response:
        return change_form(strategy_id)

    @blueprint.post("/strategies/<strategy_id>/change")
    def change(strategy_id: str) -> AnyResponse:
        name, schedule = request.form.get("name", ""), _schedule(request.form)
        try:
            view = strategies.change(members.account().id, strategy_id, name=name, schedule=schedule)
        except RefusedStrategyError as error:
            return change_form(strategy_id, 422, given=_given(request.form), problem=f"{error}.")
        flash(f"{view.name} is changed.")
        return after(view)

    @blueprint.post("/strategies/<strategy_id>/source")
    def change_source(strategy_id: str) -> AnyResponse:
        try:
            view = strategies.change(members.account().id, strategy_id, source=_source())
        except RefusedStrategyError as error:
            given = {"source": request.form["source"]} if "source" in request.form else {}
            return change_form(strategy_id, 422, source_problem=f"{error}.", **given)
        flash(f"{view.name} has a new source. It counts from the next run on.")
        return after(view)

    @blueprint.post("/strategies/<strategy_id>/start")
    def start(strategy_id: str) -> AnyResponse:
        view = strategies.start(members.account().id, strategy_id)
        if view.state == "scheduled":
            flash(f"{view.name} {_first_start(view)}.")
        else:
            flash(f"{view.name} is started.")
        return after(view)

    @blueprint.post("/strategies/<strategy_id>/stop")
    def stop(strategy_id: str) -> AnyResponse:
        view = strategies.stop(members.account().id, strategy_id)
        flash(f"{view.name} is {'about to end' if view.state == 'running' else 'stopped'}.")
        return after(view)

    @blueprint.get("/strategies/<strategy_id>/remove")
    def ask_remove(strategy_id: str) -> str:
        view = strategies.get(members.account().id, strategy_id)
        if view.wanted or view.state == "running":
            raise Conflict("Only a strategy that is stopped can be removed: stop it first.")
        return render_template("questions/remove_strategy.html", view=view)

    @blueprint.post("/strategies/<strategy_id>/remove")
    def remove(strategy_id: str) -> AnyResponse:
        view = strategies.get(members.account().id, strategy_id)
        try:
            strategies.remove(members.account().id, strategy_id)
        except RefusedStrategyError as error:
            flash(f"{error}.", "problem")
            return after(view)
        flash(f"{view.name} is removed.")
        return redirect(url_for("strategies.index"), 303)

    return blueprint


def _too_large(_error: Exception) -> Response:
    error = RequestEntityTooLarge(
        f"A strategy's source has up to {LARGEST_SOURCE // 1024} KiB, and a form 64 KiB in all. Go back, and send "
        "either the text or a file; large data belong into a file of their own, which the program reads."
    )
    return make_response(render_template("error.html", error=error), 413)


def _now(host: Host, strategy_id: str) -> dict[str, Any]:
    """Return how a strategy is, the end of its log, and what it keeps."""
    user_id, strategies = members.account().id, host.strategies
    state = strategies.state(user_id, strategy_id)
    kept = {name: part for name, part in state.data.items() if part}
    return {
        "view": strategies.get(user_id, strategy_id),
        "log": strategies.log_tail(user_id, strategy_id).splitlines(),
        "version": state.version,
        "kept": json.dumps(kept, indent=2, ensure_ascii=False) if kept else "",
    }


def _source() -> str:
    """Return the source that a form brings: the file, if there is one, else the text.

    Raises:
        RefusedStrategyError: The file is no text.
    """
    file = request.files.get("file")
    if file is None or not file.filename:
        return request.form.get("source", "").replace("\r\n", "\n")  # as browsers send what was typed
    content: bytes = file.read()
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise RefusedStrategyError("The file is no text in UTF-8: choose the strategy's .py file") from None


def _schedule(form: MultiDict[str, str]) -> dict[str, Any] | None:
    """Return the schedule that a form asks for, as the API has it."""
    given = _given(form)
    return {name: given[name] for name in _USUAL} if given["scheduled"] else None


def _given(form: MultiDict[str, str]) -> dict[str, Any]:
    """Return what somebody has filled in."""
    return {
        "name": form.get("name", ""),
        "scheduled": "scheduled" in form,
        "from": form.get("from", "").strip(),
        "to": form.get("to", "").strip(),
        "days": form.getlist("days"),
        "holidays": form.get("holidays", "").replace(",", " ").split(),
    }


def _filled(view: StrategyView) -> dict[str, Any]:
    """Return what a form says of a strategy before anything is changed."""
    return {"name": view.name, "scheduled": view.schedule is not None, **(view.schedule or _USUAL)}


def _first_start(view: StrategyView) -> str:
    if view.next_start is None:
        return "has no day to run on in its schedule: change that"
    return f"is to start on {moment(view.next_start)}"


def _exit(code: int) -> str:
    """Say how a run ended: its exit code, or the signal that ended it."""
    if code >= 0:
        return str(code)
    try:
        return signal.Signals(-code).name
    except ValueError:  # one that this system does not have
        return f"signal {-code}"
