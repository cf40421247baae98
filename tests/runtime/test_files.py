"""Files that are whole or absent: temporary names, what killed processes leave, folders that cannot be written to."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from ovdeploy.runtime import OutputError
from ovdeploy.runtime.files import LASTING, MARK, PARTIAL, atomic_path, check_folder, sweep, write_bytes
from ovdeploy.runtime.photo import SUFFIXES
from support.other_user import as_nobody, on_small_disk

WRITER = """
import sys, time
from ovdeploy.runtime.files import atomic_path
with atomic_path(sys.argv[1]) as temporary:
    temporary.write_bytes(b"half")
    print(temporary, flush=True)
    time.sleep(60)
"""


def left_by_a_killed_process(folder: Path, name: str = "a.overlay.png") -> Path:
    process = subprocess.Popen([sys.executable, "-c", WRITER, str(folder / name)], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    left = Path(process.stdout.readline().strip())
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert left.exists()
    return left


def test_a_temporary_name_is_hidden_and_no_photos(tmp_path):
    with atomic_path(tmp_path / "a.overlay.png") as temporary:
        assert temporary.name.startswith(".") and temporary.suffix == PARTIAL and PARTIAL not in SUFFIXES
        assert temporary.parent == tmp_path
        temporary.write_bytes(b"whole")
    assert [path.name for path in tmp_path.iterdir()] == ["a.overlay.png"]
    assert (tmp_path / "a.overlay.png").read_bytes() == b"whole"


def test_a_failure_leaves_the_old_file_and_nothing_else(tmp_path):
    write_bytes(tmp_path / "a", b"old")
    with pytest.raises(ZeroDivisionError), atomic_path(tmp_path / "a") as temporary:
        temporary.write_bytes(bytes(1 // 0))
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == {"a": b"old"}


def test_the_next_process_sweeps_what_a_killed_one_left(tmp_path):
    left = left_by_a_killed_process(tmp_path)
    done = "import sys; from ovdeploy.runtime.files import write_bytes; write_bytes(sys.argv[1], b'next')"
    subprocess.run([sys.executable, "-c", done, str(tmp_path / "b")], check=True)
    assert not left.exists() and [path.name for path in tmp_path.iterdir()] == ["b"]


def test_only_our_own_leftovers_are_swept(tmp_path):
    """Not what a living process writes, not what another machine may be writing, and no other names."""
    with atomic_path(tmp_path / "a") as living:
        *_, process = living.name.removeprefix(MARK).rsplit("-", 1)[0].split("-")
        assert int(process) == os.getpid()
        dead = left_by_a_killed_process(tmp_path)
        elsewhere = tmp_path / f"{MARK}00000000-999999999-x{PARTIAL}"
        others = [tmp_path / name for name in (".a.png", f"{MARK}notes", f"x{PARTIAL}", f"{MARK}{PARTIAL}")]
        for path in (elsewhere, *others):
            path.write_bytes(b"")
        sweep(tmp_path)
        assert living.exists() and elsewhere.exists() and all(path.exists() for path in others)
        assert not dead.exists()
        old = time.time() - 3 * 86400
        for path in (elsewhere, *others):
            os.utime(path, (old, old))
        sweep(tmp_path)
        assert not elsewhere.exists(), "after a day it is nobody's"
        assert all(path.exists() for path in others[:3])


def test_sweeping_what_is_no_folder_does_nothing(tmp_path):
    sweep(tmp_path / "nowhere")
    (tmp_path / "file").write_bytes(b"")
    sweep(tmp_path / "file")


def test_a_folder_that_can_be_written_to_passes_and_stays_as_it_is(tmp_path):
    check_folder(tmp_path)
    check_folder(tmp_path / "not" / "there" / "yet")
    assert list(tmp_path.iterdir()) == []


def test_a_file_in_the_place_of_the_folder_is_refused(tmp_path):
    (tmp_path / "out").write_bytes(b"")
    for folder in (tmp_path / "out", tmp_path / "out" / "below"):
        with pytest.raises(OutputError, match="nothing can be written to"):
            check_folder(folder)


IMPORTS = """
import sys
from pathlib import Path
from ovdeploy.runtime import OutputError
from ovdeploy.runtime.files import check_folder, write_bytes
def told(folder, expected=0):
    try:
        check_folder(folder, expected)
    except OutputError as error:
        print(error)
    else:
        print("fine")
"""


def test_a_folder_of_another_user_is_refused(tmp_path):
    (tmp_path / "out").mkdir()
    told = as_nobody(
        IMPORTS,
        "for folder in sys.argv[1:]: told(folder)",
        *(tmp_path / "out", tmp_path / "out" / "below"),
        closed=[tmp_path / "out"],
    ).splitlines()
    assert len(told) == 2 and all("nothing can be written to" in line and "Permission denied" in line for line in told)


def test_a_disk_that_is_too_small_is_refused(tmp_path):
    with pytest.raises(OutputError, match=r"MB free, and the results will take at least 1000000000000 MB"):
        check_folder(tmp_path / "out", expected=10**18)


def test_a_full_disk_is_refused(tmp_path):
    told = on_small_disk(
        IMPORTS,
        "disk = Path(sys.argv[1]); told(disk)\n"
        "try:\n"
        "    with open(disk / 'full', 'wb', buffering=0) as file:\n"
        "        while True: file.write(bytes(512))\n"
        "except OSError: pass\n"
        "import os, resource\n"
        "if os.geteuid(): resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))\n"
        "told(disk)\n"
        "print(*[path.name for path in disk.iterdir()])\n",
        tmp_path / "disk",
        1 << 20,
    ).splitlines()
    assert told[0] == "fine" and "nothing can be written to" in told[1] and told[2] == "full"


def test_a_write_that_a_full_disk_ends_leaves_the_old_file(tmp_path):
    told = on_small_disk(
        IMPORTS,
        "place = Path(sys.argv[1]) / 'a'; write_bytes(place, b'old')\n"
        "try: write_bytes(place, bytes(4 << 20))\n"
        "except OSError as error: print(error.errno)\n"
        "print(place.read_bytes(), *[path.name for path in place.parent.iterdir()])\n",
        tmp_path / "disk",
        1 << 20,
    ).split()
    assert int(told[0]) in LASTING and told[1:] == ["b'old'", "a"]
