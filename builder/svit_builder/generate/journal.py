"""Every request and every raw reply, in one SQLite file: the cache of a generation, and what its data derive from.

A reply stands in the file before anything is done with it: each is a transaction of its own (0.04 ms of CPU; 32 in one
would be 0.02). A process that is killed at any moment loses the replies that were under way and no other. Prompts are
kept once; contexts are not, as they are a pure function of the annotations: their digests are, and `derive` compares.
Who may write at the same time is `locks`' business; any number of processes may read.
"""

from __future__ import annotations

import hashlib
import json
import sqlite3
import time
from contextlib import contextmanager
from dataclasses import fields
from typing import TYPE_CHECKING, Any, Self
from urllib.parse import quote

from svit_builder.generate.calls import APPLICATION, SCHEMA, VERSION, Call, Sent, Who, worst_tokens
from svit_builder.generate.protocol import Reply
from svit_datasets.errors import CacheError, CorruptFile, OptionError, SourceNotFound

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from svit_builder.generate.protocol import Request, Verdict

__all__ = ["Journal"]

_COLUMNS = ", ".join(f"calls.{field.name}" for field in fields(Call) if field.name != "raw")
_THIS = "image_id = ? AND task = ? AND attempt = ?"
_HEADER = ("application_id", "user_version")


class Journal:
    """One journal file; a context manager. Not for use from several threads.

    Args:
        path: of the file.
        create: make it where it is not there; without, it is opened for reading only.

    Raises:
        SourceNotFound: it is not there.
        CorruptFile: it is damaged, or something else.
        OptionError: another version of this library made it.
    """

    def __init__(self, path: Path, *, create: bool = False) -> None:
        if not (create or path.is_file()):
            raise SourceNotFound(f"{path}: no journal is there. Give the folder that `svit generate --out` wrote.")
        self.path = path
        self._kept: dict[str, str] = {}  # text -> digest, of the few that come with every request
        where = str(path) if create else f"file:{quote(str(path.absolute()))}?mode=ro"
        # Autocommit: a statement outside `_together` is a transaction of its own.
        self._db = sqlite3.connect(where, uri=not create, isolation_level=None, timeout=60)
        try:
            self._open(create=create)
        except sqlite3.DatabaseError as error:
            self._db.close()
            if isinstance(error, sqlite3.OperationalError):
                raise CacheError(f"{path}: the journal cannot be opened ({error}).") from error
            said = " ".join(str(error).split())
            raise CorruptFile(
                f"{path}: the journal is damaged ({said}). Rescue what is in it with "
                f"`sqlite3 {path.name} .recover`, or give another --out."
            ) from error
        except BaseException:
            self._db.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the file."""
        self._db.close()

    # What stands for the whole --------------------------------------------------------------------------------------

    def get(self, name: str) -> Any:
        """Return what was set under a name; None where nothing was."""
        row = self._db.execute("SELECT value FROM meta WHERE name = ?", (name,)).fetchone()
        return None if row is None else json.loads(row[0])

    def set(self, name: str, value: Any) -> None:
        """Keep a JSON value under a name."""
        self._db.execute("INSERT OR REPLACE INTO meta VALUES (?, ?)", (name, json.dumps(value, sort_keys=True)))

    def keep(self, text: str, digest: str | None = None) -> str:
        """Keep a text once, by its content's digest or the one given; returns the digest."""
        digest = digest or hashlib.sha256(text.encode()).hexdigest()
        self._db.execute("INSERT OR IGNORE INTO texts VALUES (?, ?)", (digest, text))
        return digest

    def text(self, digest: str) -> str:
        """Return a text that was kept."""
        return str(self._db.execute("SELECT text FROM texts WHERE sha256 = ?", (digest,)).fetchone()[0])

    # Writing --------------------------------------------------------------------------------------------------------

    def replied(self, request: Request, reply: Reply, host: str, *, asked: float) -> None:
        """Write a reply down, not judged yet."""
        values = {**self._asked(request, host, asked), **_answer(reply), "status": "replied"}
        self._put(values, reply.text)

    def refused(self, request: Request, reason: str, message: str, host: str, *, asked: float) -> None:
        """Write down that the endpoint will not answer this request however often it is asked."""
        answered = {"status": "refused", "reason": reason, "answered": time.time()}
        self._put({**self._asked(request, host, asked), **answered}, message)

    def failed(self, who: Who, reason: str, message: str, host: str) -> None:
        """Write down that no answer came; the request stays to be asked."""
        values = (*who, host, reason, message[:500], time.time())
        self._db.execute("INSERT INTO failures VALUES (?, ?, ?, ?, ?, ?, ?, ?)", values)

    def judged(self, image_id: int, task: str, attempt: int, verdict: Verdict, rules: str) -> None:
        """Write down what became of a reply."""
        status = "accepted" if verdict.accepted else "rejected"
        self._db.execute(
            f"UPDATE calls SET status = ?, reason = ?, rules = ? WHERE {_THIS}",  # noqa: S608 - a constant
            (status, verdict.reason, rules, image_id, task, attempt),
        )

    def forget_verdicts(self, rules: str) -> int:
        """Make every reply that other rules judged "replied" again; returns how many."""
        return self._db.execute(
            "UPDATE calls SET status = 'replied', reason = NULL, rules = NULL "
            "WHERE status IN ('accepted', 'rejected') AND rules IS NOT ?",
            (rules,),
        ).rowcount

    def _asked(self, request: Request, host: str, asked: float) -> dict[str, Any]:
        sampling = {name: value for name, value in request.sampling.items() if name != "seed"}
        text = json.dumps(sampling, sort_keys=True)
        if text not in self._kept:
            self._kept[text] = self.keep(text)
        if request.prompt_sha256 not in self._kept:  # once for all photos: what stands before the context
            self.keep(json.dumps(request.messages[:-1]), request.prompt_sha256)
            self._kept[request.prompt_sha256] = request.prompt_sha256
        return {
            "image_id": request.image_id,
            "task": request.task,
            "attempt": request.attempt,
            "key": request.key,
            "asked_model": request.model,
            "seed": request.sampling.get("seed"),
            "sampling": self._kept[text],
            "prompt_version": request.prompt_version,
            "prompt_sha256": request.prompt_sha256,
            "context_sha256": request.context_sha256,
            "host": host,
            "asked": asked,
        }

    def _put(self, values: dict[str, Any], raw: str | None) -> None:
        names, marks = ", ".join(values), ", ".join(f":{name}" for name in values)
        with self._together():
            row = self._db.execute(f"INSERT INTO calls ({names}) VALUES ({marks})", values).lastrowid  # noqa: S608 - ours
            if raw is not None:
                self._db.execute("INSERT INTO replies VALUES (?, ?)", (row, raw))

    # Batches --------------------------------------------------------------------------------------------------------

    def begin_batch(self, mark: str, host: str, requests: Iterable[Request]) -> Sent:
        """Write down a batch and the requests in it, before anything is sent; they are drawn within a transaction."""
        now, count, prompt, reply = time.time(), 0, 0, 0
        with self._together():
            row = self._db.execute(
                "INSERT INTO batches (mark, host, status, made) VALUES (?, ?, 'writing', ?)", (mark, host, now)
            )
            for request in requests:
                values = {**self._asked(request, host, now), "status": "sent", "batch": row.lastrowid}
                names, marks = ", ".join(values), ", ".join(f":{name}" for name in values)
                self._db.execute(f"INSERT INTO calls ({names}) VALUES ({marks})", values)  # noqa: S608 - ours
                most = worst_tokens(request)
                count, prompt, reply = count + 1, prompt + most[0], reply + most[1]
            self._db.execute(
                "UPDATE batches SET requests = ?, prompt_tokens = ?, completion_tokens = ? WHERE number = ?",
                (count, prompt, reply, row.lastrowid),
            )
        return Sent(row.lastrowid or 0, mark, None, count, prompt, reply)

    def opened_batch(self, number: int, remote: str) -> None:
        """Write down the id that a batch has at the endpoint."""
        self._db.execute("UPDATE batches SET remote = ?, status = 'open' WHERE number = ?", (remote, number))

    def came(self, who: Who, answer: Reply | tuple[str, str]) -> bool:
        """Write down the answer to a request of a batch.

        Args:
            who: the request.
            answer: the reply, or (reason, message) of a refusal.

        Returns:
            Whether it was waited for; what came before is left as it is.
        """
        if isinstance(answer, Reply):
            values, raw = {**_answer(answer), "status": "replied"}, answer.text
        else:
            values, raw = {"status": "refused", "reason": answer[0], "answered": time.time()}, answer[1]
        changes = ", ".join(f"{name} = ?" for name in values)
        with self._together():
            row = self._db.execute(
                f"UPDATE calls SET {changes} WHERE {_THIS} AND status = 'sent' AND substr(key, 1, ?) = ? "  # noqa: S608
                "RETURNING id",
                (*values.values(), *who[:3], len(who[3]), who[3]),
            ).fetchone()
            if row is not None:
                self._db.execute("INSERT INTO replies VALUES (?, ?)", (row[0], raw))
        return row is not None

    def ended_batch(self, number: int, status: str) -> int:
        """Write down that a batch is over; its requests without an answer are to be asked again: returns how many."""
        with self._together():
            left = self._db.execute("DELETE FROM calls WHERE batch = ? AND status = 'sent'", (number,)).rowcount
            self._db.execute("UPDATE batches SET status = ?, ended = ? WHERE number = ?", (status, time.time(), number))
        return left

    def open_batches(self) -> list[Sent]:
        """Return the batches that have not ended, in the order they were made."""
        columns = ", ".join(field.name for field in fields(Sent))
        rows = self._db.execute(f"SELECT {columns} FROM batches WHERE ended IS NULL ORDER BY number")  # noqa: S608 - ours
        return [Sent(*row) for row in rows]

    # Reading --------------------------------------------------------------------------------------------------------

    def calls(self, first: int, last: int, *, raw: bool = False) -> list[Call]:
        """Return the calls of the images with ids from ``first`` to ``last``, ordered by image, task and attempt.

        Args:
            first: lowest id.
            last: highest id, inclusive.
            raw: with the texts of the replies.
        """
        text, join = ("replies.raw", "LEFT JOIN replies USING (id)") if raw else ("NULL", "")
        rows = self._db.execute(
            f"SELECT {_COLUMNS}, {text} FROM calls {join} WHERE image_id BETWEEN ? AND ? "  # noqa: S608 - ours
            "ORDER BY image_id, task, attempt",
            (first, last),
        )
        return [Call(*row) for row in rows]

    def is_empty(self) -> bool:
        """Tell whether it holds no call."""
        return self._db.execute("SELECT 1 FROM calls LIMIT 1").fetchone() is None

    def outcomes(self) -> Iterator[tuple[int, str, int, str, str | None]]:
        """Yield (image id, task, attempt, status, reason) of every call, ordered by the first three; lazy."""
        yield from self._db.execute(
            "SELECT image_id, task, attempt, status, reason FROM calls ORDER BY image_id, task, attempt"
        )

    def tokens(self) -> dict[tuple[str, bool], tuple[int, int, int]]:
        """Return (replies, prompt tokens, completion tokens) by model asked and whether it was in a batch."""
        rows = self._db.execute(
            "SELECT asked_model, batch IS NOT NULL, count(*), sum(prompt_tokens), sum(completion_tokens) FROM calls "
            "WHERE status IN ('replied', 'accepted', 'rejected') GROUP BY 1, 2"
        )
        return {(model, bool(batch)): (count, asked, made) for model, batch, count, asked, made in rows}

    def failures(self) -> dict[str, int]:
        """Return how often no answer came, by reason."""
        return dict(self._db.execute("SELECT reason, count(*) FROM failures GROUP BY 1 ORDER BY 2 DESC, 1"))

    # The file -------------------------------------------------------------------------------------------------------

    @contextmanager
    def _together(self) -> Iterator[None]:
        """Make what is written in the block one transaction."""
        self._db.execute("BEGIN IMMEDIATE")
        try:
            yield
        except BaseException:
            self._db.execute("ROLLBACK")
            raise
        self._db.execute("COMMIT")

    def _open(self, *, create: bool) -> None:
        if not create:
            self._check()
            return
        self._db.execute("PRAGMA journal_mode = WAL")
        self._db.execute("PRAGMA synchronous = NORMAL")  # a kill loses nothing, a power cut the last transactions
        with self._together():
            if not self._db.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]:
                for statement in SCHEMA.split(";"):
                    self._db.execute(statement)
                self._db.execute(f"PRAGMA application_id = {APPLICATION}")
                self._db.execute(f"PRAGMA user_version = {VERSION}")
        self._check()

    def _check(self) -> None:
        application, version = (self._db.execute(f"PRAGMA {name}").fetchone()[0] for name in _HEADER)
        if application != APPLICATION:
            raise CorruptFile(f"{self.path}: this SQLite file is no journal of svit generate. Give another --out.")
        if version != VERSION:
            raise OptionError(
                f"{self.path}: the journal has version {version}, this release reads version {VERSION}. Go on with the "
                "release that made it, or give another --out."
            )
        found = self._db.execute("PRAGMA quick_check(1)").fetchone()[0]
        if found != "ok":
            raise sqlite3.DatabaseError(found)


def _answer(reply: Reply) -> dict[str, Any]:
    return {
        "model": reply.model,
        "response_id": reply.response_id,
        "fingerprint": reply.system_fingerprint,
        "finish_reason": reply.finish_reason,
        "prompt_tokens": reply.prompt_tokens,
        "completion_tokens": reply.completion_tokens,
        "answered": time.time(),
        "latency": reply.latency,
    }
