"""The system's Chromium, and what is measured in it."""

import os
from contextlib import contextmanager
from types import SimpleNamespace

import pytest

from docs.chromium import chromium, find_chromium

# What a reader has to see: text and its colour, on the colour of what lies behind it.
CONTRASTS = """words => {
  const luminance = rgb => rgb.map(x => (x /= 255) <= 0.04045 ? x / 12.92 : ((x + 0.055) / 1.055) ** 2.4)
    .reduce((sum, x, at) => sum + x * [0.2126, 0.7152, 0.0722][at], 0);
  const parse = text => text.match(/[\\d.]+/g).map(Number);
  const behind = node => { for (; node; node = node.parentElement) {
    const found = parse(getComputedStyle(node).backgroundColor);
    if (found.length === 3 || found[3] === 1) return found.slice(0, 3); } };
  const found = [];
  for (const node of document.querySelectorAll(words)) {
    if (!node.textContent.trim() || node.closest(".matrix .cell") || !node.getClientRects().length) continue;
    const style = getComputedStyle(node);
    const pair = [parse(node.matches("svg text") ? style.fill : style.color).slice(0, 3), behind(node)].map(luminance);
    found.push([(Math.max(...pair) + 0.05) / (Math.min(...pair) + 0.05), node.textContent.trim().slice(0, 40)]);
  }
  return found;
}"""


@contextmanager
def open_chromium():
    """Start Chromium, driven by Playwright; skip the test where there is none.

    For a module at most: as long as it is open, a process can have neither a second one nor another event loop.
    """
    if not find_chromium():
        reason = "no Chromium on the PATH: apt-get install chromium"
        if os.environ.get("DOGBREED_REQUIRE_CHROMIUM"):
            pytest.fail(reason)
        pytest.skip(reason)
    with chromium() as browser:
        yield browser


def watched_page(context, /, **more):
    """Return a new page, what it asks for (``requests``), and what it complains of (``messages``)."""
    seen = SimpleNamespace(page=context.new_page(), requests=[], messages=[], **more)
    seen.page.on("request", lambda request: seen.requests.append(request.url))
    seen.page.on("console", lambda message: seen.messages.append(message.text))
    seen.page.on("pageerror", lambda error: seen.messages.append(f"uncaught {error}"))
    return seen
