"""The example of Ray Serve answers photos, and what is none."""

from __future__ import annotations

import json
import runpy
from http.client import HTTPConnection

import pytest

from support.batches import encoded
from support.samples import ROOT

ray = pytest.importorskip("ray", reason="Ray is not installed")

PORT = 8123


@pytest.fixture(scope="module")
def port(micro_bundle):
    from ray import serve

    try:
        ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False)
    except Exception as error:
        pytest.skip(f"ray.init fails here: {error}")
    example = runpy.run_path(str(ROOT / "docs" / "examples" / "clusters" / "serve_ray.py"))
    serve.start(http_options={"host": "127.0.0.1", "port": PORT})
    serve.run(example["Service"].options(num_replicas=1).bind(micro_bundle, ["cup; mug", "table"]))
    yield PORT
    serve.shutdown()
    ray.shutdown()


def post(port, content):
    connection = HTTPConnection("127.0.0.1", port, timeout=60)
    connection.request("POST", "/", content)
    answer = connection.getresponse()
    return answer.status, json.loads(answer.read())


def test_a_photo_is_answered(port):
    status, told = post(port, encoded())
    assert status == 200 and told["size"] == {"height": 40, "width": 52}
    assert sum(each["pixels"] for each in told["classes"]) == 40 * 52


def test_what_is_no_photo_is_refused_with_the_reason(port):
    status, told = post(port, b"no picture")
    assert status == 400 and "not an image" in told["error"]
