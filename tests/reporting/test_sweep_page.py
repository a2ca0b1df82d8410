"""The page of a sweep: of made-up ones of any size and in any state, and of a real one."""

import json
import re

import pytest
from helpers import QUICK
from made_up_sweep import PARAMS, write_made_up_sweep
from tags import Tags

from dogbreed import UserError
from dogbreed.files import read_json, write_json
from dogbreed.reporting import write_sweep_page
from dogbreed.reporting.search import load_search


@pytest.fixture(scope="session")
def made_up(tmp_path_factory):
    """A finished search of 40 trials."""
    folder = tmp_path_factory.mktemp("made up sweep") / "forty"
    write_made_up_sweep(folder, 40)
    return folder


def words_of(path):
    """Read a page, which must be whole and refer to nothing outside but its trials' folders."""
    text = path.read_bytes().decode()
    tags = Tags(text)
    assert "script" not in tags.names
    assert "url(http" not in text
    words = " ".join(" ".join(tags.text).split())
    assert not re.search(r"(?<!is )\bnan\b|\bNone\b(?! of)|\bTrue\b", words)
    return words


def rows_of(path):
    """Return the numbers of the trials in the order of the table."""
    return [int(number) for number in re.findall(r'<tr id="trial-(\d+)"', path.read_text())]


def test_everything_of_a_search_is_on_its_page(made_up):
    record = read_json(made_up / "sweep.json")
    path = write_sweep_page(made_up)
    assert path == made_up / "sweep.html"
    words = words_of(path)
    best = record["trials"][record["best"]]
    assert f"Trial {best['number']} is best: val/acc_top1 {100 * best['values'][0]:.2f}" in words
    assert "40 trials by tpe" in words
    assert f"python -m dogbreed.train from_sweep='{made_up}'" in words  # its path has spaces
    for key, text in PARAMS.items():
        assert text in words
        value = best["params"][key]
        assert f"{key}={value:.4g}" in words if isinstance(value, float) else f"{key}={value}" in words
    assert "exploding_tensor" in words
    assert "is below the median" in words
    assert "The memory of cuda:0 does not hold 128 &lt;pictures&gt;." in path.read_text()
    assert "trial.number" not in words
    order = rows_of(path)
    assert order[0] == best["number"]
    assert len(order) == 40
    states = [record["trials"][number]["state"] for number in order]
    assert states == sorted(states, key=["completed", "pruned", "failed"].index)


def test_links_lead_to_reports_or_folders(made_up):
    addresses = Tags(write_sweep_page(made_up).read_text()).addresses
    assert "0/report.html" in addresses
    assert "1/" in addresses
    assert all((made_up / address).exists() for address in addresses if not address.startswith(("#", "data:")))


def test_a_mark_of_every_trial_in_every_chart(made_up):
    text = write_sweep_page(made_up).read_text()
    trials = load_search(made_up).trials
    figures = re.findall(r"<figure.*?</figure>", text, flags=re.S)
    history = next(figure for figure in figures if "<h3>History</h3>" in figure)
    parallel = text[text.index('id="parallel"') : text.index('id="slices"')]
    slices = re.findall(r"<figure.*?</figure>", text[text.index('id="slices"') : text.index('id="curves"')], flags=re.S)
    assert len(slices) == len(PARAMS)
    drawn = {trial.number for trial in trials if trial.value == trial.value}
    for chart in (parallel, *slices):
        assert {int(number) for number in re.findall(r'class="t t(\d+)"', chart)} == drawn
    assert {int(number) for number in re.findall(r'class="t t(\d+)"', history)} == set(range(40))


def test_two_objectives_have_a_front(tmp_path):
    record = write_made_up_sweep(tmp_path, 30, ("val/acc_top1", "seconds"))
    words = words_of(write_sweep_page(tmp_path))
    assert "val/acc_top1 against seconds" in words
    assert "Pareto front" in words
    text = (tmp_path / "sweep.html").read_text()
    assert len(re.findall(r"</a>\*|</span>\*", text)) == len(record["pareto"]) >= 2


def test_a_sweep_that_goes_on_loads_itself_anew(tmp_path, made_up):
    write_made_up_sweep(tmp_path, 3, state="running")
    text = write_sweep_page(tmp_path).read_text()
    assert '<meta http-equiv="refresh"' in text
    assert "died" in text  # nobody holds the lock of the trial that says that it runs
    assert 'http-equiv="refresh"' not in write_sweep_page(made_up).read_text()


def test_trials_of_other_machines_are_rows_without_links(tmp_path):
    trial = {"number": 7, "state": "completed", "values": [0.5], "params": {"seed": 1}, "overrides": ["seed=1"]}
    write_json(tmp_path / "sweep.json", {"objective": ["val/acc_top1"], "modes": ["max"], "trials": [trial]})
    page = write_sweep_page(tmp_path)
    assert "Trial 7 is best: val/acc_top1 50.0" in words_of(page)
    assert rows_of(page) == [7]


def test_a_folder_of_runs_without_a_record(tmp_path):
    for number, accuracy in ((0, 0.5), (1, 0.7), (2, None), (10, 0.6)):
        folder = tmp_path / str(number)
        folder.mkdir()
        state = {"state": "failed", "error": "It <burst>."} if accuracy is None else {"state": "completed"}
        write_json(folder / "run.json", state)
        (folder / "config.yaml").write_text(f"optim: {{lr: {number}}}\nseed: 0\nobjective: val/acc_top1\n")
        if accuracy is not None:
            write_json(folder / "metrics.json", {"val/acc_top1": accuracy})
    page = write_sweep_page(tmp_path)
    words = words_of(page)
    assert rows_of(page) == [1, 10, 0, 2]
    assert "It &lt;burst&gt;." in page.read_text()
    assert "optim.lr" in words
    assert "seed" not in words.split("Search space")[-1]


@pytest.mark.parametrize(
    "damage",
    [
        "{",
        "[]",
        '{"trials": 5}',
        '{"trials": [1, {"number": "x"}, null]}',
        '{"trials": [{"number": 0, "values": "x", "params": [], "overrides": 3}], "objective": {}, "modes": 3}',
        '{"importance": [1], "pareto": 7, "params": "x", "search_space": {}, "state": 5}',
    ],
)
def test_a_damaged_record_costs_no_more_than_itself(tmp_path, damage):
    write_made_up_sweep(tmp_path, 3)
    (tmp_path / "sweep.json").write_text(damage)
    (tmp_path / "1" / "metrics.csv").write_text("epoch,val/acc_top1\n1,x\n")
    page = write_sweep_page(tmp_path)
    words_of(page)
    assert sorted(rows_of(page)) == [0, 1, 2]


def test_a_page_needs_a_sweep(tmp_path):
    with pytest.raises(UserError, match="is no folder"):
        write_sweep_page(tmp_path / "nowhere")
    (tmp_path / "sweep.json").write_text("{}")
    with pytest.raises(UserError, match="a sweep without a run that has begun"):
        write_sweep_page(tmp_path)
    (tmp_path / "0").mkdir()
    (tmp_path / "0" / "run.json").write_text("{")
    with pytest.raises(UserError, match="None of the runs can be read"):
        write_sweep_page(tmp_path)


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [390, 1360])
def test_the_page_in_a_browser(visit, made_up, scheme, width):
    seen = visit(write_sweep_page(made_up), width=width, scheme=scheme)
    assert seen.requests == seen.messages == []
    assert seen.page.evaluate("document.documentElement.scrollWidth") <= width


def test_a_trial_lights_up_everywhere(visit, made_up):
    seen = visit(write_sweep_page(made_up))
    opacity = """name => Object.fromEntries([...document.querySelectorAll(`svg .${name}`)].map(
        (mark, at) => [at, getComputedStyle(mark).opacity]))"""
    best = read_json(made_up / "sweep.json")["best"]
    other = (best + 1) % 11
    assert set(seen.page.evaluate(opacity, f"t{other}").values()) == {"1"}
    seen.page.locator(f"#overview circle.t{best}").first.hover(force=True)
    seen.page.wait_for_timeout(300)  # the marks fade
    assert set(seen.page.evaluate(opacity, f"t{best}").values()) == {"1"}
    assert all(float(value) < 0.2 for value in seen.page.evaluate(opacity, f"t{other}").values())
    row = seen.page.locator(f"#trial-{best}").evaluate("row => getComputedStyle(row).backgroundColor")
    assert row != "rgba(0, 0, 0, 0)"
    seen.page.locator(f"#parallel a.t{best}").dispatch_event("click")
    assert seen.page.url.endswith(f"#trial-{best}")


def test_a_sweep_ends_with_its_page(cli, tree, tmp_path):
    more = ("data=folder", f"data.root={tree}", "trainer.max_epochs=1", "report=true", "hydra.sweep.dir=sweep")
    answer = cli("train", "-m", *QUICK, *more, "optim.lr=0.001,1e30")
    assert answer.code == 0, answer.err
    words = words_of(tmp_path / "sweep" / "sweep.html")
    assert "Sweep sweep" in words
    assert "optim.lr" in words
    assert not (tmp_path / "sweep" / "0" / "report.html").exists()  # one page for all
    record = json.loads((tmp_path / "sweep" / "sweep.json").read_text())
    assert record["params"] == {"optim.lr": "0.001,1e30"}
    assert f"report  {tmp_path / 'sweep' / 'sweep.html'}" in answer.out or "report  sweep/sweep.html" in answer.out
