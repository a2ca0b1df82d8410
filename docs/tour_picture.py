"""README's picture: ``python -m docs.tour_picture RUN SWEEP PHOTO…`` writes docs/pictures/tour.webp.

The tops of a run's report and of a sweep's page, and between them the page that answers, with photos dropped on it.
"""

from __future__ import annotations

import io
import re
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from PIL import Image

from docs.chromium import chromium

TARGET = Path(__file__).resolve().parent / "pictures" / "tour.webp"
SIDE_PX = {"width": 860, "height": 1000}
GAP_PX, HEIGHT_PX, GREY = 24, 760, "#d9dde2"


@contextmanager
def served(run: Path) -> Iterator[str]:
    """Serve a run by the command, on a free port; yields the address."""
    words = [sys.executable, "-m", "dogbreed.serve", str(run), "--port", "0"]
    with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as server:  # noqa: S603
        assert server.stdout is not None
        try:
            yield next(found[0] for line in server.stdout if (found := re.search(r"http://\S+:\d+", line)))
        finally:
            server.terminate()


def _photographs(run: Path, sweep: Path, photos: Sequence[Path]) -> list[Image.Image]:
    taken = []
    with chromium() as browser, served(run) as address:
        for page in ((run / "report.html").as_uri(), address, (sweep / "sweep.html").as_uri()):
            view = browser.new_page(viewport=SIDE_PX, device_scale_factor=1.5)
            view.goto(page)
            if page == address:
                view.wait_for_selector("#facts:not([hidden])")
                view.locator("#files").set_input_files([str(photo) for photo in photos])
                view.wait_for_selector(".card")
                view.wait_for_selector(".card[aria-busy]", state="detached")
                view.wait_for_timeout(1500)  # bars grow
            taken.append(Image.open(io.BytesIO(view.screenshot())).convert("RGB"))
    return taken


def main() -> None:
    """Take the pictures and put them side by side."""
    run, sweep, *photos = map(Path, sys.argv[1:])
    shots = _photographs(run.absolute(), sweep.absolute(), photos)
    for shot in shots:
        shot.thumbnail((shot.width, HEIGHT_PX))
    width = sum(shot.width for shot in shots) + GAP_PX * (len(shots) + 1)
    sheet = Image.new("RGB", (width, HEIGHT_PX + 2 * GAP_PX), GREY)
    left = GAP_PX
    for shot in shots:
        sheet.paste(shot, (left, GAP_PX))
        left += shot.width + GAP_PX
    sheet.save(TARGET, quality=82, method=6)
    sys.stdout.write(f"{TARGET}\n")


if __name__ == "__main__":
    main()
