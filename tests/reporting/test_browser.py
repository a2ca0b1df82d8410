"""Pages as a browser shows them: Chromium, off the network."""

import re

import pytest
from browser import CONTRASTS
from made_up_sweep import write_made_up_sweep

from dogbreed.files import write_json
from dogbreed.reporting import write_comparison, write_report, write_sweep_page

WORDS = "h1, h2, h3, p, dt, dd, small, summary, th, td, .badge, .state, svg text"
DRAWINGS = """() => [...document.querySelectorAll("figure")].map(figure => {
  const drawing = figure.querySelector("svg, img"), box = drawing.getBoundingClientRect();
  const lines = [...figure.querySelectorAll("svg path, svg use")].filter(line => !line.closest("defs, clipPath"));
  const drawn = lines.filter(line => { const style = getComputedStyle(line), size = line.getBBox();
    const has = paint => paint !== "none" && !paint.includes("0, 0, 0");
    return (has(style.stroke) || has(style.fill)) && size.width + size.height > 1; });
  return { width: box.width, height: box.height, drawn: drawing.tagName === "IMG" ? 99 : drawn.length,
           title: figure.querySelector("h3")?.textContent ?? "" };
})"""


@pytest.fixture(params=["finished", "big", "sick", "comparison", "sweep", "pareto"])
def page(request, finished_run, big_run, tmp_path):
    """Pages of a real run, of a made-up one with everything there is, of a failed one, of several runs, of sweeps."""
    target = tmp_path / "page.html"
    if request.param == "finished":
        return write_report(finished_run.run_dir, target)
    if request.param == "big":
        return write_report(big_run, target)
    if request.param in ("sweep", "pareto"):
        (tmp_path / "sweep").mkdir()
        more = ("seconds",) if request.param == "pareto" else ()
        write_made_up_sweep(tmp_path / "sweep", 40, ("val/acc_top1", *more))
        return write_sweep_page(tmp_path / "sweep", target)
    if request.param == "comparison":
        return write_comparison([finished_run.run_dir, big_run], target)
    write_json(tmp_path / "run.json", {"state": "failed", "error": "A very_long_name_without_a_break_" + 30 * "name_"})
    (tmp_path / "steps.csv").write_text("step,loss,seconds\n1,2.5,0.1\n2,1e18,0.1\n3,inf,0.1\n4,nan,0.1\n")
    return write_report(tmp_path, target)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_every_figure_is_drawn_and_can_be_read_in_both_themes(visit, page, scheme):
    seen = visit(page, scheme=scheme)
    assert seen.requests == []
    assert seen.messages == []
    figures = seen.page.evaluate(DRAWINGS)
    assert figures
    for figure in figures:
        assert min(figure["width"], figure["height"]) > 100, figure
        assert figure["drawn"] >= 2, figure
    for contrast, text in seen.page.evaluate(CONTRASTS, WORDS):
        assert contrast >= 4.5, f"{text!r} is hard to read: {contrast:.2f}"
    brightness = sum(
        map(int, re.findall(r"\d+", seen.page.evaluate("getComputedStyle(document.body).backgroundColor")))
    )
    assert (brightness > 600) == (scheme == "light")


@pytest.mark.parametrize("width", [390, 1280])
def test_nothing_is_wider_than_the_screen(visit, page, width):
    seen = visit(page, width=width)
    seen.page.evaluate("document.querySelectorAll('details').forEach(item => { item.open = true; })")
    assert seen.page.evaluate("document.documentElement.scrollWidth") <= width
    assert seen.messages == seen.requests == []


def test_names_are_text_and_nothing_else(visit, big_run, tmp_path):
    seen = visit(write_report(big_run, tmp_path / "page.html"))
    assert seen.page.title() == "big – run report"
    assert seen.page.evaluate("document.scripts.length") == 0
    assert seen.page.locator("text=document.title='broken'").count() > 0


def test_the_contents_stay_beside_a_wide_page_and_lead_to_its_parts(visit, big_run, tmp_path):
    path = write_report(big_run, tmp_path / "page.html")
    seen = visit(path)
    entries = seen.page.locator(".toc a")
    for place in range(entries.count()):
        target = entries.nth(place).get_attribute("href")
        assert seen.page.locator(f"section{target} h2").count() == 1
    seen.page.evaluate("window.scrollTo({top: 4000, behavior: 'instant'})")
    assert seen.page.locator(".toc").bounding_box()["y"] >= 0
    assert not visit(path, width=390).page.locator(".toc").is_visible()


def test_values_show_when_one_rests_on_them(visit, big_run, tmp_path):
    seen = visit(write_report(big_run, tmp_path / "page.html"))
    tips = seen.page.evaluate("[...document.querySelectorAll('.tip title')].map(title => title.textContent)")
    assert any(tip.startswith("epoch 3, validation: ") for tip in tips)
    assert any(tip.endswith(" steps") for tip in tips)
    # A tip lies where its point is drawn: the marks of the first curve and its tips are at the same places.
    apart = seen.page.evaluate("""() => {
      const chart = document.querySelector("#curves .chart");
      const middle = box => [box.x + box.width / 2, box.y + box.height / 2];
      const places = query => [...chart.querySelectorAll(query)].map(node => middle(node.getBoundingClientRect()));
      const marks = places("g[clip-path] use");
      return places(".tip").map(tip => Math.min(...marks.map(mark => Math.hypot(mark[0] - tip[0], mark[1] - tip[1]))));
    }""")
    assert len(apart) == 50
    assert max(apart) < 1.5
