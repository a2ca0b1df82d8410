"""Run folders that no training has to be waited for, and a browser without a network."""

import shutil

import pytest
from browser import watched_page
from made_up_run import write_big_run


@pytest.fixture(scope="session")
def big_run(tmp_path_factory):
    """A made-up run of 10,000 steps, 133 classes and four GPUs, with names that nobody should have."""
    folder = tmp_path_factory.mktemp("made up") / "big"
    write_big_run(folder)
    return folder


@pytest.fixture
def own_run(finished_run, tmp_path):
    """A copy of a real run, to be damaged."""
    return shutil.copytree(
        finished_run.run_dir, tmp_path / "own", ignore=shutil.ignore_patterns("checkpoints", "model")
    )


@pytest.fixture
def visit(chromium):
    """Open a page from its file, off the network: ``visit(path, width=390, scheme="dark")``."""
    contexts = []

    def opened(path, width=1360, scheme="light"):
        context = chromium.new_context(viewport={"width": width, "height": 844}, color_scheme=scheme, offline=True)
        contexts.append(context)
        seen = watched_page(context)
        seen.page.goto(path.as_uri())
        seen.requests = [address for address in seen.requests if not address.startswith(("data:", path.as_uri()))]
        return seen

    yield opened
    for context in contexts:
        context.close()
