"""Who writes a place holds it alone; who comes second is told who that is."""

from __future__ import annotations

import os
import subprocess
import sys
import threading

import pytest

from ovdeploy.runtime.bundle.locks import locked
from ovdeploy.runtime.errors import BusyError

HOLD = """
import sys, pathlib
from ovdeploy.runtime.bundle.locks import locked
with locked(pathlib.Path(sys.argv[1]), "export-engines"):
    print("held", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def holder(tmp_path):
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(tmp_path / "b")], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout.readline() == "held\n"
    yield process
    process.kill()
    process.communicate()


def test_the_second_is_told_who_holds_it(tmp_path, holder):
    told = rf"b is being written by export-engines, process {holder.pid} on .*, since"
    with pytest.raises(BusyError, match=told), locked(tmp_path / "b", "calibrate"):
        pytest.fail("two hold it")
    holder.communicate("")
    with locked(tmp_path / "b", "calibrate"):
        pass
    assert list(tmp_path.iterdir()) == [], "nothing is left"


def test_a_killed_holder_holds_nothing(tmp_path, holder):
    holder.kill()
    holder.wait()
    assert (tmp_path / ".b.lock").exists(), "it could not tidy up"
    with locked(tmp_path / "b", "calibrate"):
        assert str(os.getpid()) in (tmp_path / ".b.lock").read_text()
    assert not (tmp_path / ".b.lock").exists()


def test_threads_of_one_process_exclude_each_other(tmp_path):
    refused = []

    def second():
        try:
            with locked(tmp_path / "b", "second"):
                pass
        except BusyError as error:
            refused.append(str(error))

    with locked(tmp_path / "b", "first"):
        thread = threading.Thread(target=second)
        thread.start()
        thread.join()
    assert len(refused) == 1 and "first" in refused[0]


def test_an_error_within_frees_it(tmp_path):
    with pytest.raises(ValueError, match="mine"), locked(tmp_path / "b", "first"):
        raise ValueError("mine")
    with locked(tmp_path / "b", "second"), locked(tmp_path / "c", "another place"):
        pass
