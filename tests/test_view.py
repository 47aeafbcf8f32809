"""`svit view`: what its pages show, what it escapes and refuses, and that it reads no more than it shows."""

from __future__ import annotations

import io
import json
import re
import shutil
import signal
import subprocess
import sys
import time
import urllib.request
import zipfile
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import unquote, urlsplit

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner
from PIL import Image
from svit_builder.data import open_data
from svit_builder.manifest import write_manifest
from svit_builder.shards import write_config
from svit_builder.view.figures import Figures
from svit_builder.view.files import write_pages
from svit_builder.view.loss import Templates
from svit_builder.view.pictures import picture_of, thumbnail
from svit_builder.view.pieces import chat_of, plain, runs
from svit_builder.view.search import Found, Reached, search, tidy
from svit_builder.view.shelf import Shelf, _Kept

from svit_datasets.boxes import parse
from svit_datasets.chat import ChatRenderer
from svit_datasets.cli import main
from svit_datasets.errors import BadImage, OptionError, SourceNotFound, TemplateError
from svit_datasets.features import features_of
from svit_datasets.sample import write_sample
from svit_datasets.tasks import TASKS
from tests.servers import FileServer, Hub
from tests.tokenizer_packages import trained
from tests.view_site import Page, Site

IMAGES = 64
EVIL = [
    "<script>alert(1)</script>",
    "</textarea></title></style><img src=x onerror=alert(2)>",
    '" onmouseover="alert(3)',
    "' autofocus onfocus='alert(4)",
    "javascript:alert(5)",
    "{{ 7 * 191 }}{% raw %}",
    "<!-- ]]> -->&lt;b&gt;&amp;",
    "\u202eright to left\u202c \x00\x1b[31m",
    '<st>"><svg onload=alert(6)><ed> [0.1, 0.2, 0.3, 0.4]',
]
POLICY = "default-src 'none'; img-src 'self'; style-src 'self'; script-src 'self'; base-uri 'none'; form-action 'self'"
BROKEN_BOX = "A <st>broken one<ed> [0.5, 0.2, 0.3] and a <st>whole one<ed> [0.1, 0.2, 0.3, 0.4]."


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    return write_sample(tmp_path_factory.mktemp("view") / "svit", images=IMAGES)


@pytest.fixture(scope="module")
def site(corpus):
    with Site(corpus.root, annotations=str(corpus.root / "raw/annotations")) as site:
        yield site


@pytest.fixture(scope="module")
def built(corpus, tmp_path_factory):
    out = tmp_path_factory.mktemp("built") / "svit"
    for config in ("referring_qa", "mix_665k"):
        write_config(config, out, data_dir=corpus.root)
    return out


def items_of(root, config):
    with zipfile.ZipFile(root / f"data/{config}.zip") as archive:
        return json.loads(archive.read(f"{config}.json"))


def rewrite(root, config, change):
    items = items_of(root, config)
    change(items)
    with zipfile.ZipFile(root / f"data/{config}.zip", "w") as archive:
        archive.writestr(f"{config}.json", json.dumps(items))


def rewrite_photo(root, image_id, data):
    """Change the bytes of a photo in its zip; None takes it out."""
    for path in (root / "raw").glob("images*.zip"):
        with zipfile.ZipFile(path) as archive:
            members = {name: archive.read(name) for name in archive.namelist()}
        name = next((name for name in members if name.endswith(f"/{image_id}.jpg")), None)
        if name is not None:
            members[name] = data
            with zipfile.ZipFile(path, "w") as archive:
                for member, content in members.items():
                    if content is not None:
                        archive.writestr(member, content)
            return
    raise AssertionError(image_id)


@pytest.fixture(scope="module")
def spoilt(tmp_path_factory):
    """A corpus of somebody who means ill, and of somebody who was careless; its image ids by what is wrong."""
    root = write_sample(tmp_path_factory.mktemp("spoilt") / "svit", images=24, seed=3).root
    ids = {}

    def change(items):
        for text, item in zip(EVIL, items, strict=False):
            for block in item["conversations"]:
                block["topic"] = text
                for turn in block["content"]:
                    turn["value"] = text
            ids[text] = item["image_id"]
        ids["box"] = items[10]["image_id"]
        items[10]["conversations"][0]["content"][1]["value"] = BROKEN_BOX
        for number, kind in enumerate(("missing", "svg", "html", "cut", "png"), start=11):
            ids[kind] = items[number]["image_id"]

    rewrite(root, "referring_qa", change)
    rewrite_photo(root, ids["missing"], None)
    rewrite_photo(root, ids["svg"], b'<svg xmlns="http://www.w3.org/2000/svg"><script>alert(7)</script></svg>')
    rewrite_photo(root, ids["html"], b"<!doctype html><script>alert(8)</script>")
    rewrite_photo(root, ids["cut"], as_bytes(Image.new("RGB", (300, 200), "red"), "JPEG")[:400])
    rewrite_photo(root, ids["png"], as_bytes(Image.new("RGB", (300, 200), "red"), "PNG"))
    return root, ids


def zips_of(root):
    """Where photos are; named, so that a missing one is not looked for at its origin."""
    return [str(root / "raw" / name) for name in ("images.zip", "images2.zip")]


def as_bytes(image, form, **options):
    out = io.BytesIO()
    image.save(out, form, **options)
    return out.getvalue()


# -- the gallery -------------------------------------------------------------------------------------------------------


def test_the_first_page_is_a_gallery_of_the_first_configuration(site, corpus):
    answer = site.get("/")
    page = answer.page
    assert answer.status == 200
    tabs = [one.text.split()[0] for one in page.all("a") if one.text.split()[:1] and one.text.split()[0] in TASKS]
    assert tabs == list(TASKS)
    assert len(page.all("li", "card")) == 24
    first = page.all("li", "card")[0]
    question = items_of(corpus.root, "conversation")[0]["conversations"][0]["content"][0]["value"]
    assert question in " ".join(first.text.split())


def test_pages_of_a_split_hold_each_row_once(site, corpus):
    seen = []
    path = "/detail_description/train/page-1"
    while path:
        page = site.get(path).page
        seen += [link for link in page.links() if re.search(r"/image-\d+$", link)]
        path = next((one.attributes["href"] for one in page.all("a") if one.attributes.get("rel") == "next"), None)
    held_out = set(corpus.test_image_ids)
    ids = [item["image_id"] for item in items_of(corpus.root, "detail_description")]
    assert seen == [f"/detail_description/train/image-{one}" for one in ids if one not in held_out]
    test = site.get("/detail_description/test/page-1").page
    assert len(test.all("li", "card")) == sum(one in held_out for one in ids)


@pytest.mark.parametrize(
    "path",
    [
        "/detail_description/train/page-0",
        "/detail_description/train/page-99",
        "/detail_description/validation/page-1",
        "/detail_description/train/page-x",
        "/no_such_config",
        "/no_such_config/train/page-1",
        "/referring_qa/train/image-1234567890",
        "/referring_qa/train/row-99999",
        "/referring_qa/train/row--1",
        "/referring_qa/train/nonsense",
        "/referring_qa/photos/99999",
        "/referring_qa/plots/nothing.svg",
        "/favicon.ico",
    ],
)
def test_what_is_not_there_is_a_page_that_says_so(site, path):
    answer = site.get(path)
    assert answer.status == 404
    assert answer.headers["Content-Type"].startswith("text/html")
    assert "There is no such page" in answer.text


def test_a_configuration_without_rows_has_an_empty_page(tmp_path):
    (tmp_path / "data").mkdir()
    with zipfile.ZipFile(tmp_path / "data/referring_qa.zip", "w") as archive:
        archive.writestr("referring_qa.json", "[]")
    with Site(tmp_path) as site:
        answer = site.get("/")
        assert answer.status == 200
        assert not answer.page.all("li", "card")
        assert site.get("/referring_qa/search?q=sofa").status == 200
    write_pages(Shelf(str(tmp_path)), Templates(), tmp_path / "pages")
    assert (tmp_path / "pages/index.html").is_file()


def test_thumbnails_are_small_jpegs(site):
    page = site.get("/referring_qa/train/page-1").page
    for one in page.all("img")[:3]:
        answer = site.get(one.attributes["src"])
        assert answer.headers["Content-Type"] == "image/jpeg"
        image = Image.open(io.BytesIO(answer.body))
        assert image.width <= 480
        assert image.height <= 360
        assert one.attributes["alt"].startswith("Photo of image ")


def test_a_published_folder_shows_the_same_rows_as_the_raw_files(site, built):
    with Site(built) as other:
        assert other.shelf.configs == ("referring_qa", "mix_665k")
        for config in other.shelf.configs:
            raw, published = site.shelf.data(config), other.shelf.data(config)
            assert published.splits == raw.splits
        for number in (0, 7, 33):
            path = f"/referring_qa/{published_path(other, number)}"
            ours, theirs = (re.sub(r"\?v=\w+|row [\d,]+ of", "", one.get(path).text) for one in (site, other))
            chat = r'<section class="chat".*?</section>'
            assert re.search(chat, ours, re.DOTALL)[0] == re.search(chat, theirs, re.DOTALL)[0]
            photo = next(one.attributes["src"] for one in other.get(path).page.all("img"))
            in_raw = next(one.attributes["src"] for one in site.get(path).page.all("img"))
            assert other.get(photo).body == site.get(in_raw).body


def published_path(site, number):
    data = site.shelf.data("referring_qa")
    return f"{data.split_of(number)}/image-{data.image_ids[number]}"


def test_a_published_folder_is_shown_from_a_server_too(built, corpus):
    write_manifest(built)  # by which files are found where no folder can be listed
    with FileServer(built) as server, Site(server.url) as site:
        page = site.get("/referring_qa/train/page-1").page
        assert len(page.all("li", "card")) == 24
        row = site.get(next(link for link in page.links() if "/image-" in link))
        photo = next(one.attributes["src"] for one in row.page.all("img"))
        assert site.get(photo).headers["Content-Type"] == "image/jpeg"


def test_a_dataset_on_the_hub_is_shown_by_its_name(built):
    files = {path.relative_to(built).as_posix(): path.read_bytes() for path in built.rglob("*.parquet")}
    with Hub() as hub:
        hub.add_dataset("ORG/svit", files)
        with Site("ORG/svit", storage_options={"hf": {"endpoint": hub.url}}) as site:
            page = site.get("/").page
            assert len(page.all("li", "card")) == 24
            assert "ORG/svit" in page.all("p", "place")[0].text
            assert site.get("/referring_qa/train/image-900").page.all("g", "said")


# -- a row -------------------------------------------------------------------------------------------------------------


def test_boxes_of_the_chat_are_drawn_on_the_photo_and_named_in_the_text(site):
    data = site.shelf.data("referring_qa")
    _, row = next(data.texts(4, 5))
    page = site.get(f"/referring_qa/train/image-{row['image_id']}").page
    said = [one for block in row["conversations"] for message in block["messages"] for one in parse(message["content"])]
    boxes = list(dict.fromkeys(box for one in said for box in one.boxes))
    drawn = {one.attributes["id"]: one for one in page.all("g", "said")}
    assert set(drawn) == {f"box-{number}" for number in range(1, len(boxes) + 1)}
    lines = [one.attributes for one in page.all("rect", "line")]
    places = {tuple(float(one[name].rstrip("%")) for name in ("x", "y", "width", "height")) for one in lines}
    for box in boxes:
        wanted = (box.x1, box.y1, box.x2 - box.x1, box.y2 - box.y1)
        assert any(np.allclose(np.array(wanted) * 100, place, atol=0.001) for place in places)
    phrases = page.all("a", "phrase")
    assert [one.text.rstrip("0123456789 ") for one in phrases] == [one.phrase for one in said]
    for link, one in zip(phrases, said, strict=True):
        assert link.attributes["data-boxes"].split() == [f"box-{boxes.index(box) + 1}" for box in one.boxes]


def test_small_boxes_are_drawn_last_so_that_a_pointer_reaches_them(site):
    page = site.get("/referring_qa/train/image-900").page
    areas = [
        float(one.attributes["width"].rstrip("%")) * float(one.attributes["height"].rstrip("%"))
        for one in page.all("rect", "line")
    ]
    groups = [one.attributes["class"].split()[0] for one in page.all("g")]
    said = [area for area, kind in zip(areas, groups, strict=True) if kind == "said"]
    assert said == sorted(said, reverse=True)
    assert len(said) > 3


def test_equal_boxes_of_two_messages_are_one(site):
    row = {
        "width": 100,
        "height": 100,
        "conversations": [
            {
                "topic": None,
                "messages": [
                    {"role": "user", "content": "Is the <st>dog<ed> [0, 0, 0.5, 0.5] <st>here<ed> [0, 0, 0.5, 0.5]?"},
                    {"role": "assistant", "content": "A <st>pup<ed> [0, 0, 0.5, 0.5], [0.5, 0.5, 1, 1]."},
                ],
            }
        ],
    }
    chat = chat_of(row, TASKS["referring_qa"])
    assert [(one.number, one.phrases) for one in chat.boxes] == [(1, ("dog", "here", "pup")), (2, ("pup",))]
    assert chat.blocks[0].bubbles[1].pieces[1].boxes == (1, 2)


def test_boxes_of_llava_form_are_taken_from_the_padded_square():
    row = {
        "id": "a",
        "width": 200,
        "height": 100,
        "image_path": "vg/1.jpg",
        "messages": [{"role": "assistant", "content": "A dog [0.5, 0.5, 1.0, 0.75]."}],
    }
    (one,) = chat_of(row, TASKS["core_150k"]).boxes
    assert one.box == pytest.approx((0.5, 0.5, 1, 1))
    unknown = chat_of({**row, "width": None, "height": None}, TASKS["core_150k"])
    assert not unknown.boxes
    assert "size" in unknown.blocks[0].bubbles[0].trouble


def test_topics_tasks_and_both_speakers_are_there(site):
    data = site.shelf.data("all")
    _, row = next(data.texts(2, 3))
    page = site.get(f"/all/train/image-{row['image_id']}").page
    for block, article in zip(row["conversations"], page.all("article", "block"), strict=True):
        assert block["task"] in article.text
        assert (block["topic"] or "") in article.text
    bubbles = page.all("div", "bubble")
    messages = [message for block in row["conversations"] for message in block["messages"]]
    assert [one.attributes["class"].split()[1] for one in bubbles] == [one["role"] for one in messages]


def test_rows_lead_to_their_neighbours_and_back_to_their_page(site):
    data = site.shelf.data("conversation")
    ids = data.image_ids[:56].tolist()
    page = site.get(f"/conversation/train/image-{ids[30]}").page
    rels = {one.attributes.get("rel"): one.attributes["href"] for one in page.all("a") if "rel" in one.attributes}
    assert rels == {
        "prev": f"/conversation/train/image-{ids[29]}",
        "next": f"/conversation/train/image-{ids[31]}",
        "up": "/conversation/train/page-2",
    }
    first = site.get(f"/conversation/train/image-{ids[0]}").page
    assert "prev" not in {one.attributes.get("rel") for one in first.all("a")}


def test_a_link_with_the_wrong_split_leads_to_the_right_one(site, corpus):
    one = corpus.test_image_ids[0]
    answer = site.get(f"/all/train/image-{one}?preset=chatml&q=sofa", follow=False)
    assert answer.status == 302
    assert answer.headers["Location"] == f"/all/test/image-{one}?q=sofa&preset=chatml"


def test_rows_of_llava_form_are_named_by_number_as_photos_come_again(site):
    page = site.get("/core_150k/train/row-5").page
    _, row = next(site.shelf.data("core_150k").texts(5, 6))
    assert row["id"] in page.all("h1")[0].text
    assert row["messages"][0]["content"].replace("<image>", "").strip() in page.source


def test_a_text_only_record_has_no_photo_and_is_no_error(site):
    data = site.shelf.data("mix_665k")
    number = next(number for number, row in data.texts() if row["image_path"] is None)
    page = site.get(f"/mix_665k/{data.split_of(number)}/row-{number}").page
    assert "text only" in page.all("section", "sight")[0].text
    assert not page.all("figure")
    assert not page.all("img")
    assert not page.all("p", "trouble")


def test_annotations_stand_beside_the_photo(site, corpus):
    from svit_builder.annotations import open_annotations

    (annotated,) = open_annotations(str(corpus.root / "raw/annotations")).read([900])
    page = site.get("/referring_qa/train/image-900").page
    assert page.all("p", "objects")[0].text.split() == [word for one in annotated.objects for word in one.name.split()]
    texts = [one.text for one in annotated.regions]
    assert [one.text for one in page.all("a") if one.attributes["href"].startswith("#region")] == texts
    assert len(page.all("g", "object")) == len(annotated.objects)
    assert len(page.all("g", "region")) == len(annotated.regions)


def test_annotations_that_cannot_be_read_are_told_of_on_the_page(corpus, tmp_path):
    with Site(corpus.root, annotations=str(tmp_path / "nowhere")) as site:
        answer = site.get("/referring_qa/train/image-900")
        assert answer.status == 200
        assert "nowhere" in " ".join(one.text for one in answer.page.all("p", "trouble"))


def test_without_annotations_there_is_nothing_of_them(built):
    with Site(built) as site:
        page = site.get("/referring_qa/train/image-900").page
        assert not page.all("g", "object")
        assert not page.all("p", "trouble")


# -- rendered text -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("preset", ["vicuna_v1", "llama_3", "chatml"])
def test_the_rendered_text_is_that_of_the_renderer_with_what_is_learned_of_it(site, preset):
    _, row = next(site.shelf.data("conversation").rows([3]))
    rendered = ChatRenderer(preset).render(row)
    page = site.get(f"/conversation/train/image-{row['image_id']}?preset={preset}").page
    (text,) = page.all("pre", "text")
    assert text.text == rendered.text
    parts = [one for one in page.all("span") if one.attributes.get("class") in {"learned", "said", "template", "image"}]
    learned = "".join(one.text for one in parts[4:] if one.attributes["class"] == "learned")  # behind the legend
    replies = (rendered.text[one.start : one.stop_end] for one in rendered.turns if one.role == "assistant")
    assert learned == "".join(replies)
    assert "open" in page.all("details")[0].attributes


def test_without_a_choice_the_text_is_folded(site):
    page = site.get("/conversation/train/image-900").page
    assert "open" not in page.all("details")[0].attributes
    assert page.all("option")


def test_a_preset_is_chosen_by_name_and_no_file_is_opened(site, tmp_path):
    (tmp_path / "evil.jinja").write_text("{{ messages }}")
    page = site.get(f"/conversation/train/image-900?preset={tmp_path}/evil.jinja").page
    assert "open" not in page.all("details")[0].attributes
    assert "evil" not in page.source


def test_a_tokenizer_counts_tokens(corpus, tmp_path):
    folder = tmp_path / "my-model"
    folder.mkdir()
    trained("byte_bpe").save(str(folder / "tokenizer.json"))
    with Site(corpus.root, tokenizers=[str(folder)], template="chatml") as site:
        data = site.shelf.data("conversation")
        _, row = next(data.rows([0]))
        page = site.get(f"/conversation/train/image-{row['image_id']}?preset=my-model").page
    encoded = ChatRenderer(str(folder), template="chatml").encode(row)
    counts = " ".join(page.all("p", "counts")[0].text.split())
    assert f"{sum(encoded['assistant_mask']):,} of {len(encoded['input_ids']):,} tokens" in counts
    assert page.all("option")[0].text == "my-model"


def test_a_template_that_cannot_render_is_told_of_on_the_page(corpus, tmp_path):
    (tmp_path / "bare.jinja").write_text("{% for message in messages %}{{ message.content }}\n{% endfor %}")
    with Site(corpus.root, template=str(tmp_path / "bare.jinja")) as site:
        answer = site.get("/conversation/train/image-900?preset=bare.jinja")
    assert answer.status == 200
    assert "image" in answer.page.all("p", "trouble")[0].text


def test_a_tokenizer_that_is_none_is_an_error_at_the_start(tmp_path):
    with pytest.raises((OptionError, TemplateError)):
        Templates([str(tmp_path / "nowhere")])


# -- search ------------------------------------------------------------------------------------------------------------


def hits(data, query, **options):
    return [one.number for one in search(data, query, **options) if isinstance(one, Found)]


def spoken(row):
    for block in row["conversations"]:
        yield block["topic"] or ""
        for message in block["messages"]:
            yield plain(message["content"])


@pytest.mark.parametrize("query", ["red sofa", "RED Sofa", "right of the red", "What", "Colours", "?", "no such thing"])
def test_a_search_finds_the_rows_that_hold_the_words(site, query):
    for config in ("referring_qa", "conversation"):
        data = site.shelf.data(config)
        wanted = [number for number, row in data.texts() if any(query.lower() in text.lower() for text in spoken(row))]
        assert hits(data, query, limit=10_000) == wanted


def test_a_search_finds_what_a_box_stands_between(site):
    data = site.shelf.data("referring_qa")
    found = hits(data, "to the right of the red clock?")
    assert found
    _, row = next(data.texts(found[0], found[0] + 1))
    assert any("<st>red clock<ed>" in one["content"] for block in row["conversations"] for one in block["messages"])


def test_a_number_finds_the_photo_of_that_id_first(site):
    data = site.shelf.data("conversation")
    found = [one for one in search(data, "900") if isinstance(one, Found)]
    assert found[0].where == "image id"
    assert data.image_ids[found[0].number] == 900
    assert len({one.number for one in found}) == len(found)


def test_a_search_that_stopped_goes_on_where_it_was(site):
    data = site.shelf.data("conversation")
    every, at, parts = hits(data, "what", limit=10_000), 0, []
    while at < len(data):
        some = list(search(data, "what", start=at, limit=5))
        parts += [one.number for one in some if isinstance(one, Found)]
        assert isinstance(some[-1], Reached)
        at = some[-1].number
    assert parts == every
    assert len(every) > 20


def test_letters_that_mean_something_to_patterns_mean_themselves(site):
    data = site.shelf.data("conversation")
    assert hits(data, ".*") == hits(data, "(") == []
    assert len(hits(data, "picture?", limit=1000)) < len(hits(data, "picture", limit=1000))


def test_blanks_in_a_query_do_not_count():
    assert tidy("  red \n sofa ") == "red sofa"
    assert runs("A red Sofa.", "red sofa") == (("A ", False), ("red Sofa", True), (".", False))


def test_the_page_of_results_marks_what_was_found_and_links_to_rows_that_mark_it(site):
    page = site.get("/conversation/search?q=living+room").page
    cards = page.all("li", "card")
    assert len(cards) == len(hits(site.shelf.data("conversation"), "living room"))
    assert {one.text.lower() for one in page.all("mark")} == {"living room"}
    assert re.search(r"\d+ found;\s+all 62 rows were searched", page.source)
    link = next(one for one in page.links() if "/image-" in one)
    row = site.get(link).page
    assert row.all("mark")
    up = next(one for one in row.all("a") if one.attributes.get("rel") == "up")
    assert up.attributes["href"] == "/conversation/search?q=living+room"


def test_a_page_of_results_says_where_to_go_on(site):
    page = site.get("/conversation/search?q=what").page
    assert len(page.all("li", "card")) == 48
    onward = next(one.attributes["href"] for one in page.all("a") if one.attributes.get("rel") == "next")
    more = site.get(onward).page
    assert len(page.all("li", "card")) + len(more.all("li", "card")) == len(
        hits(site.shelf.data("conversation"), "what", limit=1000)
    )


def test_a_search_that_cannot_go_on_says_so(large, tmp_path):
    root = tmp_path / "svit"
    shutil.copytree(large, root)
    with Site(root) as site:
        assert "found;" in site.get("/conversation/search?q=number+0.").text
        path = root / "conversation/train-00000-of-00001.parquet"
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
        page = site.get("/conversation/search?q=number+1.").page
    assert page.all("p", "trouble")


def test_a_search_for_nothing_asks_for_words(site):
    assert "Type what" in site.get("/conversation/search?q=+").text
    assert not site.get("/conversation/search").page.all("li", "card")


# -- what must not happen ----------------------------------------------------------------------------------------------


def assert_harmless(text):
    """Nothing of a dataset has become markup: scripts and handlers are ours, addresses lead into the pages."""
    page = Page(text)
    assert {one.attributes.get("src", "").rpartition("/")[2] for one in page.all("script")} <= {
        "keys.js",
        "boxes.js",
        "found.js",
        "search.data.js",
    }
    allowed_svg = {"boxes", None}
    for one in page.elements:
        assert not [name for name in one.attributes if name.startswith("on") or name == "style"], one
        assert "autofocus" not in one.attributes
        assert one.tag not in {"style", "iframe", "object", "embed", "base", "textarea"}
        assert one.tag != "svg" or one.attributes.get("class") in allowed_svg
    for address in page.links():
        assert re.match(r"(/|#|\.\./|[\w.-]+[/.#?]|[\w-]+$)", address), address
        assert not address.lower().startswith("javascript:")
    assert "1337" not in text
    assert all(script.text == "" for script in page.all("script"))
    return page


def test_texts_of_a_row_are_shown_and_not_run(spoilt):
    root, ids = spoilt
    with Site(root, images=zips_of(root)) as site:
        data = site.shelf.data("referring_qa")
        assert_harmless(site.get("/referring_qa/train/page-1").text)
        for text in EVIL:
            number = data.image_ids.tolist().index(ids[text])
            page = assert_harmless(
                site.get(f"/referring_qa/{data.split_of(number)}/image-{ids[text]}?preset=chatml").text
            )
            shown = page.all("div", "bubble")[0].text + page.all("article", "block")[0].text
            words = plain(text) if "<st>" not in text else '"><svg onload=alert(6)>'
            assert words.replace("\x00", "\ufffd") in shown.replace("\x00", "\ufffd")
            found = assert_harmless(site.get(f"/referring_qa/search?q={encoded(text)}").text)
            assert found.all("input")[0].attributes["value"] == tidy(text)


def encoded(text):
    from urllib.parse import quote

    return quote(text)


def test_exported_texts_are_shown_and_not_run(spoilt, tmp_path):
    root, _ = spoilt
    shelf = Shelf(str(root), limit=12, images=zips_of(root))
    shelf.configs = ("referring_qa",)
    write_pages(shelf, Templates(), tmp_path / "pages")
    for path in (tmp_path / "pages").rglob("*.html"):
        assert_harmless(path.read_text("utf-8"))
    script = (tmp_path / "pages/referring_qa/search.data.js").read_text("utf-8")
    assert script.isascii()
    assert script.startswith('globalThis.svitSearch = {"rows":[')


def test_every_answer_has_the_headers_that_keep_a_browser_safe(site):
    src = site.get("/referring_qa/train/page-1").page.all("img")[0].attributes["src"]
    photo = src.replace("thumbnails", "photos")
    paths = ["/", "/referring_qa/train/page-1", "/referring_qa/train/image-900", "/referring_qa/search?q=a", "/nope"]
    for path in [*paths, "/referring_qa/stats", "/assets/view.css", "/assets/icon.png", src, photo]:
        answer = site.get(path, follow=False)
        policy = answer.headers["Content-Security-Policy"]
        assert policy == f"{POLICY}; frame-ancestors 'none'"
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        assert answer.headers["Referrer-Policy"] == "no-referrer"
        assert answer.headers["Cross-Origin-Resource-Policy"] == "same-origin"
        assert "Access-Control-Allow-Origin" not in answer.headers


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE"])
def test_only_reading_is_allowed(site, method):
    answer = site.get("/referring_qa/train/page-1", method=method)
    assert answer.status == 405
    assert answer.headers["X-Content-Type-Options"] == "nosniff"


def test_head_has_no_body(site):
    for path in ("/referring_qa/train/page-1", "/referring_qa/search?q=sofa", "/referring_qa/photos/0"):
        answer = site.get(path, method="HEAD")
        assert (answer.status, answer.body) == (200, b"")


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("localhost", 200),
        ("LOCALHOST:80", 200),
        ("127.0.0.1:7848", 200),
        ("[::1]:7848", 200),
        ("127.9.9.9", 200),
        ("evil.example", 421),
        ("evil.example:7848", 421),
        ("localhost.evil.example", 421),
        ("127.0.0.1.evil.example", 421),
        ("192.168.1.7", 421),
        ("", 421),
    ],
)
def test_requests_to_another_name_are_refused(site, host, status):
    answer = site.get("/conversation/train/page-1", headers={"Host": host})
    assert answer.status == status
    assert ("card" in answer.text) == (status == 200)


def test_on_another_host_addresses_are_taken_and_foreign_names_are_not(built):
    with Site(built, host="0.0.0.0") as site:
        site.url = site.url.replace("0.0.0.0", "127.0.0.1")
        assert site.get("/", headers={"Host": "192.168.1.7:7848"}).status == 200
        assert site.get("/", headers={"Host": "evil.example"}).status == 421


@pytest.mark.parametrize(
    "path",
    [
        "/assets/pages.py",
        "/assets/../pages.py",
        "/assets/..%2fpages.py",
        "/assets/%2e%2e/pages.py",
        "/assets//etc/passwd",
        "/../../../../etc/passwd",
        "/..%2f..%2f..%2fetc%2fpasswd",
        "/referring_qa/photos/..%2f..%2fraw",
        "/referring_qa/plots/..%2f..%2fx.svg",
        "/referring_qa/train/..%2f..%2f..%2fetc%2fpasswd",
        "/data/referring_qa.zip",
        "/raw/images.zip",
    ],
)
def test_no_file_outside_the_pages_is_reached(site, path):
    answer = site.get(path)
    assert answer.status == 404
    assert "root:" not in answer.text
    assert "import" not in answer.text


def test_photos_are_the_files_bytes_and_never_a_document(spoilt):
    root, ids = spoilt
    with Site(root, images=zips_of(root)) as site:
        data = site.shelf.data("referring_qa")
        number_of = {image_id: number for number, image_id in enumerate(data.image_ids.tolist())}
        for kind in ("svg", "html", "cut", "missing"):
            number = number_of[ids[kind]]
            assert site.get(f"/referring_qa/photos/{number}").status == 404
            assert site.get(f"/referring_qa/thumbnails/{number}").headers["Content-Type"] == "image/jpeg"
            answer = site.get(f"/referring_qa/{data.split_of(number)}/image-{ids[kind]}")
            assert answer.status == 200
            (trouble,) = answer.page.all("p", "trouble")
            assert str(ids[kind]) in trouble.text
            assert answer.page.all("div", "bubble")
        png = site.get(f"/referring_qa/photos/{number_of[ids['png']]}")
        assert png.headers["Content-Type"] == "image/png"
        assert png.body == as_bytes(Image.new("RGB", (300, 200), "red"), "PNG")


def test_a_box_that_cannot_be_read_stays_text_and_is_told_of(spoilt):
    root, ids = spoilt
    with Site(root, images=zips_of(root)) as site:
        data = site.shelf.data("referring_qa")
        number = data.image_ids.tolist().index(ids["box"])
        page = site.get(f"/referring_qa/{data.split_of(number)}/image-{ids['box']}").page
    trouble = page.all("p", "trouble")[0].text
    assert "four numbers are expected" in trouble
    bubble = page.all("div", "bubble", "assistant")[0]
    assert "<st>broken one<ed> [0.5, 0.2, 0.3]" in bubble.text
    assert "whole one" in [one.text.rstrip("0123456789") for one in page.all("a", "phrase")]


@pytest.mark.parametrize("form", ["JPEG", "PNG", "GIF", "WEBP", "BMP", "TIFF"])
def test_a_photo_has_a_type_that_it_is_and_that_browsers_show(form):
    picture = picture_of(as_bytes(Image.new("RGB", (40, 30), "red"), form))
    assert Image.MIME[Image.open(io.BytesIO(picture.data)).format] == picture.kind
    assert picture.kind in {"image/jpeg", "image/png", "image/gif", "image/webp"}
    assert (picture.width, picture.height) == (40, 30)


@pytest.mark.parametrize("mode", ["L", "CMYK", "P", "1", "I;16", "RGBA"])
def test_thumbnails_are_made_of_any_mode(mode):
    data = as_bytes(Image.new(mode, (900, 600)), "TIFF")
    small = thumbnail(data)
    assert (small.width, small.height) == (480, 320)


def test_a_thumbnail_is_not_turned_as_boxes_are_not():
    exif = Image.Exif()
    exif[0x0112] = 6
    data = as_bytes(Image.new("RGB", (400, 200), "red"), "JPEG", exif=exif)
    assert (thumbnail(data).width, thumbnail(data).height) == (400, 200)


@pytest.mark.parametrize("data", [b"", b"<svg/>", b"%PDF-1.4", b"\xff\xd8\xff", b"GIF89a"])
def test_what_is_no_photo_is_a_bad_image(data):
    for make in (picture_of, thumbnail):
        with pytest.raises(BadImage):
            make(data)


def test_a_picture_of_gigapixels_is_not_opened():
    data = as_bytes(Image.new("1", (14_000, 14_000)), "PNG")
    with pytest.raises(BadImage):
        thumbnail(data)


# -- memory ------------------------------------------------------------------------------------------------------------

ROWS = 2_400


@pytest.fixture(scope="module")
def large(tmp_path_factory):
    """A published folder of 2,400 rows, 100 MB of photos; written without the builder, as its bytes do not matter."""
    root = tmp_path_factory.mktemp("large") / "svit"
    task = TASKS["conversation"]
    schema = features_of(task, "image").arrow_schema
    noise = np.random.default_rng(0)
    photo = as_bytes(Image.new("RGB", (320, 240), "teal"), "JPEG")
    (root / "conversation").mkdir(parents=True)
    with pq.ParquetWriter(root / "conversation/train-00000-of-00001.parquet", schema, compression="none") as writer:
        for start in range(0, ROWS, 32):
            rows = [
                large_row(number, photo[:-2] + noise.bytes(42_000) + photo[-2:]) for number in range(start, start + 32)
            ]
            writer.write_table(pa.Table.from_pylist(rows, schema=schema))
    return root


def large_row(number, photo):
    turns = [("user", f"What is thing {number}?"), ("assistant", f"It is {'very ' * 40}plain, number {number}.")] * 5
    messages = [{"role": role, "content": content} for role, content in turns]
    image = {"bytes": photo, "path": f"VG_100K/{number}.jpg"}
    blocks = [{"topic": "Things", "messages": messages}]
    return {"image_id": number + 1, "image": image, "width": 320, "height": 240, "conversations": blocks}


MEASURE = """
import resource, sys
from svit_builder.view.links import served
from svit_builder.view.loss import Templates
from svit_builder.view.pages import Pages
from svit_builder.view.search import search
from svit_builder.view.shelf import Shelf

def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024

shelf = Shelf(sys.argv[1])
pages, links = Pages(shelf, Templates()), served(shelf, "x")

def look(page):
    at = shelf.gallery("conversation", "train", page)
    pages.gallery(links, "conversation", at)
    shelf.make_thumbnails("conversation", range(at.start, at.stop))
    pages.row(links, "conversation", at.start)
    shelf.picture("conversation", at.start)

look(1)
before = peak()
for page in range(2, 100, 3):
    look(page)
data = shelf.data("conversation")
found = sum(1 for _ in search(data, "number 2399.", limit=10))
kept = shelf._thumbnails.held + shelf._photos.held
print(before, peak(), kept / 2**20, found, len(data))
"""


def test_memory_does_not_grow_with_what_was_looked_at(large):
    done = subprocess.run(
        [sys.executable, "-c", MEASURE, str(large)], capture_output=True, text=True, check=True, timeout=300
    )
    before, after, kept, found, rows = map(float, done.stdout.split())
    assert rows == ROWS
    assert found == 1 + ROWS // 512 + (ROWS % 512 > 0)
    assert after - before < 32, f"{after - before:.0f} MB more, {kept:.0f} MB of them kept, after 34 of 100 pages"


def test_what_was_not_used_for_longest_is_given_up():
    kept = _Kept(limit=100)
    small = thumbnail(as_bytes(Image.new("RGB", (8, 8)), "PNG"))
    size = len(small.data)
    kept = _Kept(limit=3 * size)
    for number in range(3):
        kept.put(("a", number), small)
    kept.get(("a", 0))
    kept.put(("a", 3), small)
    assert [kept.get(("a", number)) is not None for number in range(4)] == [True, False, True, True]
    assert kept.held == 3 * size
    kept.put(("a", 3), small)
    assert kept.held == 3 * size


def test_who_leaves_a_search_ends_it(large):
    """Two searches go on at a time: were those that nobody waits for not ended, the third would wait for them."""
    with Site(large) as site:
        for _ in range(4):
            connection = site.connect()
            connection.request("GET", "/conversation/search?q=no-such-words")
            connection.getresponse().read(10)
            connection.close()
        begin = time.monotonic()
        assert site.get("/conversation/search?q=image+1&start=2300").status == 200
        assert time.monotonic() - begin < 20


# -- statistics --------------------------------------------------------------------------------------------------------


def measured(site, config):
    for _ in range(200):
        answer = site.get(f"/{config}/stats")
        if "Refresh" not in answer.headers:
            return answer
        assert "Reading the texts" in answer.text
        time.sleep(0.05)
    raise AssertionError(config)


def test_statistics_are_measured_once_and_shown_with_plots(site):
    answer = measured(site, "referring_qa")
    rows = {one.text for one in answer.page.all("td")}
    assert "63" in rows
    plots = [one.attributes["src"] for one in answer.page.all("img")]
    assert plots
    for src in plots:
        plot = site.get(src)
        assert plot.headers["Content-Type"].startswith("image/svg+xml")
        assert "sandbox" in plot.headers["Content-Security-Policy"]
        assert plot.text.lstrip().startswith("<?xml")
    assert site.get("/referring_qa/stats").status == 200


def test_statistics_in_parts_are_those_of_the_whole(large):
    from svit_builder.stats import measure

    shelf = Shelf(str(large))
    figures = Figures(shelf)
    in_parts = figures.measure("conversation").statistics
    figures.close()
    assert in_parts == measure(shelf.data("conversation"))


def test_without_matplotlib_there_are_tables_and_a_word_about_it(corpus, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with Site(corpus.root) as site:
        page = measured(site, "referring_qa").page
    assert not page.all("img")
    assert page.all("table")
    assert any("pip install" in one.text for one in page.all("p", "note"))


# -- files -------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def exported(built, corpus, tmp_path_factory):
    out = tmp_path_factory.mktemp("exported") / "pages"
    shelf = Shelf(str(built), limit=26, annotations=str(corpus.root / "raw/annotations"))
    sizes = [min(rows, 26) for config in shelf.configs for rows in open_data(str(built), config).splits.values()]
    assert write_pages(shelf, Templates(), out) == sum(sizes)
    return out


def test_every_link_of_exported_pages_leads_to_a_file(exported):
    pages = list(exported.rglob("*.html"))
    assert len(pages) > 80
    reached = set()
    for path in pages:
        for address in Page(path.read_text("utf-8")).links():
            parts = urlsplit(address)
            assert not parts.scheme
            assert not parts.netloc
            assert not parts.path.startswith("/")
            if parts.path:
                target = (path.parent / unquote(parts.path)).resolve()
                assert target.is_file(), f"{path}: {address}"
                reached.add(target)
    assert {path for path in exported.rglob("*") if path.is_file()} - reached == {(exported / "index.html").resolve()}


def test_exported_pages_have_the_policy_inside(exported):
    for path in (exported / "index.html", exported / "referring_qa/train/image-900.html"):
        policies = [one for one in Page(path.read_text("utf-8")).all("meta") if "http-equiv" in one.attributes]
        assert [one.attributes["content"] for one in policies] == [POLICY]


def test_exported_rows_are_the_first_of_each_split(exported):
    assert len(list((exported / "referring_qa/train").glob("image-*.html"))) == 26
    assert "first 26 of 57 rows" in (exported / "referring_qa/train/page-1.html").read_text("utf-8")
    index = (exported / "referring_qa/search.data.js").read_text("utf-8")
    rows = json.loads(index.removeprefix("globalThis.svitSearch = ").removesuffix(";\n"))["rows"]
    assert len(rows) == 26 + 6
    assert (exported / "referring_qa" / rows[0]["href"].removeprefix("../referring_qa/")).is_file()


def test_photos_are_exported_as_they_are(exported, built):
    shelf = Shelf(str(built))
    for number in (0, 11):
        picture = shelf.picture("referring_qa", number)
        assert (exported / f"referring_qa/photos/{number}.{picture.ending}").read_bytes() == picture.data


def test_pages_are_exported_into_a_new_folder_only(corpus, tmp_path):
    (tmp_path / "note").write_text("mine")
    with pytest.raises(OptionError, match="not an empty folder"):
        write_pages(Shelf(str(corpus.root)), Templates(), tmp_path)
    assert [one.name for one in tmp_path.iterdir()] == ["note"]


def test_with_too_many_rows_for_a_browser_exported_pages_have_no_search(built, tmp_path, monkeypatch):
    monkeypatch.setattr("svit_builder.view.files.INDEXED", 10)
    write_pages(Shelf(str(built), limit=6), Templates(), tmp_path / "pages")
    assert not list((tmp_path / "pages").rglob("search.data.js"))
    assert "search without a server" in (tmp_path / "pages/referring_qa/search.html").read_text("utf-8")


# -- the command -------------------------------------------------------------------------------------------------------


def svit(*arguments):
    return CliRunner().invoke(main, [str(one) for one in arguments])


def test_the_command_exports(built, tmp_path):
    done = svit("view", built, "--export", tmp_path / "pages", "--limit", 5)
    assert done.exit_code == 0, done.output
    assert "of 2 configurations" in done.stdout
    assert (tmp_path / "pages/index.html").is_file()


def test_nothing_to_look_at_is_an_error(tmp_path):
    with pytest.raises(SourceNotFound, match="neither published Parquet"):
        Shelf(str(tmp_path))
    assert svit("view", tmp_path).exit_code == 1


@contextmanager
def served(*arguments):
    """Run the command until it is interrupted; give the process and the address that it printed."""
    command = [sys.executable, "-c", "from svit_datasets.cli import main; main()", "view", *map(str, arguments)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        try:
            yield process, process.stdout.readline().strip()
        finally:
            process.kill()


def test_the_command_serves_until_it_is_interrupted(built):
    with served(built, "--port", "0") as (process, address):
        with urllib.request.urlopen(address, timeout=30) as answer:
            assert "referring_qa" in answer.read().decode()
        taken = urlsplit(address).port
        again = svit("view", built, "--port", taken)
        assert again.exit_code == 1
        assert f"port {taken}" in again.stderr
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=30)
    assert process.returncode == 0
    assert "Traceback" not in errors


def test_another_host_than_loopback_is_warned_of(built):
    with served(built, "--port", "0", "--host", "0.0.0.0") as (process, address):
        assert address.startswith("http://0.0.0.0:")
        process.send_signal(signal.SIGTERM)
        _, errors = process.communicate(timeout=30)
    assert "no password" in errors


def test_what_pages_need_is_in_the_package():
    folder = Path(main.__module__ and __import__("svit_builder.view", fromlist=["view"]).__file__).parent
    configuration = (Path(__file__).parents[1] / "pyproject.toml").read_text("utf-8")
    endings = {path.suffix for path in folder.iterdir() if path.is_file() and path.suffix != ".py"}
    assert endings == {".html", ".css", ".js"}
    assert '"svit_builder.view" = ["*.html", "*.css", "*.js"]' in configuration
    for path in folder.iterdir():
        if path.suffix in endings:
            assert not re.search(
                r"https?://|@import|url\(|//cdn|eval\(|innerHTML|document\.write", path.read_text("utf-8")
            )
