"""Engines after `close`, and in a process that was forked from the one that opened them."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap

import numpy as np
import pytest

from ovdeploy.runtime import EngineError, ParameterError, PhotoError, Result, Segmenter
from ovdeploy.runtime.backends.options import MOST_THREADS

BACKENDS = ("onnxruntime", "openvino")


@pytest.mark.parametrize("name", ["a name that was never embedded", "cup"])
def test_words_after_close_are_refused_as_photos_are(micro_bundle, photo, name):
    with Segmenter.load(micro_bundle, backend="onnxruntime") as opened:
        words = opened.vocabulary(["cup"])
    for ask in (lambda: opened.vocabulary([name]), lambda: opened.segment(photo, words)):
        with pytest.raises(EngineError, match="closed"):
            ask()


FORKED = """
    import gc, os, sys
    from ovdeploy.runtime import EngineError, Segmenter
    segmenter = Segmenter.load(sys.argv[1], backend=sys.argv[2])
    words = segmenter.vocabulary(["cup", "table"])
    import numpy as np
    photo = np.zeros((64, 80, 3), np.uint8)
    segmenter.segment(photo, words)
    if os.fork() == 0:
        try:
            segmenter.segment(photo, words)
        except EngineError as error:
            print("refused", "forked" in str(error), flush=True)
        segmenter.close()
        del segmenter
        gc.collect()
        print("closed", flush=True)
        os._exit(0)  # as multiprocessing leaves its children; ONNX Runtime's own end would wait for its threads
    _, status = os.wait()
    assert status == 0, status
    segmenter.segment(photo, words)
    segmenter.close()
    print("parent done", flush=True)
"""


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_forked_child_is_refused_and_closes_without_harm(micro_bundle, backend):
    command = [sys.executable, "-c", textwrap.dedent(FORKED), str(micro_bundle), backend]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.stdout.split("\n")[:3] == ["refused True", "closed", "parent done"], done.stderr


@pytest.mark.parametrize("threads", [0, -1, MOST_THREADS + 1, 100_000, 2**40])
def test_threads_are_bounded_and_the_bound_is_said(micro_bundle, vocabulary, photo, segmenter, threads):
    with pytest.raises(ParameterError, match=f"1 to {MOST_THREADS}"):
        Segmenter.load(micro_bundle, threads=threads)
    for how in ("workers", "engines"):
        with pytest.raises(ParameterError, match=f"1 to {MOST_THREADS}"):
            segmenter.segment_many([photo], vocabulary, **{how: threads})


def test_a_path_that_is_vile_costs_a_batch_itself_alone(segmenter, vocabulary, photo, tmp_path):
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    vile = [tmp_path / "fifo", tmp_path / "loop", "/dev/zero", "n" * 300, "a\0b", "a\ud800", tmp_path, None, b"x", 5]
    given = [each for path in vile for each in (path, photo)]
    answers = list(segmenter.segment_many(given, vocabulary))
    assert [type(answer) for answer in answers] == [PhotoError, Result] * len(vile)


def test_a_users_iterator_that_is_none_is_refused_at_once(segmenter, vocabulary):
    with pytest.raises(TypeError, match="something to iterate over"):
        segmenter.segment_many(np.array(1.0), vocabulary)
