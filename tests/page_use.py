"""What a person does on the page, and photos for it."""

import base64
import io
import json
from urllib.request import Request, urlopen

import numpy as np
from PIL import Image

READABLE = [
    "Affenpinscher", "Afghan hound", "Airedale terrier", "Basset hound", "Beagle", "Boxer", "Yorkshire terrier"
]  # fmt: skip
NAMES = tuple(f"{number:03}.{name.replace(' ', '_')}" for number, name in enumerate(READABLE, start=1))
# Drops files as a hand does; Playwright has no other way for files from outside of the browser.
DROP = """files => {
  const held = new DataTransfer();
  for (const [name, type, text] of files) {
    held.items.add(new File([Uint8Array.from(atob(text), letter => letter.charCodeAt(0))], name, { type }));
  }
  const target = document.querySelector(".drop");
  for (const name of ["dragenter", "dragover", "drop"]) {
    target.dispatchEvent(new DragEvent(name, { dataTransfer: held, bubbles: true, cancelable: true }));
  }
}"""


def png(color=(40, 60, 200), size=(48, 40), *, is_noise=False):
    """Encode a picture of one colour, or of noise, which takes three bytes a pixel."""
    noise = np.random.default_rng(0).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    stream = io.BytesIO()
    (Image.fromarray(noise) if is_noise else Image.new("RGB", size, color)).save(stream, "PNG")
    return stream.getvalue()


def drop(page, *files):
    page.evaluate(DROP, [(name, kind, base64.b64encode(data).decode()) for name, kind, data in files])
    wait(page)


def wait(page):
    page.wait_for_selector(".card")
    page.wait_for_selector(".card[aria-busy]", state="detached")


def texts(page, query):
    return page.locator(query).all_inner_texts()


def answer_of(url, data, query=""):
    """Ask without the page."""
    request = Request(url + "/invocations" + query, data, {"Content-Type": "image/jpeg"})
    with urlopen(request, timeout=20) as response:
        return json.load(response)
