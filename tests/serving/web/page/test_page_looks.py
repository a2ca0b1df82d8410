"""How the page looks: readable, no wider than the screen, and the light where the model looked."""

import io
import json

import pytest
from browser import CONTRASTS
from page_use import answer_of, drop, png
from PIL import Image

WORDS = "h1, h2, p, dt, dd, summary, li, li span, button, code, .badge, .words"
BRIGHTEST = """() => {
  const canvas = document.querySelector(".heat"), { width, height } = canvas;
  const data = canvas.getContext("2d").getImageData(0, 0, width, height).data;
  // Over middle grey, but for the line around what the network sees, which alone has so much blue.
  const light = at => [0, 1, 2].reduce((sum, color) => sum + 128 + (data[at + color] - 128) * data[at + 3] / 255, 0);
  let best = [0, 0, -1];
  for (let y = 0; y < height; y++) for (let x = 0; x < width; x++) {
    const value = light(4 * (y * width + x)), at = 4 * (y * width + x);
    if (value > best[2] && data[at + 2] < 125) best = [x, y, value];
  }
  return [(best[0] + 0.5) / width, (best[1] + 0.5) / height];
}"""


# Text needs 4.5, what is drawn needs 3 (WCAG 2.2, 1.4.3 and 1.4.11).
PAIRS = [
    *((text, behind, 4.5) for text in ("ink", "muted") for behind in ("page", "surface", "sunken")),
    *((tone, behind, 4.5) for tone in ("good", "busy", "bad") for behind in (f"{tone}-soft", "surface")),
    *((drawn, behind, 3) for drawn in ("accent", "edge") for behind in ("page", "surface", "sunken")),
]


def luminance(color):
    """Return the relative luminance of a colour such as #1c2126."""
    parts = [int(color.strip()[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    linear = [x / 12.92 if x <= 0.04045 else ((x + 0.055) / 1.055) ** 2.4 for x in parts]
    return sum(weight * x for weight, x in zip((0.2126, 0.7152, 0.0722), linear, strict=True))


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [390, 1280])
def test_all_can_be_read_and_nothing_is_wider_than_the_screen(visit, front, scheme, width):
    strange = {"unlike_training_data": True, "familiarity": 0.004}
    front.change = lambda body: json.dumps({**json.loads(body), **strange}).encode()
    seen = visit(front.url, width, scheme, is_calm=False)
    long = "a_very_long_name_without_any_place_to_break_it_" * 3 + ".png"
    drop(seen.page, (long, "image/png", png()))
    front.change = None
    drop(seen.page, ("wide.png", "image/png", png(size=(900, 60))), ("bad.txt", "text/plain", b"-"))
    seen.page.click("summary")
    assert seen.page.locator(".unlike").count() == 1
    assert seen.page.evaluate("document.documentElement.scrollWidth") <= width
    for contrast, text in seen.page.evaluate(CONTRASTS, WORDS):
        assert contrast >= 4.5, f"{text!r} is hard to read: {contrast:.2f}"
    small = seen.page.evaluate("""() => [...document.querySelectorAll("button, summary")]
      .filter(node => node.offsetHeight && Math.min(node.offsetHeight, node.offsetWidth) < 36)
      .map(node => node.textContent)""")
    assert small == []
    light = seen.page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(250, 249, 247)"
    assert light == (scheme == "light")


def test_the_light_lies_where_the_grid_says(visit, front):
    grid = [[0.1 * ((row * 7 + column) % 4) for column in range(7)] for row in range(7)]
    grid[1][5] = 1.0

    def change(body):
        answer = json.loads(body)
        answer["explanation"]["grid"] = grid
        return json.dumps(answer).encode()

    front.change = change
    page = visit(front.url, reduced_motion="reduce").page
    drop(page, ("wide.png", "image/png", png(size=(640, 320))))
    crop = answer_of(front.upstream, png(size=(640, 320)), "?explain=true")["explanation"]["crop"]
    x, y = page.evaluate(BRIGHTEST)
    assert x == pytest.approx(crop["left"] + crop["width"] * 5.5 / 7, abs=0.02)
    assert y == pytest.approx(crop["top"] + crop["height"] * 1.5 / 7, abs=0.02)
    boxes = [page.locator(name).bounding_box() for name in (".photo", ".heat")]
    assert boxes[0] == boxes[1]
    assert boxes[0]["width"] / boxes[0]["height"] == pytest.approx(2, abs=0.02)
    assert "top right" in page.locator(".heat").get_attribute("aria-label")
    page.click(".switch")
    assert page.locator(".heat").evaluate("node => getComputedStyle(node).opacity") == "0"
    # What one has chosen holds for photos to come.
    drop(page, ("next.png", "image/png", png()))
    assert page.locator(".switch").first.get_attribute("aria-checked") == "false"


def test_a_turned_photo_stands_upright_under_its_light(visit, front):
    wide = Image.new("RGB", (400, 200), (220, 30, 30))
    wide.paste((30, 30, 220), (200, 0, 400, 200))
    stream, turned = io.BytesIO(), Image.Exif()
    turned[0x0112] = 6  # to be turned clockwise by a quarter: red on top
    wide.save(stream, "JPEG", exif=turned, quality=95)
    page = visit(front.url).page
    drop(page, ("turned.jpg", "image/jpeg", stream.getvalue()))
    pixels = """() => { const photo = document.querySelector(".photo"), context = photo.getContext("2d");
      const { data, width, height } = context.getImageData(0, 0, photo.width, photo.height);
      const at = y => [...data.slice(4 * (width * Math.floor(y * height) + width / 2)).slice(0, 3)];
      return [width, height, at(0.25), at(0.75)]; }"""
    width, height, top, bottom = page.evaluate(pixels)
    assert (width, height) == (200, 400)
    assert top[0] > 180 > bottom[0]
    assert bottom[2] > 180 > top[2]
    opacity = """() => { const heat = document.querySelector(".heat"), context = heat.getContext("2d");
      const { data, width, height } = context.getImageData(0, 0, heat.width, heat.height);
      const at = y => [...data.slice(4 * (width * Math.floor(y * height) + Math.floor(width / 2))).slice(0, 4)].join();
      return [at(0.05), at(0.95), at(0.5)]; }"""
    above, below, middle = page.evaluate(opacity)
    assert above == below != middle  # unseen are the ends of the upright picture


def test_who_wants_no_motion_gets_none(visit, server):
    page = visit(server, reduced_motion="reduce").page
    drop(page, ("a.png", "image/png", png()))
    moving = """() => [...document.querySelectorAll("*")].map(node => getComputedStyle(node))
      .filter(style => style.animationName !== "none" || style.transitionDuration !== "0s").length"""
    assert page.evaluate(moving) == 0
    assert page.evaluate("document.getAnimations().length") == 0


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_all_has_a_name_and_what_is_drawn_stands_out(visit, front, scheme):
    seen = visit(front.url, scheme=scheme, is_calm=False)
    drop(seen.page, ("a.png", "image/png", png()), ("bad.txt", "text/plain", b"-"))
    nameless = """() => [...document.querySelectorAll("button, [role=img], article, section, svg")]
      .filter(node => node.getClientRects().length && node.ariaHidden !== "true" && !node.ariaLabel
        && !node.hasAttribute("aria-labelledby") && !(node.matches("button") && node.textContent.trim()))
      .map(node => node.outerHTML.slice(0, 80))"""
    assert seen.page.evaluate(nameless) == []
    assert seen.page.evaluate("[...document.querySelectorAll('h1, h2')].map(node => node.tagName)")[0] == "H1"
    ids = seen.page.evaluate("[...document.querySelectorAll('[id]')].map(node => node.id)")
    assert len(ids) == len(set(ids))
    colors = """names => names.map(name => getComputedStyle(document.documentElement).getPropertyValue("--" + name))"""
    for front_name, behind, least in PAIRS:
        pair = [luminance(color) for color in seen.page.evaluate(colors, [front_name, behind])]
        contrast = (max(pair) + 0.05) / (min(pair) + 0.05)
        assert contrast >= least, f"--{front_name} on --{behind}: {contrast:.2f}"
