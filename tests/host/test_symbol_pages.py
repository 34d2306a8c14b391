"""The symbol pages: searching with and without the script, one instrument, and headers that protect."""

from __future__ import annotations

import re

import pytest
from flask.testing import FlaskClient

from openalgo_cache import BackendUnavailableError
from openalgo_host.host import Host


def test_the_page_searches_without_a_script(user: FlaskClient) -> None:
    """The form is a plain one: what was asked for is in the address."""
    page = user.get("/symbols?q=NIFTY+24000+CE").text
    assert ">NIFTY26MAR2624000CE</a>" in page
    assert "NIFTY26MAR2624000PE" not in page
    assert ">1 instrument</p>" in page
    assert 'value="NIFTY 24000 CE"' in page


def test_the_script_gets_the_results_alone(user: FlaskClient) -> None:
    """The same table, without the page around it, and the line that says how many."""
    part = user.get("/symbols/search?q=nifty").text
    assert "<html" not in part
    assert 'data-count="4 instruments"' in part
    assert part.count("<tr") == 5


def test_the_table_has_what_a_trader_looks_for(user: FlaskClient) -> None:
    """Symbol, exchange, name, token, expiry, strike and lot."""
    part = user.get("/symbols/search?q=USDINR").text
    cells = re.findall(r"<t[hd] role=\"(?:rowheader|cell)\"[^>]*>(.*?)</t[hd]>", part)
    texts = [re.sub(r"<[^>]+>", "", cell) for cell in cells]
    assert texts == ["USDINR27MAR2683.25CE", "CDS", "USDINR", "40001", "27-MAR-26", "83.25", "1,000"]


def test_the_exchange_narrows_the_search(user: FlaskClient) -> None:
    """RELIANCE is on two exchanges."""
    assert 'data-count="2 instruments"' in user.get("/symbols/search?q=RELIANCE").text
    assert 'data-count="1 instrument"' in user.get("/symbols/search?q=RELIANCE&exchange=BSE").text
    page = user.get("/symbols?q=RELIANCE&exchange=BSE").text
    assert re.findall(r"<option[^>]*>([^<]*)</option>", page) == ["All", "BSE", "CDS", "NFO", "NSE", "NSE_INDEX"]
    assert "<option selected>BSE</option>" in page


@pytest.mark.parametrize("query", ["zzzz", "%", "_", "'", '"', "<script>alert(1)</script>", "\x00", "x" * 5000, "🦀"])
def test_odd_questions_find_nothing(user: FlaskClient, query: str) -> None:
    """Nothing is taken for syntax, of the database's or of the page's."""
    page = user.get("/symbols", query_string={"q": query, "exchange": query})
    assert page.status_code == 200
    assert "<td" not in page.text
    assert "<script>alert" not in page.text


def test_the_search_answers_without_a_login_with_a_status(client: FlaskClient) -> None:
    """The script would not know what to do with the login page."""
    assert client.get("/symbols/search?q=NIFTY").status_code == 401


def test_an_instrument_in_full(user: FlaskClient) -> None:
    """Everything the master knows of it, and the way back to the search."""
    page = user.get("/symbols/CDS/USDINR27MAR2683.25CE?q=usd&within=CDS").text
    facts = dict(re.findall(r"<dt>([^<]+)</dt><dd>([^<]+)</dd>", page))
    assert facts == {
        "Token": "40001",
        "Broker&#39;s symbol": "USDINR26MAR83.25CE",
        "Broker&#39;s exchange": "CDS",
        "Underlying": "USDINR",
        "Expiry": "27-MAR-26",
        "Strike": "83.25",
        "Lot size": "1,000",
        "Tick size": "0.0025",
        "Contract value": "1,000",
    }
    assert 'href="/symbols?q=usd&amp;exchange=CDS"' in page


def test_names_with_signs_have_pages(user: FlaskClient) -> None:
    """M&M is a company; the link from the table leads to its page, and the page shows it unharmed."""
    found = re.search(r'<a href="(/symbols/NSE/[^"]+)"', user.get("/symbols/search?q=M%26M").text)
    assert found is not None
    page = user.get(found[1].replace("&amp;", "&"))
    assert "<h1>M&amp;M</h1>" in page.text
    assert 'symbol="M\\u0026M"' in page.text


@pytest.mark.parametrize("path", ["NSE/NOSUCH", "NOSUCH/RELIANCE", "NSE/%00", "NSE/..%2f..%2fetc"])
def test_an_unknown_instrument_has_no_page(user: FlaskClient, path: str) -> None:
    """404, with a page that says so."""
    page = user.get(f"/symbols/{path}")
    assert page.status_code == 404
    assert "<h1>Not Found</h1>" in page.text


@pytest.mark.parametrize(
    "path", ["/login", "/symbols", "/symbols/search?q=M", "/nowhere", "/health", "/static/host.css"]
)
def test_every_answer_protects_itself(user: FlaskClient, path: str) -> None:
    """No code but the host's own files, no frames, no guessing of types; only static files may be kept."""
    with user.get(path) as answer:
        headers = answer.headers
    policy = dict(part.split(" ", 1) for part in headers["Content-Security-Policy"].split("; "))
    assert policy["default-src"] == "'none'"
    assert policy["script-src"] == policy["style-src"] == "'self'"
    assert policy["frame-ancestors"] == "'none'"
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert (headers["Cache-Control"] == "no-store") == (not path.startswith("/static/"))


def test_the_pages_have_no_inline_code(user: FlaskClient) -> None:
    """The policy above would refuse it."""
    for path in ("/symbols?q=NIFTY", "/symbols/NSE/RELIANCE", "/nowhere"):
        page = user.get(path).text
        assert not re.search(r"<style|\sstyle=|\son\w+=|javascript:", page)
        assert all("src=" in script for script in re.findall(r"<script[^>]*>", page))


def test_a_page_too_many_is_small(user: FlaskClient) -> None:
    """What is sent to a form has a bound."""
    assert user.post("/login", data={"name": "x" * 70_000}).status_code == 413


@pytest.mark.usefixtures("impatient")
def test_lost_sessions_are_a_page_of_their_own(user: FlaskClient, host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    """503, and nobody is led to the login as if the session had ended."""
    cache = host.sessions.cache
    cache.close()

    def fail(_backend: object, _key: str) -> None:
        raise BackendUnavailableError("the disk is gone")

    monkeypatch.setattr(type(cache._opened().backend), "get", fail)
    page = user.get("/symbols")
    assert page.status_code == 503
    assert "You are still logged in" in page.text
