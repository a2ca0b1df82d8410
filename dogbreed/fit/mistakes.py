"""Show the most confident mistakes of a run: small pictures to look through, and one sheet of them."""

from __future__ import annotations

import re
import shutil
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from dogbreed.data.decode import BadImageError, decode_image
from dogbreed.files import replacing_folder, write_csv
from dogbreed.fit.evaluation import Mistake
from dogbreed.fit.figures import draw_sheet, save_figure
from dogbreed.run_files import THUMBS_INDEX

MAX_MISTAKES = 24
THUMB_SIDE_PX = 160
NAME_BYTES = 60  # two names and the rest must fit into the 255 of a file name


def show_mistakes(mistakes: Sequence[Mistake], thumbs: Path, sheet_png: Path) -> None:
    """Write the first `MAX_MISTAKES` as JPEGs with ``index.csv``, and a sheet of them.

    The JPEGs are encoded anew: nothing of the photographs' metadata is in them. Without
    mistakes there is neither folder nor sheet, and older ones go.

    Args:
        mistakes: The most confident first.
        thumbs: The folder.
        sheet_png: The sheet.
    """
    shown = [(mistake, thumb) for mistake in mistakes[:MAX_MISTAKES] if (thumb := _thumb(mistake.source)) is not None]
    if not shown:
        shutil.rmtree(thumbs, ignore_errors=True)
        sheet_png.unlink(missing_ok=True)
        return
    with replacing_folder(thumbs) as unfinished:
        rows = []
        for number, (mistake, picture) in enumerate(shown, start=1):
            name = thumb_name(number, mistake)
            picture.save(unfinished / name, format="JPEG", quality=88)
            rows.append(
                {
                    "thumb": name,
                    "split": mistake.split,
                    "file": mistake.file,
                    "label": mistake.label,
                    "predicted": mistake.predicted,
                    "probability": round(mistake.probability, 6),
                }
            )
        write_csv(unfinished / THUMBS_INDEX, rows)
    save_figure(
        draw_sheet(
            [_on_square(picture) for _, picture in shown],
            [(f"{mistake.predicted} {mistake.probability:.0%}", f"is {mistake.label}") for mistake, _ in shown],
            "Most confident mistakes",
        ),
        sheet_png,
    )


def thumb_name(number: int, mistake: Mistake) -> str:
    """Name a small picture so that a file browser tells the story.

    Example:
        >>> thumb_name(1, Mistake("test", "a.jpg", Path("a.jpg"), "Beagle", "Basset / hound", 0.974))
        'test_01_Beagle_as_Basset-hound_0.97.jpg'
    """
    label, predicted = (_safe(name) for name in (mistake.label, mistake.predicted))
    return f"{mistake.split}_{number:02d}_{label}_as_{predicted}_{mistake.probability:.2f}.jpg"


def _safe(name: str) -> str:
    """Keep letters of any script, digits, dots, dashes and underlines."""
    name = re.sub(r"[^\w.-]+", "-", name).strip("-.") or "class"
    return name.encode()[:NAME_BYTES].decode(errors="ignore")


def _thumb(source: Path | bytes) -> Image.Image | None:
    try:
        picture = Image.fromarray(decode_image(source).permute(1, 2, 0).numpy())
    except BadImageError:  # gone since it was measured: the others are worth showing
        return None
    scale = THUMB_SIDE_PX / max(picture.size)
    if scale < 1:
        size = (max(1, round(picture.width * scale)), max(1, round(picture.height * scale)))
        picture = picture.resize(size, Image.Resampling.LANCZOS)
    return picture


def _on_square(picture: Image.Image) -> NDArray[np.uint8]:
    """Centre a picture on white: all captions of a sheet are on one line then."""
    square = Image.new("RGB", (max(picture.size),) * 2, "white")
    square.paste(picture, ((square.width - picture.width) // 2, (square.height - picture.height) // 2))
    return np.asarray(square)
