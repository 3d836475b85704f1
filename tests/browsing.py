"""A real Chromium, and pages in it that have no errors, for the tests of each page."""

import contextlib
import shutil
from collections.abc import Callable, Iterator
from typing import Any

from playwright.sync_api import Browser, ConsoleMessage, Page, sync_playwright

Open = Callable[..., Page]


@contextlib.contextmanager
def chromium(*arguments: str) -> Iterator[Browser]:
    """The installed Chromium, or else that of `playwright install chromium`."""
    found = shutil.which("chromium") or shutil.which("chromium-browser")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=found, args=arguments)
        yield browser
        browser.close()


class Tab:
    """The tab in which tests open their pages, one after the other.

    A browser context of its own takes longer than most of the tests; those that ask for another
    language, size or colour get one.
    """

    def __init__(self, browser: Browser, patience: float, **usual: Any) -> None:
        self._browser, self._usual, self._patience = browser, usual, 1000 * patience
        self._page = browser.new_context(**usual).new_page()

    @contextlib.contextmanager
    def opening(self, home: str) -> Iterator[Open]:
        """Gives what opens pages, by default `home`; their console must have no errors."""
        wrong: list[str] = []
        with contextlib.ExitStack() as opened:

            def open_page(url: str = home, **options: Any) -> Page:
                if options or url != home:
                    context = self._browser.new_context(**self._usual | options)
                    page = opened.enter_context(context).new_page()
                else:
                    page = self._page
                    opened.callback(_leave, page, home)
                page.set_default_timeout(self._patience)
                opened.callback(_listen(page, wrong))
                page.goto(url)
                return page

            yield open_page
        # The browser itself reports refusals and a server that is gone.
        assert [text for text in wrong if not text.startswith("Failed to load resource")] == []


def _listen(page: Page, wrong: list[str]) -> Callable[[], None]:
    """Note the errors of a page; call the result to end it."""

    def fail(error: object) -> None:
        wrong.append(str(error))

    def hear(said: ConsoleMessage) -> None:
        if said.type == "error":
            wrong.append(said.text)

    def end() -> None:
        page.remove_listener("pageerror", fail)
        page.remove_listener("console", hear)

    page.on("pageerror", fail)
    page.on("console", hear)
    return end


def _leave(page: Page, home: str) -> None:
    """Leave nothing of a test in the browser."""
    page.unroute_all()
    page.goto("about:blank")
    page.mouse.move(0, 0)
    devtools = page.context.new_cdp_session(page)
    devtools.send("Storage.clearDataForOrigin", {"origin": home, "storageTypes": "all"})
    devtools.detach()
