"""Photos from the network: where that is allowed, and nothing but http and https, bounded in bytes and time."""

from __future__ import annotations

import io
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pytest
from PIL import Image

from ovdeploy.runtime.errors import PhotoError
from ovdeploy.runtime.photo import fetching
from ovdeploy.runtime.photo.fetching import fetch, file_name_of, is_url
from ovdeploy.runtime.photo.stored import FetchedPhoto
from support.samples import draw_photo


def png():
    buffer = io.BytesIO()
    Image.fromarray(draw_photo((20, 30))).save(buffer, format="PNG")
    return buffer.getvalue()


class Answers(BaseHTTPRequestHandler):
    asked: list[str] = []  # noqa: RUF012 (cleared by the fixture)

    def do_GET(self):
        self.asked.append(self.path)
        kind, _, rest = self.path[1:].partition("/")
        getattr(self, f"{kind}_", self.missing_)(rest)

    def photo_(self, rest):
        self.told(200, png())

    def missing_(self, rest):
        self.told(404, b"no")

    def empty_(self, rest):
        self.told(200, b"")

    def to_(self, rest):
        self.send_response(302)
        self.send_header("Location", rest)
        self.end_headers()

    def round_(self, rest):
        self.to_("/round/")

    def cut_(self, rest):
        self.told(200, png()[:200], length=len(png()))

    def endless_(self, rest):
        self.send_response(200)
        self.end_headers()
        for _ in range(1000):
            self.wfile.write(bytes(1 << 12))

    def slow_(self, rest):
        self.send_response(200)
        self.end_headers()
        for _ in range(40):
            self.wfile.write(b"x")
            self.server.done.wait(0.05)

    def silent_(self, rest):
        self.server.done.wait(5)

    def told(self, status, content, length=None):
        self.send_response(status)
        self.send_header("Content-Length", str(len(content) if length is None else length))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_):
        pass


@pytest.fixture
def server(monkeypatch):
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    Answers.asked.clear()
    server = ThreadingHTTPServer(("127.0.0.1", 0), Answers)
    server.done = threading.Event()
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.done.set()
    server.shutdown()
    server.server_close()


@pytest.mark.parametrize("path", ["photo/a.png", "to//photo/a.png", "to/../photo/b.png"])
def test_a_photo_is_fetched_also_where_it_was_moved(server, path):
    photo = FetchedPhoto(f"{server}/{path}", allowed=True)
    np.testing.assert_array_equal(photo.read(10**6), draw_photo((20, 30)))
    assert len(photo.sha256) == 64


def test_nothing_is_asked_where_it_is_not_allowed(server):
    photo = FetchedPhoto(f"{server}/photo/a.png", allowed=False)
    for ask in (lambda: photo.read(10**6), photo.look):
        with pytest.raises(PhotoError, match="--allow-urls"):
            ask()
    assert Answers.asked == []


def test_a_photo_that_was_looked_at_is_not_fetched_twice(server):
    photo = FetchedPhoto(f"{server}/photo/a.png", allowed=True)
    digest = photo.look()
    photo.read(10**6)
    assert photo.sha256 == digest and Answers.asked == ["/photo/a.png"]


@pytest.mark.parametrize(
    ("path", "told"),
    [
        ("missing/a.png", "404"),
        ("cut/a.png", "ended after 200 of"),
        ("endless/a.png", "more than 1 MB"),
        ("slow/a.png", "not there after"),
        ("silent/a.png", "timed out"),
        ("round/a.png", "302|redirect"),
        ("to/file:///etc/hosts", "is not allowed"),
        ("to/ftp://127.0.0.1/a.png", "is not followed"),
        ("to/data:image/png;base64,aaaa", "is not allowed"),
    ],
)
def test_what_goes_wrong_is_told(server, path, told, monkeypatch):
    monkeypatch.setattr(fetching, "MOST_BYTES", 1 << 20)
    monkeypatch.setattr(fetching, "PATIENCE", 0.5)
    monkeypatch.setattr(fetching, "WHOLE", 1.0)
    with pytest.raises(PhotoError, match=told) as error:
        fetch(f"{server}/{path}")
    assert path.partition("/")[0] in str(error.value)


def test_a_host_that_is_not_there_and_an_answer_that_is_no_photo_are_told(server):
    for url, told in [
        ("http://127.0.0.1:1/a.png", "cannot be fetched"),
        ("http://no-such-host.invalid/a.png", "cannot be fetched"),
        ("http://", "cannot be fetched"),
        ("http://127.0.0.1:99999999/a.png", "cannot be fetched"),
        ("http://[::1/a.png", "cannot be fetched"),
        ("http://a b/\n.png", "cannot be fetched"),
    ]:
        with pytest.raises(PhotoError, match=told):
            fetch(url)
    with pytest.raises(PhotoError, match=r"empty/a\.png: the file is empty"):
        FetchedPhoto(f"{server}/empty/a.png", allowed=True).read(10**6)


@pytest.mark.parametrize(
    ("url", "name"),
    [
        ("https://host/a/b.jpg?size=3#x", "b.jpg"),
        ("http://host/a%20b%2Fc.png", "a b_c.png"),
        ("http://host/../..", "photo"),
        ("http://host/.hidden.png", "hidden.png"),
        ("http://host", "host"),
        ("http://[", "photo"),
        ("http://host/" + "n" * 500, "n" * 200),
        ("http://host/%00%2e%2e", "_.."),
    ],
)
def test_a_url_gives_a_name_that_stays_in_the_folder(url, name):
    assert is_url(url) and file_name_of(url) == name


@pytest.mark.parametrize(
    "name", ["photo.jpg", "file:///etc/hosts", "ftp://a/b", "http:/a", "httpx://a", "://", "/http://a"]
)
def test_nothing_else_is_a_url(name):
    assert not is_url(name)
