"""The pages in a real browser: by keyboard, live, on a phone, in both colours, and without a complaint of it."""

from __future__ import annotations

import re
from typing import Final, Literal

import pytest
from playwright.sync_api import Page, expect

from openalgo_host.application import create_app
from openalgo_host.caller import Caller
from openalgo_host.host import Host
from openalgo_host.sandbox.ticket import Ticket
from tests.host.browser.conftest import DESK, PHONE, TABLET, Open, log_in
from tests.host.conftest import Credentials, Hands
from tests.host.serving import serving
from tests.host_stacks import Stack

pytestmark = pytest.mark.xdist_group("browser")

BUY = Ticket("momentum", "RELIANCE", "NSE", "BUY", "MIS", "MARKET", 100)
WAITS = Ticket("dip", "M&M", "NSE", "BUY", "CNC", "LIMIT", 1, price=1.0)
OPTION = Ticket("strangle", "NIFTY26MAR2624000CE", "NFO", "SELL", "NRML", "MARKET", 6500)

SCHEMES: Final[list[tuple[Literal["dark", "light"], bool]]] = [("dark", True), ("light", False)]
COUNTS = """
import pathlib, time
from openalgo_cache.strategies import StrategyState

print("line 0 ")
while not pathlib.Path("go").exists():
    time.sleep(0.05)
for number in range(1, 200):
    print("line", number, "<b>of many</b> " * 20)
with StrategyState.load() as mine:
    mine["counted"] = 200
while True:
    time.sleep(1)
"""
"""Prints a line; when it may go on many more, more than are shown; and saves something."""


def place(host: Host, hands: Hands, ticket: Ticket) -> int:
    """Place an order, a moment after what was before."""
    hands.turn(0.001)
    return host.orders.place(Caller(1), ticket).id


def fits(page: Page) -> bool:
    """Return whether nothing of the page lies to the right of the window."""
    return bool(page.evaluate("document.scrollingElement.scrollWidth <= window.innerWidth"))


def small_targets(page: Page) -> list[str]:
    """Return the buttons and fields on a page that a thumb would miss: lower than 44 pixels."""
    return list(
        page.eval_on_selector_all(
            "button, .button, nav a, input:not([type=hidden], [type=checkbox], [hidden]), select",
            "all => all.filter(one => one.checkVisibility() && one.getBoundingClientRect().height < 43.9)"
            ".map(one => one.outerHTML)",
        )
    )


def test_from_the_login_to_an_instrument_by_keyboard(open_page: Open, credentials: Credentials) -> None:
    """Log in, search, choose with the arrows, open, go back, and to the next page by its link."""
    page = open_page("/")
    log_in(page, credentials)
    page.keyboard.press("Shift+Tab")  # away from the field, which has the focus at first
    page.keyboard.press("/")
    page.keyboard.type("nifty 24000")
    expect(page.get_by_role("link", name="NIFTY26MAR2624000CE")).to_be_visible()
    page.keyboard.press("ArrowDown")
    page.keyboard.press("ArrowDown")
    chosen = page.evaluate("document.activeElement.textContent")
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", level=1)).to_have_text(chosen)
    page.wait_for_load_state()
    for _ in range(3):  # over the link to the content and the brand
        page.keyboard.press("Tab")
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", level=1)).to_have_text("Orders and positions")


def test_orders_appear_and_go_without_a_reload(
    open_page: Open, host: Host, hands: Hands, credentials: Credentials
) -> None:
    """What is placed elsewhere is there, prices move, and a question is asked before an order is cancelled."""
    page = open_page("/login?next=/orders")
    log_in(page, credentials)
    expect(page.locator("#live")).to_have_text("Live")
    expect(page.get_by_text("No orders today.")).to_be_visible()
    page.evaluate("window.kept = true")

    number = place(host, hands, WAITS)
    cancel = page.get_by_role("link", name=f"Cancel order {number}")
    expect(cancel).to_be_visible()
    cancel.focus()
    place(host, hands, BUY)
    position = page.locator("#position-NSE-MIS-RELIANCE")
    expect(position).to_contain_text("100")
    expect(cancel).to_be_focused()
    profit = position.locator(".profit").text_content() or ""
    hands.turn(300)
    expect(position.locator(".profit")).not_to_have_text(profit)
    expect(cancel).to_be_focused()

    page.keyboard.press("Enter")
    expect(page.get_by_role("dialog", name=f"Cancel order {number}?")).to_be_visible()
    page.keyboard.press("Escape")
    expect(page.get_by_role("dialog")).to_have_count(0)
    expect(cancel).to_be_focused()
    assert page.evaluate("window.kept"), "the page was never loaded again"

    page.keyboard.press("Enter")
    page.get_by_role("button", name="Cancel the order").click()
    expect(page.get_by_role("status").first).to_have_text(f"Order {number} is cancelled.")
    expect(page.locator(f"#order-{number}")).to_contain_text("cancelled")
    page.get_by_role("link", name="Close RELIANCE").click()
    page.get_by_role("button", name="Close the position").click()
    expect(page.get_by_role("status").first).to_have_text("RELIANCE is closed.")


def test_a_page_recovers_by_itself(
    stack: Stack,
    open_elsewhere: Open,
    complaints: list[str],
    host: Host,
    hands: Hands,
    credentials: Credentials,
    port: int,
) -> None:
    """The host goes away and comes back: the page is not loaded again for that, and shows what was placed meanwhile."""
    with serving(create_app(host), threads=16, port=port):
        page = open_elsewhere("/login?next=/orders")
        log_in(page, credentials)
        expect(page.locator("#live")).to_have_text("Live")
        page.evaluate("window.kept = true")
        host.watch.end()
    again = Host.open(host.settings, hands, stack.database_url)
    number = place(again, hands, WAITS)
    with serving(create_app(again), threads=16, port=port):
        expect(page.get_by_role("link", name=f"Cancel order {number}")).to_be_visible()
        page.route("**/orders/today", lambda route: route.fulfill(status=503), times=1)
        place(again, hands, WAITS)
        expect(page.locator("#live")).to_have_text("The host does not answer. This may be old.")
        number = place(again, hands, WAITS)
        expect(page.get_by_role("link", name=f"Cancel order {number}")).to_be_visible()
        expect(page.locator("#live")).to_have_text("Live")
        assert page.evaluate("window.kept")
        page.goto("about:blank")
        again.watch.end()
    again.close()
    complaints[:] = [one for one in complaints if not re.search(r"net::ERR_|status of 503", one)]  # what was to be seen


def test_it_works_without_a_script(open_page: Open, host: Host, hands: Hands, credentials: Credentials) -> None:
    """Questions are pages of their own."""
    numbers = [place(host, hands, WAITS), place(host, hands, WAITS)]
    page = open_page("/login?next=/orders", script=False)
    log_in(page, credentials)
    page.get_by_role("link", name=f"Cancel order {numbers[0]}").click()
    page.get_by_role("link", name="Keep it").click()
    page.get_by_role("link", name=f"Cancel order {numbers[1]}").click()
    page.get_by_role("button", name="Cancel the order").click()
    expect(page.get_by_role("status").first).to_have_text(f"Order {numbers[1]} is cancelled.")
    page.goto("/strategies/add")
    page.get_by_label("Name").fill("by hand")
    page.get_by_label("Runs at set times only").check()
    page.get_by_label("To", exact=True).fill("10:00")
    page.get_by_label("Program").fill("print(1)")
    page.get_by_role("button", name="Add").click()
    expect(page.get_by_text("09:15 to 10:00")).to_be_visible()
    page.get_by_role("link", name="Remove").click()
    page.get_by_role("button", name="Remove it").click()
    expect(page.get_by_role("status").first).to_have_text("by hand is removed.")


def test_a_strategy_from_add_to_stop(open_page: Open, host: Host, site: str, credentials: Credentials) -> None:
    """Typed in, started, watched while it prints and saves, and stopped: the page is never loaded again for that."""
    host.start(site)
    page = open_page("/login?next=/strategies/add")
    log_in(page, credentials)
    expect(page.get_by_label("From, in India")).to_be_hidden()
    page.get_by_label("Name").fill("counter")
    page.get_by_label("Program").fill(COUNTS)
    page.get_by_role("button", name="Add").click()
    expect(page.get_by_text("It has printed nothing yet.")).to_be_visible()
    page.get_by_role("button", name="Start counter").click()
    expect(page.get_by_text("running", exact=True)).to_be_visible()
    log = page.get_by_role("log")
    expect(log).to_contain_text("line 0")
    page.evaluate("window.kept = true")
    number = page.url.rpartition("/")[2]
    (host.settings.cache_folder / "strategies" / number / "go").touch()
    expect(log).to_contain_text("line 199")
    expect(log).not_to_contain_text("line 0 ")
    expect(page.get_by_text('"counted": 200')).to_be_visible()
    assert log.evaluate("one => one.scrollTop") == 0, "its end is in sight"
    assert page.evaluate("window.kept"), "the page was never loaded again"
    page.get_by_role("button", name="Stop counter").click()
    expect(page.get_by_text("stopped", exact=True)).to_be_visible()
    expect(page.get_by_text("SIGTERM")).to_be_visible()
    page.get_by_role("link", name="Remove").click()
    expect(page.get_by_role("dialog", name="Remove counter?")).to_be_visible()
    page.get_by_role("button", name="Remove it").click()
    expect(page.get_by_text("No strategies.")).to_be_visible()


def test_a_double_click_is_one(open_page: Open, host: Host, hands: Hands, credentials: Credentials) -> None:
    """A form is sent once, and a question is asked once."""
    place(host, hands, BUY)
    page = open_page("/login?next=/strategies/add")
    log_in(page, credentials)
    page.get_by_label("Name").fill("once")
    page.get_by_label("Program").fill("print(1)")
    page.get_by_role("button", name="Add").dblclick()
    expect(page.get_by_role("status").first).to_have_text("once is added. It runs when you start it.")
    page.goto("/orders")
    page.get_by_role("link", name="Close RELIANCE").dblclick()
    expect(page.get_by_role("dialog")).to_be_visible()
    page.keyboard.press("Escape")
    expect(page.get_by_role("dialog")).to_have_count(0)


def test_settings(open_page: Open, host: Host, credentials: Credentials) -> None:
    """The key is shown when asked for, the mode is changed after a warning, and a password ends other sessions."""
    other = open_page("/login?next=/orders")
    log_in(other, credentials)
    page = open_page("/login?next=/settings")
    log_in(page, credentials)
    assert credentials.api_key not in page.content()
    page.get_by_role("button", name="Show it").click()
    expect(page.get_by_text(credentials.api_key)).to_be_visible()

    page.get_by_role("link", name="Switch to live").click()
    expect(page.get_by_role("dialog")).to_contain_text("real money")
    page.get_by_role("button", name="Switch to live").click()
    expect(page.get_by_role("banner").get_by_text("Live mode")).to_be_visible()
    assert not host.modes.analyses()

    page.get_by_label("Current password").fill(credentials.password)
    page.get_by_label("New password,").fill("a better password")
    page.get_by_label("again").fill("a better password")
    page.keyboard.press("Enter")
    expect(page.get_by_role("status").first).to_contain_text("The password is changed.")
    expect(other.get_by_role("heading", level=1)).to_have_text("Log in")  # its stream has ended


def test_every_page_fits(open_page: Open, host: Host, hands: Hands, credentials: Credentials) -> None:
    """At a desk and on a phone: no scrolling to the side, no complaint, targets for a thumb, the system's colours."""
    place(host, hands, BUY)
    place(host, hands, OPTION)
    waiting = place(host, hands, WAITS)
    hours = {"from": "09:15", "to": "15:30", "holidays": ["2026-03-06"]}
    strategy = host.strategies.add(1, "Mean reversion of NIFTY, which has a long name", COUNTS, hours).id
    page = open_page("/login")
    look_at(page)
    log_in(page, credentials)
    paths = [
        "/symbols?q=NIFTY",
        "/symbols/NFO/NIFTY26MAR2624000CE",
        "/orders",
        "/orders/earlier",
        "/strategies",
        "/strategies/add",
        f"/strategies/{strategy}",
        f"/strategies/{strategy}/change",
        "/settings",
        "/webhooks",
    ]
    for path in [*paths, f"/orders/{waiting}/cancel", f"/strategies/{strategy}/remove", "/settings/mode"]:
        page.goto(path)
        look_at(page)


def look_at(page: Page) -> None:
    """Look at a page at all sizes, and in both colours."""
    for size in (PHONE, TABLET, DESK):
        page.set_viewport_size(size)
        assert fits(page), (page.url, size)
        if size == PHONE:
            assert small_targets(page) == [], page.url
    for scheme, is_dark in SCHEMES:
        page.emulate_media(color_scheme=scheme)
        background = page.evaluate("getComputedStyle(document.body).backgroundColor")
        assert (sum(int(part) for part in re.findall(r"\d+", background)[:3]) < 200) == is_dark, page.url
