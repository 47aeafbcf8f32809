"""Photos are found in every layout that people have: by Visual Genome id, by COCO id, by a LLaVA-form path."""

from __future__ import annotations

import io
import json
import zipfile
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest

from svit_datasets.errors import AccessDenied, CorruptFile, OptionError, SourceNotFound, SvitError
from svit_datasets.image_sources import find_image_sources
from svit_datasets.images import Locator
from svit_datasets.located import ImageSource, vg_folder
from svit_datasets.storage import Storage
from svit_datasets.vg import CocoIds
from svit_datasets.zips import unpack
from tests.servers import Fault

REAL = Path(__file__).parents[2] / "shared/data/real/vg"
STRAYS = (209, 231, 238, 247, 257, 268, 276, 277, 280, 298, 1988, 1990, 2187, 2194, 2579)
FIRST, SECOND = 2, 1  # an id of VG_100K, one of VG_100K_2


def vg(image_id, root=""):
    return f"{root}{vg_folder(image_id)}/{image_id}.jpg"


def fill(root, *names):
    """Make files whose content is their name."""
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(name.encode())
    return root


def zipped(*names):
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        for name in names:
            archive.writestr(name, f"zip:{name}")
    return packed.getvalue()


def read(located, storage):
    """What each photo's bytes say; None where it is nowhere or its places lack it."""
    found = []
    for index in range(len(located)):
        if located.source[index] < 0:
            found.append(None)
            continue
        (data,) = storage.read_ranges([located.byte_range(index)])
        if isinstance(data, SvitError):
            found.append(None)
            continue
        if located.sources[located.source[index]].kind == "zip":
            size, method, crc = (int(located.entry[name][index]) for name in ("size", "method", "crc"))
            data = unpack(memoryview(data), size, method, crc)
        found.append(data.decode())
    return found


def locate(cache, images=None, data_dir=None, *, ids=None, paths=None, coco=None, storage=None):
    storage = storage or Storage(backoff=0.01, attempts=2)
    sources = find_image_sources(images, None if data_dir is None else str(data_dir), storage)
    sources = tuple(source for source in sources if not source.origin)  # no test leaves the machine
    coco_ids = None if coco is None else lambda wanted: np.array([coco.get(int(each), -1) for each in wanted])
    locator = Locator(sources, storage, cache, coco_ids)
    located = locator.by_id(np.array(ids, dtype=np.int64)) if paths is None else locator.by_path(paths)
    return read(located, storage)


class TestTheFolderRule:
    @pytest.mark.parametrize("image_id", [2, 50, *STRAYS, 61511, 2377380])
    def test_first_folder(self, image_id):
        assert vg_folder(image_id) == "VG_100K"

    @pytest.mark.parametrize("image_id", [1, 51, 208, 210, 299, 2580, 61510, 2377381, 2417997])
    def test_second_folder(self, image_id):
        assert vg_folder(image_id) == "VG_100K_2"

    @pytest.mark.real
    @pytest.mark.skipif(not REAL.is_dir(), reason="no real files beside this checkout")
    def test_the_real_ones(self):
        rows = json.loads((REAL / "image_folders.json").read_text())
        assert [row["image_id"] for row in rows if vg_folder(row["image_id"]) != row["folder"]] == []
        for row in json.loads((REAL / "image_data.json").read_text()):
            assert f"/{vg_folder(row['image_id'])}/" in row["url"]


LAYOUTS = {
    "folders": (lambda root: fill(root, vg(1), vg(2)), "VG_100K_2/1.jpg", "VG_100K/2.jpg"),
    "vg": (lambda root: fill(root, vg(1, "vg/"), vg(2, "vg/")), "vg/VG_100K_2/1.jpg", "vg/VG_100K/2.jpg"),
    "flat": (lambda root: fill(root, "1.jpg", "2.jpg"), "1.jpg", "2.jpg"),
    "raw": (lambda root: fill(root, vg(1, "raw/"), vg(2, "raw/")), "raw/VG_100K_2/1.jpg", "raw/VG_100K/2.jpg"),
    "other folder": (lambda root: fill(root, "VG_100K/1.jpg", "VG_100K_2/2.jpg"), "VG_100K/1.jpg", "VG_100K_2/2.jpg"),
    "png": (lambda root: fill(root, "images/1.png", "images/2.jpeg"), "images/1.png", "images/2.jpeg"),
}


class TestLocalFolders:
    @pytest.mark.parametrize("layout", LAYOUTS)
    @pytest.mark.parametrize("argument", ["images", "data_dir"])
    def test_every_layout(self, tmp_path, layout, argument):
        make, first, second = LAYOUTS[layout]
        make(tmp_path / "d")
        found = locate(tmp_path, ids=[2, 1, 3, 2], **{argument: tmp_path / "d"})
        assert found == [second, first, None, second]

    def test_one_folder_alone(self, tmp_path):
        root = fill(tmp_path / "d", vg(1), vg(2))
        assert locate(tmp_path, root / "VG_100K", ids=[1, 2]) == [None, "VG_100K/2.jpg"]

    def test_a_url_of_a_file_and_a_template(self, tmp_path):
        root = fill(tmp_path / "d", vg(1), "VG_100K_2/2.jpg")
        for place in (f"file://{root}", f"{root}/{{folder}}/{{image_id}}.jpg"):
            assert locate(tmp_path, place, ids=[1, 2, 3]) == [vg(1), "VG_100K_2/2.jpg", None]

    def test_places_are_asked_in_the_order_given(self, tmp_path):
        one, two = fill(tmp_path / "one", "1.jpg"), fill(tmp_path / "two", "VG_100K_2/1.jpg", "VG_100K/2.jpg")
        assert locate(tmp_path, [one, two], ids=[1, 2]) == ["1.jpg", "VG_100K/2.jpg"]
        assert locate(tmp_path, [str(two), one], ids=[1, 2]) == ["VG_100K_2/1.jpg", "VG_100K/2.jpg"]
        assert locate(tmp_path, (each for each in (one, two)), ids=[1]) == ["1.jpg"]

    @pytest.mark.parametrize(
        "name", ["0001.jpg", "1.jpg.part", "x1.jpg", "1.txt", "12345678.jpg", "._1.jpg", "1.JPG.jpg"]
    )
    def test_names_that_are_no_ids(self, tmp_path, name):
        fill(tmp_path / "d", name, "5.jpg")
        assert locate(tmp_path, tmp_path / "d", ids=[1, 5]) == [None, "5.jpg"]

    def test_the_name_of_a_folder_above_does_not_matter(self, tmp_path):
        """A user's own folder may be called like one of LLaVA's."""
        root = fill(tmp_path / "textvqa" / "mine", vg(1), vg(2))
        assert locate(tmp_path, root, ids=[1, 2]) == ["VG_100K_2/1.jpg", "VG_100K/2.jpg"]

    def test_numbers_of_other_sets_are_no_ids(self, tmp_path):
        fill(tmp_path / "d", "gqa/images/1.jpg", "textvqa/train_images/2.jpg", "ocr_vqa/images/3.jpg", "VG_100K/4.jpg")
        assert locate(tmp_path, tmp_path / "d", ids=[1, 2, 3, 4]) == [None, None, None, "VG_100K/4.jpg"]

    def test_nothing_there(self, tmp_path):
        (tmp_path / "empty").mkdir()
        for place in ("empty", "none"):
            with pytest.raises(SourceNotFound, match=rf"images='.*{place}': no photos there\. Expected .*VG_100K/"):
                find_image_sources(tmp_path / place, None, Storage())
        with pytest.raises(OptionError, match=r"images=\[\] names no place"):
            find_image_sources([], None, Storage())
        assert [source.origin for source in find_image_sources(None, str(tmp_path / "empty"), Storage())] == [True] * 2


class TestZips:
    def put(self, root):
        root.mkdir()
        (root / "images.zip").write_bytes(zipped(vg(2), vg(4), "VG_100K/"))
        (root / "images2.zip").write_bytes(zipped(vg(1)))
        return root

    def test_beside_each_other(self, tmp_path):
        root = self.put(tmp_path / "d")
        found = ["zip:VG_100K_2/1.jpg", "zip:VG_100K/2.jpg", None, "zip:VG_100K/4.jpg"]
        assert locate(tmp_path, root, ids=[1, 2, 3, 4]) == found
        assert locate(tmp_path, data_dir=root, ids=[1, 2, 3, 4]) == found
        assert locate(tmp_path, [root / "images2.zip"], ids=[1, 2]) == [found[0], None]

    def test_folders_come_before_zips(self, tmp_path):
        root = fill(self.put(tmp_path / "d"), "VG_100K/2.jpg")
        assert locate(tmp_path, root, ids=[2, 4]) == ["VG_100K/2.jpg", "zip:VG_100K/4.jpg"]

    def test_over_http(self, tmp_path, http_server):
        http_server.put("svit/raw/images.zip", zipped(vg(2)))
        http_server.put("svit/raw/images2.zip", zipped(vg(1)))
        found = locate(tmp_path, data_dir=f"{http_server.url}/svit", ids=[1, 2, 3])
        assert found == ["zip:VG_100K_2/1.jpg", "zip:VG_100K/2.jpg", None]

    def test_a_zip_that_is_none(self, tmp_path):
        (tmp_path / "images.zip").write_bytes(b"<html>")
        with pytest.raises(CorruptFile, match=r"images\.zip"):
            locate(tmp_path, tmp_path / "images.zip", ids=[1])
        with pytest.raises(SourceNotFound, match=r"none\.zip"):
            locate(tmp_path, tmp_path / "none.zip", ids=[1])


class TestHttpFolders:
    """They cannot be listed: the names that a photo would have are tried when it is wanted."""

    @pytest.mark.parametrize("layout", ["folders", "vg", "flat", "other folder"])
    def test_every_layout(self, tmp_path, http_server, layout):
        make, first, second = LAYOUTS[layout]
        http_server.root = make(tmp_path / "d")
        assert locate(tmp_path, http_server.url, ids=[1, 2, 3]) == [first, second, None]

    def test_the_right_folder_is_tried_first(self, tmp_path, http_server):
        http_server.root = fill(tmp_path / "d", vg(1), vg(2))
        locate(tmp_path, http_server.url, ids=[1, 2])
        got = [(line.path, line.status) for line in http_server.log.requests if line.path.endswith(".jpg")]
        assert got == [("/VG_100K_2/1.jpg", 200), ("/VG_100K/2.jpg", 200)]

    def test_a_template(self, tmp_path, http_server):
        http_server.root = fill(tmp_path / "d", "p/1.jpg", "VG_100K/1.jpg")
        assert locate(tmp_path, f"{http_server.url}/p/{{image_id}}.jpg", ids=[1, 2]) == ["p/1.jpg", None]
        http_server.log.reset()
        template = f"{http_server.url}/{{folder}}/{{image_id}}.jpg?key=a"
        assert locate(tmp_path, template, ids=[1]) == ["VG_100K/1.jpg"]
        assert [(line.path, line.status) for line in http_server.log.requests] == [
            ("/VG_100K_2/1.jpg?key=a", 404),
            ("/VG_100K/1.jpg?key=a", 200),
        ]

    def test_two_templates_are_tried_in_turn(self, tmp_path, http_server):
        http_server.root = fill(tmp_path / "d", "a/1.jpg", "b/1.jpg", "b/2.jpg")
        templates = [f"{http_server.url}/{name}/{{image_id}}.jpg" for name in "ab"]
        assert locate(tmp_path, templates, ids=[1, 2, 3]) == ["a/1.jpg", "b/2.jpg", None]

    def test_a_server_that_refuses_what_is_not_there(self, tmp_path, http_server):
        """A bucket without the right to list answers 403 for 404."""
        http_server.root = fill(tmp_path / "d", vg(1), vg(2))
        http_server.faults.add(Fault("status", match=r"\.zip", code=403, times=None))
        assert locate(tmp_path, http_server.url, ids=[1, 2]) == ["VG_100K_2/1.jpg", "VG_100K/2.jpg"]


class TestCoco:
    COCO: ClassVar = {1: 9, 2: 25, 3: 25, 4: -1}  # two photos of Visual Genome may be one of COCO

    @pytest.mark.parametrize(
        "names",
        [
            ("train2017/000000000009.jpg", "val2017/000000000025.jpg"),
            ("coco/train2017/000000000009.jpg", "coco/train2017/000000000025.jpg"),
            ("coco/train2014/COCO_train2014_000000000009.jpg", "coco/val2014/COCO_val2014_000000000025.jpg"),
            ("coco/COCO_train2014_000000000009.jpg", "coco/COCO_val2014_000000000025.jpg"),
        ],
    )
    def test_copies_stand_in(self, tmp_path, names):
        fill(tmp_path / "d", *names)
        found = [names[0], names[1], names[1], None, None]
        assert locate(tmp_path, tmp_path / "d", ids=[1, 2, 3, 4, 5], coco=self.COCO) == found
        assert locate(tmp_path, tmp_path / "d", ids=[1, 2, 3], coco=None) == [None] * 3

    def test_zips(self, tmp_path):
        (tmp_path / "d").mkdir()
        (tmp_path / "d/train2017.zip").write_bytes(zipped("train2017/", "train2017/000000000009.jpg"))
        (tmp_path / "d/val2014.zip").write_bytes(zipped("val2014/COCO_val2014_000000000025.jpg"))
        assert locate(tmp_path, tmp_path / "d", ids=[2, 1], coco=self.COCO) == [
            "zip:val2014/COCO_val2014_000000000025.jpg",
            "zip:train2017/000000000009.jpg",
        ]

    def test_visual_genome_s_own_come_first(self, tmp_path):
        fill(tmp_path / "d", "coco/train2017/000000000009.jpg", "coco/train2017/000000000025.jpg", "vg/VG_100K/2.jpg")
        found = ["coco/train2017/000000000009.jpg", "vg/VG_100K/2.jpg"]
        assert locate(tmp_path, tmp_path / "d", ids=[1, 2], coco=self.COCO) == found

    @pytest.mark.parametrize(
        ("folder", "stem"),
        [("train2017", ""), ("val2017", ""), ("train2014", "COCO_train2014_"), ("val2014", "COCO_val2014_")],
    )
    def test_over_http(self, tmp_path, http_server, folder, stem):
        name = f"{folder}/{stem}000000000009.jpg"
        http_server.root = fill(tmp_path / "d", name)
        assert locate(tmp_path, f"{http_server.url}/{folder}", ids=[1, 4], coco=self.COCO) == [name, None]

    @pytest.mark.parametrize("packed", [False, True])
    def test_visual_genome_s_table(self, tmp_path, packed):
        table = [
            {"image_id": 7, "coco_id": 25},
            {"id": 1, "coco_id": 9, "url": "x"},
            {"image_id": 2, "coco_id": None},
            {"image_id": 3, "coco_id": 0},
            {"image_id": 4, "coco_id": -1},
            {"image_id": 5},
            {"image_id": 6, "coco_id": 25},
        ]
        data = json.dumps(table).encode()
        if packed:
            out = io.BytesIO()
            with zipfile.ZipFile(out, "w") as archive:
                archive.writestr("image_data.json", data)
            (tmp_path / "image_data.json.zip").write_bytes(out.getvalue())
        else:
            (tmp_path / "image_data.json").write_bytes(data)
        coco_ids = CocoIds(str(tmp_path), Storage(), tmp_path / "cache")
        wanted = np.array([6, 1, 2, 3, 4, 5, 7, 8, 0, 1], dtype=np.int64)
        for _ in range(2):
            assert coco_ids(wanted).tolist() == [25, 9, -1, -1, -1, -1, 25, -1, -1, 9]
        assert len(list((tmp_path / "cache" / "vg").iterdir())) == 1

    @pytest.mark.parametrize("data", ['[{"url": "x"}]', "[5]", '[{"image_id": "7"}]', "[{"])
    def test_a_table_that_is_none(self, tmp_path, data):
        (tmp_path / "image_data.json").write_text(data)
        with pytest.raises(CorruptFile, match=r"image_data\.json.*record 0, byte 1|breaks off"):
            CocoIds(str(tmp_path), Storage(), tmp_path)(np.array([1]))

    def test_an_empty_table(self, tmp_path):
        (tmp_path / "image_data.json").write_text("[]")
        assert CocoIds(str(tmp_path), Storage(), tmp_path)(np.array([1, 2])).tolist() == [-1, -1]


PATHS = [
    "vg/VG_100K/2.jpg",
    "vg/VG_100K_2/1.jpg",
    "coco/train2017/000000000009.jpg",
    "gqa/images/77.jpg",
    "ocr_vqa/images/0123456789.jpg",
    "textvqa/train_images/0a1b.jpg",
    None,
]


class TestPathsOfTheLlavaForm:
    def test_in_folders_as_llava_lays_them_out(self, tmp_path):
        root = fill(tmp_path / "d", *filter(None, PATHS))
        assert locate(tmp_path, root, paths=PATHS) == PATHS
        assert locate(tmp_path, data_dir=root, paths=PATHS[::-1]) == PATHS[::-1]

    def test_over_http(self, tmp_path, http_server):
        http_server.root = fill(tmp_path / "d", *filter(None, PATHS))
        assert locate(tmp_path, http_server.url, paths=PATHS) == PATHS
        assert locate(tmp_path, data_dir=http_server.url, paths=[*PATHS, "coco/none.jpg"]) == [*PATHS, None]

    def test_in_zips(self, tmp_path):
        places = {
            "vg/images.zip": "VG_100K/2.jpg",
            "vg/images2.zip": "VG_100K_2/1.jpg",
            "coco/train2017.zip": "train2017/000000000009.jpg",
            "gqa/images.zip": "images/77.jpg",
            "textvqa/train_images.zip": "train_images/0a1b.jpg",
        }
        for name, member in places.items():
            path = tmp_path / "d" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(zipped(member))
        wanted = [path for path in PATHS if path and not path.startswith("ocr")]
        assert locate(tmp_path, tmp_path / "d", paths=wanted) == [f"zip:{member}" for member in places.values()]

    def test_visual_genome_and_coco_in_other_layouts(self, tmp_path):
        root = fill(tmp_path / "d", "2.jpg", "VG_100K/1.jpg", "train2014/COCO_train2014_000000000009.jpg")
        assert locate(tmp_path, root, paths=PATHS[:4]) == [
            "2.jpg",
            "VG_100K/1.jpg",
            "train2014/COCO_train2014_000000000009.jpg",
            None,
        ]

    def test_one_number_of_two_sets_is_two_photos(self, tmp_path):
        root = fill(tmp_path / "d", "gqa/images/2.jpg", "vg/VG_100K/2.jpg")
        wanted = ["gqa/images/2.jpg", "vg/VG_100K/2.jpg"]
        assert locate(tmp_path, root, paths=wanted) == wanted
        assert locate(tmp_path, [root / "gqa/images"], paths=wanted) == [wanted[0], None]

    def test_text_only_is_nowhere_and_nobody_is_asked(self, tmp_path, http_server):
        sources = (ImageSource("zip", (f"{http_server.url}/images.zip",)),)
        located = Locator(sources, Storage(), tmp_path, None).by_path([None, None])
        assert located.source.tolist() == [-1, -1]
        assert http_server.log.requests == []


class TestTheOrigin:
    def origin(self, server):
        return ImageSource("zip", (f"{server.url}/images.zip",), origin=True)

    def test_it_is_asked_only_for_what_is_missing(self, tmp_path, http_server):
        root = fill(tmp_path / "d", "1.jpg", "2.jpg")
        sources = (ImageSource("folder", (str(root),), local=True), self.origin(http_server))
        located = Locator(sources, Storage(), tmp_path, None).by_id(np.array([1, 2]))
        assert http_server.log.requests == []
        assert located.note == ""

    def test_it_cannot_be_read(self, tmp_path, http_server):
        """Photos that are here are used, the others are missing with a reason; if none is here it is an error."""
        root = fill(tmp_path / "d", "1.jpg")
        http_server.faults.add(Fault("status", code=403, times=None))
        here, origin = ImageSource("folder", (str(root),), local=True), self.origin(http_server)
        located = Locator((here, origin), Storage(), tmp_path, None).by_id(np.array([1, 2, 3]))
        assert located.source.tolist() == [0, -1, -1]
        assert "origin cannot be read" in located.note
        assert "images.zip: the server refused (403)" in located.note
        with pytest.raises(AccessDenied, match=r"images\.zip"):
            Locator((here, origin), Storage(), tmp_path, None).by_id(np.array([2, 3]))


def test_labels_name_file_and_member(tmp_path):
    (tmp_path / "images.zip").write_bytes(zipped(vg(2)))
    root = fill(tmp_path / "d", "1.jpg")
    sources = find_image_sources([root, tmp_path / "images.zip"], None, Storage())
    located = Locator(sources, Storage(), tmp_path, None).by_id(np.array([2, 1]))
    assert [located.label(0), located.label(1)] == [f"{tmp_path}/images.zip::VG_100K/2.jpg", f"{root}/1.jpg"]
    turned = located.take(np.array([1, 0, 1]))
    assert [turned.label(index) for index in range(3)] == [located.label(1), located.label(0), located.label(1)]
    assert read(turned, Storage()) == ["1.jpg", "zip:VG_100K/2.jpg", "1.jpg"]
