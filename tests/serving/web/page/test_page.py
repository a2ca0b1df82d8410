"""What a person does on the page, and the answer they see."""

import base64
import io
import json
import shutil
import subprocess
from urllib.request import urlopen

import pytest
from helpers import save_picture
from page_use import NAMES, READABLE, answer_of, drop, png, texts, wait
from PIL import Image

COPY_PICTURE = """async text => {
  const bytes = Uint8Array.from(atob(text), letter => letter.charCodeAt(0));
  await navigator.clipboard.write([new ClipboardItem({ "image/png": new Blob([bytes], { type: "image/png" }) })]);
}"""


def test_a_dropped_photo_is_answered_as_the_command_line_answers(visit, front, server, tmp_path):
    data = save_picture(tmp_path / "my dog.jpg", (40, 180, 60), 5, (300, 200)).read_bytes()
    page = visit(front.url, reduced_motion="reduce").page
    drop(page, ("my dog.jpg", "image/jpeg", data))
    _, headers, body = front.posts[0]
    assert body == data
    assert headers["Content-Type"] == "image/jpeg"
    expected = answer_of(server, data)
    written = dict(zip(NAMES, READABLE, strict=True))
    assert page.locator(".card h2").inner_text() == written[expected["label"]]
    assert page.locator(".card h2").get_attribute("title") == expected["label"]
    rows = page.locator(".bars li:not(.rest)")
    assert rows.count() == 5
    for at, item in enumerate(expected["top"]):
        name, share = rows.nth(at).inner_text().split("\n")[:2]
        assert name == written[item["label"]]
        if 0.0005 <= item["probability"] <= 0.9995:
            assert abs(float(share.removesuffix("\xa0%")) - 100 * item["probability"]) < 0.051
        width = rows.nth(at).locator("i").evaluate("i => i.getBoundingClientRect().width / i.parentNode.clientWidth")
        assert width == pytest.approx(item["probability"], abs=0.02)
    rest = 1 - sum(item["probability"] for item in expected["top"])
    if rest >= 0.0005:
        assert page.locator(".rest").inner_text() == f"The other 2 classes together\n{100 * rest:.1f}\xa0%"
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
    page, choosers = visit(front.url).page, []
    page.on("filechooser", lambda chooser: choosers.append(chooser))  # noqa: PLW0108 -- Playwright takes no built-in

    def tab(expected):
        page.keyboard.press("Tab")
        name, outline = page.evaluate("""() => {
          const node = document.activeElement, style = getComputedStyle(node);
          return [node.getAttribute("aria-label") ?? node.textContent.trim(), style.outlineStyle + style.outlineWidth];
        }""")
        assert (name, outline) == (expected, "solid2px")

    tab("All 7 classes")
    page.keyboard.press("Enter")
    assert page.locator(".chips").is_visible()
    page.keyboard.press("Escape")
    assert not page.locator(".chips").is_visible()
    tab("Choose photos")
    page.keyboard.press("Enter")
    while not choosers:
        page.wait_for_timeout(20)
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


def test_names_read_as_people_write_them(visit, server):
    page = visit(server).page
    written = """async names => [...(await import(new URL("words.js", location))).writeNames(names).values()]"""
    for given, expected in (
        (["n02085620-Chihuahua", "n02113624-toy_poodle", "n02085621"], ["Chihuahua", "Toy poodle", "N02085621"]),
        (["3_series", "golf"], ["3 series", "Golf"]),  # numbers are left out only where all have one
        (["0", "1", "2"], ["0", "1", "2"]),
        (["001.Poodle", "002.Poodle", "003.Pug"], ["001.Poodle", "002.Poodle", "Pug"]),
        (["_", "émeu", "t-shirt"], ["_", "Émeu", "T-shirt"]),
    ):
        assert page.evaluate(written, given) == expected
