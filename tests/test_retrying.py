"""What is asked again and how often: failures that heal, and names that nobody knows."""

from __future__ import annotations

import asyncio
import socket

import pytest

from svit_datasets.errors import SourceNotFound, SourceUnreachable
from svit_datasets.retrying import host_is_unknown, retry
from svit_datasets.storage import Storage


class Request:
    """Fails with each of some errors in turn, then answers."""

    def __init__(self, *errors):
        self.errors, self.made = list(errors), 0

    async def __call__(self):
        self.made += 1
        if self.errors:
            raise self.errors.pop(0)
        return b"answer"


def unknown_host():
    """As aiohttp and httpx2 raise it: an error of their own, from that of the system."""
    error = ConnectionError("cannot connect")
    error.__cause__ = socket.gaierror(socket.EAI_NONAME, "Name or service not known")
    return error


def ask(request, answered, url="https://host/a", attempts=6):
    return asyncio.run(retry(url, request, attempts=attempts, backoff=0.0, answered=answered))


def test_what_heals_is_asked_again():
    request = Request(ConnectionResetError(), TimeoutError(), OSError())
    answered = set()
    assert ask(request, answered) == b"answer"
    assert (request.made, answered) == (4, {"https://host"})


def test_what_does_not_heal_is_asked_once():
    request = Request(FileNotFoundError("gone"))
    with pytest.raises(SourceNotFound, match="gone"):
        ask(request, set())
    assert request.made == 1


def test_the_last_attempt_tells_how_many_there_were():
    request = Request(*[ConnectionResetError() for _ in range(6)])
    with pytest.raises(SourceUnreachable, match=r"https://host/a.*6 attempts"):
        ask(request, set())
    assert request.made == 6


def test_a_host_that_nobody_knows_is_asked_for_twice():
    request = Request(*[unknown_host() for _ in range(6)])
    answered = {"https://other"}
    with pytest.raises(SourceUnreachable, match="2 attempts"):
        ask(request, answered)
    assert request.made == 2


def test_a_host_that_answered_before_is_not_given_up_so_soon():
    """A name server that fails for a while must not end a training that has run for weeks."""
    request = Request(*[unknown_host() for _ in range(5)])
    assert ask(request, {"https://host"}) == b"answer"
    assert request.made == 6


def test_a_name_server_that_does_not_answer_says_nothing_of_the_host():
    error = socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")
    assert not host_is_unknown(error)
    assert host_is_unknown(unknown_host())


def test_storage_remembers_who_answered(http_server):
    url = http_server.put("a", b"abc")
    storage = Storage()
    storage.stat(url)
    assert storage._answered == {http_server.url.rstrip("/")}


def test_a_real_name_that_nobody_knows():
    with pytest.raises(socket.gaierror) as found:
        socket.getaddrinfo("no-such-host.invalid", 443)
    if found.value.errno != socket.EAI_NONAME:
        pytest.skip("this machine's resolver says that it failed, not that there is no such name")
    with pytest.raises(SourceUnreachable, match="2 attempts"):
        Storage(backoff=0.01).stat("https://no-such-host.invalid/a")
