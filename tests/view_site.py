"""A server of `svit view` in a thread, and what its pages hold."""

from __future__ import annotations

import asyncio
import http.client
import threading
from dataclasses import dataclass, field
from html.parser import HTMLParser
from urllib.parse import urlsplit

from svit_builder.view.loss import Templates
from svit_builder.view.server import serving
from svit_builder.view.shelf import Shelf


@dataclass(frozen=True)
class Answer:
    status: int
    headers: http.client.HTTPMessage
    body: bytes

    @property
    def text(self):
        return self.body.decode()

    @property
    def page(self):
        return Page(self.text)


class Site:
    """Answers on a free port of loopback until it is left."""

    def __init__(self, place, *, tokenizers=(), template=None, host="127.0.0.1", **options):
        self.shelf = Shelf(str(place), **options)
        self._templates = Templates(tokenizers, template)
        self._host = host
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self.url = ""

    def __enter__(self):
        self._thread.start()
        self._serving = serving(self.shelf, self._templates, host=self._host, port=0)
        self.url = self._run(self._serving.__aenter__())
        return self

    def __exit__(self, *error):
        self._run(self._serving.__aexit__(None, None, None))
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(timeout=30)
        self._loop.close()

    def _run(self, coroutine):
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result(timeout=60)

    def connect(self):
        parts = urlsplit(self.url)
        return http.client.HTTPConnection(parts.hostname, parts.port, timeout=60)

    def get(self, path, *, method="GET", follow=True, headers=None):
        connection = self.connect()
        try:
            connection.putrequest(method, path, skip_host="Host" in (headers or {}))
            for name, value in (headers or {}).items():
                connection.putheader(name, value)
            connection.endheaders()
            response = connection.getresponse()
            answer = Answer(response.status, response.headers, response.read())
        finally:
            connection.close()
        if follow and answer.status == 302:
            return self.get(answer.headers["Location"], method=method, headers=headers)
        return answer


@dataclass
class Element:
    tag: str
    attributes: dict
    text: str = ""  # of it and all in it


@dataclass
class Page(HTMLParser):
    """The elements of a page, as a browser would see them."""

    source: str
    elements: list = field(default_factory=list)

    def __post_init__(self):
        super().__init__(convert_charrefs=True)
        self._open = []
        self.feed(self.source)
        self.close()

    def handle_starttag(self, tag, attrs):
        element = Element(tag, dict(attrs))
        self.elements.append(element)
        if tag not in {"meta", "link", "input", "img", "br"}:
            self._open.append(element)

    def handle_startendtag(self, tag, attrs):
        self.elements.append(Element(tag, dict(attrs)))

    def handle_endtag(self, tag):
        while self._open and self._open.pop().tag != tag:
            pass

    def handle_data(self, data):
        for element in self._open:
            element.text += data

    def all(self, tag, *names):
        """Return the elements of a tag that have all these classes."""
        return [
            one
            for one in self.elements
            if one.tag == tag and set(names) <= set((one.attributes.get("class") or "").split())
        ]

    def links(self):
        """Return every address that the page refers to."""
        found = (one.attributes.get(name) for one in self.elements for name in ("href", "src", "action"))
        return [address for address in found if address is not None]
