"""A real browser (Chromium), and a host for it."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator

import pytest
from flask import Flask
from playwright.sync_api import (
    Browser,
    BrowserContext,
    ConsoleMessage,
    Error,
    Page,
    ViewportSize,
    expect,
    sync_playwright,
)

from openalgo_host.host import Host
from tests.host.conftest import Credentials
from tests.host.serving import serving
from tests.servers.process import free_port

DESK: ViewportSize = {"width": 1280, "height": 800}
TABLET: ViewportSize = {"width": 768, "height": 1024}
PHONE: ViewportSize = {"width": 375, "height": 667}

Open = Callable[..., Page]

expect.set_options(timeout=20_000)  # a machine that is busy with something else is no finding


# Not of the whole session: its asyncio loop would be in the way of tests that run one.
@pytest.fixture(scope="package")
def browser(request: pytest.FixtureRequest) -> Iterator[Browser]:
    """Chromium as the system has it."""
    assert isinstance(request.node, pytest.Package), "without an __init__.py pytest means the whole session after all"
    program = next((found for name in ("chromium", "google-chrome", "chrome") if (found := shutil.which(name))), None)
    if program is None:
        if os.environ.get("CI"):
            pytest.fail("Chromium is missing: apt-get install chromium")
        pytest.skip("needs Chromium: apt-get install chromium")
    is_root = hasattr(os, "geteuid") and os.geteuid() == 0
    with sync_playwright() as playwright:
        # As root, Chromium starts without its own sandbox only; all that it opens here is our own.
        started = playwright.chromium.launch(executable_path=program, args=["--no-sandbox"] if is_root else [])
        yield started
        started.close()


@pytest.fixture(scope="package")
def port() -> int:
    """Where the hosts serve, one after the other: what the browser keeps of one's files it has of the next one's."""
    return free_port()


@pytest.fixture(scope="package")
def window(browser: Browser, port: int) -> Iterator[Page]:
    """A page that tests have one after the other: one of its own would cost each of them half a second."""
    context = _new_context(browser, port)
    yield context.new_page()
    context.close()


@pytest.fixture
def site(app: Flask, host: Host, port: int) -> Iterator[str]:
    """Where the host serves."""
    with serving(app, threads=16, port=port) as url:
        yield url
        host.watch.end()  # or its streams would go on


@pytest.fixture
def open_page(site: str, open_elsewhere: Open) -> Open:
    """Open a page of the host, and further ones in browsers of their own."""
    return open_elsewhere


@pytest.fixture
def complaints() -> Iterator[list[str]]:
    """What the browser complains about: whatever is left in the end fails the test."""
    left: list[str] = []
    yield left
    assert left == []


@pytest.fixture
def open_elsewhere(browser: Browser, window: Page, port: int, complaints: list[str]) -> Iterator[Open]:
    """Open a page of what the test itself has started."""
    pages: list[Page] = []

    def note(said: ConsoleMessage) -> None:
        if said.type in {"error", "warning"}:
            complaints.append(said.text)

    def note_error(error: Error) -> None:
        complaints.append(str(error))

    def open_one(path: str = "/", *, script: bool = True) -> Page:
        page = window if script and window not in pages else _new_context(browser, port, script=script).new_page()
        pages.append(page)
        page.on("console", note)
        page.on("pageerror", note_error)
        page.goto(path)
        return page

    yield open_one
    for page in pages:
        if page is not window:
            page.context.close()
    window.goto("about:blank")
    window.context.clear_cookies()
    window.remove_listener("console", note)
    window.remove_listener("pageerror", note_error)


def _new_context(browser: Browser, port: int, *, script: bool = True) -> BrowserContext:
    context = browser.new_context(
        base_url=f"http://127.0.0.1:{port}", viewport=DESK, java_script_enabled=script, reduced_motion="reduce"
    )
    context.set_default_timeout(20_000)
    return context


def log_in(page: Page, credentials: Credentials) -> None:
    """Log in, with the keyboard alone: the field that comes first has the focus."""
    expect(page.get_by_label("User")).to_be_focused()
    page.keyboard.type(credentials.name)
    page.keyboard.press("Tab")
    page.keyboard.type(credentials.password)
    page.keyboard.press("Enter")
    page.get_by_role("button", name="Log out").wait_for()
    page.wait_for_load_state()  # the script is there, too
