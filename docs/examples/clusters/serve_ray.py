"""A service of many replicas by Ray Serve: a photo is posted, and what is in it comes back as JSON.

pip install 'ovdeploy[openvino,ray]' 'ray[serve]==2.52.1'
python serve_ray.py engines/trident-b16 "cup; mug" table
curl --data-binary @photo.jpg http://127.0.0.1:8000/
"""

import asyncio
import sys
from pathlib import Path
from typing import Any

from ray import serve
from starlette.requests import Request
from starlette.responses import JSONResponse

from ovdeploy.runtime import OvdeployError, PhotoError, Segmenter

MOST_BYTES = 32 << 20


@serve.deployment(num_replicas=2, ray_actor_options={"num_cpus": 1}, max_ongoing_requests=4)
class Service:
    """A replica: a segmenter with engines of its own."""

    def __init__(self, bundle: Path, classes: list[str]) -> None:
        self.segmenter = Segmenter.load(bundle, threads=1)
        self.words = self.segmenter.vocabulary(classes)

    async def __call__(self, request: Request) -> Any:
        """What is in the photo that was posted."""
        if int(request.headers.get("content-length", MOST_BYTES + 1)) > MOST_BYTES:
            return JSONResponse({"error": f"a photo has at most {MOST_BYTES} bytes"}, 413)
        photo = await request.body()
        try:
            result = await asyncio.to_thread(self.segmenter.segment, photo, self.words)
        except PhotoError as error:
            return JSONResponse({"error": str(error)}, 400)
        except OvdeployError as error:
            return JSONResponse({"error": str(error)}, 500)
        return result.to_dict()


if __name__ == "__main__":
    serve.run(Service.bind(Path(sys.argv[1]).absolute(), sys.argv[2:]), blocking=True)
