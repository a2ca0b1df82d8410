"""The whole site: built, strict, and as a browser shows it."""

import json
import re

import pytest
from browser import CONTRASTS

from docs import links

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

# What of a page is read.
WORDS = "article h1, article h2, article p, article li, article dt, article dd, article td, article code, nav a"


def outside(seen):
    return [address for address in seen.requests if not address.startswith("file:")]


def test_it_is_whole(site):
    names = {path.relative_to(site.folder).with_suffix("").as_posix() for path in site.pages}
    assert names >= {"index", "train", "data", "configuration", "configuration/data", "reference", "sentences"}
    assert links.problems(site.folder) == []
    # README's beginning is the first page, and every page can be reached from it.
    index = (site.folder / "index.html").read_text(encoding="utf-8")
    assert "make train" in re.sub("<[^>]+>", "", index)
    reached = set(re.findall(r'href="([\w/-]+)\.html"', index))
    assert names - reached <= {"index", "genindex", "py-modindex", "search"}
    # What exists when the site is built is in the navigation, and nothing else is.
    assert ("serving" in names) == ('href="serving.html"' in index)


def test_it_names_no_place_of_the_machine_that_built_it(site):
    for path in site.pages:
        text = path.read_text(encoding="utf-8")
        assert str(site.folder) not in text
        assert not re.search(r"/(?:root|tmp|home)/\w", text), path.name


def test_every_name_of_the_library_is_there(site):
    import dogbreed
    from dogbreed.diagnosis import rules

    text = (site.folder / "reference.html").read_text(encoding="utf-8")
    for name in dogbreed.__all__:
        assert f'id="dogbreed.{dogbreed._HOMES[name].removeprefix("dogbreed.")}.{name}"' in text, name
    for name in rules.__all__:
        assert f"{name}</span>" in text, name


def test_every_page_opens_without_a_complaint_or_a_request(site, look):
    for path in site.pages:
        seen = look(path)
        assert outside(seen) == [], path.name
        assert seen.messages == [], path.name


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_pages_can_be_read_in_both_themes(site, look, scheme):
    for name in ("index", "train", "architecture", "configuration/data", "troubleshooting", "reference"):
        seen = look(site.folder / f"{name}.html", scheme=scheme)
        for contrast, text in seen.page.evaluate(CONTRASTS, WORDS):
            assert contrast >= 4.5, f"{name}: {text!r} is hard to read: {contrast:.2f}"
        rgb = map(int, re.findall(r"\d+", seen.page.evaluate("getComputedStyle(document.body).backgroundColor")))
        assert (sum(rgb) > 600) == (scheme == "light")


def test_nothing_is_wider_than_a_phone(site, look):
    for path in site.pages:
        seen = look(path, width=390)
        assert seen.page.evaluate("document.documentElement.scrollWidth") <= 390, path.name


def test_the_search_finds_keys_and_sentences_without_a_server(site, look):
    for words, expected in {"micro_batch_size": "configuration/data", "trust policy": "troubleshooting"}.items():
        seen = look(site.folder / "search.html")
        seen.page.goto(f"{(site.folder / 'search.html').as_uri()}?q={words}")
        seen.page.wait_for_selector("#search-results li a")
        found = seen.page.eval_on_selector_all("#search-results li a", "all => all.map(one => one.href)")
        assert any(f"/{expected}.html" in address for address in found), json.dumps(found)
        assert outside(seen) == []
