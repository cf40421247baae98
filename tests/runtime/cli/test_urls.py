"""`segment` with URLs, from a server on the loopback."""

from __future__ import annotations

import json
import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from click.testing import CliRunner
from PIL import Image

from ovdeploy.runtime import Bundle
from ovdeploy.runtime.cli import main
from support.samples import draw_photo, random_vocabulary


@pytest.fixture
def served(tmp_path, monkeypatch):
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)
    Path("web/a").mkdir(parents=True)
    for index, name in enumerate(("a/cat.jpg", "dog.png")):
        Image.fromarray(draw_photo((40, 52), index)).save(Path("web", name))
    asked = []

    class Handler(SimpleHTTPRequestHandler):
        def log_message(self, *_):
            asked.append(self.path)

    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Handler, directory="web"))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}", asked
    server.shutdown()
    server.server_close()


def test_photos_of_urls_are_segmented_told_and_not_done_twice(served, micro_bundle):
    address, asked = served
    random_vocabulary(Bundle.load(micro_bundle).manifest.dimensions.embedding).save("words.npz")
    Path("urls.txt").write_text(f"{address}/dog.png?size=full\n{address}/gone.png\n")

    def run(*more):
        how = (
            "--bundle",
            micro_bundle,
            "--vocabulary",
            "words.npz",
            "--output",
            "out",
            "--save",
            "mask,json",
            "--json",
        )
        given = ("segment", f"{address}/a/cat.jpg", "@urls.txt", *how, *more)
        done = CliRunner().invoke(main, [str(each) for each in given])
        return [json.loads(line) for line in done.stdout.splitlines()], done

    told, done = run()
    assert done.exit_code == 1 and not asked, "nothing is fetched that is not allowed"
    assert len(told) == 3 and all("--allow-urls" in line["error"]["message"] for line in told)

    told, done = run("--allow-urls")
    assert done.exit_code == 1 and [line["image"] for line in told][:2] == [
        f"{address}/a/cat.jpg",
        f"{address}/dog.png?size=full",
    ]
    assert "404" in told[2]["error"]["message"] and told[2]["image"] == f"{address}/gone.png"
    for line in told[:2]:
        assert Image.open(f"{line['output']}.mask.png").size == (52, 40) and line["path"] == line["image"]
    again, _ = run("--allow-urls")
    assert [line.get("skipped") for line in again] == [True, True, None]
