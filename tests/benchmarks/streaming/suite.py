"""The corpus and a size in, numbers out: every case in turns, so that what else the machine does falls on all alike.

`readers` says what there is to measure, `floors` what is promised of it, `page` how it is told.
"""

from __future__ import annotations

import json
import shutil
import time
import zipfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.benchmarks.corpus import ZIPS, corpus
from tests.benchmarks.runner import Case, CaseFailed, fresh, medians, run
from tests.benchmarks.streaming.environments import environments
from tests.benchmarks.streaming.peers.source import BATCH
from tests.benchmarks.streaming.readers import FORMS, LIMITS, LOADERS, NAIVE, PILLOW, READERS, RESUMING
from tests.servers import FileServer

if TYPE_CHECKING:
    from collections.abc import Callable, Container, Iterator

    from tests.benchmarks.corpus import Corpus
    from tests.benchmarks.streaming.environments import Environment
    from tests.benchmarks.streaming.readers import Form, Loader, Reader

FAR, NEAR = 0.02, 0.0  # seconds that the server waits before every answer
_UNDER_WAY = 512  # rows that may be under way when the first one comes: 32 MB, and a span or a window in use
_UNDER_WAY_NAIVE = {"datasets": 64, "fsspec": 1}


@dataclass(frozen=True, slots=True)
class Size:
    """How much is measured."""

    images: int
    repeats: int
    path_rows: int  # photos that `datasets` reads by their paths, which is slow
    naive_rows: int  # photos that fsspec reads one by one, which is slower
    stops: tuple[float, ...]  # shares of an epoch at which a reader stops and another process goes on
    near: bool = True  # also without added latency


FULL = Size(images=4000, repeats=3, path_rows=192, naive_rows=40, stops=(0.1, 0.35, 0.75))
QUICK = Size(images=600, repeats=1, path_rows=96, naive_rows=10, stops=(0.5,), near=False)


@dataclass(frozen=True, slots=True)
class Resumed:
    """What became of an epoch with stops in it."""

    stops: int
    lost: int  # rows that never came
    repeated: int  # rows that came once more
    again: float  # bytes that the last process read beyond the photos of its own rows: text, containers, and read again
    photos_again: float  # of these, photos' bytes in the zips


@dataclass(slots=True)
class Results:
    """All that was measured; each key is (label, what), `what` a case, "near", "prepared" or "delivered"."""

    figures: dict[tuple[str, str], dict[str, float]] = field(default_factory=dict)
    resumed: dict[str, Resumed] = field(default_factory=dict)
    conversions: dict[str, float] = field(default_factory=dict)  # folder -> seconds
    missing: dict[str, str] = field(default_factory=dict)  # label -> why it could not be measured

    def figure(self, label: str, what: str, name: str) -> float | None:
        """One number, or None where it was not measured."""
        return self.figures.get((label, what), {}).get(name)


class Suite:
    """One run of the benchmark over one corpus."""

    def __init__(self, size: Size, home: Path, *, tell: Callable[[str], object] = lambda _: None) -> None:
        self.size, self.home, self.tell = size, home, tell
        self.made: Corpus = corpus(home, size.images)
        self.results = Results()
        self.environments: dict[str, Environment] = {}

    def measure(self, only: Container[str] | None = None) -> Results:
        """Measure every line, or those of these labels."""
        readers = [reader for reader in READERS if only is None or reader.label in only]
        loaders = [loader for loader in LOADERS if only is None or loader.label in only]
        resuming = [reader for reader in RESUMING if only is None or reader.label in only]
        limits = {label: limit for label, limit in LIMITS.items() if only is None or label in only}
        needed = [*readers, *loaders, *resuming]
        forms = [form for form in FORMS if form.folder in {each.form for each in needed}]
        names = dict.fromkeys(each.environment for each in (*needed, *forms))
        self.tell("environments of the peers")
        self.environments = environments(self.home, names)
        with FileServer(self.made.folder) as server:
            self._convert(forms, server)
            if any(reader.urls for reader in readers):
                self._write_paths(server)
            cases = list(self._cases(readers, loaders, limits, server))
            outcomes: dict[tuple[str, str], list[dict[str, float]]] = {}
            for _ in range(self.size.repeats):
                for key, case, ours in cases:
                    outcome = self._run(key, case, server, ours=ours)
                    if outcome is not None:
                        outcomes.setdefault(key, []).append(outcome)
            self.results.figures = {key: medians(several) for key, several in outcomes.items()}
            for reader in resuming:
                self._resume(reader, server)
        return self.results

    def _convert(self, forms: list[Form], server: FileServer) -> None:
        """Make the forms that are not there yet; how long it took is kept with them."""
        for form in forms:
            out = self.made.folder / "peers" / form.folder
            stamp = out.with_suffix(".json")  # written last
            environment = self.environments[form.environment]
            if not (stamp.is_file() and form.keep) and not environment.missing:
                shutil.rmtree(out, ignore_errors=True)
                stamp.unlink(missing_ok=True)
                out.mkdir(parents=True)
                self.tell(f"{form.folder}: made by {form.module}")
                setting = {**self._common(server), **form.setting, "out": str(out), "images": self.size.images}
                begun = time.monotonic()
                case = Case(f"streaming.peers.{form.module}", form.case, setting, environment.python)
                with fresh() as scratch:
                    try:
                        run(case, server, scratch)
                    except CaseFailed as error:
                        if form.folder == "ours":
                            raise
                        self.results.missing[form.folder] = str(error)
                        continue
                stamp.write_text(json.dumps(time.monotonic() - begun), "utf-8")
            if stamp.is_file():
                self.results.conversions[form.folder] = json.loads(stamp.read_text("utf-8"))

    def _write_paths(self, server: FileServer) -> None:
        """Write the rows of paths that `datasets` reads; they name this run's server, so every run writes them."""
        (self.made.folder / "peers").mkdir(exist_ok=True)
        ids = [int(Path(name).stem) for name in self.made.names]
        urls = [self.made.member_url(server.url, name) for name in self.made.names]
        out = {"out": str(self.made.folder / "peers"), "ids": ids, "urls": urls}
        with fresh() as scratch:
            run(Case("streaming.peers.hf_datasets", "convert_paths", {**self._common(server), **out}), server, scratch)

    def _cases(
        self, readers: list[Reader], loaders: list[Loader], limits: dict[str, Any], server: FileServer
    ) -> Iterator[tuple[tuple[str, str], Case, bool]]:
        """Yield (key, case, whether it is ours) of one round."""
        skip = {"skip": min(_UNDER_WAY, self.size.images // 4)}
        for label, (name, more) in limits.items():
            setting = {**self._common(server), **more, **(skip if name == "decode" else {})}
            yield (label, "limit"), Case("streaming.peers.limits", name, setting, latency=NEAR), True
        for reader in readers:
            if not self._can(reader):
                continue
            setting = {**self._setting(reader, server), **(self._some(reader, server) if reader.urls else skip)}
            for what, name, latency in (
                ("decoded", reader.decoded, FAR),
                ("undecoded", reader.undecoded, FAR),
                ("near", reader.decoded if reader.near and self.size.near else "", NEAR),
            ):
                if name:
                    yield (reader.label, what), self._case(reader, name, setting, latency), reader.ours
            if reader.label == PILLOW:
                yield (reader.label, "prepared"), self._case(reader, reader.decoded, {**setting, "limit": 1}), True
        for loader in loaders:
            if self._can(loader):
                setting = {**self._setting(loader, server), **skip, "workers": loader.workers}
                yield (loader.label, "delivered"), self._case(loader, "delivered", setting), loader.ours

    def _can(self, each: Reader | Loader) -> bool:
        """Whether it can be measured; if not, why is noted."""
        environment = self.environments[each.environment]
        why = environment.missing or self.results.missing.get(each.form, "")
        if why:
            self.results.missing[each.label] = why
        return not why

    def _common(self, server: FileServer) -> dict[str, Any]:
        return {"folder": str(self.made.folder), "root": server.url}

    def _setting(self, each: Reader | Loader, server: FileServer) -> dict[str, Any]:
        form = {"at": f"{server.url}/peers/{each.form}", "s3": f"s3://peers/{each.form}"} if each.form else {}
        return {**self._common(server), **form, **each.setting}

    def _some(self, reader: Reader, server: FileServer) -> dict[str, Any]:
        """The photos that a slow reader gets, and how many may be under way when the first comes."""
        naive = reader.label == NAIVE
        limit = self.size.naive_rows if naive else self.size.path_rows
        urls = [self.made.member_url(server.url, name) for name in self.made.names[:limit]]
        skip = _UNDER_WAY_NAIVE["fsspec" if naive else "datasets"]
        return {"urls": urls, "limit": limit, "skip": min(skip, limit // 3), "rows": f"{server.url}/peers/rows.jsonl"}

    def _case(self, each: Reader | Loader, name: str, setting: dict[str, Any], latency: float = FAR) -> Case:
        python = self.environments[each.environment].python
        return Case(f"streaming.peers.{each.module}", name, setting, python, latency)

    def _run(self, key: tuple[str, str], case: Case, server: FileServer, *, ours: bool) -> dict[str, float] | None:
        """One outcome; None where a peer failed, which is noted."""
        self.tell(", ".join(key))
        try:
            with fresh() as scratch:
                if key[1] == "prepared":
                    run(case, server, scratch)  # leaves its cache
                return run(case, server, scratch)
        except CaseFailed as error:
            if ours:
                raise
            self.results.missing[", ".join(key)] = str(error)
            return None

    def _resume(self, reader: Reader, server: FileServer) -> None:
        """One shuffled epoch in several processes, each on a machine that has nothing of the one before but a state."""
        if not self._can(reader):
            return
        self.tell(f"{reader.label}, resumed")
        rows = [round(self.size.images * share / BATCH) * BATCH for share in self.size.stops]
        stops = [after - before for before, after in zip([0, *rows], rows, strict=False)]
        legs = []
        with fresh() as scratch, fresh() as kept:
            for stop in [*stops, 0]:
                shutil.rmtree(scratch)
                Path(scratch).mkdir()
                setting = {**self._setting(reader, server), "state": f"{kept}/state.json", "stop": stop}
                try:
                    legs.append(run(self._case(reader, "resumed", {**setting, "tell_ids": True}), server, scratch))
                except CaseFailed as error:
                    if reader.ours:
                        raise
                    self.results.missing[f"{reader.label}, resumed"] = str(error)
                    return
        came = [row for leg in legs for row in leg["ids"]]
        sizes = _photo_sizes(self.made.folder)
        own = sum(sizes[row] for row in legs[-1]["ids"])
        again, photos = legs[-1]["body_bytes"] - own, max(0, legs[-1]["photo_bytes"] - own)
        lost, repeated = self.size.images - len(set(came)), len(came) - len(set(came))
        self.results.resumed[reader.label] = Resumed(len(stops), lost, repeated, again, photos)


def _photo_sizes(folder: Path) -> dict[int, int]:
    """Bytes of each photo, by image id."""
    sizes = {}
    for name in ZIPS.values():
        with zipfile.ZipFile(folder / "raw" / name) as archive:
            sizes |= {int(Path(info.filename).stem): info.file_size for info in archive.infolist()}
    return sizes
