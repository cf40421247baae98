"""Engines in combinations that nobody ran: tried in a process of their own, which may die without us."""

from __future__ import annotations

import os
import subprocess
import sys
import warnings

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ovdeploy.runtime import Bundle, BundleError, EngineError, ParameterError
from ovdeploy.runtime.backends import trial_memory, trials
from ovdeploy.runtime.backends.children import python_command
from ovdeploy.runtime.backends.options import SessionOptions
from ovdeploy.runtime.backends.registry import open_session, profile_graph
from ovdeploy.runtime.backends.trials import VARIABLE, try_first
from ovdeploy.runtime.backends.tried import DISTRIBUTIONS, TRIED, untried
from ovdeploy.runtime.cli.doctor import SOFTSIGN, SOFTSIGN_CONTRACT

FAKE = """
import os, signal, sys, time
class GraphOptimizationLevel: ORT_ENABLE_ALL = 0
class SessionOptions: pass
def get_available_providers(): return ["CPUExecutionProvider"]
def InferenceSession(*arguments, **named): {does}
"""


@pytest.fixture
def softsign(tmp_path):
    path = tmp_path / "softsign.onnx"
    path.write_bytes(SOFTSIGN)
    return path


@pytest.fixture(autouse=True)
def _new_version(monkeypatch, tmp_path):
    """A version that nobody knows, a cache of its own, and nothing remembered."""
    monkeypatch.setattr(trials, "library_version", lambda backend: "99.0")
    monkeypatch.setattr(trials, "_lived", set())
    monkeypatch.setenv("OVDEPLOY_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv(VARIABLE, raising=False)


@pytest.fixture
def children(monkeypatch):
    """The commands of the processes that were started."""
    started, real = [], subprocess.run

    def recorded(command, **named):
        started.append(command)
        return real(command, **named)

    monkeypatch.setattr(trials.subprocess, "run", recorded)
    return started


@pytest.fixture
def library(monkeypatch, tmp_path):
    """Puts a library in onnxruntime's place whose sessions do something, in the children alone."""

    def put(does):
        folder = tmp_path / "library"
        folder.mkdir()
        (folder / "onnxruntime.py").write_text(FAKE.format(does=does))
        monkeypatch.syspath_prepend(folder)

    return put


def remembered(tmp_path):
    return sorted((tmp_path / "cache" / trial_memory.FOLDER).glob("*"))


@pytest.mark.parametrize(
    ("does", "told"),
    [
        ("os.kill(os.getpid(), signal.SIGSEGV)", "died of SIGSEGV"),
        ("os.abort()", "died of SIGABRT"),
        ("os.kill(os.getpid(), signal.SIGKILL)", "a machine without memory"),
        ("os._exit(3)", "died of exit code 3"),
    ],
)
def test_a_library_that_crashes_is_an_error_of_ours(library, softsign, tmp_path, does, told):
    library(does)
    with pytest.raises(EngineError, match=told) as caught:
        open_session(softsign, SOFTSIGN_CONTRACT, "onnxruntime", options=SessionOptions(precision="fp16"))
    assert caught.value.stage == "softsign"
    for part in ("onnxruntime 99.0", "fp16", "--backend", "--precision", VARIABLE, *TRIED["onnxruntime"]):
        assert part in str(caught.value)
    assert not remembered(tmp_path)


def test_a_library_that_hangs_is_ended_and_told(library, softsign, monkeypatch, tmp_path):
    library("time.sleep(600)")
    monkeypatch.setenv(VARIABLE, "2")
    with pytest.raises(EngineError, match=r"did not end within 2 s"):
        open_session(softsign, SOFTSIGN_CONTRACT, "onnxruntime")
    assert not remembered(tmp_path)


@pytest.mark.parametrize("backend", DISTRIBUTIONS)
def test_what_lives_is_remembered_for_the_next_process(softsign, children, monkeypatch, tmp_path, backend):
    pytest.importorskip(backend)
    open_session(softsign, SOFTSIGN_CONTRACT, backend).close()
    open_session(softsign, SOFTSIGN_CONTRACT, backend).close()
    assert len(children) == 1 and len(remembered(tmp_path)) == 1
    monkeypatch.setattr(trials, "_lived", set())  # as another process has it
    open_session(softsign, SOFTSIGN_CONTRACT, backend).close()
    assert len(children) == 1
    open_session(softsign, SOFTSIGN_CONTRACT, backend, options=SessionOptions(identity="another")).close()
    assert len(children) == 2


def test_every_stage_of_a_bundle_is_opened_and_run_by_its_trial(micro_bundle, monkeypatch):
    """An engine that could not be fed would be refused in words, and nothing would have been tried."""
    ran = []
    monkeypatch.setattr(trials, "remember", ran.append)
    bundle = Bundle.load(micro_bundle)
    for stage, entry in bundle.manifest.stages.items():
        options = SessionOptions(identity=entry.engines["fp32"].digest)
        try_first("onnxruntime", bundle.engine_path(stage, "fp32"), entry.contract, options)
    assert [facts["engine"] for facts in ran] == [
        entry.engines["fp32"].digest for entry in bundle.manifest.stages.values()
    ]


@pytest.mark.parametrize("change", ["version", "kinds", "processor", "package"])
def test_another_combination_is_tried_again(softsign, children, monkeypatch, change):
    open_session(softsign, SOFTSIGN_CONTRACT, "onnxruntime").close()
    monkeypatch.setattr(trials, "_lived", set())
    options = SessionOptions(kinds=("int8",) if change == "kinds" else ())
    others = {"version": "library_version", "processor": "processor", "package": "version"}
    if change in others:
        monkeypatch.setattr(trials, others[change], lambda *_: "another")
    open_session(softsign, SOFTSIGN_CONTRACT, "onnxruntime", options=options).close()
    assert len(children) == 2


FACTS = {"backend": "onnxruntime", "version": "99.0"}


def place(tmp_path):
    trial_memory.remember(FACTS)
    assert trial_memory.recall(FACTS) and not trial_memory.recall({**FACTS, "version": "98"})
    return remembered(tmp_path)[0]


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_a_damaged_note_counts_as_never_tried(tmp_path, data):
    path = place(tmp_path)
    whole = path.read_bytes()
    damage = st.one_of(
        st.binary(max_size=300),
        st.integers(0, len(whole) - 1).map(lambda end: whole[:end]),
        st.tuples(st.integers(0, len(whole) - 1), st.integers(0, 7)).map(
            lambda flip: whole[: flip[0]] + bytes([whole[flip[0]] ^ 1 << flip[1]]) + whole[flip[0] + 1 :]
        ),
    )
    path.write_bytes(data.draw(damage.filter(lambda damaged: damaged != whole)))
    assert not trial_memory.recall(FACTS)


@pytest.mark.parametrize("kind", ["pipe", "folder", "loop", "large", "forged", "deep"])
def test_what_is_no_note_counts_as_never_tried(tmp_path, kind):
    path = place(tmp_path)
    note = path.read_bytes()
    path.unlink()
    another = {**FACTS, "version": "98"}
    trial_memory.remember(another)
    forged = next(path for path in remembered(tmp_path)).read_bytes()
    {
        "pipe": lambda: os.mkfifo(path),
        "folder": path.mkdir,
        "loop": lambda: path.symlink_to(path.name),
        "large": lambda: path.write_bytes(note + b" "),
        "forged": lambda: path.write_bytes(forged),
        "deep": lambda: path.write_bytes(b"[" * 60_000),
    }[kind]()
    assert not trial_memory.recall(FACTS)


def test_a_cache_that_cannot_be_written_costs_trials_and_nothing_else(softsign, children, monkeypatch, tmp_path):
    (tmp_path / "file").write_bytes(b"")
    monkeypatch.setenv("OVDEPLOY_CACHE", str(tmp_path / "file" / "cache"))
    for _ in range(2):
        open_session(softsign, SOFTSIGN_CONTRACT, "onnxruntime").close()
    assert len(children) == 1, "this process knows"


def test_a_graph_that_is_refused_in_words_gives_those_words(softsign, tmp_path):
    softsign.write_bytes(b"no graph")
    with pytest.raises(BundleError, match="cannot load"):
        open_session(softsign, SOFTSIGN_CONTRACT, "onnxruntime")
    assert not remembered(tmp_path)


def test_what_was_tried_starts_no_process(softsign, children, monkeypatch):
    version = next(iter(TRIED["onnxruntime"]))
    monkeypatch.setattr(trials, "library_version", lambda backend: version)
    open_session(softsign, SOFTSIGN_CONTRACT, "onnxruntime").close()
    assert not children
    assert untried("onnxruntime", version, frozenset({"fp32", "never heard of"})) == {"never heard of"}


def test_trials_can_be_switched_off(softsign, children, monkeypatch):
    monkeypatch.setenv(VARIABLE, "off")
    open_session(softsign, SOFTSIGN_CONTRACT, "onnxruntime").close()
    assert not children


@pytest.mark.parametrize("given", ["on", "-1", "0", "nan", "inf", "10 s"])
def test_a_setting_that_is_none_is_told(softsign, monkeypatch, given):
    monkeypatch.setenv(VARIABLE, given)
    with pytest.raises(ParameterError, match="a number of seconds above 0, or off"):
        open_session(softsign, SOFTSIGN_CONTRACT, "onnxruntime")


@pytest.mark.parametrize("program", ["", None, "/usr/sbin/uwsgi", "/nowhere/python3", "frozen", "another"])
def test_where_no_python_can_be_started_the_engine_is_opened_and_that_is_told(softsign, monkeypatch, tmp_path, program):
    if program == "frozen":
        monkeypatch.setattr(sys, "frozen", True, raising=False)
    elif program == "another":  # goes by Python's name and is none
        (tmp_path / "python").write_text("#!/bin/sh\nexit 0\n")
        (tmp_path / "python").chmod(0o755)
        monkeypatch.setattr(sys, "executable", str(tmp_path / "python"))
    else:
        monkeypatch.setattr(sys, "executable", program)
    with pytest.warns(RuntimeWarning, match=r"onnxruntime 99\.0 was never run in fp32.*no process could be started"):
        open_session(softsign, SOFTSIGN_CONTRACT, "onnxruntime").close()
    assert not remembered(tmp_path)


def test_a_profile_is_tried_first_too(library, softsign):
    library("os.abort()")
    with pytest.raises(EngineError, match="SIGABRT"):
        profile_graph(softsign, SOFTSIGN_CONTRACT, "onnxruntime", {}, SessionOptions(), 1)


def test_nothing_in_the_working_folder_is_imported_by_our_processes(monkeypatch, tmp_path):
    """`python -m` would: a folder of photos may hold anything."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [entry for entry in sys.path if entry])
    for name in ("runpy", "random", "msgspec", "numpy", "ovdeploy"):
        (tmp_path / f"{name}.py").write_text("raise SystemExit('imported')")
    done = subprocess.run(python_command("ovdeploy.runtime.bench.worker"), capture_output=True, text=True)
    assert "IndexError" in done.stderr and "imported" not in done.stderr, "it misses its argument, and got that far"


def test_a_trial_is_told_all_of_how_an_engine_is_opened(micro_bundle):
    from ovdeploy.runtime.backends.attempt import Attempt

    contract = Bundle.load(micro_bundle).stage("sam_encoder").contract
    options = SessionOptions(threads=3, in_order=True, arena=False, precision="fp16", kinds=("fp16", "fp32"),
                             identity="a", ranges=contract.ranges, of_backend={"a": "b"})  # fmt: skip
    what = Attempt(backend="onnxruntime", path="/x", contract=contract, options=options)
    assert msgspec.json.decode(msgspec.json.encode(what), type=Attempt) == what


def test_no_warning_comes_where_all_is_well(softsign):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        open_session(softsign, SOFTSIGN_CONTRACT, "onnxruntime").close()
