"""The system's Chromium, which photographs pages."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

NAMES = ("chromium", "chromium-browser", "google-chrome")


def find_chromium() -> str | None:
    """Return the first on the PATH; None if there is none."""
    return next(filter(None, map(shutil.which, NAMES)), None)


@contextmanager
def chromium() -> Iterator[Any]:
    """Start it, driven by Playwright.

    Raises:
        FileNotFoundError: there is none on the PATH.
    """
    from playwright.sync_api import sync_playwright

    path = find_chromium()
    if path is None:
        msg = f"No {', '.join(NAMES)} on the PATH: apt-get install chromium."
        raise FileNotFoundError(msg)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, chromium_sandbox=False)
        try:
            yield browser
        finally:
            browser.close()
