"""Who writes a place holds it alone; who comes second is told who that is."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
import threading

import pytest

from ovdeploy.runtime.bundle.locks import locked
from ovdeploy.runtime.errors import BusyError, FileError
from support.other_user import as_nobody, on_small_disk

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


def test_a_link_in_the_locks_place_is_not_followed(tmp_path):
    (tmp_path / "theirs").write_text("kept")
    (tmp_path / ".b.lock").symlink_to("theirs")
    with pytest.raises(FileError, match=r"\.b\.lock cannot be written"), locked(tmp_path / "b", "calibrate"):
        pytest.fail("held")
    assert (tmp_path / "theirs").read_text() == "kept"


@pytest.mark.parametrize("make", [os.mkfifo, os.mkdir])
def test_what_is_no_file_is_refused_and_not_waited_for(tmp_path, make):
    make(tmp_path / ".b.lock")
    with pytest.raises(FileError, match=r"\.b\.lock"), locked(tmp_path / "b", "calibrate"):
        pytest.fail("held")


def test_a_lock_that_holds_no_text_still_excludes(tmp_path):
    (tmp_path / ".b.lock").write_bytes(b"\xff" * 1000)
    with locked(tmp_path / "b", "first"):
        assert (tmp_path / ".b.lock").read_text().startswith("first, process")


def test_a_folder_of_ours_in_one_of_others_is_locked_from_within(tmp_path):
    parent, ours = tmp_path / "theirs", tmp_path / "theirs" / "b"
    ours.mkdir(parents=True)
    ours.chmod(0o777)
    told = as_nobody(
        "import pathlib, sys\nfrom ovdeploy.runtime.bundle.locks import locked\n",
        "ours = pathlib.Path(sys.argv[1])\n"
        "with locked(ours, 'build-plans'): print([path.name for path in ours.iterdir()])\n"
        "print(list(ours.iterdir()))\n",
        ours,
        closed=[parent],
    )
    assert told.split() == ["['.lock']", "[]"]


def test_a_place_that_cannot_be_written_is_told(tmp_path):
    (tmp_path / "theirs").mkdir()
    told = as_nobody(
        "import pathlib, sys\nfrom ovdeploy.runtime.bundle.locks import locked\n"
        "from ovdeploy.runtime.errors import FileError\n",
        "try:\n    with locked(pathlib.Path(sys.argv[1]), 'build-plans'): pass\n"
        "except FileError as error: print(error)\n",
        tmp_path / "theirs" / "b",
        closed=[tmp_path / "theirs"],
    )
    assert ".b.lock cannot be written: Permission denied" in told


def test_a_disk_that_fills_up_within_is_told_with_the_place(tmp_path):
    told = on_small_disk(
        "import pathlib, sys\nfrom ovdeploy.runtime.bundle.locks import locked\n"
        "from ovdeploy.runtime.errors import FileError\n",
        "folder = pathlib.Path(sys.argv[1])\n"
        "try:\n    with locked(folder / 'b', 'export-engines'): (folder / 'x').write_bytes(bytes(1 << 20))\n"
        "except FileError as error: print(error, error.errno)\n",
        tmp_path / "disk",
        1 << 18,
    )
    assert "disk/b cannot be written: " in told and "goes on where this one stopped" in told
    assert told.split()[-1] in (str(errno.ENOSPC), str(errno.EFBIG))


def test_other_errors_within_come_through(tmp_path):
    with pytest.raises(FileNotFoundError, match="nowhere"), locked(tmp_path / "b", "first"):
        (tmp_path / "nowhere").read_bytes()
