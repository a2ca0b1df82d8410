"""The real server with a small real model, and the page in the system's Chromium."""

import dataclasses

import pytest
from browser import watched_page
from page_server import front_of
from page_use import NAMES
from servers import serving

from dogbreed.model_folder import load_model, save_model


@pytest.fixture(scope="session")
def model(small_model, tmp_path_factory):
    """A real small model of seven breeds, as far as its names go."""
    named = dataclasses.replace(load_model(small_model), class_names=NAMES)
    example = small_model / "example.jpg"
    return save_model(tmp_path_factory.mktemp("model") / "breeds", named, example=example, metrics=named.metrics)


@pytest.fixture(scope="session")
def server(model, tmp_path_factory):
    """The server's address."""
    with serving(model, tmp_path_factory.mktemp("server")) as running:
        yield f"http://127.0.0.1:{running.port}"


@pytest.fixture
def front(server):
    with front_of(server) as front:
        yield front


@pytest.fixture
def visit(chromium):
    """Open the page: ``visit(url, width=390, scheme="dark")``; sees to it that it asks nobody else and logs nothing."""
    visits = []

    def opened(url, width=1280, scheme="light", is_calm=True, **options):
        context = chromium.new_context(viewport={"width": width, "height": 844}, color_scheme=scheme, **options)
        seen = watched_page(context, context=context, url=url, is_calm=is_calm)
        seen.page.goto(url)
        seen.page.wait_for_selector("#facts:not([hidden])")
        visits.append(seen)
        return seen

    yield opened
    for seen in visits:
        seen.context.close()
        assert [address for address in seen.requests if not address.startswith(seen.url)] == []
        # That an answer was an error, the browser itself notes.
        own = [text for text in seen.messages if seen.is_calm or not text.startswith("Failed to load resource")]
        assert own == []
