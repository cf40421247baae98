"""S3 on this machine, by moto, some of whose requests fail: with 500 or 503, half an answer, a connection that ends."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

KEYS = {"aws_access_key_id": "test", "aws_secret_access_key": "test"}
"""Moto takes any."""

FAULTS = ("500", "503", "closed", "half")

BODY = b'<?xml version="1.0"?><Error><Code>InternalError</Code><Message>not now</Message></Error>'


class Faults:
    """A WSGI application in front of another, that lets a share of requests fail.

    Attributes:
        share: of requests that fail, 0 to 1.
        asked: requests so far.
        failed: those of them that failed.
    """

    def __init__(self, inner: Callable[..., Iterable[bytes]], seed: int = 0) -> None:
        self._inner, self._rng = inner, random.Random(seed)
        self.share, self.asked, self.failed = 0.0, 0, 0

    def __call__(self, environ: dict[str, Any], start: Callable[..., Any]) -> Iterable[bytes]:
        self.asked += 1
        if self._rng.random() >= self.share:
            return self._inner(environ, start)
        self.failed += 1
        kind = self._rng.choice(FAULTS)
        if kind == "closed":
            raise ConnectionResetError("the connection is closed, as was asked for")
        if kind == "half":
            return _cut(self._inner(environ, start))
        start(f"{kind} not now", [("Content-Type", "application/xml"), ("Content-Length", str(len(BODY)))])
        return [BODY]


def _cut(content: Iterable[bytes]) -> Iterator[bytes]:
    """The first half of an answer, then the connection's end."""
    whole = b"".join(content)
    yield whole[: len(whole) // 2]
    raise ConnectionResetError("the connection is closed, as was asked for")


@contextmanager
def flaky_s3(bucket: str, objects: dict[str, bytes]) -> Iterator[tuple[str, Faults]]:
    """A server with a bucket of objects; its address, and its faults, of which there are none yet."""
    from threading import Thread

    import boto3
    from moto.server import DomainDispatcherApplication, create_backend_app
    from werkzeug.serving import WSGIRequestHandler, make_server

    class Quiet(WSGIRequestHandler):
        def log(self, *_: object) -> None:
            pass

    faults = Faults(DomainDispatcherApplication(create_backend_app))
    server = make_server("127.0.0.1", 0, faults, threaded=True, request_handler=Quiet)
    Thread(target=server.serve_forever, daemon=True).start()
    address = f"http://127.0.0.1:{server.port}"
    client = boto3.client("s3", endpoint_url=address, region_name="us-east-1", **KEYS)
    client.create_bucket(Bucket=bucket)
    for key, content in objects.items():
        client.put_object(Bucket=bucket, Key=key, Body=content)
    try:
        yield address, faults
    finally:
        server.shutdown()


def environment(address: str) -> dict[str, str]:
    """What a process needs to find the server."""
    return {
        "AWS_ENDPOINT_URL_S3": address,
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_EC2_METADATA_DISABLED": "true",
    }
