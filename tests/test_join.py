"""The same windows from a folder, a zip and HTTP; few requests; lost photos by policy; nothing left behind."""

from __future__ import annotations

import gc
import io
import json
import random
import threading
import zipfile
from itertools import pairwise

import numpy as np
import pytest
from PIL import Image

from svit_datasets.errors import BadImage, ImageNotFound, SourceChanged, SourceUnreachable, TooManyFailures
from svit_datasets.image_sources import find_image_sources
from svit_datasets.images import Locator
from svit_datasets.join import WINDOW, read_windows
from svit_datasets.located import vg_folder
from svit_datasets.options import Options
from svit_datasets.order import sequence
from svit_datasets.plan import plan_dialogues, plan_images
from svit_datasets.report import Tally
from svit_datasets.sources import TextFile
from svit_datasets.storage import Storage
from svit_datasets.store import open_store
from svit_datasets.tasks import TASKS
from tests.servers import Fault

COUNT = 150
IDS = random.Random(3).sample(range(100, 400), COUNT)  # in no order, as in SVIT


def photo(image_id):
    out = io.BytesIO()
    Image.frombytes("L", (16, 9 + image_id % 7), random.Random(image_id).randbytes(16 * (9 + image_id % 7))).save(
        out, "JPEG"
    )
    return out.getvalue()


PHOTOS = {f"{vg_folder(image_id)}/{image_id}.jpg": photo(image_id) for image_id in sorted(IDS)}
NAMES = {image_id: f"{vg_folder(image_id)}/{image_id}.jpg" for image_id in IDS}


def zipped(photos, compression=zipfile.ZIP_STORED):
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", compression) as archive:
        for name, data in photos.items():
            archive.writestr(name, data)
    return packed.getvalue()


class World:
    """One text and the places of its photos, planned and read."""

    def __init__(self, root):
        self.root = root
        self.storage = Storage(backoff=0.01, attempts=2)
        self.tally = Tally(root / "reports" / "a.jsonl")
        self.tally.begin([])

    def text(self, name, items):
        path = self.root / f"{TASKS[name].stem}.json"
        path.write_text(json.dumps(items))
        return open_store(TextFile(self.storage.stat(str(path)), TASKS[name]), self.storage, self.root / "cache")

    def plan(self, images, ids=IDS, policy="error"):
        turns = [{"from": "user", "value": "Q?"}, {"from": "gpt", "value": "A."}]
        store = self.text("conversation", [{"image_id": each, "conversations": [{"content": turns}]} for each in ids])
        options = Options(TASKS["conversation"], images=images, on_missing_image=policy)
        return plan_images((store,), ("conversation",), options, self.locator(images))[0]

    def locator(self, images):
        sources = find_image_sources(images, None, self.storage)
        return Locator(sources, self.storage, self.root / "cache", None)

    def windows(self, *plans, policy="error", **options):
        return read_windows(plans, policy, self.storage, self.tally, **options)

    def rows(self, *plans, policy="error", **options):
        return [
            (int(image_id), photo and photo.data)
            for window in self.windows(*plans, policy=policy, **options)
            for image_id, photo in zip(window.plan.image_ids, window.photos, strict=True)
        ]


@pytest.fixture
def world(tmp_path):
    return World(tmp_path)


@pytest.fixture
def folder(tmp_path):
    for name, data in PHOTOS.items():
        (tmp_path / "p" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "p" / name).write_bytes(data)
    return tmp_path / "p"


EXPECTED = [(image_id, PHOTOS[NAMES[image_id]]) for image_id in IDS]


def without(*image_ids):
    return [row for row in EXPECTED if row[0] not in image_ids]


def with_null(*image_ids):
    return [(image_id, None if image_id in image_ids else data) for image_id, data in EXPECTED]


class TestTheSameEverywhere:
    @pytest.mark.parametrize("compression", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
    def test_zips(self, world, http_server, tmp_path, compression):
        data = zipped(PHOTOS, compression)
        (tmp_path / "images.zip").write_bytes(data)
        for place in (tmp_path / "images.zip", http_server.put("images.zip", data)):
            assert world.rows(world.plan(place)) == EXPECTED

    def test_folders(self, world, http_server, folder):
        http_server.root = folder
        for place in (folder, http_server.url, f"{http_server.url}/{{folder}}/{{image_id}}.jpg"):
            assert world.rows(world.plan(place)) == EXPECTED

    def test_several_places_at_once(self, world, http_server, folder):
        """A third in a zip here, a third in one over http, the rest in a folder."""
        names = list(PHOTOS)
        for name in names[::3] + names[1::3]:
            (folder / name).unlink()
        (world.root / "images.zip").write_bytes(zipped({name: PHOTOS[name] for name in names[::3]}))
        url = http_server.put("images2.zip", zipped({name: PHOTOS[name] for name in names[1::3]}))
        assert world.rows(world.plan([folder, world.root / "images.zip", url])) == EXPECTED

    @pytest.mark.parametrize("name", ["images.zip", "p"])
    def test_names_to_try_do_not_hide_the_places_behind_them(self, world, http_server, folder, name):
        """Only a request tells what a template has; a folder and a zip say what they hold, so they are asked first."""
        for number, (photo, data) in enumerate(PHOTOS.items()):
            if number % 2:
                http_server.put(photo, data)
                (folder / photo).unlink()
        rest = {photo: data for number, (photo, data) in enumerate(PHOTOS.items()) if not number % 2}
        (world.root / "images.zip").write_bytes(zipped(rest))
        template = f"{http_server.url}/{{folder}}/{{image_id}}.jpg"
        assert world.rows(world.plan([template, world.root / name])) == EXPECTED

    def test_windows(self, world, folder):
        plan = world.plan(folder)
        sizes = [len(window.photos) for window in world.windows(plan)]
        assert sizes == [WINDOW] * 4 + [COUNT - 4 * WINDOW]
        window = next(world.windows(plan))
        assert [(each.width, each.height) for each in window.photos] == [(16, 9 + each % 7) for each in IDS[:WINDOW]]

    def test_shards_in_turn(self, world, folder):
        plan = world.plan(folder)
        parts = [plan.take(np.arange(start, stop)) for start, stop in plan.shards()]
        assert world.rows(*parts) == EXPECTED
        assert world.rows(*parts[2:4], plan.take(np.arange(0)), parts[0]) == [
            row for part in (2, 3, 0) for row in EXPECTED[slice(*plan.shards()[part])]
        ]

    def test_dialogues_with_and_without_photos(self, world, folder):
        turns = [{"from": "human", "value": "Q?"}, {"from": "gpt", "value": "A."}]
        lines = [{"id": number, "conversations": turns} for number in range(100)]
        for number in range(40, 80, 3):
            lines[number]["image"] = f"vg/{NAMES[IDS[number % 5]]}"  # some photos several times
        store = world.text("core_150k", lines)
        options = Options(TASKS["core_150k"], images=folder)
        plan, _ = plan_dialogues(store, options, world.locator(folder))
        photos = [photo and photo.data for window in world.windows(plan) for photo in window.photos]
        assert photos == [PHOTOS[each["image"][3:]] if "image" in each else None for each in lines]


class TestRequests:
    def test_neighbours_share_one(self, world, http_server):
        plan = world.plan(http_server.put("images.zip", zipped(PHOTOS)), sorted(IDS))
        http_server.log.reset()
        assert sorted(world.rows(plan)) == sorted(EXPECTED)
        assert len(http_server.log.requests) == -(-COUNT // WINDOW)

    def test_what_lies_far_apart_does_not(self, world, http_server):
        far = {}
        for image_id in IDS[:6]:
            far |= {NAMES[image_id]: PHOTOS[NAMES[image_id]], f"{image_id}.bin": bytes(100_000)}
        plan = world.plan(http_server.put("images.zip", zipped(far)), IDS[:6])
        http_server.log.reset()
        assert world.rows(plan) == EXPECTED[:6]
        assert len(http_server.log.requests) == 6
        assert http_server.log.body_bytes < 50_000

    def test_the_photos_of_a_range_begin_within_four_megabytes(self, world, http_server):
        large = {}
        for image_id in sorted(IDS[:12]):
            large[NAMES[image_id]] = PHOTOS[NAMES[image_id]] + bytes(1_000_000)
        plan = world.plan(http_server.put("images.zip", zipped(large)), sorted(IDS[:12]))
        http_server.log.reset()
        assert len(world.rows(plan)) == 12
        spans = [list(map(int, line.range.removeprefix("bytes=").split("-"))) for line in http_server.log.requests]
        assert len(spans) == 3
        assert max(stop - start for start, stop in spans) < (4 << 20) + 1_010_000

    def test_a_window_in_storage_order_is_one(self, world, http_server):
        """What `order` cuts at 4 MB is not cut again a little differently."""
        numbers = random.Random(4)
        large = {NAMES[each]: PHOTOS[NAMES[each]] + bytes(numbers.randrange(900_000)) for each in sorted(IDS)}
        plan = world.plan(http_server.put("images.zip", zipped(large)), IDS)
        place = np.stack([plan.photos.source.astype(np.int64), plan.photos.entry["start"]], axis=1)
        size = plan.photos.entry["stop"] - plan.photos.entry["start"]
        order = sequence("storage", place, size, seed=0, epoch=0, window_bytes=1)
        windows = [plan.take(order.items[low:high]) for low, high in pairwise(order.edges.tolist())]
        http_server.log.reset()
        assert len(world.rows(*windows)) == COUNT
        assert len(http_server.log.requests) == len(windows) > 10


class TestPolicies:
    def damaged(self, *image_ids):
        """A zip in which some photos have one byte turned."""
        data = bytearray(zipped(PHOTOS))
        for image_id in image_ids:
            data[data.index(PHOTOS[NAMES[image_id]]) + 300] ^= 0xFF
        return bytes(data)

    def test_a_damaged_member(self, world, http_server):
        bad = IDS[40]
        plan = world.plan(http_server.put("images.zip", self.damaged(bad)))
        message = rf"image {bad}: .*images\.zip::{NAMES[bad]}: the CRC-32.*on_missing_image=\"skip\".*\"null\""
        with pytest.raises(BadImage, match=message):
            world.rows(plan)
        assert world.rows(plan, policy="skip") == without(bad)
        assert world.rows(plan, policy="null") == with_null(bad)
        assert world.tally.report().counts == {"bad_image": 1}

    def test_unverified_a_turned_byte_is_delivered(self, world, http_server):
        """Inside the photo, where Pillow decodes it to other pixels without a word."""
        bad = IDS[40]
        data = self.damaged(bad)
        at = data.index(b"\xff\xd8", zipped(PHOTOS).index(PHOTOS[NAMES[bad]]))
        delivered = data[at : at + len(PHOTOS[NAMES[bad]])]
        assert Image.open(io.BytesIO(delivered)).convert("RGB").size == (16, 9 + bad % 7)
        plan = world.plan(http_server.put("images.zip", data))
        expected = [(image_id, delivered if image_id == bad else photo) for image_id, photo in EXPECTED]
        assert world.rows(plan, verify=False) == expected
        with pytest.raises(BadImage, match="CRC-32"):
            world.rows(plan)

    @pytest.mark.parametrize(
        ("spoil", "message"),
        [
            (lambda data, at, _: data[: at - 47] + bytes(47) + data[at:], "no local header stands there"),
            (lambda data, at, size: data[:at] + bytes(size) + data[at + size :], "not an image"),
            (lambda data, at, size: data[: at + size - 2] + bytes(2) + data[at + size :], "cannot be decoded"),
        ],
    )
    def test_unverified_headers_and_ends_are_still_looked_at(self, world, http_server, spoil, message):
        bad = IDS[40]
        whole, content = zipped(PHOTOS), PHOTOS[NAMES[bad]]
        data = spoil(whole, whole.index(content), len(content))
        plan = world.plan(http_server.put("images.zip", data))
        with pytest.raises(BadImage, match=rf"image {bad}: .*{message}"):
            world.rows(plan, verify=False)
        assert world.rows(plan, policy="skip", verify=False) == without(bad)

    @pytest.mark.parametrize("data", [b"", b"<html>", photo(1)[:-400]])
    def test_a_file_that_is_no_photo(self, world, folder, data):
        bad = IDS[149]
        (folder / NAMES[bad]).write_bytes(data)
        plan = world.plan(folder)
        with pytest.raises(BadImage, match=rf"image {bad}: {folder}/{NAMES[bad]}: "):
            world.rows(plan)
        assert world.rows(plan, policy="skip") == without(bad)
        assert world.rows(plan, policy="null") == with_null(bad)

    @pytest.mark.parametrize("code", [404, 403])
    def test_a_photo_that_the_server_lacks(self, world, http_server, folder, code):
        http_server.root = folder
        lost = IDS[5]
        plan = world.plan(http_server.url)
        http_server.faults.add(Fault("status", match=f"/{lost}.jpg", code=code, times=None))
        with pytest.raises(ImageNotFound, match=rf"image {lost}: .*{lost}\.jpg.*on_missing_image"):
            world.rows(plan)
        assert world.rows(plan, policy="skip") == without(lost)
        assert world.rows(plan, policy="null") == with_null(lost)
        assert world.tally.report().counts == {"missing_image": 1}

    def test_a_file_that_went_away_since_it_was_listed(self, world, folder):
        plan = world.plan(folder)
        (folder / NAMES[IDS[7]]).unlink()
        with pytest.raises(ImageNotFound, match=rf"image {IDS[7]}: "):
            world.rows(plan)
        assert world.rows(plan, policy="skip") == without(IDS[7])

    @pytest.mark.parametrize("policy", ["error", "skip", "null"])
    @pytest.mark.parametrize("remote", [False, True])
    def test_a_zip_that_is_another_one_now(self, world, http_server, tmp_path, policy, remote):
        """No policy covers it: what failed is the source and not a photo."""

        def put(data):
            (tmp_path / "images.zip").write_bytes(data)
            return http_server.put("images.zip", data) if remote else tmp_path / "images.zip"

        plan = world.plan(put(zipped(PHOTOS)))
        put(zipped(dict(reversed(PHOTOS.items()))))
        with pytest.raises(SourceChanged, match=r"images\.zip changed while it was read"):
            world.rows(plan, policy=policy)

    @pytest.mark.parametrize("policy", ["error", "skip", "null"])
    def test_a_server_that_is_down(self, world, http_server, policy):
        plan = world.plan(http_server.put("images.zip", zipped(PHOTOS)))
        http_server.faults.add(Fault("status", code=503, times=None))
        with pytest.raises(SourceUnreachable, match=r"images\.zip.*after 2 attempts"):
            world.rows(plan, policy=policy)

    @pytest.mark.parametrize("policy", ["skip", "null"])
    def test_a_hundred_in_a_row_are_too_many(self, world, http_server, policy):
        bad = IDS[: 4 * WINDOW]  # whole windows: within one, photos are looked at in the order of the zip
        plan = world.plan(http_server.put("images.zip", self.damaged(*bad)))
        with pytest.raises(TooManyFailures, match="100 photos in a row could not be read"):
            world.rows(plan, policy=policy)

    def test_as_many_with_one_between_are_not(self, world, http_server):
        bad = set(IDS) - {IDS[80]}
        plan = world.plan(http_server.put("images.zip", self.damaged(*bad)))
        assert world.rows(plan, policy="skip") == without(*bad)
        assert world.tally.report().counts == {"bad_image": 149}


class TestAnAbandonedIterator:
    @staticmethod
    def threads():
        return {thread for thread in threading.enumerate() if thread.name.startswith("svit")}

    @pytest.mark.parametrize("how", ["close", "forget", "error"])
    def test_leaves_no_thread(self, world, folder, how):
        gc.collect()  # ends what the datasets of other tests have begun
        plan = world.plan(folder)
        if how == "error":
            (folder / NAMES[IDS[100]]).write_bytes(b"")
            with pytest.raises(BadImage):
                world.rows(plan)
        else:
            windows = world.windows(plan)
            next(windows)
            if how == "close":
                windows.close()
            del windows
        assert self.threads() == set()

    def test_cancels_what_is_under_way(self, world, http_server, folder):
        http_server.root = folder
        plan = world.plan(f"{http_server.url}/{{folder}}/{{image_id}}.jpg")
        http_server.log.reset()
        first = "|".join(f"/{image_id}.jpg" for image_id in IDS[:WINDOW])
        http_server.faults.add(Fault("stall", match=f"^(?!.*({first})$)", times=None))  # all but the first window
        windows = world.windows(plan)
        assert len(next(windows).photos) == WINDOW
        windows.close()
        http_server.faults.clear()
        asked = len(http_server.log.requests)
        assert asked < COUNT  # not everything was asked for, and what was is not waited for
        assert world.storage.read(f"{http_server.url}/{NAMES[IDS[0]]}") == EXPECTED[0][1]

    def test_nothing_is_asked_before_the_first_window_is_wanted(self, world, http_server):
        plan = world.plan(http_server.put("images.zip", zipped(PHOTOS)))
        http_server.log.reset()
        world.windows(plan).close()
        assert http_server.log.requests == []
