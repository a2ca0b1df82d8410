"""What is written from the code is whole, and what pages quote is in the code."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
from omegaconf import DictConfig, OmegaConf

from docs import configuration, links, pages, sentences, strings
from docs.commented import read

TOP = Path(__file__).resolve().parents[2]
CONF = TOP / "conf"
TROUBLES = (TOP / "docs" / "troubleshooting.md").read_text(encoding="utf-8")


def leaves(node, path=""):
    """Name every key that holds a value, as OmegaConf reads a file."""
    if isinstance(node, DictConfig) and len(node):
        for key in node:
            yield from leaves(node._get_node(key), f"{path}.{key}" if path else str(key))
    elif path and path.split(".")[0] != "defaults":
        yield path


def groups():
    files = [file for file in sorted(CONF.rglob("*.yaml")) if file.parent != CONF]
    return {file.parent.relative_to(CONF).as_posix() for file in files} - {
        folder.relative_to(CONF).as_posix() for folder in (CONF / "hydra").rglob("*")
    }


def test_every_group_has_a_page():
    assert set(configuration.GROUPS) == groups()
    assert set(configuration.PRIMARIES) >= {"train", "evaluate", "tune"}


@pytest.mark.parametrize("group", configuration.GROUPS)
def test_every_key_of_a_group_has_its_place_and_a_meaning(group):
    entries, sets = configuration.entries_of(group)
    page = configuration.pages()[f"configuration/{group.replace('/', '-')}.md"]
    for entry in entries:
        assert len(entry.meaning) > 5, f"{entry.path} has no comment in {entry.file}"
        assert f"{{#{entry.path}}}" in page
        assert (TOP / entry.file).is_file()
    for file in configuration.files_of(group):
        package = read(file).package
        prefix = "" if package == "_global_" else f"{package or group.replace('/', '.')}."
        for key in leaves(OmegaConf.load(file)):
            known = {entry.path for entry in entries} | sets.get(file.stem, {}).keys()
            assert f"{prefix}{key}" in known, f"{key} of {file.name}"


@pytest.mark.parametrize("name", configuration.PRIMARIES)
def test_every_key_of_a_command_has_its_place_and_a_meaning(name):
    entries = {entry.path: entry for entry in configuration.primary_entries(name)}
    for key in leaves(OmegaConf.load(CONF / f"{name}.yaml")):
        if not key.startswith("hydra."):
            assert len(entries[key].meaning) > 5, f"{key} has no comment in {name}.yaml"


def test_every_key_of_the_plugins_has_a_meaning():
    from dataclasses import fields

    from dogbreed.sweeps.settings import SearchSweeperConf

    found = {entry.path: entry.meaning for entry in configuration.plugin_entries("hydra.sweeper")}
    assert {f"hydra.sweeper.{entry.name}" for entry in fields(SearchSweeperConf)} - {"hydra.sweeper._target_"} == set(
        found
    )
    assert all(found.values())
    assert len(configuration.plugin_entries("hydra.launcher")) == 4


def test_a_key_is_read_with_its_comment_and_its_value_as_written(tmp_path):
    file = tmp_path / "one.yaml"
    file.write_text(
        "# @package _global_\n# What it is: python -m x\n# And\n# more.\ndefaults:\n  - a\n\n"
        "# Of two\n# lines.\na: 1.0e-07\nb:\n  # Inner.\n  c: [1, 2]\n\n  d: {}\n"
    )
    commented = read(file)
    assert (commented.head, commented.more) == ("What it is: python -m x", "And more.")
    assert commented.package == "_global_"
    assert [(key.path, key.value, key.comment) for key in commented.keys] == [
        ("a", "1.0e-07", "Of two lines."),
        ("b.c", "[1, 2]", "Inner."),
        ("b.d", "{}", ""),
    ]


def test_a_docstring_says_what_an_argument_means():
    said = strings.arguments("dogbreed.diagnosis.rules.Overfit")
    assert set(said) >= {"patience"}
    assert strings.arguments("lightning.Trainer") == {}


# -- sentences ---------------------------------------------------------------


def quoted():
    return re.findall(r"^- `(.*)`\\$", TROUBLES, flags=re.M)


def test_every_sentence_of_the_page_is_in_the_code():
    code = {" ".join(text.split()) for text in sentences.texts()}
    assert len(quoted()) > 100
    for sentence in quoted():
        assert any(sentence in text for text in code), sentence


def test_every_sentence_of_the_page_says_what_to_do():
    for entry in re.findall(r"^- `.*`\\\n(.*(?:\n  .*)*)", TROUBLES, flags=re.M):
        assert "**Do:** " in entry, entry
    assert TROUBLES.count("**Do:** ") == len(quoted()) == len(set(quoted()))


def test_the_list_of_all_sentences_is_whole():
    page = sentences.page()
    raising = re.compile(r"\b(?:UserError|FinalError|LostError)\(")
    files = [file for top in ("dogbreed", "launch") for file in sorted((TOP / top).rglob("*.py"))]
    raised = {file for file, _ in sentences.raised()}
    for file in files:
        if raising.search(file.read_text(encoding="utf-8").replace("class ", "")):
            name = file.relative_to(TOP).as_posix()
            assert name in raised or name in ("dogbreed/errors.py", "launch/aws/errors.py", "dogbreed/lock.py"), name
    assert "- `` data.batch_size=… cannot be shared by … devices: use …. ``" in page
    assert page.count("\n- ") > 350


# -- strictness --------------------------------------------------------------


@pytest.mark.parametrize(
    ("body", "complaint"),
    [
        ('<a href="gone.html">x</a>', "gone.html leads nowhere"),
        ('<a href="other.html#gone">x</a>', "other.html#gone leads nowhere"),
        ('<a href="#here">x</a>', "#here leads nowhere"),
        ('<img src="gone.png">', "gone.png leads nowhere"),
        ('<link rel="stylesheet" href="https://fonts.example/x.css">', "is fetched from elsewhere"),
        ('<script src="//cdn.example/x.js"></script>', "is fetched from elsewhere"),
    ],
)
def test_a_link_that_leads_nowhere_is_named(tmp_path, body, complaint):
    (tmp_path / "index.html").write_text(f"<html><body>{body}</body></html>")
    (tmp_path / "other.html").write_text('<html><body id="there"><a href="https://example.org">out</a></body></html>')
    assert any(complaint in found for found in links.problems(tmp_path))


def test_links_that_lead_somewhere_are_not(tmp_path):
    (tmp_path / "index.html").write_text('<a href="sub/a.html#there">x</a><a href="#top" id="top">y</a>')
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "a.html").write_text('<h1 id="there">x</h1><a href="../index.html">back</a>')
    assert links.problems(tmp_path) == []


def test_links_of_the_checkout_become_links_of_the_site(tmp_path):
    text = "[a](docs/diagnosis.md#the-report) [b](conf) [c](LICENSE) [d](https://example.org)\n```\n[e](x.md)\n```\n"
    moved = pages._relinked(text, TOP / "README.md", tmp_path / "index.md", tmp_path)
    assert moved == (
        "[a](diagnosis.md#the-report) [b](configuration.md) c (`LICENSE`) [d](https://example.org)\n"
        "```\n[e](x.md)\n```\n"
    )


@pytest.mark.parametrize(
    ("text", "complaint"),
    [("# One\n\n[x](gone.md)\n", "gone.md"), ("# One\n\n[x](#gone)\n", "gone"), ("# One\n\n![x](gone.png)\n", "gone")],
)
@pytest.mark.slow
def test_a_page_with_a_broken_link_fails_the_build(tmp_path, text, complaint):
    code = (
        "import sys; from pathlib import Path; from docs import __main__ as main, pages\n"
        f"pages.gather = lambda folder: (folder.mkdir(), (folder / 'index.md').write_text({text!r}))\n"
        "sys.exit(main.build(Path(sys.argv[1])))"
    )
    done = subprocess.run([sys.executable, "-c", code, tmp_path / "out"], cwd=TOP, capture_output=True, text=True)
    assert done.returncode == 1
    assert complaint in done.stderr


def test_every_page_of_the_folder_is_in_the_navigation():
    there = {path.relative_to(pages.DOCS).with_suffix("").as_posix() for path in pages.DOCS.rglob("*.md")}
    groups = pages._groups(there)
    assert {page for found in groups.values() for page in found} == there
    assert all(groups.values())
