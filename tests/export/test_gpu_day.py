"""The kit for a GPU day: order, time limits, resumption, refusals, parts. The steps themselves: its rehearsal on a CPU.

python tests/measure/gpu_day --out report --device cpu --size micro --minutes 6
"""

from __future__ import annotations

import json
import subprocess
import sys
import time

import pytest

from support.samples import ROOT

FOLDER = ROOT / "tests" / "measure"


@pytest.fixture
def kit(monkeypatch):
    monkeypatch.syspath_prepend(str(FOLDER))
    import gpu_day.__main__ as main
    import gpu_day.parts as parts
    import gpu_day.report as report
    import gpu_day.steps as steps

    return {"main": main, "parts": parts, "report": report, "steps": steps}


@pytest.fixture
def setting(kit, tmp_path):
    return kit["steps"].Setting(work=str(tmp_path / "work"), device="cpu", size="micro")


def test_what_is_worth_most_comes_first_and_every_step_can_be_run(kit):
    steps = kit["steps"]
    for device in ("cuda", "cpu"):
        names = [name for name, _ in steps.plan(steps.Setting("", device, "full"))]
        assert names[:3] == ["environment", "probe", "torch:fp32"] and len(set(names)) == len(names)
        assert {name.partition(":")[0] for name in names} <= set(steps.RUN)
        for precision in ("fp16", "fp32", "bf16", "int8w", "fp8", "int8"):
            first = names.index(f"export:{precision}")
            assert all(
                names.index(name) > first for name in names if name.startswith("engines") and name.endswith(precision)
            )
    assert {"engines:tensorrt-rtx:fp8", "engines:tensorrt:fp16", "engines:onnxruntime-cuda:fp16", "compile:fp16"} <= {
        name for name, _ in steps.plan(steps.Setting("", "cuda", "full"))
    }


def test_a_day_goes_on_where_it_stopped_and_saves_every_step(kit, setting, tmp_path, monkeypatch, capsys):
    main = kit["main"]
    ran = []

    def step(name, given, limit):
        ran.append(name)
        saved = json.loads((tmp_path / "report.json").read_text())["steps"] if len(ran) > 1 else {}
        assert list(saved) == ran[:-1], "the one before is saved when the next begins"
        if name == "torch:fp32":
            return {"failed": "a crash"}
        return (
            {"rows": [{"stage": "dino", "refused": "no GPU | here"}]} if name.startswith("engines") else {"done": name}
        )

    monkeypatch.setattr(main, "run_step", step)
    main.run_all(setting, tmp_path, 1000)
    whole = list(ran)
    assert whole == [name for name, _ in kit["steps"].plan(setting)]
    ran.clear()
    main.run_all(setting, tmp_path, 1000)
    assert ran == ["torch:fp32"], "what failed is tried again, and nothing else"
    told = (tmp_path / "report.md").read_text()
    assert "| torch:fp32 | failed: a crash |" in told and "no GPU / here" in told
    assert "done before" in capsys.readouterr().out


def test_steps_that_do_not_fit_are_left_and_told(kit, setting, tmp_path, monkeypatch):
    monkeypatch.setattr(kit["main"], "run_step", lambda *given: pytest.fail("no time is left"))
    kit["main"].run_all(setting, tmp_path, 5)
    steps = json.loads((tmp_path / "report.json").read_text())["steps"]
    assert steps and all("left" in step for step in steps.values())


@pytest.mark.parametrize(
    ("step", "limit", "told"),
    [("environment", 60, "python"), ("engines:onnxruntime:fp16", 60, "failed"), ("unheard", 60, "failed")],
)
def test_a_step_is_a_process_whose_end_is_told(kit, setting, step, limit, told):
    result = kit["main"].run_step(step, setting, limit)
    assert told in result and result["seconds"] < limit


def test_a_step_that_hangs_costs_its_limit(kit, setting, monkeypatch):
    monkeypatch.setattr(
        kit["main"].sys, "executable", "sleep"
    )  # is given a path it cannot read: fails or hangs at once
    monkeypatch.setattr(
        subprocess,
        "run",
        lambda command, timeout, **_: (_ for _ in ()).throw(subprocess.TimeoutExpired(command, timeout)),
    )
    start = time.monotonic()
    assert (
        kit["main"].run_step("probe", setting, 3) == {"failed": "not done after 3 s"} and time.monotonic() - start < 3
    )


def test_probing_tells_both_plans_and_never_raises(kit, setting):
    pytest.importorskip("tensorrt_rtx_bindings")
    told = kit["steps"].probe(setting)
    assert told["ampere-plus"].startswith("refused: no NVIDIA GPU can be used here")
    assert told["current"].startswith("refused: ") and "CUDA driver version is insufficient" in told["current"]


def test_parts_hold_every_byte_and_fit_their_transfer(kit, tmp_path):
    parts = kit["parts"]
    sizes = {"large.whl": parts.PIECE * 7 + 5, "small.whl": 1000, "other.whl": parts.PIECE - 1}
    for name, size in sizes.items():
        (tmp_path / name).write_bytes(bytes([size % 251]) * size)
    files = [piece for name in sizes for piece in parts.pieces(tmp_path / name)]
    dealt = parts.deal(files)
    assert all(sum(file.stat().st_size for file in part) <= parts.MOST for part in dealt) and len(dealt) == 2
    joined = b"".join(file.read_bytes() for file in sorted(tmp_path.glob("large.whl.*")))
    assert len(joined) == sizes["large.whl"] and sorted(file for part in dealt for file in part) == sorted(files)


def test_the_commands_fit(tmp_path):
    text = (ROOT / "docs" / "gpu.md").read_text()
    section = text[text.index("## A GPU day") :]
    commands = [line for line in section.splitlines() if line.startswith(("mkdir", "cp "))]
    assert len(commands) == 2 and all(len(command) <= 2000 for command in commands)
    assert subprocess.run(["bash", "-n", FOLDER / "gpu_day" / "start.sh"]).returncode == 0
    shown = subprocess.run([sys.executable, FOLDER / "gpu_day", "--help"], capture_output=True, text=True)
    assert shown.returncode == 0 and "--minutes" in shown.stdout
