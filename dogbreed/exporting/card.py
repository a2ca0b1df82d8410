"""A model card in Hugging Face's form: what a stranger must know before using a model, from its files alone."""

from __future__ import annotations

import csv
import math
import re
import shutil
from collections import Counter
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from dogbreed.errors import UserError
from dogbreed.exporting.card_facts import base_model, data_name, training_rows
from dogbreed.files import read_csv, replacing, write_text
from dogbreed.model_description import read_description
from dogbreed.run_files import CLASSES_CSV, CONFUSION_PNG, CURVES_PNG, MISTAKES_PNG, RUN_JSON, SPLITS_CSV

if TYPE_CHECKING:
    from jinja2 import Environment

SPLITS = {"test": "test", "val": "validation"}
# Metric by name: Hugging Face's type, and words for people.
METRICS = {
    "acc_top1": ("accuracy", "accuracy"),
    "acc_top5": ("accuracy", "one of the first five right"),
    "f1_macro": ("f1", "F1, mean of the classes"),
    "loss": ("loss", "cross-entropy"),
    "ece": ("ece", "calibration error"),
}
NUM_WEAKEST = 3
LICENSE = """\
# license: yours to choose, such as apache-2.0.
# Mind the licences of the photographs and of the weights that training began with.
"""


def write_card(model_dir: Path, file: Path, *, with_mistakes: bool = False) -> list[Path]:
    """Write a card, and beside it the charts that it shows.

    Args:
        model_dir: A model folder; its run folder, if it lies in one, gives classes, charts and counts.
        file: The card, ``README.md``.
        with_mistakes: Show the most confident mistakes, too. These are photographs, which may be private.

    Returns:
        What was written, the card first.

    Raises:
        UserError: the folder's description is damaged; mistakes are asked for, and there is no sheet of them.
    """
    pictures = card_pictures(model_dir, file, with_mistakes=with_mistakes)
    text = render_card(model_dir, [target.name for target in pictures.values()])
    for source, target in pictures.items():
        if source.resolve() != target.resolve():
            with replacing(target) as unfinished:
                shutil.copyfile(source, unfinished)
    write_text(file, text)
    return [file, *pictures.values()]


def card_pictures(model_dir: Path, file: Path, *, with_mistakes: bool = False) -> dict[Path, Path]:
    """Return what is copied beside a card: the run's charts, and where each goes.

    Raises:
        UserError: mistakes are asked for, and there is no sheet of them.
    """
    names = [CURVES_PNG, CONFUSION_PNG, *([MISTAKES_PNG] if with_mistakes else [])]
    sources = {name: model_dir.parent / name for name in names if (model_dir.parent / name).is_file()}
    if with_mistakes and MISTAKES_PNG not in sources:
        msg = f"{model_dir.parent / MISTAKES_PNG} is not there: leave out --mistakes."
        raise UserError(msg)
    return {source: file.parent / name for name, source in sources.items()}


def render_card(model_dir: Path, pictures: Sequence[str] = ()) -> str:
    """Return a card's text.

    Args:
        model_dir: A model folder.
        pictures: Names of the charts beside the card.

    Raises:
        UserError: the folder's description is damaged, or of a newer format.
    """
    info = read_description(model_dir)
    config = _read_config(model_dir / "training_config.yaml")
    run_dir = model_dir.parent
    name = run_dir.name if (run_dir / RUN_JSON).is_file() else model_dir.name
    metrics = {key: value for key, value in (info.get("metrics") or {}).items() if _is_number(value)}
    rows = [row for row in read_csv(run_dir / CLASSES_CSV) if row.get("class")]
    measured = next((split for split in ("test", "valid") if any(row.get("split") == split for row in rows)), None)
    classes = [row for row in rows if row.get("split") == measured]
    header = _header(name, info["architecture"], config, metrics)
    return header + _environment().get_template("card.md.jinja").render(
        name=name,
        info=info,
        metrics=metrics,
        splits={prefix: word for prefix, word in SPLITS.items() if f"{prefix}/acc_top1" in metrics},
        metric_words={key: words for key, (_, words) in METRICS.items()},
        classes=classes,
        classes_split={"valid": "validation"}.get(measured or "", measured),
        weakest=sorted((row for row in classes if row.get("f1")), key=lambda row: float(row["f1"]))[:NUM_WEAKEST],
        counts=_count_pictures(run_dir / SPLITS_CSV),
        data=data_name(config),
        training=training_rows(info["architecture"], config, metrics),
        pictures=pictures,
    )


def _header(name: str, architecture: str, config: Mapping[str, Any], metrics: Mapping[str, float]) -> str:
    """Return the front matter, which the hub reads: tags to be found by, results to be compared by."""
    results = []
    for prefix, split in SPLITS.items():
        found = [
            {"type": kind, "value": round(float(metrics[f"{prefix}/{key}"]), 4), "name": words}
            for key, (kind, words) in METRICS.items()
            if f"{prefix}/{key}" in metrics
        ]
        if found:
            dataset = {"type": "imagefolder", "name": data_name(config), "split": split}
            task = {"type": "image-classification", "name": "Image classification"}
            results.append({"task": task, "dataset": dataset, "metrics": found})
    header: dict[str, Any] = {
        "library_name": "dogbreed",
        "pipeline_tag": "image-classification",
        "tags": ["image-classification", "pytorch", "timm", "safetensors", architecture.partition(".")[0]],
        "metrics": ["accuracy", "f1"],
    }
    if base := base_model(architecture, config):
        header |= {"base_model": base, "base_model_relation": "finetune"}
    if results:
        header["model-index"] = [{"name": name, "results": results}]
    return f"---\n{LICENSE}{yaml.safe_dump(header, sort_keys=False, allow_unicode=True, width=120)}---\n\n"


def _read_config(file: Path) -> dict[str, Any]:
    try:
        config = yaml.safe_load(file.read_text(encoding="utf-8"))
    except (OSError, ValueError, yaml.YAMLError):
        return {}
    return config if isinstance(config, dict) else {}


def _count_pictures(splits_csv: Path) -> Counter[str]:
    if not splits_csv.is_file():
        return Counter()
    with splits_csv.open(newline="", encoding="utf-8", errors="replace") as stream:
        return Counter(row.get("split") or "" for row in csv.DictReader(stream))


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and math.isfinite(value)


def plain(text: object) -> str:
    r"""Return text that Markdown takes literally, in one line.

    Example:
        >>> plain("a|b *c* <script>")
        'a\\|b \\*c\\* \\<script\\>'
    """
    line = " ".join(str(text).encode(errors="replace").decode().split())
    return re.sub(r"([\\`*_\[\]<>|#~&$])", r"\\\1", line)


def percent(share: float | str | None) -> str:
    """Return a share in percent, a dash for none.

    Example:
        >>> percent(0.0), percent("0.914"), percent("")
        ('0.0 %', '91.4 %', '–')
    """
    return "–" if share in (None, "") else f"{100 * float(share or 0):.1f} %"


@cache
def _environment() -> Environment:
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(  # noqa: S701 -- Markdown; `plain` escapes
        loader=FileSystemLoader(Path(__file__).parent / "templates"),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters |= {"plain": plain, "percent": percent}
    return environment
