"""`svit view` as a reader sees it: a real Chromium opens, pages, searches, points at boxes, types keys."""

from __future__ import annotations

import os
import re
import shutil
from contextlib import contextmanager

import pytest
from svit_builder.view.files import write_pages
from svit_builder.view.loss import Templates
from svit_builder.view.shelf import Shelf

from svit_datasets.sample import write_sample
from tests.view_site import Site

pytestmark = pytest.mark.browser

playwright = pytest.importorskip("playwright.sync_api", reason="needs playwright: see .ci/run")

WIDE, NARROW = {"width": 1280, "height": 860}, {"width": 390, "height": 780}


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    return write_sample(tmp_path_factory.mktemp("browser") / "svit").root


@pytest.fixture(scope="module")
def site(corpus):
    with Site(corpus, annotations=str(corpus / "raw/annotations")) as site:
        yield site


@pytest.fixture(scope="module")
def chromium():
    """The system's Chromium where there is one, or else playwright's own."""
    found = os.environ.get("CHROMIUM") or next(filter(None, map(shutil.which, ("chromium", "google-chrome"))), None)
    sandbox = [] if os.geteuid() else ["--no-sandbox"]  # as root there is none
    with playwright.sync_playwright() as engine:
        browser = engine.chromium.launch(executable_path=found, args=sandbox)
        yield browser
        browser.close()


@pytest.fixture
def open_page(chromium, site):
    """Open a path; at the end, whatever the browser complained of is a failure."""
    with complaining(chromium) as new_page:
        yield lambda path, **options: at(new_page(**options), site.url.rstrip("/") + path)


@contextmanager
def complaining(chromium):
    contexts, complaints = [], []

    def failed(request):
        if request.failure != "net::ERR_ABORTED":  # who turns a page does not wait for its photos
            complaints.append(f"failed: {request.url} {request.failure}")

    def new_page(viewport=WIDE, color_scheme="light", **options):
        context = chromium.new_context(viewport=viewport, color_scheme=color_scheme, **options)
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(10_000)
        page.on("console", lambda message: complaints.append(f"{message.type}: {message.text}"))
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("requestfailed", failed)
        page.on("response", lambda answer: answer.status >= 400 and complaints.append(f"{answer.status} {answer.url}"))
        return page

    yield new_page
    for context in contexts:
        context.close()
    assert not complaints


def at(page, address):
    page.goto(address)
    page.wait_for_load_state("networkidle")
    return page


def test_the_first_page_shows_photos(open_page):
    page = open_page("/")
    assert page.locator(".card").count() == 24
    first = page.locator(".card img").first
    assert first.evaluate("image => image.complete && image.naturalWidth") > 300
    assert "conversation" in page.title()


def test_pages_turn_by_link_and_by_key(open_page):
    page = open_page("/referring_qa/train/page-1")
    page.click("a[rel=next]")
    page.wait_for_url("**/referring_qa/train/page-2")
    page.keyboard.press("ArrowLeft")
    page.wait_for_url("**/referring_qa/train/page-1")


def test_keys_lead_through_the_gallery_into_a_row_and_back(open_page):
    page = open_page("/referring_qa/train/page-1")
    cards = page.locator(".card a")
    for key, wanted in (("ArrowRight", 0), ("ArrowRight", 1), ("ArrowDown", None), ("ArrowUp", 1)):
        page.keyboard.press(key)
        focused = cards.evaluate_all("cards => cards.indexOf(document.activeElement)")
        assert focused == wanted if wanted is not None else focused > 1
    address = cards.nth(1).get_attribute("href")
    page.keyboard.press("Enter")
    page.wait_for_url(f"**{address}")
    page.keyboard.press("ArrowRight")
    page.wait_for_url(lambda url: not url.endswith(address))
    page.keyboard.press("ArrowLeft")
    page.wait_for_url(f"**{address}")
    page.keyboard.press("Escape")
    page.wait_for_url("**/referring_qa/train/page-1")


def test_a_search_by_keyboard(open_page):
    page = open_page("/conversation/train/page-1")
    page.keyboard.press("/")
    page.keyboard.type("living room")
    page.keyboard.press("Enter")
    page.wait_for_url("**/conversation/search?q=living+room")
    page.wait_for_selector(".searched")
    assert page.locator(".card").count() > 2
    assert set(page.locator("mark").all_inner_texts()) == {"living room"}
    assert page.locator(".tick").count() == 0 or page.locator(".tick").first.is_hidden()
    page.locator(".card a").first.click()
    page.wait_for_selector(".bubble mark")
    page.keyboard.press("Escape")
    page.wait_for_url("**/conversation/search?q=living+room")


def test_keys_typed_into_the_search_turn_no_page(open_page):
    page = open_page("/referring_qa/train/page-2")
    page.keyboard.press("/")
    page.keyboard.press("ArrowLeft")
    page.keyboard.type("a/b")
    assert page.input_value("#q") == "a/b"
    page.keyboard.press("Escape")
    assert page.evaluate("document.activeElement.id") != "q"
    assert page.url.endswith("page-2")


def lit(page):
    return page.eval_on_selector_all("[data-box].lit", "boxes => boxes.map(box => box.dataset.box)")


def test_pointing_at_a_phrase_lights_its_box_and_the_other_way_round(open_page):
    page = open_page("/referring_qa/train/image-900")
    assert lit(page) == []
    phrase = page.locator(".phrase").nth(1)
    phrase.hover()
    assert lit(page) == phrase.get_attribute("data-boxes").split()
    page.wait_for_timeout(300)  # they fade
    assert page.locator("g.said:not(.lit)").first.evaluate("box => Number(getComputedStyle(box).opacity)") < 0.5
    page.mouse.move(5, 5)
    assert lit(page) == []
    box = page.locator("#box-3")
    box.hover()
    assert lit(page) == ["box-3"]
    words = set(page.locator(".phrase.lit").all_inner_texts())
    assert {re.sub(r"\d+$", "", one) for one in words} == {"red sofa"}
    assert page.locator("#box-3 .what").is_visible()


def test_focus_does_what_pointing_does(open_page):
    page = open_page("/referring_qa/train/image-900")
    page.locator(".phrase").nth(2).focus()
    assert lit(page) == page.locator(".phrase").nth(2).get_attribute("data-boxes").split()
    page.keyboard.press("Tab")
    assert lit(page) == page.locator(".phrase").nth(3).get_attribute("data-boxes").split()


def test_a_box_lies_where_its_numbers_say_whatever_the_size(open_page):
    for viewport in (WIDE, NARROW):
        page = open_page("/referring_qa/train/image-900", viewport=viewport)
        photo = page.locator(".photo img").bounding_box()
        line = page.locator("#box-3 .line")
        drawn = line.bounding_box()
        for name, side, start in (("x", "width", "x"), ("y", "height", "y")):
            share = float(line.get_attribute(name).rstrip("%")) / 100
            assert drawn[start] == pytest.approx(photo[start] + share * photo[side], abs=2.5)
            length = float(line.get_attribute(side).rstrip("%")) / 100
            assert drawn[side] == pytest.approx(length * photo[side], abs=5)


def test_a_link_to_a_box_can_be_shared(open_page):
    page = open_page("/referring_qa/train/image-900")
    page.locator(".phrase").nth(1).click()
    address = page.url
    assert address.endswith("#box-2")
    shared = open_page(address[address.index("/referring_qa") :])
    assert lit(shared) == ["box-2"]


def test_objects_and_regions_are_drawn_when_asked(open_page):
    page = open_page("/referring_qa/train/image-900")
    assert page.locator("g.object:visible").count() == 0
    page.locator("#show-objects").check()
    assert page.locator("g.object").first.is_visible()
    page.locator("#show-said").uncheck()
    assert not page.locator("g.said").first.is_visible()
    page.locator("#show-objects").uncheck()
    page.locator(".regions a").first.hover()
    assert lit(page) == ["region-1"]
    assert page.locator("#region-1").is_visible()


def test_a_chosen_template_is_rendered_at_once(open_page):
    page = open_page("/conversation/train/image-900")
    assert not page.locator("pre.text").is_visible()
    page.locator("summary").click()
    assert page.locator("form.choose button").is_hidden()
    page.select_option("select[name=preset]", "llama_3")
    page.wait_for_url("**/conversation/train/image-900?preset=llama_3#render")
    assert page.locator("pre.text").is_visible()
    learned = page.locator("pre .learned").first
    assert "<|eot_id|>" in learned.inner_text()
    parts = (page.locator(f"pre .{name}").first for name in ("learned", "said", "image"))
    assert len({part.evaluate("part => getComputedStyle(part).backgroundColor") for part in parts}) == 3


def test_statistics_come_by_themselves(open_page):
    page = open_page("/referring_qa/stats")
    page.wait_for_selector(".figures img", timeout=60_000)
    for number in range(page.locator(".figures img").count()):
        image = page.locator(".figures img").nth(number)
        image.scroll_into_view_if_needed()
        assert image.evaluate("image => image.decode().then(() => image.naturalWidth)") > 300


@pytest.mark.parametrize(
    "path",
    [
        "/referring_qa/train/page-1",
        "/referring_qa/train/image-900?preset=vicuna_v1",
        "/all/search?q=sofa",
        "/all/stats",
    ],
)
def test_narrow_screens_do_not_scroll_sideways(open_page, path):
    page = open_page(path, viewport=NARROW)
    if path.endswith("stats"):
        page.wait_for_selector(".figures", timeout=60_000)
    assert page.evaluate("document.documentElement.scrollWidth") <= NARROW["width"]


def test_on_narrow_screens_the_photo_stays_in_sight(open_page):
    page = open_page("/referring_qa/train/image-900", viewport=NARROW)
    page.locator(".bubble").last.scroll_into_view_if_needed()
    assert 0 <= page.locator(".photo").bounding_box()["y"] < 100
    page.locator(".bubble .phrase").last.focus()
    assert page.locator("[data-box].lit").first.is_visible()


def luminance(colour):
    shares = [int(part) / 255 for part in re.findall(r"\d+", colour)[:3]]
    linear = [share / 12.92 if share <= 0.04045 else ((share + 0.055) / 1.055) ** 2.4 for share in shares]
    return sum(weight * part for weight, part in zip((0.2126, 0.7152, 0.0722), linear, strict=True))


CONTRAST = """selector => {
  const style = getComputedStyle(document.querySelector(selector));
  return [style.color, getComputedStyle(document.documentElement).backgroundColor];
}"""


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_words_can_be_read_in_the_dark_and_in_the_light(open_page, scheme):
    page = open_page("/referring_qa/train/image-900?preset=vicuna_v1", color_scheme=scheme)
    for selector in (".bubble p", "h1", "h1 small", ".keys", ".tabs a", ".pager a", "pre .template", ".layers"):
        ink, paper = map(luminance, page.evaluate(CONTRAST, selector))
        assert (max(ink, paper) + 0.05) / (min(ink, paper) + 0.05) >= 4.5, f"{selector} on {scheme}"
    assert (luminance(page.evaluate(CONTRAST, "h1")[1]) > 0.5) == (scheme == "light")


def test_focus_can_be_seen(open_page):
    page = open_page("/referring_qa/train/page-1")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.className") == "skip"
    page.keyboard.press("Tab")
    assert page.evaluate("getComputedStyle(document.activeElement).outlineStyle") == "solid"


def test_pages_work_without_scripts(open_page):
    page = open_page("/conversation/train/image-900", java_script_enabled=False)
    page.locator("summary").click()
    page.select_option("select[name=preset]", "chatml")
    page.click("form.choose button")
    page.wait_for_url("**preset=chatml**")
    assert "<|im_start|>" in page.locator("pre.text").inner_text()


# -- pages as files ----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def exported(corpus, tmp_path_factory):
    out = tmp_path_factory.mktemp("files") / "pages"
    shelf = Shelf(str(corpus), limit=26)
    shelf.configs = ("conversation", "referring_qa", "mix_665k")
    write_pages(shelf, Templates(), out)
    return out


def test_exported_pages_open_from_a_disk(chromium, exported):
    with complaining(chromium) as new_page:
        page = at(new_page(), (exported / "index.html").as_uri())
        assert page.locator(".card img").first.evaluate("image => image.naturalWidth") > 300
        page.click(".tabs a:has-text('referring_qa')")
        page.wait_for_url("**/referring_qa/train/page-1.html")
        page.keyboard.press("ArrowRight")
        page.keyboard.press("Enter")
        page.wait_for_selector(".photo img")
        page.locator(".phrase").first.hover()
        assert lit(page) == page.locator(".phrase").first.get_attribute("data-boxes").split()
        page.locator("summary").click()
        assert "USER:" in page.locator("pre.text").inner_text()
        page.keyboard.press("Escape")
        page.wait_for_url("**/referring_qa/train/page-1.html")
        page.click(".splits a:has-text('statistics')")
        page.wait_for_selector(".figures img")


def test_exported_pages_have_a_search(chromium, exported):
    with complaining(chromium) as new_page:
        page = at(new_page(), (exported / "conversation/train/page-1.html").as_uri())
        page.keyboard.press("/")
        page.keyboard.type("living room")
        page.keyboard.press("Enter")
        page.wait_for_selector(".card mark")
        assert {one.lower() for one in page.locator("mark").all_inner_texts()} == {"living room"}
        assert "rows hold" in page.locator("#searched").inner_text()
        page.locator(".card a").first.click()
        page.wait_for_selector(".photo img")
