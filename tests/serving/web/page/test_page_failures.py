"""What the page says when there is no answer, or not all of one."""

import base64
import json

from page_use import DROP, READABLE, drop, png, texts, wait


def test_what_the_browser_cannot_draw_is_answered_all_the_same(visit, front):
    page = visit(front.url).page
    drop(page, ("half.png", "image/png", png(size=(200, 200), is_noise=True)[:40_000]))
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


def test_a_file_that_is_too_large_is_refused_with_a_sentence(visit, server, tmp_path):
    page = visit(server, is_calm=False).page
    (tmp_path / "huge.jpg").write_bytes(bytes(20_500_000))
    page.locator("#files").set_input_files(tmp_path / "huge.jpg")
    wait(page)
    sentence = page.locator(".failed .words").inner_text()
    assert sentence.endswith(".")
    assert "MB" in sentence or "bytes" in sentence


def test_the_page_waits_until_the_model_is_loaded(visit, front):
    front.num_loading = 1
    page = visit(front.url, is_calm=False).page
    assert (
        page.locator("#lead")
        .inner_text()
        .startswith("This model knows 7 classes, from Affenpinscher to Yorkshire terrier")
    )
