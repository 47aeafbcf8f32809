"""The Batch API: whatever comes back late, in part or not at all, each request is answered once and paid once."""

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace

import pytest
from svit_builder.annotations import open_annotations
from svit_builder.generate.batch import Batches
from svit_builder.generate.journal import Journal
from svit_builder.generate.online import Progress
from svit_builder.generate.plan import TASKS, Settings, bind, choose, pending
from svit_builder.generate.prices import Price, spent
from svit_builder.generate.run import Job, generate
from svit_builder.generate.status import read_status

from svit_datasets.errors import EndpointError, OptionError
from tests.annotated import write_annotations
from tests.servers.chat import ChatFaults, ChatServer

PHOTOS = 12


@pytest.fixture(scope="module")
def annotated(tmp_path_factory):
    return write_annotations(tmp_path_factory.mktemp("annotated"), PHOTOS)


@pytest.fixture
def job(annotated, tmp_path):
    """What a server is asked, once it has a URL."""
    return lambda server, **options: Job(
        tmp_path / "made",
        str(annotated),
        Settings(model="loopback-1"),
        base_urls=(f"{server.url}/v1",),
        batch=True,
        poll=0.01,
        **options,
    )


def lines_of(server):
    """The custom ids of each batch that was made."""
    return [
        [json.loads(line)["custom_id"] for line in server.batches.files[batch.input_file].splitlines()]
        for batch in server.batches.batches
    ]


def test_a_batch_brings_what_single_requests_bring(job):
    with ChatServer() as server:
        batched = job(server)
        generate(batched)
        [ids] = lines_of(server)
        assert len(ids) == len(set(ids)) == 4 * PHOTOS or len(lines_of(server)) > 1
        single = replace(batched, out=batched.out.with_name("single"), batch=False)
        generate(single)
    for task in TASKS:
        name = f"data/{task}.zip"
        assert (batched.out / name).read_bytes() == (single.out / name).read_bytes()
    assert read_status(batched.out).batches == 0


def test_expired_and_failed_lines_are_asked_again_until_all_are_accepted_or_rejected(job):
    faults = ChatFaults(share=0.3, kinds=("500", "empty", "400", "truncated"), expired=0.2)
    with ChatServer(faults=faults) as server:
        asked = job(server)
        generate(asked)
        assert {"500", "expired", "empty", "400", "truncated"} <= set(server.spoilt)
        status = read_status(asked.out)
        assert status.accepted + status.rejected == 4 * PHOTOS
        assert status.failures["batch_expired"] > 5
        assert status.failures["http_500"] > 2
        assert max(server.answered.values()) == 1, "nothing is paid twice"
        assert len(server.batches.batches) >= 3
        with Journal(asked.out / "journal.sqlite") as journal:
            assert {call.batch for call in journal.calls(0, 10**9)} == set(range(1, len(server.batches.batches) + 1))


@pytest.mark.parametrize(("most_requests", "most_bytes"), [(7, 10**9), (10**9, 60_000)])
def test_files_keep_to_the_limits(job, most_requests, most_bytes):
    with ChatServer() as server:
        asked = job(server)
        run_batches(asked, most_requests=most_requests, most_bytes=most_bytes)
        sent = [ids for ids in lines_of(server) if ids]
        assert len(sent) >= 4 * PHOTOS // 12
        assert all(len(ids) <= most_requests for ids in sent)
        assert all(len(server.batches.files[batch.input_file]) <= most_bytes for batch in server.batches.batches)
        assert max(server.asked.values()) == 1
    assert read_status(asked.out).replies >= 4 * PHOTOS


def run_batches(job, **limits):
    """What `run` does, with smaller files."""
    job.out.mkdir()
    annotations = open_annotations(job.annotations)
    ids = choose(annotations, None)

    async def run():
        with Journal(job.out / "journal.sqlite", create=True) as journal:
            bind(journal, job.settings)
            batches = Batches(job.base_urls[0], journal, poll=0.01, **limits)
            await batches.run(
                lambda: pending(journal, annotations, job.settings, ids, tasks=TASKS, attempts=1),
                lambda: None,
                progress=Progress(),
            )
            await batches.close()

    asyncio.run(run())


CODE = """
import sys
from pathlib import Path
from svit_builder.generate.plan import Settings
from svit_builder.generate.run import Job, generate
out, annotations, url = sys.argv[1:]
generate(Job(Path(out), annotations, Settings(model="loopback-1"), base_urls=(url,), batch=True, poll=0.05))
"""


def test_a_run_killed_between_upload_and_collect_finds_its_batches_again(job):
    with ChatServer(polls=10**9) as server:
        asked = job(server, resume=True)
        command = [sys.executable, "-c", CODE, str(asked.out), asked.annotations, asked.base_urls[0]]
        with subprocess.Popen(command) as process:
            while not any(batch.looks for batch in server.batches.batches):
                time.sleep(0.01)
                assert process.poll() is None
            os.kill(process.pid, signal.SIGKILL)
        status = read_status(asked.out)
        assert (status.batches, status.accepted, status.left) == (1, 0, 4 * PHOTOS)
        assert sum(task.waiting for task in status.tasks.values()) == 4 * PHOTOS
        server.batches.polls = 2
        generate(asked)
        assert len(lines_of(server)[0]) == 4 * PHOTOS
        assert max(server.asked.values()) == 1
        assert read_status(asked.out).left == 0


def test_a_batch_whose_making_was_not_answered_is_found_by_its_mark(job):
    with ChatServer() as server:
        server.batches.lost_answers = 1
        asked = job(server)
        generate(asked)
        assert max(server.asked.values()) == 1
        assert read_status(asked.out).left == 0


@pytest.mark.parametrize("made", [True, False])
def test_a_batch_that_was_begun_when_the_process_ended_is_found_or_sent_again(job, made):
    """Between writing the batch down and writing its id down there are an upload and a request; either may be done."""
    with ChatServer() as server:
        asked = job(server, resume=True)
        asked.out.mkdir()
        annotations = open_annotations(asked.annotations)
        with Journal(asked.out / "journal.sqlite", create=True) as journal:
            bind(journal, asked.settings)
            ids = choose(annotations, None)
            todo = pending(journal, annotations, asked.settings, ids, tasks=TASKS, attempts=3)
            requests = [item.request(attempt, cut_off) for item, attempt, cut_off in todo]
            journal.begin_batch("our mark", "h", requests)
        if made:
            lines = [
                {
                    "custom_id": f"{one.image_id}-{one.task}-{one.attempt}-{one.key[:16]}",
                    "method": "POST",
                    "url": "/v1/chat/completions",
                    "body": {"model": one.model, "messages": one.messages, **one.sampling},
                }
                for one in requests
            ]
            server.batches.files["file-0"] = "\n".join(map(json.dumps, lines)).encode()
            server.batches._make(
                {
                    "endpoint": "/v1/chat/completions",
                    "completion_window": "24h",
                    "input_file_id": "file-0",
                    "metadata": {"svit": "our mark"},
                }
            )
        generate(asked)
        assert len(lines_of(server)[0]) == 4 * PHOTOS
        assert max(server.asked.values()) == 1
        assert read_status(asked.out).left == 0


def test_a_batch_that_fails_is_told_and_its_requests_are_pending_again(job):
    with ChatServer() as server:
        server.batches.refuse = "Enqueued token limit reached."
        asked = job(server)
        with pytest.raises(EndpointError, match=r"the batch batch_0 failed: Enqueued token limit.*pending again"):
            generate(asked)
        assert read_status(asked.out).batches == 0
        generate(asked)
        assert read_status(asked.out).left == 0


def test_a_round_without_any_answer_ends_the_run(job):
    with ChatServer(faults=ChatFaults(expired=1.0)) as server:
        with pytest.raises(EndpointError, match=r'none of 48 requests in batches was answered \(\{"batch_expired": 48'):
            generate(job(server))
        assert len(server.batches.batches) == 1


def test_an_endpoint_without_batches_is_told(job):
    class Plain(ChatServer):
        def handle(self, request):
            return super().handle(replace(request, target="/nothing"))

    with Plain() as server, pytest.raises(EndpointError, match="status 404"):
        generate(job(server))


def test_a_budget_holds_for_batches_at_their_price(job):
    price = Price(1.0, 10.0, 0.5, 5.0)
    with ChatServer() as server:
        asked = job(server, price=price, budget=0.06)
        with pytest.raises(EndpointError, match=r"The budget of 0\.06 USD"):
            generate(asked)
        with Journal(asked.out / "journal.sqlite") as journal:
            assert 0.02 < spent(journal, price) <= 0.06
        assert len(server.batches.batches) >= 2, "what the first left over went into others"
        generate(replace(asked, budget=9.0, resume=True))
        assert read_status(asked.out).left == 0


def test_batches_go_to_one_endpoint(annotated, tmp_path):
    with pytest.raises(OptionError, match="--batch needs one --base-url"):
        Job(tmp_path, str(annotated), Settings(model="m"), base_urls=("http://a/v1", "http://b/v1"), batch=True)
