"""`ovdeploy build-plans`, `export-engines --backend tensorrt`, `inspect` and `doctor` on the fake machine."""

import json

import pytest
from click.testing import CliRunner

from ovdeploy.export.cli.export_engines import export_engines
from ovdeploy.runtime import Bundle
from ovdeploy.runtime.backends import registry
from ovdeploy.runtime.cli import main


def invoke(command, *arguments):
    result = CliRunner().invoke(command, [str(argument) for argument in arguments])
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result


def test_plans_are_built_by_command_shown_and_verified(world, bundle, monkeypatch):
    monkeypatch.setenv("COLUMNS", "250")
    path = bundle.path
    result = invoke(
        main, "build-plans", path, "--stages", "dino, head", "--range", "Q=1:2:3", "--workspace", "0.5", "--tf32"
    )
    assert result.exit_code == 0 and result.stdout.strip() == str(path)
    for words in ("dino", "head", "built in ", "2 fp32"):
        assert words in result.stderr
    (plan,) = Bundle.load(path).stage("head").plans
    assert plan.ranges["Q"] == (1, 2, 3) and plan.tf32
    assert world.record.arguments("IBuilderConfig.set_memory_pool_limit")[0]["pool_size"] == 1 << 29
    assert "unchanged" in invoke(main, "build-plans", path, "--stages", "dino", "--tf32").stderr
    shown = invoke(main, "inspect", path).stdout
    for words in ("plan of", f"TensorRT {world.trt.__version__}", "2 fp32", "current"):
        assert words in shown
    (path / plan.file.path).write_bytes(b"x")
    assert invoke(main, "inspect", path).exit_code == 1


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--range", "Q=3:2:1"], "three sizes"),
        (["--range", "Z=1"], "unknown axis 'Z'"),
        (["--precision", "fp16"], "unknown precision 'fp16'"),
        (["--device", "5"], "no GPU 5"),
    ],
)
def test_what_cannot_be_built_ends_with_1(world, bundle, arguments, told):
    result = invoke(main, "build-plans", bundle.path, *arguments)
    assert result.exit_code == 1 and told in result.stderr


def test_export_engines_builds_plans_after_the_export(world, bundle):
    result = invoke(
        export_engines, "micro", "--output", bundle.path, "--backend", "tensorrt", "--optimization-level", 1
    )
    assert result.exit_code == 0, result.stderr
    stages = Bundle.load(bundle.path).manifest.stages
    assert [entry.plans[0].optimization_level for entry in stages.values()] == [1] * 6


def test_export_engines_looks_for_tensorrt_before_it_exports(world, bundle, monkeypatch):
    world.cuda.devices = 0
    monkeypatch.setattr("ovdeploy.export.bundling.build.build_bundle", lambda *given, **named: pytest.fail("too late"))
    result = invoke(export_engines, "micro", "--output", bundle.path, "--backend", "tensorrt")
    assert result.exit_code == 1 and "no NVIDIA GPU" in result.stderr


def test_a_plan_is_profiled_by_its_file(world, bundle):
    invoke(main, "build-plans", bundle.path, "--stages", "dino")
    (plan,) = Bundle.load(bundle.path).stage("dino").plans
    printed = invoke(main, "profile", bundle.path, "--stages", "dino", "--source", "plan", "--dry-run").stdout
    assert f"--loadEngine={bundle.path / plan.file.path}" in printed and "--onnx" not in printed


def test_the_doctor_tells_of_tensorrt_and_the_gpu(world, monkeypatch):
    from ovdeploy.runtime.cli import doctor

    monkeypatch.setattr(registry, "find_spec", lambda name: name)
    found = doctor._found
    monkeypatch.setattr(doctor, "_found", lambda name: "11.4" if name == "tensorrt" else found(name))
    told = json.loads(invoke(main, "doctor", "--json").stdout)
    checks = {check["what"]: check for check in told["checks"]}
    assert checks["backend tensorrt"]["works"]
    assert checks["backend tensorrt"]["state"] == "11.4, NVIDIA Fake 9000 (9.0)"
    assert told["GPU"] == "NVIDIA Fake 9000 (9.0)" and "CPUExecutionProvider" in told["ONNX Runtime's providers"]
    world.cuda.devices = 0
    checks = {check["what"]: check for check in json.loads(invoke(main, "doctor", "--json").stdout)["checks"]}
    assert not checks["backend tensorrt"]["works"] and "no NVIDIA GPU" in checks["backend tensorrt"]["state"]
