"""One picture and one table of all figures that have a target, and the recipes' tables: ``python -m benchmarks.chart``.

The pictures and the tables go into docs/, the headlines into README.md; of each
benchmark they show the machine that measured last.
"""

from itertools import groupby
from operator import itemgetter
from pathlib import Path
from textwrap import shorten

from PIL import Image

from benchmarks import recipes
from benchmarks.commands import TOP
from benchmarks.record import RESULTS
from dogbreed.files import read_csv, write_text
from dogbreed.fit.figures import ACCENT, GREY, new_figure, save_figure

PICTURES = TOP / "docs" / "pictures"
PICTURE, GROWTH = PICTURES / "chart.png", PICTURES / "growth.png"
README, RECIPES, MEASURED = TOP / "README.md", TOP / "docs" / "recipes.md", TOP / "docs" / "measured.md"
# What README shows of all rows: benchmark, words in the case, words in the peer's name.
HEADLINES = (
    ("recipes", "dogs-small, finetune=auto, test top-1", "fastai"),
    ("recipes", "dogs-small, finetune=auto, whole command", "fastai"),
    ("recipes", "dogs-small, finetune=head, test top-1", "notebook loop, 5 epochs, here"),
    ("recipes", "dogs-small, finetune=head, whole command", "notebook loop, 5 epochs, here"),
    ("recipes", "clothing, finetune=head, test top-1", "notebook loop, 5 epochs, here"),
    ("recipes", "clothing, finetune=head, whole command", "notebook loop, 5 epochs, here"),
    ("inputs", "first epoch", "torchvision"),
    ("inputs", "later epoch", "torchvision"),
    ("step", "resnet18, batch 32, 224 px, cached", "network alone"),
    ("sweep", "20 learning rates", ""),
    ("serving", "MobileNetV2, 2 cores, 99th percentile", "FastAPI"),
    ("serving", "MobileNetV2", "TorchServe"),
)
REACHED = "#2f855a"
WIDEST, MAX_LABEL = 8.0, 110


def main() -> None:
    """Draw the picture, and write the tables into the pages."""
    rows = bounded_rows()
    draw(rows)
    if growth := read_csv(RESULTS / "growth.csv"):
        draw_growth(growth)
    shown = [row for row in rows if any(_is_headline(row, *headline) for headline in HEADLINES)]
    put_block(README, "headlines", table(shown))
    put_block(MEASURED, "benchmarks", table(rows))
    put_block(RECIPES, "grid", recipes.grid_table())
    put_block(RECIPES, "tricks", recipes.tricks_table())
    print(f"{PICTURE}, {README}, {MEASURED}, {RECIPES}")


def _is_headline(row: dict[str, str], bench: str, case: str, peer: str) -> bool:
    return row["bench"] == bench and case in row["case"] and peer in row["peer_name"]


def put_block(page: Path, name: str, block: str) -> None:
    """Write Markdown between the marks that bear its name."""
    begin, end = f"<!-- {name}: written by `python -m benchmarks.chart` -->", f"<!-- end of {name} -->"
    text = page.read_text(encoding="utf-8")
    head, tail = text.split(begin)[0], text.split(end)[1]
    write_text(page, f"{head}{begin}\n{block}\n{end}{tail}")


def bounded_rows() -> list[dict[str, str]]:
    """Read the rows that have a target; of each benchmark those of the machine that measured last."""
    kept = []
    for file in sorted(RESULTS.glob("*.csv")):
        rows = [row for row in read_csv(file) if row.get("target")]
        if rows:
            machine = max(rows, key=itemgetter("date", "machine"))["machine"]
            kept += [row for row in rows if row["machine"] == machine]
    return kept


def margin(row: dict[str, str]) -> float:
    """Return by which factor a row is better than its target; below 1 it is worse."""
    ratio, target = float(row["ratio"]), float(row["target"])
    return ratio / target if row["sense"] == "min" else target / ratio


def draw(rows: list[dict[str, str]]) -> None:
    """Draw a bar a row, from the target to what was reached; benchmarks one below the other, each under its name."""
    groups = {bench: list(found) for bench, found in groupby(rows, key=itemgetter("bench"))}
    num_lines = len(rows) + 2 * len(groups)
    figure = new_figure(12, 0.9 + 0.2 * num_lines)
    axes = figure.add_subplot()
    place, places, labels = 0, [], []
    for bench, found in groups.items():
        place += 2
        axes.text(
            1 / WIDEST,
            place - 0.9,
            f"  {bench} ({_short(found[0]['machine'])})",
            fontsize=9,
            fontweight="bold",
            va="center",
        )
        for row in found:
            value = min(WIDEST, max(1 / WIDEST, margin(row)))
            colour = REACHED if value >= 1 else ACCENT
            axes.barh(place, value - 1, left=1, color=colour, height=0.7)
            axes.scatter(value, place, color=colour, s=14, zorder=3)  # a bar of no length is seen, too
            places.append(place)
            labels.append(shorten(f"{row['case']}, beside {row['peer_name']}", MAX_LABEL, placeholder=" …"))
            place += 1
    axes.set_xscale("log", base=2)
    axes.set_xlim(1 / WIDEST, WIDEST)
    axes.set_ylim(place, 0)
    ticks = [1 / 8, 1 / 4, 1 / 2, 1, 2, 4, 8]
    axes.set_xticks(ticks, ["8× worse", "4×", "2×", "target", "2×", "4×", "8× better"], fontsize=8)
    axes.tick_params(top=True, labeltop=True)
    axes.axvline(1, color=GREY, linewidth=1)
    axes.set_yticks(places, labels, fontsize=7)
    figure.suptitle("Measured against what had to be reached", fontsize=10)
    save_figure(figure, PICTURE)
    with Image.open(PICTURE) as picture:  # a few colours: a third of the bytes
        small = picture.convert("P", palette=Image.Palette.ADAPTIVE, colors=64)
    small.save(PICTURE, optimize=True)


def draw_growth(rows: list[dict[str, str]]) -> None:
    """Draw images/s and memory a file over the size of a data set; each row's peer is a smaller size."""
    curves: dict[str, dict[str, dict[int, float]]] = {"images/s": {}, "B": {}}
    for row in rows:
        what = row["case"].split(", ")[1]
        curve = curves[row["unit"]].setdefault(what, {})
        for count, value in ((row["peer_name"], row["peer"]), (row["case"], row["ours"])):
            curve[int(count.split()[0])] = float(value)
    figure = new_figure(7, 3)
    for axes, unit in zip(figure.subplots(1, 2), ("images/s", "B"), strict=True):
        for (what, curve), colour in zip(curves[unit].items(), (ACCENT, REACHED), strict=False):
            counts = sorted(curve)
            axes.plot(counts, [curve[count] for count in counts], marker="o", color=colour, label=what)
        axes.set_xscale("log")
        axes.set_xticks(counts, [f"{count:,}" for count in counts])
        axes.minorticks_off()
        axes.set_ylim(bottom=0)
        axes.set_xlabel("files")
        axes.set_ylabel("images/s, one thread" if unit == "images/s" else "most memory of its own, bytes a file")
        if len(curves[unit]) > 1:
            axes.legend(frameon=False)
    save_figure(figure, GROWTH)


def _short(machine: str) -> str:
    """Return a processor's name without the words that all have.

    Example:
        >>> _short("Intel(R) Xeon(R) Processor, 2 cores")
        'Intel Xeon'
    """
    return machine.partition(",")[0].replace("(R)", "").replace("Processor", "").strip()


def _figure(value: float) -> str:
    """Write a number with three digits that count.

    Example:
        >>> [_figure(value) for value in (2785.2, 592.4, 1.652, 0.08)]
        ['2,785', '592', '1.65', '0.08']
    """
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"


def table(rows: list[dict[str, str]]) -> str:
    """Write the rows as Markdown."""
    lines = ["| | ours | peer | | ratio | target | | on |", "|---|---|---|---|---|---|---|---|"]
    for row in rows:
        sign = "≥" if row["sense"] == "min" else "≤"
        ours, peer, ratio = (_figure(float(row[name])) for name in ("ours", "peer", "ratio"))
        verdict = "" if margin(row) >= 1 else "**missed**"
        lines.append(
            f"| {row['bench']}: {row['case']} | {ours} {row['unit']} | {peer} | {row['peer_name']} | {ratio} | "
            f"{sign} {float(row['target']):g} | {verdict} | {_short(row['machine'])} |"
        )
    return "\n".join(lines)


if __name__ == "__main__":
    main()
