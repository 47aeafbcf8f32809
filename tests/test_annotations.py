"""Annotation files of any version and layout come out as the same photos, in bounded memory, or as a clear error."""

from __future__ import annotations

import gzip
import io
import json
import pickle
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from svit_builder.annotations import open_annotations
from svit_builder.annotations.files import find_sources
from svit_builder.annotations.parse import Faults, read_captions, read_instances, read_photos
from svit_builder.generate.protocol import Object, Region

from svit_datasets.boxes import Box
from svit_datasets.errors import AccessDenied, CorruptFile, SourceNotFound, SvitError
from svit_datasets.sample import write_sample
from svit_datasets.storage import Storage
from tests.servers import Fault

REAL = Path(__file__).parents[2] / "shared" / "data" / "real"

PHOTOS = [
    {"image_id": 7, "width": 200, "height": 100, "coco_id": 70, "flickr_id": None},
    {"image_id": 3, "width": 100, "height": 100, "coco_id": None, "flickr_id": None},
    {"image_id": 9, "width": 100, "height": 50, "coco_id": 70, "flickr_id": 1},
]
OBJECTS = [
    {"image_id": 3, "objects": [{"object_id": 1, "names": ["cat"], "x": 0, "y": 0, "w": 50, "h": 100, "synsets": []}]},
    {"image_id": 7, "objects": [{"object_id": 2, "names": ["dog"], "x": 100, "y": 50, "w": 50, "h": 25}]},
    {"image_id": 9, "objects": []},
]
REGIONS = [
    {"id": 3, "regions": [{"region_id": 5, "image_id": 3, "phrase": " a  grey\ncat ", "x": 0, "y": 0, "width": 50,
                           "height": 100}]},
]  # fmt: skip
CAPTIONS = {
    "info": {"year": 2017},
    "images": [{"id": 70, "file_name": "000000000070.jpg", "width": 640, "height": 480}],
    "licenses": [],
    "annotations": [
        {"id": 1, "image_id": 70, "caption": "A dog on grass. "},
        {"id": 2, "image_id": 71, "caption": "A boat."},
        {"id": 3, "image_id": 70, "caption": "Grass\nwith a dog."},
        {"id": 4, "image_id": 70, "caption": " \n"},
        {"id": 5, "image_id": 70, "caption": "A dog on grass."},
    ],
}
INSTANCES = {
    "images": [{"id": 70, "width": 400, "height": 200}],
    "annotations": [
        {"id": 1, "image_id": 70, "category_id": 18, "iscrowd": 0, "bbox": [100.0, 50.0, 100.0, 100.0]},
        {"id": 2, "image_id": 70, "category_id": 18, "iscrowd": 1, "bbox": [0.0, 0.0, 400.0, 200.0]},
        {"id": 3, "image_id": 70, "category_id": 99, "iscrowd": 0, "bbox": [0.0, 0.0, 4.0, 2.0]},
    ],
    "categories": [{"id": 18, "name": "dog", "supercategory": "animal"}],
}
FILES = {
    "image_data.json": PHOTOS,
    "objects.json": OBJECTS,
    "region_descriptions.json": REGIONS,
    "captions_train2017.json": CAPTIONS,
    "instances_train2017.json": INSTANCES,
}


def lay(folder, files):
    """Write files; a value is JSON, or the bytes themselves."""
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else json.dumps(content).encode())
    return folder


def zipped(members):
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name, content if isinstance(content, bytes) else json.dumps(content))
    return packed.getvalue()


@pytest.fixture
def read(tmp_path):
    """Read all photos of a place that holds some files, by id."""

    def read(files=FILES, place=None, **options):
        folder = lay(tmp_path / "place", files) if place is None else place
        found = open_annotations(folder, cache_dir=tmp_path / "cache", **options)
        return {one.image_id: one for one in found.read()}

    return read


def test_a_photo_has_its_captions_objects_and_regions(read):
    photos = read()
    assert list(photos) == [3, 7, 9]
    assert photos[3].objects == (Object("cat", Box(0, 0, 0.5, 1)),)
    assert photos[3].regions == (Region("a grey cat", Box(0, 0, 0.5, 1)),)
    assert photos[3].captions == ()
    assert (photos[7].width, photos[7].height, photos[7].coco_id) == (200, 100, 70)
    assert photos[7].objects == (Object("dog", Box(0.5, 0.5, 0.75, 0.75)),)


def test_captions_are_found_by_coco_id_whoever_has_it_and_white_space_and_repeats_go(read):
    photos = read()
    assert photos[7].captions == photos[9].captions == ("A dog on grass.", "Grass with a dog.")


def test_instances_stand_in_where_visual_genome_has_no_object_in_shares_of_coco_s_own_photo(read):
    assert read()[9].objects == (Object("dog", Box(0.25, 0.25, 0.5, 0.75)),)


def test_captions_may_be_missing_altogether(read):
    photos = read({name: FILES[name] for name in ("image_data.json", "objects.json")})
    assert list(photos) == [3, 7]  # nobody wrote anything of 9
    assert photos[7].captions == photos[7].regions == ()


def test_what_is_missing_is_named_with_what_would_be_accepted(read, tmp_path):
    with pytest.raises(
        SourceNotFound, match=r"No objects of Visual Genome.*objects_v1_2_0.*annotations\*\.zip.*Found: im"
    ):
        read({"image_data.json": PHOTOS})
    with pytest.raises(SourceNotFound, match="No image_data"):
        open_annotations(lay(tmp_path / "b", {"objects.json": OBJECTS}))
    with pytest.raises(SourceNotFound, match="that is one file"):
        open_annotations(tmp_path / "b" / "objects.json")
    with pytest.raises(SourceNotFound, match="no such folder"):
        open_annotations(tmp_path / "nowhere")


def test_a_folder_of_photos_alone_is_no_annotations(read):
    with pytest.raises(SourceNotFound, match="Found: no annotation file"):
        read({"images.zip": zipped({"VG_100K/2.jpg": b"photo"}), "VG_100K_2/1.jpg": b"photo"})


LAYOUTS = {
    "raw/annotations": lambda: {f"raw/annotations/{name}": content for name, content in FILES.items()},
    "vg and coco": lambda: {
        ("coco/annotations/" if "2017" in name else "vg/" if name == "image_data.json" else "vg/v1.4/") + name: content
        for name, content in FILES.items()
    },
    "a zip each": lambda: {
        f"{name}.zip": zipped({f"deep/er/{name}": content, f"__MACOSX/deep/._{name}": b"\x00\x05"})
        for name, content in FILES.items()
    },
    "versions in names": lambda: {
        **{f"{name[:-5]}_v1_2_0.json.zip" if "2017" not in name else name: zipped({name: content})
           if "2017" not in name else content for name, content in FILES.items()},
    },
    "gzip": lambda: {f"{name}.gz": gzip.compress(json.dumps(content).encode()) for name, content in FILES.items()},
    "one zip": lambda: {"annotations.zip": zipped({f"annotations/{n}": c for n, c in FILES.items()})},
    "coco's own zip": lambda: {
        **{name: content for name, content in FILES.items() if "2017" not in name},
        "annotations_trainval2017.zip": zipped({f"annotations/{n}": c for n, c in FILES.items() if "2017" in n}),
    },
    "a byte order mark": lambda: {
        name: b"\xef\xbb\xbf" + json.dumps(content, indent=2).encode() + b"\n \n" for name, content in FILES.items()
    },
}  # fmt: skip


@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_layout_gives_the_same_photos(read, tmp_path, layout):
    plain = open_annotations(lay(tmp_path / "plain", FILES), cache_dir=tmp_path / "other")
    assert list(read(LAYOUTS[layout]()).values()) == list(plain.read())


@pytest.mark.parametrize("layout", ["raw/annotations", "a zip each", "coco's own zip", "versions in names", "one zip"])
def test_every_layout_is_found_where_nothing_can_be_listed(read, http_server, layout):
    for name, content in as_bytes(LAYOUTS[layout]()).items():
        http_server.put(name, content)
    photos = read(place=http_server.url)
    assert photos[7].captions == ("A dog on grass.", "Grass with a dog.")
    assert photos[3].regions
    assert len(http_server.log.requests) < 230  # questions, and the files themselves


def test_a_zip_may_be_the_place_itself(read, http_server, tmp_path):
    packed = zipped({f"some/where/{name}": content for name, content in FILES.items()})
    (tmp_path / "all.zip").write_bytes(packed)
    here = read(place=tmp_path / "all.zip")
    assert here == read(place=http_server.put("all.zip", packed))
    assert list(here) == [3, 7, 9]


def as_bytes(files):
    return {
        name: content if isinstance(content, bytes) else json.dumps(content).encode() for name, content in files.items()
    }


def test_annotations_on_s3_and_on_the_hub_are_read_as_local_ones(read, s3, hub):
    local = read()
    s3.upload("annotations", as_bytes(LAYOUTS["vg and coco"]()))
    assert read(place="s3://annotations", storage_options={"s3": s3.storage_options}) == local
    hub.add_dataset("me/annotations", as_bytes(LAYOUTS["coco's own zip"]()))
    options = {"hf": {"endpoint": hub.url}}
    assert read(place="hf://datasets/me/annotations", storage_options=options) == local


def test_a_server_that_refuses_everything_says_so(read, http_server):
    http_server.faults.add(Fault("status", code=403, times=None))
    with pytest.raises(AccessDenied):
        read(place=http_server.url)


def test_a_server_that_refuses_what_is_not_there_is_read_all_the_same(read, http_server):
    for name in ("image_data.json", "objects.json"):
        http_server.put(name, json.dumps(FILES[name]).encode())
    for name in (
        "attributes",
        "captions",
        "instances",
        "relationships",
        "region",
        "annotations",
        "raw",
        "vg",
        "coco",
        "_v1",
    ):
        http_server.faults.add(Fault("status", match=name, code=403, times=None))
    assert list(read(place=http_server.url)) == [3, 7]


def test_of_several_versions_the_newest_is_used_and_files_say_which(tmp_path):
    lay(tmp_path, {"image_data.json": PHOTOS, "objects_v1.json": OBJECTS, "objects_v1_2_0.json": OBJECTS})
    found = open_annotations(tmp_path, cache_dir=tmp_path / "cache")
    assert found.version == "1.2.0"
    assert found.files["objects"] == (str(tmp_path / "objects_v1_2_0.json"),)
    assert found.files["captions"] == ()
    lay(tmp_path, {"objects.json": OBJECTS})
    assert open_annotations(tmp_path, cache_dir=tmp_path / "cache").version == "unknown"


def test_the_captions_of_2017_come_before_those_of_2014(read):
    old = {"annotations": [{"image_id": 70, "caption": "Old."}, {"image_id": 71, "caption": "Only here."}]}
    photos = [*PHOTOS, {"image_id": 11, "width": 5, "height": 5, "coco_id": 71}]
    new = {"annotations": [one for one in CAPTIONS["annotations"] if one["image_id"] == 70]}
    files = {"image_data.json": photos, "captions_train2017.json": new, "captions_val2014.json": old}
    found = read({**FILES, **files})
    assert found[7].captions[0] == "A dog on grass."
    assert found[11].captions == ("Only here.",)


# Quirks of versions -------------------------------------------------------------------------------------------------


def in_1_0(items, kind):
    """The same items as version 1.0 writes them."""
    return [{"id": item.get("image_id", item.get("id")), kind: item[kind]} for item in items]


def test_ids_and_names_go_by_either_key(read):
    photos = [{**{k: v for k, v in photo.items() if k != "image_id"}, "id": photo["image_id"]} for photo in PHOTOS]
    named = json.loads(json.dumps(OBJECTS).replace('"names": ["cat"]', '"name": "cat"'))
    named[1]["objects"][0]["names"] = "dog"
    named[1]["image_id"] = "7"
    files = {"image_data.json": photos, "objects.json": [*in_1_0(named[:1], "objects"), *named[1:]]}
    expected = read()
    assert read({**FILES, **files}) == expected


def test_boxes_are_cut_at_the_border_and_those_outside_or_flat_are_left_out_and_counted(tmp_path):
    def thing(name, x, y, w, h):
        return {"names": [name], "x": x, "y": y, "w": w, "h": h}

    things = [
        thing("cut", -50, -10, 100, 20), thing("over", 90, 90, 400, 400), thing("left of it", -20, 0, 10, 10),
        thing("below", 0, 100, 10, 10), thing("flat", 5, 5, 0, 10), thing("twice", 1, 1, 2, 2),
        thing("twice", 1, 1, 2, 2), thing(" ", 1, 1, 2, 2), {"names": [], "x": 1, "y": 1, "w": 1, "h": 1},
        thing("no number", "a", 1, 2, 2), thing("negative", 1, 1, -2, 2), thing("nan", float("nan"), 1, 2, 2), 5, None,
        {"names": ["", "second"], "x": 1.5, "y": 1, "w": 2, "h": 2},
    ]  # fmt: skip
    files = {"image_data.json": PHOTOS, "objects.json": [{"image_id": 3, "objects": things}]}
    found = open_annotations(lay(tmp_path, files), cache_dir=tmp_path / "cache")
    [photo] = found.read()
    assert [one.name for one in photo.objects] == ["cut", "over", "twice", "second"]
    assert photo.objects[0].box == Box(0, 0, 0.5, 0.1)
    assert photo.objects[1].box == pytest.approx(Box(0.9, 0.9, 1, 1))
    assert found.counts == {"outside_objects": 2, "flat_objects": 1, "repeated_objects": 1}
    [left_out] = found.left_out.values()
    assert left_out == {"no_name": 2, "no_box": 3, "wrong_type": 2}


def test_coco_ids_null_zero_and_minus_one_are_none(read):
    photos = [{**PHOTOS[0], "image_id": n, "coco_id": coco} for n, coco in enumerate((None, 0, -1, 70, "70"), 1)]
    objects = [{"image_id": n, "objects": OBJECTS[1]["objects"]} for n in range(1, 6)]
    found = read({**FILES, "image_data.json": photos, "objects.json": objects})
    assert [photo.coco_id for photo in found.values()] == [None, None, None, 70, 70]


def test_photos_without_entry_or_size_are_left_out_unless_somebody_knows_their_size(read, tmp_path):
    objects = [*OBJECTS, {"image_id": 1592, "objects": OBJECTS[0]["objects"]}]
    photos = [{**PHOTOS[1], "width": None}, *PHOTOS[:1]]
    files = {"image_data.json": photos, "objects.json": objects}
    assert list(read(files)) == [7]
    sized = read(files, sizes={1592: (50, 100), 3: (500, 100), 4: (1, 1)})
    assert list(sized) == [3, 7, 1592]
    assert sized[1592].objects[0].box == Box(0, 0, 1, 1)
    assert sized[1592].coco_id is None
    assert sized[3].objects[0].box == Box(0, 0, 0.1, 1)
    assert (sized[3].width, sized[3].height) == (500, 100)


def test_a_photo_that_comes_twice_has_what_both_entries_say_and_the_first_size(read):
    more = {"image_id": 3, "objects": [*OBJECTS[0]["objects"], {"names": ["hat"], "x": 1, "y": 1, "w": 9, "h": 9}]}
    photos = read({**FILES, "objects.json": [*OBJECTS, more], "image_data.json": [*PHOTOS, {**PHOTOS[1], "width": 1}]})
    assert [one.name for one in photos[3].objects] == ["cat", "hat"]
    assert photos[3].width == 100


def test_attributes_and_relationships_stand_in_for_regions_only_where_there_are_none(tmp_path):
    cat = {"x": 0, "y": 0, "w": 10, "h": 10}
    mat = {"x": 40, "y": 80, "w": 60, "h": 20}
    files = {
        **FILES,
        "attributes.json": [
            {"image_id": 3, "attributes": [{**cat, "names": ["cat"], "attributes": ["lazy"]}]},
            {"image_id": 7, "attributes": [{**cat, "names": ["dog"], "attributes": ["big ", "brown"]},
                                           {**cat, "names": ["sun"]}]},
        ],
        "relationships.json": [
            {"image_id": 7, "relationships": [
                {"predicate": "ON", "subject": {**cat, "name": "dog"}, "object": {**mat, "names": ["mat"]}}]}
        ],
    }  # fmt: skip
    found = open_annotations(lay(tmp_path, files), cache_dir=tmp_path / "cache")
    photos = {photo.image_id: photo for photo in found.read()}
    assert [one.text for one in photos[3].regions] == ["a grey cat"]
    assert [one.text for one in photos[7].regions] == ["big, brown dog", "dog on mat"]
    assert photos[7].regions[1].box == Box(0, 0, 0.5, 1)
    assert found.counts["stand_in_regions"] == 1
    assert found.counts["stand_in_objects"] == 1


def test_an_escaped_half_of_a_surrogate_pair_does_no_harm(read):
    files = {
        **FILES,
        "objects.json": b'[{"image_id": 3, "objects": [{"names": ["c\\ud800t"], "x":0,"y":0,"w":9,"h":9}]}]',
    }
    assert read(files)[3].objects[0].name == "c?t"


# Reading ------------------------------------------------------------------------------------------------------------


def test_any_photo_can_be_asked_for_and_what_is_unknown_is_counted(tmp_path):
    write_sample(tmp_path / "sample")
    found = open_annotations(tmp_path / "sample", cache_dir=tmp_path / "cache")
    everything = list(found.read())
    ids = [one.image_id for one in everything]
    assert ids == sorted(ids) == found.image_ids.tolist()
    assert len(found) == len(ids) > 20
    assert list(found.read([ids[5], ids[2], ids[5], 10**12])) == [everything[2], everything[5]]
    assert found.counts["unknown_images"] == 1
    assert any(one.captions for one in everything)
    assert all(5 <= len(one.captions) <= 7 for one in everything if one.captions)


def test_it_pickles_and_reads_the_same_elsewhere(tmp_path):
    found = open_annotations(lay(tmp_path, FILES), cache_dir=tmp_path / "cache")
    assert list(pickle.loads(pickle.dumps(found)).read()) == list(found.read())


def test_files_are_parsed_once_and_again_when_they_change(tmp_path):
    place = lay(tmp_path / "place", FILES)
    open_annotations(place, cache_dir=tmp_path / "cache")
    kept = {path: path.stat().st_mtime_ns for path in (tmp_path / "cache").rglob("rows.arrow")}
    assert len(kept) == 4  # image_data has no rows
    open_annotations(place, cache_dir=tmp_path / "cache")
    lay(place, {"objects.json": OBJECTS[:1]})
    assert len(open_annotations(place, cache_dir=tmp_path / "cache").read([7]).__next__().objects) == 1  # COCO's dog
    after = {path: path.stat().st_mtime_ns for path in (tmp_path / "cache").rglob("rows.arrow")}
    assert len(after) == 5
    assert kept.items() <= after.items()


DAMAGES = {
    "breaks off": (
        b'[{"image_id": 3, "objects": [{"na',
        r"objects\.json: the file breaks off at byte 33, inside record 0",
    ),
    "no id": (b'[{"objects": []}]', r"objects\.json, record 0, byte 1: no image_id\. Is this Visual Genome's objects"),
    "other file": (b'[{"image_id": 3, "regions": []}]', r"record 0, byte 1: expected a list 'objects'"),
    "no JSON": (b"<html>", r"objects\.json: expected a JSON array"),
    "empty": (b"", r"objects\.json: the file is empty"),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_file_is_named_with_record_and_byte_and_nothing_of_it_is_kept(read, tmp_path, damage):
    content, message = DAMAGES[damage]
    with pytest.raises(CorruptFile, match=message):
        read({**FILES, "objects.json": content})
    assert not list((tmp_path / "cache").rglob("objects-*/*"))
    assert len(read()) == 3


def test_a_coco_file_that_breaks_off_anywhere_is_corrupt_and_one_of_another_kind_too():
    whole = json.dumps(CAPTIONS).encode()
    assert [row.key for row in read_captions(io.BytesIO(whole), "c.json", Faults())] == [70, 71]
    for stop in range(len(whole)):
        with pytest.raises(CorruptFile, match=r"c\.json"):
            list(read_captions(io.BytesIO(whole[:stop]), "c.json", Faults()))
    with pytest.raises(CorruptFile, match="no list of annotations"):
        list(read_captions(io.BytesIO(b'{"images": []}'), "c.json", Faults()))


def test_a_zip_cut_off_is_corrupt(read):
    with pytest.raises(CorruptFile, match=r"objects\.json\.zip"):
        read({"image_data.json": PHOTOS, "objects.json.zip": zipped({"objects.json": OBJECTS})[:-30]})
    with pytest.raises(CorruptFile, match=r"expected one JSON file of objects inside, found a\.json, b\.json"):
        read({"image_data.json": PHOTOS, "objects.json.zip": zipped({"a.json": OBJECTS, "b.json": OBJECTS})})


def test_what_coco_says_badly_is_left_out_and_told_with_its_place():
    faults = Faults()
    bad = {"annotations": [{"id": 1, "image_id": 70}, 5, {"image_id": "x", "caption": "a"}]}
    assert list(read_captions(io.BytesIO(json.dumps(bad).encode()), "c.json", faults)) == []
    assert faults.counts == {"no_caption": 3}
    assert faults.remarks[0].startswith("c.json, record 0, byte 17: no_caption")
    faults = Faults()
    bad = {**INSTANCES, "images": [], "annotations": [*INSTANCES["annotations"], {"bbox": [1]}, 3]}
    assert list(read_instances(io.BytesIO(json.dumps(bad).encode()), "i.json", faults)) == []
    assert faults.counts == {"no_size": 1, "bad_annotations": 2}


def test_an_image_whose_list_is_null_has_nothing_and_an_attribute_may_be_a_word(read):
    box = {"x": 0, "y": 0, "w": 10, "h": 10}
    files = {
        "objects.json": [{"image_id": 3, "objects": None}],
        "region_descriptions.json": [],
        "attributes.json": [{"image_id": 3, "attributes": [{**box, "object_names": ["cat"], "attributes": "lazy"}]}],
    }
    assert read({**FILES, **files, "image_data.json": PHOTOS[1:2]}) == {}  # nobody wrote of it but in attributes
    assert read({**FILES, "region_descriptions.json": [], "attributes.json": files["attributes.json"]})[3].regions == (
        Region("lazy cat", Box(0, 0, 0.1, 0.1)),
    )


ITEM = st.tuples(
    st.integers(1, 40), st.lists(st.tuples(st.sampled_from("abc"), st.integers(-5, 50), st.integers(0, 9)), max_size=5)
)


@settings(max_examples=30, deadline=None)
@given(st.lists(ITEM, min_size=1, max_size=60), st.lists(st.integers(1, 40), max_size=10))
def test_any_order_of_items_is_read_by_photo(tmp_path_factory, items, asked):
    """Against the plainest of models: a dictionary of lists."""
    folder = tmp_path_factory.mktemp("order")
    expected: dict[int, dict[Object, None]] = {}
    for image_id, things in items:
        for name, x, w in things:
            box = Box(max(x, 0) / 40, 0, min(x + w, 40) / 40, 0.5)
            if box.x1 < box.x2:
                expected.setdefault(image_id, {})[Object(name, box)] = None
    objects = [
        {"image_id": n, "objects": [{"names": [name], "x": x, "y": 0, "w": w, "h": 5} for name, x, w in things]}
        for n, things in items
    ]
    photos = [{"image_id": n, "width": 40, "height": 10} for n in range(40, 0, -1)]
    found = open_annotations(
        lay(folder, {"image_data.json": photos, "objects.json": objects}), cache_dir=folder / "cache"
    )
    whole = {one.image_id: one.objects for one in found.read() if one.objects}
    assert whole == {n: tuple(things) for n, things in sorted(expected.items())}
    some = {one.image_id: one.objects for one in found.read(asked) if one.objects}
    assert some == {n: whole[n] for n in sorted(set(asked)) if n in whole}


JSON_VALUE = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(
        st.sampled_from(["image_id", "id", "objects", "regions", "names", "x", "y", "w", "h", "annotations"]), inner,
        max_size=4),
    max_leaves=12,
)  # fmt: skip


@settings(max_examples=150, deadline=None)
@given(JSON_VALUE, st.sampled_from(["objects", "region_descriptions", "attributes", "relationships"]))
def test_any_json_is_read_or_refused_with_an_error_of_ours(value, kind):
    data = json.dumps(value).encode()
    readers = (
        lambda: read_photos(kind, io.BytesIO(data), "a.json", Faults()),
        lambda: read_captions(io.BytesIO(data), "a.json", Faults()),
        lambda: read_instances(io.BytesIO(data), "a.json", Faults()),
    )
    for read in readers:
        try:
            for row in read():
                assert len(row.boxes) in (0, 4 * len(row.texts))
                "".join(row.texts).encode()
        except SvitError as error:
            assert "a.json" in str(error)  # noqa: PT017 - most values are refused


MEASURE = """
import sys
from pathlib import Path
from svit_builder.annotations import open_annotations

def peak():
    return int(Path("/proc/self/status").read_text().partition("VmHWM:")[2].split()[0])

open_annotations(sys.argv[1] + "/small", cache_dir=sys.argv[1] + "/cache")  # imports and first use
before = peak()
found = open_annotations(sys.argv[1] + "/large", cache_dir=sys.argv[1] + "/cache")
count = sum(len(one.objects) for one in found.read())
print(len(found), count, (peak() - before) // 1024)
"""


def test_a_tenth_of_all_of_visual_genome_s_objects_takes_few_megabytes(tmp_path):
    """10,800 photos with 35 objects: 378,000 objects in 45 MB of JSON; the whole is ten times as much of the same."""
    lay(tmp_path / "small", {"image_data.json": PHOTOS, "objects.json": OBJECTS})
    ids = range(1, 10_801)
    lay(tmp_path / "large", {"image_data.json": [{"image_id": n, "width": 800, "height": 600} for n in ids]})
    thing = (
        '{"synsets": ["thing.n.%02d"], "h": 339, "object_id": 1058498, "names": ["thing %d"], "w": 79, "y": %d, "x": 4}'
    )
    things = ", ".join(thing % (n, n, n) for n in range(35))
    with (tmp_path / "large" / "objects.json").open("w") as out:
        out.write("[")
        for n in ids:
            out.write(f'{", " if n > 1 else ""}{{"image_id": {n}, "objects": [{things}]}}')
        out.write("]")
    assert (tmp_path / "large" / "objects.json").stat().st_size > 38e6
    child = subprocess.run(
        [sys.executable, "-c", MEASURE, str(tmp_path)], capture_output=True, text=True, check=True, timeout=120
    )
    photos, objects, megabytes = map(int, child.stdout.split())
    assert (photos, objects) == (10_800, 378_000)
    assert megabytes < 40


@pytest.mark.real
@pytest.mark.skipif(not REAL.is_dir(), reason="the real annotations are not here")
def test_the_real_annotations_of_the_first_five_photos(tmp_path):
    found = open_annotations(REAL, cache_dir=tmp_path)
    photos = {one.image_id: one for one in found.read()}
    assert list(photos) == [1, 2, 3, 4, 5]
    assert found.version == "1.2.0"
    assert [len(one.objects) for one in photos.values()] == [40, 27, 52, 24, 34]
    assert [len(one.regions) for one in photos.values()] == [262, 256, 255, 257, 248]
    assert photos[1].objects[0] == Object("clock", Box(421 / 800, 91 / 600, 500 / 800, 430 / 600))
    assert not found.left_out
    assert not any(one.captions for one in photos.values())


@pytest.mark.real
@pytest.mark.skipif(not REAL.is_dir(), reason="the real annotations are not here")
def test_real_captions_and_instances_stand_by_the_coco_id_that_image_data_tells(tmp_path):
    """Visual Genome's photos 1 to 5 are not COCO's, so here their entries claim to be."""
    claimed = [{"image_id": 1, "width": 640, "height": 480, "coco_id": 408805}]
    place = lay(tmp_path / "place", {"image_data.json": claimed, "objects.json": [{"image_id": 1, "objects": []}]})
    sources = find_sources(str(REAL), Storage())
    for kind in ("captions", "instances"):
        for source in sources[kind]:
            (place / Path(source.url).name).symlink_to(source.url)
    [photo] = open_annotations(place, cache_dir=tmp_path / "cache").read()
    assert photo.captions[1] == "an offica kitchen with white cabinets and some yellow walls"
    assert len(photo.captions) == 5
    assert {"oven", "microwave"} <= {one.name for one in photo.objects}
    assert all(0 <= one.box.x1 < one.box.x2 <= 1 for one in photo.objects)
    assert np.all(np.array([one.box for one in photo.objects]) >= 0)
