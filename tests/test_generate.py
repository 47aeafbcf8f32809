"""Generation: every photo ends up accepted or among the rejects, nothing is asked twice, and limits are kept."""

import asyncio
import json
import os
import shutil
import signal
import subprocess
import sys
import time
import zipfile
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from svit_builder.annotations import open_annotations
from svit_builder.generate.client import Http
from svit_builder.generate.derive import PROVENANCE, derive
from svit_builder.generate.journal import Journal
from svit_builder.generate.limits import Concurrency, Pace
from svit_builder.generate.plan import TASKS, Settings, choose, items
from svit_builder.generate.prices import Price, read_price
from svit_builder.generate.protocol import Request
from svit_builder.generate.rules import RULES_VERSION
from svit_builder.generate.run import Job, generate, run_shard
from svit_builder.generate.status import read_status

from svit_datasets import load_dataset
from svit_datasets.errors import EndpointError, OptionError, SourceChanged, SourceNotFound
from svit_datasets.sample import write_sample
from tests.annotated import write_annotations
from tests.servers.chat import LASTING, PASSING, ChatFaults, ChatServer

MODEL = "loopback-1"
KEY = "sk-only-for-the-endpoint"


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    """Photos with their annotations."""
    return write_sample(tmp_path_factory.mktemp("generate") / "svit", images=6).root


@pytest.fixture(scope="module")
def annotated(tmp_path_factory):
    """The annotations of 500 photos that nobody drew."""
    return write_annotations(tmp_path_factory.mktemp("annotated"), 500)


@pytest.fixture
def served(annotated, tmp_path, monkeypatch):
    """Make a job for an endpoint: of as many photos as wanted."""
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    ids = open_annotations(annotated).image_ids.tolist()

    def make(*servers, images=20, **options):
        settings = options.pop("settings", Settings(model=MODEL))
        urls = tuple(f"{server.url}/v1" for server in servers)
        options = {"out": tmp_path / "made", "images": tuple(ids[:images]), **options}
        return Job(annotations=str(annotated), settings=settings, base_urls=urls, **options)

    return make


def made(out, task):
    """The items of a task's file."""
    with zipfile.ZipFile(out / "data" / f"{task}.zip") as archive:
        return json.loads(archive.read(f"{task}.json"))


def rejects(out):
    return [json.loads(line) for line in (out / "rejects.jsonl").read_text("utf-8").splitlines()]


def contents(out):
    """What was derived, by file name."""
    paths = [*sorted((out / "data").iterdir()), *(out / name for name in ("provenance.parquet", "rejects.jsonl"))]
    return {path.name: path.read_bytes() for path in (*paths, out / "summary.json")}


def calls(out):
    with Journal(out / "journal.sqlite") as journal:
        return journal.calls(0, 10**9, raw=True)


# The embedded model ---------------------------------------------------------------------------------------------------


def test_the_embedded_model_makes_all_tasks_and_they_load_with_photos(corpus, tmp_path):
    out = tmp_path / "made"
    generate(Job(out, str(corpus)))
    assert rejects(out) == []
    for task in TASKS:
        rows = load_dataset("svit", task, data_dir=out, images=corpus, holdout=None, cache_dir=tmp_path)["train"]
        assert len(rows) == 6
        assert all(row["image"].size == (row["width"], row["height"]) for row in rows)
        assert all(row["conversations"] for row in rows)


def test_no_key_no_network_and_no_openai_is_needed_for_the_embedded_model(corpus, tmp_path):
    code = (
        "import sys; sys.modules['openai'] = None; from svit_datasets.cli import main; main(standalone_mode=False); "
        "print(sorted({'httpx', 'httpx2', 'aiohttp'} & set(sys.modules)))"
    )
    command = [sys.executable, "-c", code, "generate", "--annotations", str(corpus), "--out", str(tmp_path / "made")]
    environment = {name: value for name, value in os.environ.items() if "KEY" not in name}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False, timeout=120)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "[]"
    endpoint = [*command[:-1], str(tmp_path / "other"), "--model", "m", "--base-url", "http://127.0.0.1:9/v1"]
    refused = subprocess.run(endpoint, capture_output=True, text=True, env=environment, check=False, timeout=120)
    assert 'pip install "svit-datasets[generate]"' in refused.stderr


def test_the_same_journal_gives_the_same_bytes(corpus, tmp_path):
    out = tmp_path / "made"
    generate(Job(out, str(corpus)))
    before = contents(out)
    derive(out, open_annotations(corpus))
    assert contents(out) == before
    for path in (out / "data").iterdir():
        path.unlink()
    generate(Job(out, str(corpus), resume=True))
    assert contents(out) == before
    other = tmp_path / "other"
    generate(Job(other, str(corpus)))
    assert {name: data for name, data in contents(other).items() if name != "provenance.parquet"} == {
        name: data for name, data in before.items() if name != "provenance.parquet"
    }


def test_shards_give_what_one_run_gives(corpus, tmp_path):
    one, many = tmp_path / "one", tmp_path / "many"
    generate(Job(one, str(corpus)))
    generate(Job(many, str(corpus)), shards=3, num_workers=0)
    assert sorted(path.name for path in many.glob("*.sqlite")) == [
        f"journal-{number:05}-of-00003.sqlite" for number in range(3)
    ]
    for task in TASKS:
        assert (one / "data" / f"{task}.zip").read_bytes() == (many / "data" / f"{task}.zip").read_bytes()
    assert read_status(many).accepted == read_status(one).accepted == read_status(many).wanted == 24
    with pytest.raises(OptionError, match=r"00000-of-00003\.sqlite holds replies already"):
        generate(Job(many, str(corpus)), shards=3, num_workers=0)
    with pytest.raises(OptionError, match="was begun with 3 shards"):
        generate(Job(many, str(corpus), resume=True))


@pytest.mark.ray
def test_shards_run_on_a_ray_cluster(corpus, tmp_path):
    pytest.importorskip("ray")
    one, many = tmp_path / "one", tmp_path / "many"
    generate(Job(one, str(corpus)))
    generate(Job(many, str(corpus)), shards=4, executor="ray", num_workers=2)
    for task in TASKS:
        assert (one / "data" / f"{task}.zip").read_bytes() == (many / "data" / f"{task}.zip").read_bytes()
    assert read_status(many).left == 0


def test_a_shard_holds_the_photos_of_its_remainder(annotated):
    annotations = open_annotations(annotated)
    shards = [choose(annotations, None, (number, 7)) for number in range(7)]
    assert sorted(np.concatenate(shards).tolist()) == annotations.image_ids.tolist()
    with pytest.raises(OptionError, match="2 of 3 images have no annotations, such as 5, 6"):
        choose(annotations, [6, 5, int(annotations.image_ids[0])])


# An endpoint that goes wrong ------------------------------------------------------------------------------------------


def test_two_thousand_requests_with_faults_end_accepted_or_rejected_none_twice(served, tmp_path):
    faults = ChatFaults(share=0.1, stubborn=0.01)
    with ChatServer(faults=faults, delay=0.002) as server:
        job = served(server, images=500)
        summary = generate(job)
    assert {kind for kind in server.spoilt if kind != "over capacity"} == {*PASSING, *LASTING}
    accepted = {(item["image_id"], task) for task in TASKS for item in made(job.out, task)}
    rejected = {(line["image_id"], line["task"]): line for line in rejects(job.out)}
    assert accepted | set(rejected) == {(image_id, task) for image_id in job.images for task in TASKS}
    assert not accepted & set(rejected)
    for task in TASKS:
        ids = [item["image_id"] for item in made(job.out, task)]
        assert ids == sorted(set(ids))
    assert 5 <= len(rejected) <= 60
    for line in rejected.values():
        assert len(line["attempts"]) == 3
        assert all(tried["reason"] and tried["raw"] is not None for tried in line["attempts"])
        assert len({tried["seed"] for tried in line["attempts"]}) == 3
    assert sum(task["rejected"] for task in summary["tasks"].values()) == len(rejected)
    assert summary["made_by"] == "svit generate"
    assert (summary["models"], summary["prompt_versions"]) == (["loopback-1-2026"], ["svit-1"])
    assert {"objects.json", "captions_val2017.json"} <= set(summary["annotations"])
    table = pq.read_table(job.out / "provenance.parquet")
    assert table.schema == PROVENANCE
    assert set(zip(table["image_id"].to_pylist(), table["task"].to_pylist(), strict=True)) == accepted
    assert set(table["model_returned"].to_pylist()) == {"loopback-1-2026"}
    assert set(table["attempts"].to_pylist()) == {1, 2, 3}
    assert max(table["prompt_tokens"].to_pylist()) > 0
    truncated = [call for call in calls(job.out) if call.finish_reason == "length"]
    again = {(call.image_id, call.task, call.attempt): call for call in calls(job.out)}
    with Journal(job.out / "journal.sqlite") as journal:
        for call in truncated:
            after = again.get((call.image_id, call.task, call.attempt + 1))
            if after is not None:
                longer = [json.loads(journal.text(one.sampling))["max_tokens"] for one in (call, after)]
                assert longer[1] == 2 * longer[0]
    asked = server.asked.total()
    status = read_status(job.out)
    assert (status.accepted, status.rejected, status.left) == (len(accepted), len(rejected), 0)
    with ChatServer(port=server.port) as server:
        generate(replace(job, resume=True))
        assert server.asked.total() == 0, "a rerun asks nothing"
    assert asked


def test_a_killed_run_asks_again_no_more_than_was_in_flight(served, annotated, tmp_path):
    concurrency = 12
    with ChatServer(delay=0.02) as server:
        job = served(server, images=60)
        (tmp_path / "ids.txt").write_text("\n".join(map(str, job.images)))
        options = {
            "--annotations": annotated, "--out": job.out, "--images": tmp_path / "ids.txt", "--model": MODEL,
            "--base-url": job.base_urls[0], "--concurrency": concurrency,
        }  # fmt: skip
        words = [str(word) for pair in options.items() for word in pair]
        code = "from svit_datasets.cli import main; main(prog_name='svit')"
        with subprocess.Popen([sys.executable, "-c", code, "generate", *words], stderr=subprocess.DEVNULL) as process:
            while server.answered.total() < 90:
                time.sleep(0.005)
                assert process.poll() is None
            under_way = read_status(job.out)
            os.kill(process.pid, signal.SIGKILL)
        assert 0 < under_way.accepted < under_way.wanted == 240
        kept = len(calls(job.out))
        assert server.answered.total() - kept <= concurrency
        done = subprocess.run(
            [sys.executable, "-c", code, "generate", *words, "--resume", "--json"],
            check=False, capture_output=True, text=True, timeout=120,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        told = json.loads(done.stdout)
        assert told["accepted"] + told["rejected"] == 240
        assert server.answered.total() - told["replies"] <= concurrency
        assert sum(count - 1 for count in server.asked.values()) <= concurrency


def test_the_limit_finds_what_the_endpoint_bears(served):
    with ChatServer(delay=0.02, capacity=6) as server:
        job = served(server, images=60, concurrency=64)
        client = Http(job.base_urls, concurrency=64)
        annotations = open_annotations(job.annotations)
        requests = [item.request() for item in items(annotations, job.settings, [(i, TASKS[0]) for i in job.images])]
        limits = []

        async def run():
            async def one(request):
                await client.ask(request)
                limits.append(client.at_once.limit)

            await asyncio.gather(*(one(request) for request in requests * 5))
            await client.close()

        asyncio.run(run())
        assert client.at_once.halved >= 2
        assert 2 <= np.mean(limits[len(limits) // 2 :]) <= 12
        assert server.spoilt["over capacity"] < 0.3 * server.asked.total()


def test_a_limit_grows_by_one_a_round_and_is_halved_once_for_what_was_under_way_together():
    async def run():
        limit = Concurrency(100)
        assert limit.limit == 8
        for _ in range(8):
            limit.went_well()
        assert 8.9 < limit.limit <= 9
        now = asyncio.get_running_loop().time()
        for _ in range(5):
            limit.too_many(sent=now)
        assert limit.halved == 1
        assert 4.4 < limit.limit < 4.6
        held = [limit.__aenter__() for _ in range(4)]
        await asyncio.gather(*held)
        waiting = asyncio.ensure_future(limit.__aenter__())
        await asyncio.sleep(0)
        assert not waiting.done()
        await limit.__aexit__()
        await waiting
        assert limit.busy == 4

    asyncio.run(run())


def test_a_pace_spreads_what_it_allows_and_takes_back_what_was_not_needed():
    async def run():
        loop = asyncio.get_running_loop()
        pace, begun = Pace(6000), loop.time()
        for _ in range(11):
            await pace.take()
        assert 0.1 <= loop.time() - begun < 0.3
        pace.give_back(500)
        begun = loop.time()
        await pace.take()
        assert loop.time() - begun < 0.05
        free = Pace(None)
        await free.take(10**9)
        await free.take(10**9)

    asyncio.run(run())


def test_requests_a_minute_count_retries_too(served):
    with ChatServer(faults=ChatFaults(share=1.0, kinds=("429_ms",))) as server:
        job = served(server, images=5, tasks=TASKS[:1], rpm=1200)
        begun = time.monotonic()
        generate(job)
        assert server.asked.total() == 10
        assert time.monotonic() - begun >= 9 * 0.05


def test_of_two_endpoints_one_may_die(served):
    with ChatServer(delay=0.01) as stays:
        dies = ChatServer(delay=0.01).start()
        try:
            job = served(stays, dies, images=40)
            killed = []

            def tell(progress):
                if progress.accepted > 40 and not killed:
                    killed.append(dies.answered.total())
                    dies.stop()

            generate(job, tell=tell)
        finally:
            dies.stop()
        assert killed[0] > 10, "both were asked in turn"
        assert read_status(job.out).accepted == 160
        assert Counter(call.host for call in calls(job.out))[f"127.0.0.1:{stays.port}"] > 80
        assert read_status(job.out).failures == {}


def test_a_dead_endpoint_is_asked_again_when_it_is_back(served):
    with ChatServer() as stays, ChatServer() as other:
        job = served(stays, other, images=2)
        annotations = open_annotations(job.annotations)
        [item, *_] = items(annotations, job.settings, [(job.images[0], TASKS[0])])
        other.stop()

        async def run():
            client = Http(job.base_urls)
            for attempt in range(4):
                assert (await client.ask(item.request(attempt)))[1].endswith(str(stays.port))
            dead = client.endpoints[1]
            assert dead.dead_until > asyncio.get_running_loop().time()
            dead.dead_until = asyncio.get_running_loop().time()  # its pause is over, and it is still away
            for attempt in range(4, 6):
                await client.ask(item.request(attempt))
            assert dead.dead_until > asyncio.get_running_loop().time()
            with ChatServer(port=other.port):
                dead.dead_until = asyncio.get_running_loop().time()
                hosts = {(await client.ask(item.request(attempt)))[1] for attempt in range(6, 10)}
                await client.close()
            assert len(hosts) == 2

        asyncio.run(run())


# What ends a run ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        ({"key": "another"}, r"status 401 .*The key in OPENAI_API_KEY is refused: set it, or name another with --key"),
        ({"model": "another"}, r"status 404 .*Check --model loopback-1 and --base-url, which usually ends in /v1"),
    ],
)
def test_what_no_retry_mends_ends_the_run_at_once(served, spoil, message):
    with ChatServer(**spoil) as server:
        job = served(server, images=50)
        with pytest.raises(EndpointError, match=message) as raised:
            generate(job)
        assert len(server.log.requests) <= job.concurrency
    assert KEY not in str(raised.value)


def test_the_key_is_sent_and_never_written_down(served, caplog):
    caplog.set_level("DEBUG")
    with ChatServer(key=KEY, faults=ChatFaults(share=0.3)) as server:
        job = served(server, images=10)
        generate(job)
        assert {line.authorization for line in server.log.requests} == {f"Bearer {KEY}"}
    for path in job.out.rglob("*"):
        assert path.is_dir() or KEY.encode() not in path.read_bytes(), path
    assert KEY not in caplog.text


def test_a_run_of_failures_ends_it_and_keeps_what_came(served):
    with ChatServer(faults=ChatFaults(share=1.0, kinds=("400",))) as server:
        job = served(server, images=50)
        with pytest.raises(EndpointError, match="25 requests in a row came to nothing, the last with http_400"):
            generate(job)
        assert server.asked.total() <= 25 + job.concurrency
        assert read_status(job.out).reasons["http_400"] >= 25


def test_a_dead_endpoint_ends_the_run_and_a_rerun_goes_on(served):
    with ChatServer() as server:
        job = served(server, images=10)
    with pytest.raises(EndpointError, match="in a row came to nothing, the last with connection"):
        asyncio.run(_ask_without_patience(job))
    assert read_status(job.out).failures["connection"] >= 25
    assert calls(job.out) == []
    with ChatServer(port=server.port):
        generate(job)
    assert read_status(job.out).accepted == 40


async def _ask_without_patience(job):
    """What `run` does, with a client that does not retry for 40 seconds."""
    from svit_builder.generate.online import Progress, ask_all
    from svit_builder.generate.plan import bind, pending

    annotations = open_annotations(job.annotations)
    job.out.mkdir()
    with Journal(job.out / "journal.sqlite", create=True) as journal:
        bind(journal, job.settings)
        journal.set("attempts", 3)
        ids = choose(annotations, job.images)
        todo = pending(journal, annotations, job.settings, ids, tasks=TASKS, attempts=3)
        await ask_all(todo, journal, Http(job.base_urls, retries=0), None, attempts=3, progress=Progress())


def test_a_budget_is_never_passed_and_a_higher_one_goes_on(served):
    price = Price(1.0, 10.0, 0.5, 5.0)
    with ChatServer() as server:
        job = served(server, images=30, price=price, budget=0.5, settings=Settings(model=MODEL, max_tokens=2000))
        with pytest.raises(EndpointError, match=r"The budget of 0\.50 USD is spent but for 0\.0[0-2], .*--resume"):
            generate(job)
        status = read_status(job.out, price)
        assert 0.47 < status.usd <= 0.5
        assert 0 < status.accepted < 120
        assert len(made(job.out, TASKS[0])) == status.tasks[TASKS[0]].accepted, "what came is there"
        generate(replace(job, budget=50.0, resume=True))
        assert read_status(job.out, price).accepted == 120
        assert max(server.asked.values()) == 1


def test_prices_are_read_and_their_mistakes_told(tmp_path):
    path = tmp_path / "prices.toml"
    path.write_text('[models."m"]\ninput = 1\noutput = 2.5\nbatch_input = 0.5\n[models.n]\ninput = 1\nout = 2\n')
    price = read_price(path, "m")
    assert price.of(2_000_000, 1_000_000) == 4.5
    assert price.of(2_000_000, 1_000_000, batch=True) == 3.5
    with pytest.raises(OptionError, match=r"no price of 'x'; it has m, n"):
        read_price(path, "x")
    with pytest.raises(OptionError, match="must have input and output"):
        read_price(path, "n")
    path.write_text("[models")
    with pytest.raises(OptionError, match="no TOML"):
        read_price(path, "m")


# Going on -------------------------------------------------------------------------------------------------------------


def test_a_journal_is_gone_on_with_only_when_that_is_said_and_only_with_its_settings(corpus, tmp_path):
    job = Job(tmp_path / "made", str(corpus), tasks=TASKS[:1])
    generate(job)
    with pytest.raises(OptionError, match=r"holds replies already\. Go on with --resume"):
        generate(job)
    with pytest.raises(OptionError, match=r"asked for otherwise: seed was 0, is 5\. Give the same options"):
        generate(replace(job, resume=True, settings=Settings(seed=5)))
    generate(replace(job, resume=True, tasks=TASKS[1:2]))
    assert [len(made(job.out, task)) for task in TASKS[:2]] == [6, 6]


def test_other_rules_judge_the_same_replies_and_nothing_is_asked(served):
    with ChatServer() as server:
        job = served(server, images=5)
        generate(job)
        before = contents(job.out)
        with Journal(job.out / "journal.sqlite", create=True) as journal:
            assert journal.forget_verdicts("another version") == 20
        asked = server.asked.total()
        generate(replace(job, resume=True))
        assert server.asked.total() == asked
    assert contents(job.out) == before
    assert {call.rules for call in calls(job.out)} == {RULES_VERSION}


def test_other_annotations_than_were_asked_about_are_told(tmp_path):
    annotations = write_annotations(tmp_path / "annotations", 5)
    job = Job(tmp_path / "made", str(annotations))
    generate(job)
    path = annotations / "objects.json"
    objects = json.loads(path.read_text())
    objects[0]["objects"][0]["names"] = ["quite another thing"]
    path.write_text(json.dumps(objects))
    with pytest.raises(SourceChanged, match="have changed since the reply came"):
        derive(job.out, open_annotations(annotations))


def test_more_attempts_are_made_of_what_was_rejected(served):
    with ChatServer(faults=ChatFaults(share=0.6, kinds=("empty",))) as server:
        job = served(server, images=10, attempts=1)
        generate(job)
        before = read_status(job.out)
        assert before.rejected > 10
        generate(replace(job, attempts=6, resume=True))
        after = read_status(job.out)
    assert after.rejected < before.rejected
    assert after.accepted + after.rejected == 40
    assert server.asked.total() == len(calls(job.out)) == server.answered.total()


def test_a_shard_writes_no_data(corpus, tmp_path):
    run_shard(Job(tmp_path / "made", str(corpus)), (0, 2))
    assert sorted(path.name for path in (tmp_path / "made").glob("*[!k]")) == ["journal-00000-of-00002.sqlite"]


def test_options_that_do_not_fit_are_told(corpus, tmp_path):
    with pytest.raises(OptionError, match="needs no --base-url"):
        Job(tmp_path, str(corpus), base_urls=("http://h/v1",))
    with pytest.raises(OptionError, match="any other needs one"):
        Job(tmp_path, str(corpus), Settings(model="m"))
    with pytest.raises(OptionError, match="--budget needs --prices"):
        Job(tmp_path, str(corpus), budget=1.0)
    with pytest.raises(OptionError, match="tasks="):
        Job(tmp_path, str(corpus), tasks=("all",))
    with pytest.raises(SourceNotFound):
        read_status(tmp_path)


def test_a_request_is_the_same_whenever_it_is_made(annotated):
    annotations = open_annotations(annotated)
    wanted = [(int(annotations.image_ids[0]), task) for task in TASKS]
    first, second = ([item.request(1, 1) for item in items(annotations, Settings(), wanted)] for _ in range(2))
    assert [one.key for one in first] == [one.key for one in second]
    assert len({one.key for one in first}) == 4
    [item, *_] = items(annotations, Settings(sampling={"max_completion_tokens": 9, "max_tokens": None}), wanted)
    assert item.request(0, 2).sampling["max_completion_tokens"] == 36
    assert "max_tokens" not in item.request().sampling
    assert item.request(0).sampling["seed"] != item.request(1).sampling["seed"]
    assert isinstance(item.request(), Request)


def test_the_folder_can_be_moved_and_the_annotations_too(tmp_path):
    annotations = write_annotations(tmp_path / "annotations", 5)
    generate(Job(tmp_path / "made", str(annotations)))
    before = contents(tmp_path / "made")
    shutil.move(tmp_path / "made", tmp_path / "elsewhere")
    shutil.move(annotations, tmp_path / "there")
    code = "from svit_datasets.cli import main; main(prog_name='svit')"
    command = [sys.executable, "-c", code, "generate", "derive", "elsewhere", "--annotations", "there"]
    subprocess.run(command, check=True, cwd=tmp_path, capture_output=True, timeout=120)
    assert contents(Path(tmp_path / "elsewhere")) == before
