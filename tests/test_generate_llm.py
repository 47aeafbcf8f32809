"""Generation with a real language model, too small for the task: what it writes is judged, asked for again, kept.

Run by hand, ``python -m pytest -m llm``: the first time it downloads torch and a model, and some minutes of CPU go
into a handful of replies.
"""

from __future__ import annotations

import json
import zipfile

import pytest
from svit_builder.generate.journal import Journal
from svit_builder.generate.plan import Settings
from svit_builder.generate.rules import RULES
from svit_builder.generate.run import Job, generate
from svit_builder.generate.status import read_status

from tests.annotated import write_annotations
from tests.language_model import served

pytestmark = [pytest.mark.llm, pytest.mark.slow]  # slow: only who asks for it by -m gets it


def test_a_real_model_is_asked_again_where_its_replies_are_bad(tmp_path):
    annotations = write_annotations(tmp_path / "annotations", 2)
    tasks = ("complex_reasoning", "detail_description")
    with served() as (url, model):
        settings = Settings(model=model, max_tokens=48, context_tokens=300)
        job = Job(
            tmp_path / "made", str(annotations), settings, tasks, attempts=2, base_urls=(url,), concurrency=1,
            images=(1,), timeout=1800,
        )  # fmt: skip
        generate(job)
        asked_once = read_status(job.out).replies
        generate(Job(**{**vars(job), "resume": True}))
        assert read_status(job.out).replies == asked_once
    status = read_status(job.out)
    assert (status.accepted + status.rejected, status.left) == (2, 0)
    assert status.tasks["complex_reasoning"].rejected.total() == 1, "15 questions do not fit into 96 tokens"
    with Journal(job.out / "journal.sqlite") as journal:
        calls = journal.calls(0, 10**9, raw=True)
        sampling = [json.loads(journal.text(call.sampling))["max_tokens"] for call in calls]
    reasoning = [call for call in calls if call.task == "complex_reasoning"]
    assert [call.attempt for call in reasoning] == [0, 1]
    assert all(call.reason in RULES for call in reasoning)
    assert len({call.seed for call in reasoning}) == 2
    assert {call.raw for call in calls if not call.raw} == set(), "the model did answer"
    assert all(call.prompt_tokens > 300 and call.completion_tokens > 0 for call in calls)
    cut_off = [number for number, call in enumerate(calls) if call.finish_reason == "length" and call.attempt == 0]
    assert all(sampling[number + 1] == 96 for number in cut_off if calls[number].status == "rejected")
    lines = [json.loads(line) for line in (job.out / "rejects.jsonl").read_text("utf-8").splitlines()]
    assert {tried["raw"] for line in lines for tried in line["attempts"]} <= {call.raw for call in calls}
    with zipfile.ZipFile(job.out / "data" / "detail_description.zip") as archive:
        assert len(json.loads(archive.read("detail_description.json"))) == status.accepted
