"""What the pages under docs/ tell to type can be typed: every command's configuration composes, every option exists."""

import re
import shlex
from pathlib import Path

import pytest
from helpers import make_tree

from dogbreed import compose
from dogbreed.command import quote_path

DOCS = Path(__file__).resolve().parents[1] / "docs"
HYDRA = ("dogbreed.train", "dogbreed.evaluate", "launch.train", "launch.tune")
BASH = re.compile(r"^```bash\n(.*?)^```", flags=re.M | re.S)


def commands_of(page):
    """Return the words of each command that is ours; … stands for what a reader would add."""
    text = "\n".join(BASH.findall(page.read_text(encoding="utf-8"))).replace("\\\n", " ")
    lines = [line for line in text.splitlines() if re.match(r"python -m (dogbreed|launch)\.", line)]
    return [[word for word in shlex.split(line, comments=True)[2:] if word != "…"] for line in lines]


COMMANDS = [(page.stem, words) for page in sorted(DOCS.glob("*.md")) for words in commands_of(page)]
IDS = [f"{page}: {' '.join(words)}" for page, words in COMMANDS]


@pytest.fixture(scope="module")
def desk(tmp_path_factory):
    """A folder as the pages suppose it."""
    desk = tmp_path_factory.mktemp("desk")
    make_tree(desk / "photos", {"train": 2, "valid": 1})
    (desk / "my_rules.py").write_text("class LossAbove:\n    pass\n")
    return desk


def test_there_is_something_to_type():
    assert {page for page, _ in COMMANDS} >= {"backbone", "cost", "data", "devices", "diagnosis", "launch", "offline"}
    assert len(COMMANDS) > 80


@pytest.mark.parametrize(("page", "words"), COMMANDS, ids=IDS)
def test_a_command_can_be_typed(page, words, desk, cli, monkeypatch):
    module, *arguments = words
    if module in HYDRA:
        # Composed and printed: what spans a sweep, who launches it and whose winner it is, is no part of that.
        other = r"=.*,|^hydra/launcher=|^from_(sweep|tuning)="
        plain = [word for word in arguments if word != "-m" and not re.search(other, word)]
        if module == "dogbreed.train" and not any(word.startswith("-") for word in plain):
            monkeypatch.chdir(desk)
            assert compose([quote_path(word) for word in plain])
            return
        answer = cli(module, *plain, "--cfg", "job", cwd=desk)
        assert answer.code == 0, answer.err
        return
    module = {"launch.standin": "launch.standin.__main__"}.get(module, module)
    action = arguments[:1] if module == "launch.jobs" else []
    answer = cli(module, *action, "--help")
    assert answer.code == 0, answer.err
    options = {word for word in arguments if word.startswith("-")}
    assert options <= set(re.findall(r"(?<![\w-])--?[a-z][\w-]*", answer.out))
