"""Photos from the network, where that is allowed: http and https alone, bounded in bytes and in time."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit

from ..boundary.reading import reason
from ..errors import PhotoError

if TYPE_CHECKING:
    from email.message import Message
    from urllib.request import Request

SCHEMES = ("http", "https")

MOST_BYTES = 256 << 20
"""Of a photo that is fetched: a JPEG of 100 megapixels has a quarter."""

PATIENCE, WHOLE = 15.0, 120.0
"""Seconds without a byte, and for a photo."""

PIECE = 1 << 16


def is_url(name: str) -> bool:
    """Whether a name is a URL that could be fetched."""
    return name.partition("://")[0].lower() in SCHEMES and "://" in name


def file_name_of(url: str) -> str:
    """A name for what a URL gives: the last part of its path, or its host's."""
    try:
        parts = urlsplit(url)
        last = unquote(parts.path.rstrip("/").rpartition("/")[2]) or parts.hostname or "photo"
    except ValueError:
        last = "photo"
    return "".join("_" if letter in "/\\\0" else letter for letter in last).lstrip(".")[:200] or "photo"


def fetch(url: str) -> bytes:
    """What a URL gives.

    Raises:
        PhotoError: no such host, no answer in time, another status than 200, a redirect to something else than http or
            https, or too many bytes.
    """
    from http.client import HTTPException
    from urllib.error import HTTPError

    deadline = time.monotonic() + WHOLE
    try:
        with _opener().open(url, timeout=PATIENCE) as answer:
            return _read(answer, url, deadline)
    except PhotoError:
        raise
    except HTTPError as error:
        raise PhotoError(f"{url}: the server answered {error.code} ({error.reason})") from error
    except (OSError, ValueError, HTTPException) as error:  # URLError is an OSError
        cause = getattr(error, "reason", None)
        told = reason(cause) if isinstance(cause, BaseException) else str(cause or reason(error))
        raise PhotoError(f"{url}: the photo cannot be fetched ({told})") from error


def _opener() -> Any:
    """An opener that knows http and https and nothing else: no files, no FTP, no data in the URL itself."""
    from urllib.request import (
        HTTPDefaultErrorHandler,
        HTTPErrorProcessor,
        HTTPHandler,
        HTTPRedirectHandler,
        HTTPSHandler,
        OpenerDirector,
        ProxyHandler,
    )

    class Redirects(HTTPRedirectHandler):
        """Follows to http and https alone, and from https to no http."""

        def redirect_request(
            self, req: Request, fp: Any, code: int, msg: str, headers: Message, newurl: str
        ) -> Request | None:
            if not is_url(newurl) or (req.type == "https" and not newurl.lower().startswith("https:")):
                raise PhotoError(f"{req.full_url}: the server sends on to {newurl}, which is not followed")
            return super().redirect_request(req, fp, code, msg, headers, newurl)  # type: ignore[arg-type]

    opener = OpenerDirector()
    for handler in (ProxyHandler, HTTPHandler, HTTPSHandler, Redirects, HTTPErrorProcessor, HTTPDefaultErrorHandler):
        opener.add_handler(handler())
    opener.addheaders = [("User-Agent", "ovdeploy"), ("Accept", "image/*")]
    return opener


def _read(answer: Any, url: str, deadline: float) -> bytes:
    content = bytearray()
    while piece := answer.read1(PIECE):
        content += piece
        if len(content) > MOST_BYTES:
            raise PhotoError(f"{url}: more than {MOST_BYTES >> 20} MB, the most that is fetched; save it to a file")
        if time.monotonic() > deadline:
            raise PhotoError(f"{url}: not there after {WHOLE:.0f} s; save it to a file")
    expected = answer.headers.get("Content-Length")
    if expected is not None and expected.isdecimal() and int(expected) != len(content):
        raise PhotoError(f"{url}: the answer ended after {len(content)} of {expected} bytes")
    return bytes(content)
