"""The journal: every reply is there once it came, whatever ends the process; damage and other versions are told."""

import os
import signal
import sqlite3
import subprocess
import sys
import time

import pytest
from svit_builder.generate.calls import VERSION
from svit_builder.generate.journal import Journal
from svit_builder.generate.locks import lock
from svit_builder.generate.prices import Price, spent
from svit_builder.generate.protocol import Reply, Request, Verdict

from svit_datasets.errors import CorruptFile, OptionError, SourceNotFound

MESSAGES = ({"role": "system", "content": "Ask."}, {"role": "user", "content": "captions:"})


def request(image_id=1, task="conversation", attempt=0, **sampling):
    return Request(image_id, task, attempt, "m", MESSAGES, {"seed": 7, "temperature": 0.5, **sampling}, "p", "pp", "cc")


def reply(text="Hello.", **fields):
    return Reply(**{"text": text, "finish_reason": "stop", "model": "m-1", "prompt_tokens": 90, **fields})


@pytest.fixture
def journal(tmp_path):
    with Journal(tmp_path / "journal.sqlite", create=True) as opened:
        yield opened


def test_a_reply_is_kept_with_all_that_is_known_of_it(journal):
    said = reply("Grüße \x00 ☃", completion_tokens=5, response_id="r", system_fingerprint="f", latency=0.5)
    journal.replied(request(), said, "host:1", asked=12.5)
    [call] = journal.calls(1, 1, raw=True)
    assert call.reply == said
    assert (call.status, call.key, call.asked, call.host) == ("replied", request().key, 12.5, "host:1")
    assert (call.seed, call.asked_model, call.prompt_sha256, call.context_sha256) == (7, "m", "pp", "cc")
    assert journal.text(call.sampling) == '{"temperature": 0.5}'
    assert "Ask." in journal.text("pp")
    assert "captions" not in journal.text("pp")
    assert journal.calls(1, 1)[0].raw is None


def test_an_attempt_has_one_reply(journal):
    journal.replied(request(), reply(), "h", asked=0)
    with pytest.raises(sqlite3.IntegrityError):
        journal.replied(request(), reply("Another."), "h", asked=0)
    journal.replied(request(attempt=1), reply("Another."), "h", asked=0)
    assert [call.raw for call in journal.calls(0, 9, raw=True)] == ["Hello.", "Another."]


def test_calls_come_in_order_whatever_the_order_they_were_made_in(journal):
    for image_id, task, attempt in [(2, "b", 1), (1, "b", 0), (2, "b", 0), (2, "a", 0), (3, "a", 0)]:
        journal.replied(request(image_id, task, attempt), reply(), "h", asked=0)
    expected = [(1, "b", 0), (2, "a", 0), (2, "b", 0), (2, "b", 1)]
    assert [(call.image_id, call.task, call.attempt) for call in journal.calls(1, 2)] == expected


def test_verdicts_are_forgotten_when_other_rules_judge(journal):
    for image_id in (1, 2):
        journal.replied(request(image_id), reply(), "h", asked=0)
    journal.judged(1, "conversation", 0, Verdict(True, ()), "v1")
    journal.judged(2, "conversation", 0, Verdict(False, (), reason="empty"), "v2")
    assert journal.forget_verdicts("v2") == 1
    assert [(call.status, call.reason) for call in journal.calls(1, 2)] == [("replied", None), ("rejected", "empty")]


def test_a_failure_is_no_call(journal):
    journal.failed((1, "conversation", 0, "key"), "connection", "refused", "h")
    assert journal.is_empty()
    assert journal.failures() == {"connection": 1}


def test_a_batch_keeps_its_requests_until_they_come_or_it_ends(journal):
    sent = journal.begin_batch("mark", "h", [request(image_id, max_tokens=100) for image_id in (1, 2, 3)])
    assert (sent.requests, sent.completion_tokens) == (3, 300)
    assert sent.prompt_tokens >= 3 * len("Ask.captions:")
    assert [call.status for call in journal.calls(1, 3)] == ["sent"] * 3
    journal.opened_batch(sent.number, "batch_7")
    assert [one.remote for one in journal.open_batches()] == ["batch_7"]
    key = request(1, max_tokens=100).key
    assert not journal.came((1, "conversation", 0, "other key"), reply())
    assert journal.came((1, "conversation", 0, key[:16]), reply())
    assert not journal.came((1, "conversation", 0, key[:16]), reply("Twice."))
    assert journal.came((2, "conversation", 0, request(2, max_tokens=100).key), ("http_400", "no"))
    assert journal.ended_batch(sent.number, "expired") == 1
    assert journal.open_batches() == []
    assert [(call.status, call.raw) for call in journal.calls(1, 3, raw=True)] == [
        ("replied", "Hello."),
        ("refused", "no"),
    ]


def test_a_batch_that_cannot_be_written_leaves_nothing(journal):
    def requests():
        yield request(1)
        raise OSError(28, "No space left")

    with pytest.raises(OSError, match="No space"):
        journal.begin_batch("mark", "h", requests())
    assert journal.is_empty()
    assert journal.open_batches() == []


def test_what_was_spent_is_the_sum_of_what_replies_took(journal):
    price = Price(2.0, 10.0, 1.0, 5.0)
    journal.replied(request(), reply(prompt_tokens=1000, completion_tokens=100), "h", asked=0)
    sent = journal.begin_batch("mark", "h", [request(2)])
    journal.came((2, "conversation", 0, ""), reply(prompt_tokens=1000, completion_tokens=100))
    journal.ended_batch(sent.number, "completed")
    assert spent(journal, price) == pytest.approx((2000 + 1000 + 1000 + 500) / 1e6)


def test_another_process_reads_while_one_writes(journal):
    journal.replied(request(), reply(), "h", asked=0)
    with Journal(journal.path) as other:
        assert len(other.calls(1, 1)) == 1
        journal.replied(request(2), reply(), "h", asked=0)
        assert len(other.calls(1, 2)) == 2
        with pytest.raises(sqlite3.OperationalError, match="readonly"):
            other.set("name", 1)


def test_only_one_process_writes(tmp_path):
    path = tmp_path / "journal.sqlite"
    with lock(path), pytest.raises(OptionError, match="another process writes this journal"), lock(path):
        pass
    with lock(path):
        pass


def test_no_reply_is_lost_when_the_process_is_killed(tmp_path):
    """Each reply that the process has told of is there, to its last letter, and the file is sound."""
    code = """
import sys
from pathlib import Path
from svit_builder.generate.journal import Journal
from svit_builder.generate.protocol import Reply, Request
with Journal(Path(sys.argv[1]), create=True) as journal:
    for number in range(10**9):
        request = Request(number, "conversation", 0, "m", ({"content": ""},), {}, "p", "pp", "cc")
        journal.replied(request, Reply(f"{number} " * 500, "stop", "m"), "h", asked=0)
        print(number, flush=True)
"""
    path = tmp_path / "journal.sqlite"
    with subprocess.Popen([sys.executable, "-c", code, str(path)], stdout=subprocess.PIPE, text=True) as process:
        while (told := int(process.stdout.readline())) < 200:
            pass
        os.kill(process.pid, signal.SIGKILL)
        told = int((process.stdout.read().split() or [told])[-1])
    with Journal(path, create=True) as journal:
        calls = journal.calls(0, told + 10, raw=True)
        assert [call.image_id for call in calls[: told + 1]] == list(range(told + 1))
        assert len(calls) <= told + 2
        assert all(call.raw == f"{call.image_id} " * 500 for call in calls)


def test_a_damaged_file_is_told(tmp_path):
    path = tmp_path / "journal.sqlite"
    with Journal(path, create=True) as journal:
        for number in range(300):
            journal.replied(request(number), reply("word " * 500), "h", asked=0)
    data = bytearray(path.read_bytes())
    data[8192:40_000] = os.urandom(40_000 - 8192)
    path.write_bytes(data)
    with pytest.raises(CorruptFile, match=r"journal\.sqlite: the journal is damaged .*recover"):
        Journal(path)
    path.write_text("not a database, but long enough to be looked at" * 50)
    with pytest.raises(CorruptFile, match="not a database"):
        Journal(path, create=True)


def test_a_journal_of_another_version_is_told(tmp_path):
    path = tmp_path / "journal.sqlite"
    Journal(path, create=True).close()
    database = sqlite3.connect(path)
    database.execute(f"PRAGMA user_version = {VERSION + 1}")
    database.close()
    with pytest.raises(OptionError, match=f"has version {VERSION + 1}, this release reads version {VERSION}"):
        Journal(path, create=True)


def test_another_sqlite_file_is_no_journal(tmp_path):
    path = tmp_path / "journal.sqlite"
    database = sqlite3.connect(path)
    database.execute("CREATE TABLE x (y)")
    database.close()
    with pytest.raises(CorruptFile, match="no journal of svit generate"):
        Journal(path, create=True)
    with pytest.raises(SourceNotFound, match="no journal is there"):
        Journal(tmp_path / "none.sqlite")


def test_a_reply_costs_a_fraction_of_a_millisecond(journal):
    text, count = "Question: why? Answer: because. " * 150, 300
    begun = time.process_time()
    for number in range(count):
        journal.replied(request(number), reply(text), "h", asked=0)
    assert (time.process_time() - begun) / count < 0.002  # 0.1 ms measured on a quiet core
