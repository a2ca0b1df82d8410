"""The page of the real server in the system's Chromium: what a person does there, and what they then see."""

import base64
import dataclasses
import io
import json
import shutil
import subprocess
from types import SimpleNamespace
from urllib.request import Request, urlopen

import pytest
from browser import CONTRASTS, open_chromium
from helpers import save_picture
from page_server import front_of, real_server
from PIL import Image

from dogbreed.model_folder import load_model, save_model

NAMES = ("001.Affenpinscher", "002.Afghan_hound", "003.Airedale_terrier")
READABLE = ["Affenpinscher", "Afghan hound", "Airedale terrier"]
WORDS = "h1, h2, p, dt, dd, summary, li, li span, button, code, .badge, .words"
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
COPY_PICTURE = """async text => {
  const bytes = Uint8Array.from(atob(text), letter => letter.charCodeAt(0));
  await navigator.clipboard.write([new ClipboardItem({ "image/png": new Blob([bytes], { type: "image/png" }) })]);
}"""
BRIGHTEST = """() => {
  const canvas = document.querySelector(".heat"), { width, height } = canvas;
  const data = canvas.getContext("2d").getImageData(0, 0, width, height).data;
  // Over middle grey, but for the line around what the network sees.
  const light = at => [0, 1, 2].reduce((sum, color) => sum + 128 + (data[at + color] - 128) * data[at + 3] / 255, 0);
  let best = [0, 0, -1];
  for (let y = 0; y < height; y++) for (let x = 0; x < width; x++) {
    const value = light(4 * (y * width + x)), at = 4 * (y * width + x);
    if (value > best[2] && !(data[at] === data[at + 1] && data[at] === data[at + 2])) best = [x, y, value];
  }
  return [(best[0] + 0.5) / width, (best[1] + 0.5) / height];
}"""


def png(color=(40, 60, 200), size=(48, 40), **options):
    stream = io.BytesIO()
    Image.new("RGB", size, color).save(stream, options.pop("format", "PNG"), **options)
    return stream.getvalue()


@pytest.fixture(scope="module")
def model(finished_run, tmp_path_factory):
    """A real small model of three breeds, as far as its names go."""
    loaded = load_model(finished_run.run_dir)
    example = finished_run.run_dir / "model" / "example.jpg"
    named = dataclasses.replace(loaded, class_names=NAMES)
    options = {"temperature": loaded.temperature, "familiarity": loaded.familiarity, "metrics": loaded.metrics}
    return save_model(tmp_path_factory.mktemp("model") / "breeds", named, example=example, **options)


@pytest.fixture(scope="module")
def server(model):
    with real_server(model) as (_, url):
        yield url


@pytest.fixture
def front(server):
    with front_of(server) as front:
        yield front


@pytest.fixture(scope="module")
def chromium():
    with open_chromium() as browser:
        yield browser


@pytest.fixture
def visit(chromium):
    """Open the page: ``visit(url, width=390, scheme="dark")``; sees to it that it asks nobody else and logs nothing."""
    visits = []

    def opened(url, width=1280, scheme="light", is_calm=True, **options):
        context = chromium.new_context(viewport={"width": width, "height": 844}, color_scheme=scheme, **options)
        page = context.new_page()
        seen = SimpleNamespace(page=page, requests=[], messages=[], context=context, url=url, is_calm=is_calm)
        page.on("request", lambda request: seen.requests.append(request.url))
        page.on("console", lambda message: seen.messages.append(message.text))
        page.on("pageerror", lambda error: seen.messages.append(f"uncaught {error}"))
        page.goto(url)
        page.wait_for_selector("#facts:not([hidden])")
        visits.append(seen)
        return seen

    yield opened
    for seen in visits:
        seen.context.close()
        assert [address for address in seen.requests if not address.startswith(seen.url)] == []
        # That an answer was an error, the browser itself notes.
        own = [text for text in seen.messages if seen.is_calm or not text.startswith("Failed to load resource")]
        assert own == []


def drop(page, *files):
    page.evaluate(DROP, [(name, kind, base64.b64encode(data).decode()) for name, kind, data in files])
    wait(page)


def wait(page):
    page.wait_for_selector(".card")
    page.wait_for_selector(".card[aria-busy]", state="detached")


def texts(page, query):
    return page.locator(query).all_inner_texts()


def answer_of(url, data):
    request = Request(url + "/invocations", data, {"Content-Type": "image/jpeg"})
    with urlopen(request, timeout=20) as response:
        return json.load(response)


def test_a_dropped_photo_is_answered_as_the_command_line_answers(visit, front, server, tmp_path):
    data = save_picture(tmp_path / "my dog.jpg", (40, 180, 60), 5, (300, 200)).read_bytes()
    page = visit(front.url).page
    drop(page, ("my dog.jpg", "image/jpeg", data))
    path, headers, body = front.posts[0]
    assert body == data
    assert headers["Content-Type"] == "image/jpeg"
    expected = answer_of(server, data)
    written = dict(zip(NAMES, READABLE, strict=True))
    assert page.locator(".card h2").inner_text() == written[expected["label"]]
    assert page.locator(".card h2").get_attribute("title") == expected["label"]
    rows = page.locator(".bars li:not(.rest)")
    assert rows.count() == 3
    for at, item in enumerate(expected["top"]):
        name, share = rows.nth(at).inner_text().split("\n")[:2]
        assert name == written[item["label"]]
        if 0.0005 <= item["probability"] <= 0.9995:
            assert abs(float(share.removesuffix("\xa0%")) - 100 * item["probability"]) < 0.051
        width = rows.nth(at).locator("i").evaluate("i => i.getBoundingClientRect().width / i.parentNode.clientWidth")
        assert width == pytest.approx(item["probability"], abs=0.02)
    assert "my dog.jpg: " + written[expected["label"]] in page.locator("#status").inner_text()
    assert page.locator(".switch").get_attribute("aria-checked") == "true"
    assert "Where it looked" in page.locator(".heat").get_attribute("aria-label")


def test_the_header_says_which_model_answers(visit, server, model):
    page = visit(server).page
    metrics = json.loads((model / "model.json").read_text())["metrics"]
    accuracy = metrics.get("test/acc_top1", metrics["val/acc_top1"])
    facts = page.locator("#facts").inner_text()
    assert "test_resnet" in facts
    assert f"{100 * accuracy:.1f}" in facts or accuracy == 1
    assert not page.locator(".chips").is_visible()
    page.click("summary")
    assert texts(page, ".chips li") == READABLE
    assert page.locator(".chips li").first.get_attribute("title") == NAMES[0]


def test_several_at_once_each_get_a_card(visit, front, tmp_path):
    seen = visit(front.url, is_calm=False)
    files = [(f"{number}.png", "image/png", png((20 * number, 90, 90))) for number in range(6)]
    drop(seen.page, *files, ("notes.txt", "text/plain", b"no picture"), ("empty.jpg", "image/jpeg", b""))
    assert texts(seen.page, ".file") == [*(name for name, _, _ in files), "notes.txt", "empty.jpg"]
    assert sorted(body for _, _, body in front.posts) == sorted([*(data for _, _, data in files), b"no picture", b""])
    assert texts(seen.page, ".failed .file") == ["notes.txt", "empty.jpg"]
    assert all(text.endswith(".") for text in texts(seen.page, ".failed .words"))
    assert not seen.page.locator(".failed .again").first.is_visible()
    assert seen.page.locator("#status").inner_text() == "6 of 8 answered, 2 without an answer."
    seen.page.click("#clear")
    assert seen.page.locator(".card").count() == 0
    assert seen.page.evaluate("document.activeElement.id") == "choose"


def test_a_picture_is_pasted(visit, front):
    seen = visit(front.url, permissions=["clipboard-read", "clipboard-write"])
    seen.page.evaluate(COPY_PICTURE, base64.b64encode(png()).decode())
    seen.page.keyboard.press("Control+V")
    wait(seen.page)
    assert seen.page.locator(".card h2").inner_text() in READABLE
    assert Image.open(io.BytesIO(front.posts[0][2])).size == (48, 40)
    seen.page.evaluate("navigator.clipboard.writeText('only words')")
    seen.page.keyboard.press("Control+V")
    seen.page.wait_for_selector("#notice:not([hidden])")
    assert seen.page.locator("#notice").inner_text() == "There is no picture on the clipboard."


def test_the_keyboard_alone_does_all(visit, front):
    page = visit(front.url).page

    def tab(expected):
        page.keyboard.press("Tab")
        name, outline = page.evaluate("""() => { const node = document.activeElement, style = getComputedStyle(node);
            return [node.getAttribute("aria-label") ?? node.textContent.trim(), style.outlineStyle + style.outlineWidth]; }""")
        assert (name, outline) == (expected, "solid2px")

    tab("All 3 classes")
    page.keyboard.press("Enter")
    assert page.locator(".chips").is_visible()
    page.keyboard.press("Escape")
    assert not page.locator(".chips").is_visible()
    tab("Choose photos")
    with page.expect_file_chooser():
        page.keyboard.press("Enter")
    tab("Try the example")
    page.keyboard.press("Space")
    wait(page)
    tab("Where it looked")
    for key in ("Space", "Enter"):
        before = page.locator(".switch").get_attribute("aria-checked")
        page.keyboard.press(key)
        assert page.locator(".switch").get_attribute("aria-checked") != before
    tab("Remove example.jpg")
    tab("Copy")
    page.keyboard.press("Shift+Tab")
    front.gate.clear()
    page.locator("#files").set_input_files({"name": "slow.png", "mimeType": "image/png", "buffer": png()})
    page.wait_for_selector(".card[aria-busy]")
    page.locator("[aria-label='Remove slow.png']").focus()
    page.keyboard.press("Escape")
    wait(page)
    front.gate.set()
    assert texts(page, ".card .words")[0] == "Stopped."
    page.keyboard.press("Enter")
    assert texts(page, ".file") == ["example.jpg"]
    assert page.evaluate("document.activeElement.ariaLabel") == "Remove example.jpg"


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
      .filter(node => node.offsetHeight && Math.min(node.offsetHeight, node.offsetWidth) < 36).map(node => node.textContent)""")
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
    page = visit(front.url).page
    drop(page, ("wide.png", "image/png", png(size=(640, 320))))
    crop = json.loads(urlopen(Request(front.upstream + "/invocations?explain=true", png(size=(640, 320)))).read())
    crop = crop["explanation"]["crop"]
    x, y = page.evaluate(BRIGHTEST)
    assert x == pytest.approx(crop["left"] + crop["width"] * 5.5 / 7, abs=0.02)
    assert y == pytest.approx(crop["top"] + crop["height"] * 1.5 / 7, abs=0.02)
    boxes = [page.locator(name).bounding_box() for name in (".photo", ".heat")]
    assert boxes[0] == boxes[1]
    assert boxes[0]["width"] / boxes[0]["height"] == pytest.approx(2, abs=0.02)
    assert "top right" in page.locator(".heat").get_attribute("aria-label")
    page.click(".switch")
    page.wait_for_timeout(300)
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
      return [photo.width, photo.height, ...[0.25, 0.75].map(y => [...context.getImageData(
        photo.width / 2, y * photo.height, 1, 1).data].slice(0, 3))]; }"""
    width, height, top, bottom = page.evaluate(pixels)
    assert (width, height) == (200, 400)
    assert top[0] > 180 > bottom[0]
    assert bottom[2] > 180 > top[2]
    opacity = """() => { const heat = document.querySelector(".heat"), context = heat.getContext("2d");
      const at = (x, y) => context.getImageData(x * heat.width, y * heat.height, 1, 1).data.join();
      return [at(0.5, 0.05), at(0.5, 0.95), at(0.5, 0.5)]; }"""
    above, below, middle = page.evaluate(opacity)
    assert above == below != middle  # unseen are the ends of the upright picture


def test_what_the_browser_cannot_draw_is_answered_all_the_same(visit, front):
    page = visit(front.url).page
    drop(page, ("scan.tif", "image/tiff", png(format="TIFF")))
    assert page.locator(".card h2").inner_text() in READABLE
    assert page.locator(".placeholder").is_visible()
    assert not page.locator(".switch").is_visible()


def test_a_network_without_a_map_says_so(visit, front):
    front.change = lambda body: json.dumps({**json.loads(body), "explanation": None, "familiarity": None}).encode()
    page = visit(front.url).page
    drop(page, ("a.png", "image/png", png()))
    assert page.locator("figcaption").inner_text() == "This network has no map of where it looked."
    assert page.locator(".familiar").inner_text().startswith("This model cannot tell")


def test_a_busy_server_is_asked_again(visit, front):
    busy = (429, {"Retry-After": "1", "Content-Type": "application/json"}, b'{"error": "Too many are waiting."}')
    front.refusals = [busy]
    page = visit(front.url, is_calm=False).page
    page.evaluate(DROP, [("a.png", "image/png", base64.b64encode(png()).decode())])
    page.wait_for_selector("text=Too many are waiting. Trying again in 1 s.")
    wait(page)
    assert page.locator(".card h2").inner_text() in READABLE
    assert len(front.posts) == 2


def test_a_server_that_has_gone_and_come_back(visit, front):
    page = visit(front.url, is_calm=False).page
    upstream, front.upstream = front.upstream, "http://127.0.0.1:9"
    drop(page, ("a.png", "image/png", png()), ("b.png", "image/png", png((9, 9, 9))))
    assert texts(page, ".words") == ["The server does not answer: start it again, then try again."] * 2
    front.upstream = upstream
    page.click(".again >> nth=0")
    wait(page)
    assert texts(page, ".failed") == []  # both, as the same had happened to both
    assert all(name in READABLE for name in texts(page, ".card h2"))


def test_a_file_that_is_too_large_is_refused_with_a_sentence(visit, server):
    page = visit(server, is_calm=False).page
    page.locator("#files").set_input_files({"name": "huge.jpg", "mimeType": "image/jpeg", "buffer": bytes(20_500_000)})
    wait(page)
    sentence = page.locator(".failed .words").inner_text()
    assert sentence.endswith(".")
    assert "MB" in sentence or "bytes" in sentence


@pytest.mark.skipif(shutil.which("curl") is None, reason="no curl on the PATH")
def test_the_copied_line_works(visit, server, tmp_path):
    name = "it's my dog, $HOME & all.jpg"
    data = save_picture(tmp_path / name, (210, 40, 40), 3).read_bytes()
    page = visit(server, permissions=["clipboard-read", "clipboard-write"]).page
    page.click("#example")
    wait(page)
    drop(page, (name, "image/jpeg", data))
    for card, expected in (
        (0, answer_of(server, data)),
        (1, answer_of(server, urlopen(server + "/example.jpg").read())),
    ):
        page.locator(".copy").nth(card).click()
        line = page.evaluate("navigator.clipboard.readText()")
        done = subprocess.run(line, shell=True, cwd=tmp_path, capture_output=True, text=True, timeout=30)
        assert json.loads(done.stdout) == expected
    assert page.locator(".copy").first.inner_text() == "Copied"


def test_who_wants_no_motion_gets_none(visit, server):
    page = visit(server, reduced_motion="reduce").page
    drop(page, ("a.png", "image/png", png()))
    moving = """() => [...document.querySelectorAll("*")].map(node => getComputedStyle(node))
      .filter(style => style.animationName !== "none" || style.transitionDuration !== "0s").length"""
    assert page.evaluate(moving) == 0
    assert page.evaluate("document.getAnimations().length") == 0
