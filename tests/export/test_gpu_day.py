"""The kit for a GPU day: order, time limits, resumption, refusals, parts. The steps themselves: its rehearsal on a CPU.

python tests/measure/gpu_day --out report --device cpu --size micro --minutes 6
"""

from __future__ import annotations

import json
import subprocess
import sys
import time

import pytest

from ovdeploy.runtime import Bundle
from ovdeploy.runtime.backends.registry import BACKENDS
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


def names_of(steps, setting, backends):
    return [name for part in (steps.beginning(setting), steps.measuring(backends)) for name, _ in part]


def test_what_is_worth_most_comes_first_and_every_step_can_be_run(kit):
    steps = kit["steps"]
    for device, backends in steps.CANDIDATES.items():
        for some in (backends, backends[1:], ()):
            names = names_of(steps, steps.Setting("", device, "full"), some)
            assert names[:3] == ["environment", "probe", "torch:fp32"] and len(set(names)) == len(names)
            assert {name.partition(":")[0] for name in names} <= set(steps.RUN)
            assert all(name.split(":")[1] in some for name in names if name.startswith(("plans", "engines", "photo")))
            for name in names:
                if name.startswith("engines"):
                    assert names.index(name) > names.index(f"export:{name.split(':')[2]}")
    names = names_of(steps, steps.Setting("", "cuda", "full"), steps.CANDIDATES["cuda"])
    assert {"engines:tensorrt-rtx:fp8", "engines:tensorrt:fp16", "engines:onnxruntime-cuda:fp16", "compile:fp16"} <= {
        *names
    }
    assert "compile:fp16" in names_of(steps, steps.Setting("", "cuda", "full"), ()), "PyTorch alone is worth measuring"


def test_a_day_goes_on_where_it_stopped_and_saves_every_step(kit, setting, tmp_path, monkeypatch, capsys):
    main = kit["main"]
    ran = []

    def step(name, given, limit):
        ran.append(name)
        if ran[0] == "torch:fp32":
            return {"failed": "again"}
        saved = json.loads((tmp_path / "first" / "report.json").read_text())["steps"] if len(ran) > 1 else {}
        assert list(saved) == ran[:-1], "the one before is saved when the next begins"
        if name == "torch:fp32":
            return {"failed": "a crash"}
        if name == "probe":
            return {"backends": ["onnxruntime"]}
        return (
            {"rows": [{"stage": "dino", "refused": "no GPU | here"}]} if name.startswith("engines") else {"done": name}
        )

    monkeypatch.setattr(main, "run_step", step)
    main.run_all(setting, tmp_path / "first", 1000)
    assert ran == names_of(kit["steps"], setting, ["onnxruntime"]), "what the probe found is measured"
    ran.clear()
    main.run_all(setting, tmp_path, 1000)
    assert ran == ["torch:fp32"], "what failed is tried again and nothing else, though the folder is another"
    told = (tmp_path / "report.md").read_text()
    assert "| torch:fp32 | failed: again |" in told and "no GPU / here" in told
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


def test_a_step_that_is_cut_off_keeps_what_it_found(kit, setting, monkeypatch, tmp_path):
    script = tmp_path / "__main__.py"
    script.write_text('import time; print(\'{"rows": [{"stage": "dino"}]}\', flush=True); time.sleep(60)')
    monkeypatch.setattr(kit["main"], "__file__", str(script))
    told = kit["main"].run_step("engines:onnxruntime:fp16", setting, 3)
    assert told == {"rows": [{"stage": "dino"}], "cut": "not done after 3 s"}
    report = kit["report"].Report.at(tmp_path, setting)
    report.add("engines:onnxruntime:fp16", told, 0.0)
    assert (
        not report.has("engines:onnxruntime:fp16")
        and "| cut: not done after 3 s |" in report.path.with_suffix(".md").read_text()
    )


def test_probing_tells_what_runs_and_why_the_rest_does_not(kit, setting):
    pytest.importorskip("tensorrt_rtx_bindings")
    told = kit["steps"].probe(setting)
    assert told["backends"] == ["onnxruntime"] and told["onnxruntime"].startswith("runs: ")
    ahead, here = told["tensorrt-rtx"].split("; current: ")
    assert ahead.startswith("ampere-plus: refused: no NVIDIA GPU can be used here")
    assert here.startswith("refused: ") and "CUDA driver version is insufficient" in here


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
    commands = [line for line in section.splitlines() if line.startswith(("mkdir", "bash "))]
    assert len(commands) == 2 and all(len(command) <= 2000 for command in commands)
    assert subprocess.run(["bash", "-n", FOLDER / "gpu_day" / "start.sh"]).returncode == 0
    shown = subprocess.run([sys.executable, FOLDER / "gpu_day", "--help"], capture_output=True, text=True)
    assert shown.returncode == 0 and "--minutes" in shown.stdout


def test_a_rung_is_exported_and_timed_in_every_way_that_engines_may_overlap(kit, setting, monkeypatch):
    import gpu_day.rungs as rungs

    monkeypatch.setattr(rungs, "SEEDS", {})
    monkeypatch.setattr(rungs, "RUNS", {"micro": 3})
    one_by_one = kit["steps"].RUN["rung"](setting, "micro", "onnxruntime")
    assert [row["stage"] for row in one_by_one["rows"]] == ["micro, a photo"]
    assert one_by_one["rows"][0]["times"]["runs"] == 3
    assert {"dino", "clip_image", "sam_encoder", "total"} <= set(one_by_one["steps"]["as it is"])

    ways = BACKENDS["onnxruntime"]._replace(options={"overlap": ("on", "off")})
    monkeypatch.setitem(rungs.BACKENDS, "onnxruntime", ways)
    both = kit["steps"].RUN["rung"](setting, "micro", "onnxruntime")
    assert [row["stage"] for row in both["rows"]] == ["micro, a photo, overlap=on", "micro, a photo, overlap=off"]
    assert list(both["steps"]) == ["on", "off"]


def test_frames_of_a_clip_are_timed(kit, setting, micro_video_bundle, monkeypatch):
    import gpu_day.rungs as rungs
    import gpu_day.tracks as tracks

    monkeypatch.setattr(tracks, "SETTLED", 2)
    monkeypatch.setattr(tracks, "RUNS", {"micro": 6})
    monkeypatch.setattr(rungs, "exported", lambda setting, recipe: Bundle.load(micro_video_bundle))
    monkeypatch.setattr(rungs, "PRECISION", "fp32")
    told = kit["steps"].RUN["track"](setting, "sam2-video-micro", "onnxruntime")
    assert told["rows"][0]["stage"] == "sam2-video-micro, a frame with 4 objects"
    assert {"sam_encoder", "sam_memory_attention", "sam_track_decoder", "sam_memory_encoder"} <= set(told["steps"])
