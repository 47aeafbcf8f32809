"""What a journal holds: calls, which are requests with what became of them, and batches; and its tables.

Plain values; `journal` reads and writes them.
"""

from __future__ import annotations

from dataclasses import dataclass

from svit_builder.generate.protocol import Reply, Request

__all__ = ["ANSWERED", "APPLICATION", "DONE", "SCHEMA", "VERSION", "Call", "Sent", "Who", "worst_tokens"]

Who = tuple[int, str, int, str]  # names a request: image id, task, attempt, its key or how that begins

_FRAME = 16  # tokens that a message takes beside its text, at most
VERSION = 1
APPLICATION = 0x53564954  # "SVIT", in the file's header
SCHEMA = """
CREATE TABLE meta (name TEXT PRIMARY KEY, value TEXT NOT NULL);
CREATE TABLE texts (sha256 TEXT PRIMARY KEY, text TEXT NOT NULL);
CREATE TABLE calls (
    id INTEGER PRIMARY KEY,
    image_id INTEGER NOT NULL, task TEXT NOT NULL, attempt INTEGER NOT NULL,
    key TEXT NOT NULL, status TEXT NOT NULL, reason TEXT, rules TEXT, batch INTEGER,
    asked_model TEXT NOT NULL, seed INTEGER, sampling TEXT NOT NULL REFERENCES texts,
    prompt_version TEXT NOT NULL, prompt_sha256 TEXT NOT NULL, context_sha256 TEXT NOT NULL,
    host TEXT NOT NULL, model TEXT, response_id TEXT, fingerprint TEXT, finish_reason TEXT,
    prompt_tokens INTEGER NOT NULL DEFAULT 0, completion_tokens INTEGER NOT NULL DEFAULT 0,
    asked REAL NOT NULL, answered REAL, latency REAL
);
CREATE UNIQUE INDEX one_call ON calls (image_id, task, attempt);
CREATE TABLE replies (id INTEGER PRIMARY KEY REFERENCES calls, raw TEXT NOT NULL);
CREATE TABLE failures (
    image_id INTEGER, task TEXT, attempt INTEGER, key TEXT, host TEXT, reason TEXT NOT NULL, message TEXT,
    at REAL NOT NULL
);
CREATE TABLE batches (
    number INTEGER PRIMARY KEY, mark TEXT NOT NULL, remote TEXT, host TEXT NOT NULL, status TEXT NOT NULL,
    requests INTEGER NOT NULL DEFAULT 0, prompt_tokens INTEGER NOT NULL DEFAULT 0,
    completion_tokens INTEGER NOT NULL DEFAULT 0, made REAL NOT NULL, ended REAL
);
"""

# What a call may be. A request whose answer never came has no call; it stands in `failures` and is asked again.
ANSWERED = ("replied", "accepted", "rejected")  # has a raw reply: not judged yet, judged good, judged bad
DONE = (*ANSWERED, "refused")  # "refused": the endpoint says that this very request is wrong; counts as an attempt
# The fifth, "sent", is a line of a batch that has not come back.


@dataclass(frozen=True, slots=True)
class Call:
    """A request that was answered, refused, or sent in a batch."""

    image_id: int
    task: str
    attempt: int  # 0-based
    key: str
    status: str
    reason: str | None  # id of the rule that refused the reply, or what the endpoint said
    rules: str | None  # version of the rules that judged
    batch: int | None
    asked_model: str
    seed: int | None
    sampling: str  # digest of the sampling options without the seed
    prompt_version: str
    prompt_sha256: str
    context_sha256: str
    host: str
    model: str | None  # as the endpoint named it
    response_id: str | None
    fingerprint: str | None
    finish_reason: str | None
    prompt_tokens: int
    completion_tokens: int
    asked: float  # seconds since 1970
    answered: float | None
    latency: float | None  # seconds
    raw: str | None = None  # the reply's text

    @property
    def reply(self) -> Reply:
        """The reply as it came."""
        return Reply(
            self.raw or "",
            self.finish_reason,
            self.model or "",
            self.prompt_tokens,
            self.completion_tokens,
            self.response_id,
            self.fingerprint,
            self.latency or 0.0,
        )


@dataclass(frozen=True, slots=True)
class Sent:
    """A batch that has not ended."""

    number: int
    mark: str  # ours, in the batch's metadata: finds a batch whose id was not written down any more
    remote: str | None  # id at the endpoint; None: not known to be there
    requests: int
    prompt_tokens: int  # that they may take at most, all together
    completion_tokens: int


def worst_tokens(request: Request) -> tuple[int, int]:
    """Return tokens of the prompt and of the reply that a request cannot pass: a token has a byte at least."""
    prompt = sum(len(str(message["content"]).encode()) + _FRAME for message in request.messages)
    longest = request.sampling.get("max_completion_tokens") or request.sampling.get("max_tokens") or 0
    return prompt, int(longest)
