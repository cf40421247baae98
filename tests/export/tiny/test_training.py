"""Training the miniature models: steps, checkpoints, the command."""

from concurrent.futures import ProcessPoolExecutor

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from safetensors.torch import load_file

from ovdeploy.export.tiny.contrast import APART, TEMPERATURE, dense_contrast
from ovdeploy.export.tiny.curves import draw_curves
from ovdeploy.export.tiny.loop import WARMUP, Budget, Cycle, Task, rate_share, train
from ovdeploy.export.tiny.sam_task import STAGES
from ovdeploy.export.tiny.train import BUILDERS, TASKS, main, write_weights
from ovdeploy.runtime.errors import WeightsError


@pytest.fixture
def deterministic():
    """What the command sets for its process."""
    torch.use_deterministic_algorithms(True)
    yield
    torch.use_deterministic_algorithms(False)


@pytest.mark.usefixtures("deterministic")
@pytest.mark.parametrize("role", BUILDERS)
def test_a_stopped_run_ends_in_the_same_bytes(role, training_folder, training_scenes, tmp_path, monkeypatch):
    """SAM's stages change after each step, and are small. The second cycle begins where the run was stopped."""
    untils = (1, 2, 3, 9)
    stages = [
        stage._replace(until=until, images=stage.parts, regions=2, users=2, corrections=1)
        for stage, until in zip(STAGES, untils, strict=True)
    ]
    monkeypatch.setattr("ovdeploy.export.tiny.sam_task.STAGES", stages)
    files = []
    for name, stops in (("once", (None,)), ("resumed", (1, 2, 3, None))):
        for stop in stops:
            torch.manual_seed(0)
            model = BUILDERS[role]()
            task = TASKS[role](model, training_scenes, training_folder)
            budget = Budget((Cycle(2), Cycle(2, stable=0.5)), 1e-3, 0, stop)
            history = train(model, task, budget, tmp_path / f"{name}.ckpt", lambda step, told: None)
        assert all(np.isfinite(values).all() for values in history.values())
        assert {len(values) for name, values in history.items() if name != "detail"} == {4}
        write_weights(model, tmp_path / f"{name}.safetensors")
        files.append((tmp_path / f"{name}.safetensors").read_bytes())
    assert files[0] == files[1]
    draw_curves(history, tmp_path / "curves.png")
    assert (tmp_path / "curves.png").stat().st_size > 1000


@pytest.mark.usefixtures("deterministic")
def test_a_run_that_has_ended_can_be_given_another_cycle_and_no_other_run_goes_on(
    training_folder, training_scenes, tmp_path
):
    def run(cycles, checkpoint="d.ckpt", seed=0):
        torch.manual_seed(0)
        model = BUILDERS["dino"]()
        task = TASKS["dino"](model, training_scenes, training_folder)
        return train(
            model, task, Budget(tuple(map(Cycle, cycles)), 1e-3, seed), tmp_path / checkpoint, lambda step, told: None
        )

    run((2,))
    for others in ({"cycles": (2,), "seed": 1}, {"cycles": (3,)}, {"cycles": (1, 1)}):
        with pytest.raises(WeightsError, match="at step 2"):
            run(**others)
    kept = torch.load(tmp_path / "d.ckpt", weights_only=True)
    kept["budget"]["cycles"] = [cycle[:2] for cycle in kept["budget"]["cycles"]]  # of a run before cycles had a peak
    torch.save(kept, tmp_path / "d.ckpt")
    assert run((2, 2)) == run((2, 2), "whole.ckpt")
    with pytest.raises(WeightsError, match="at step 4"):
        run((2,))


def test_the_rate_rises_stays_and_falls_in_every_cycle():
    budget = Budget((Cycle(4 * WARMUP, stable=0.5), Cycle(WARMUP + 10, stable=0.0, peak=0.5)), 1e-3)
    shares = [rate_share(step, budget) for step in range(budget.steps)]
    first, second = shares[: 4 * WARMUP], shares[4 * WARMUP :]
    assert first[0] == 1 / WARMUP and first[WARMUP - 1 : 2 * WARMUP] == [1.0] * (WARMUP + 1)
    assert first[3 * WARMUP] == 0.5 and first[-1] == pytest.approx(1 / (2 * WARMUP))
    rising = [0.5 * (step + 1) / WARMUP * (1 - step / len(second)) for step in range(WARMUP)]
    assert second[:WARMUP] == pytest.approx(rising) and second[-1] == pytest.approx(0.5 / len(second))


class Halves(Task):
    """Two parts: x and 3 y."""

    def __init__(self, model):
        self.model = model

    def parts(self, rng, step):
        return [lambda: {"loss": self.model.weight[0, 0]}, lambda: {"loss": 3 * self.model.weight[0, 1]}]


def test_a_step_goes_along_the_mean_over_the_parts(tmp_path, monkeypatch):
    model, seen = torch.nn.Linear(2, 1), []
    with torch.no_grad():
        model.weight[:] = torch.tensor([[1.0, 2.0]])
    monkeypatch.setattr(torch.nn.utils, "clip_grad_norm_", lambda parameters, norm: seen.extend(parameters))
    history = train(model, Halves(model), Budget((Cycle(1),), 1e-3), tmp_path / "h.ckpt", lambda step, told: None)
    assert history == {"loss": [(1 + 6) / 2]}
    assert seen[0].grad.tolist() == [[0.5, 1.5]] and seen[1].grad is None


def test_the_command_trains_and_writes(tmp_path, monkeypatch, training_folder):
    monkeypatch.setattr("ovdeploy.export.tiny.train.SHARD", 6)
    (tmp_path / "scenes").symlink_to(training_folder / "scenes")
    arguments = ["--out", str(tmp_path), "--model", "dino", "--steps", "1", "--scenes", "12"]
    result = CliRunner().invoke(main, arguments)
    torch.use_deterministic_algorithms(False)
    assert result.exit_code == 0, result.output
    state = load_file(tmp_path / "dino.safetensors")
    assert state.keys() == BUILDERS["dino"]().state_dict().keys()
    assert {value.dtype for value in state.values()} == {torch.float16}
    assert (tmp_path / "dino.png").is_file()


def test_the_command_trains_all_models_side_by_side(tmp_path, monkeypatch, training_folder):
    """In processes of their own, to the same bytes as one alone."""
    monkeypatch.setenv("OMP_WAIT_POLICY", "PASSIVE")  # as the command sets it, which would outlast the test
    submitted = []

    class Watched(ProcessPoolExecutor):
        def submit(self, work, run, roles, **options):
            submitted.append(tuple(roles))
            return super().submit(work, run, roles, **options)

    monkeypatch.setattr("ovdeploy.export.tiny.train.ProcessPoolExecutor", Watched)
    monkeypatch.setattr("ovdeploy.export.tiny.train.SHARD", 6)
    for name in ("all", "dino"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "scenes").symlink_to(training_folder / "scenes")
        arguments = ["--out", str(tmp_path / name), "--model", name, "--steps", "1", "--scenes", "12", "--threads", "2"]
        result = CliRunner().invoke(main, [*arguments, "--device", "cpu"])
        torch.use_deterministic_algorithms(False)
        assert result.exit_code == 0, result.output
    assert {path.stem for path in (tmp_path / "all").glob("*.safetensors")} == set(BUILDERS)
    assert len({(tmp_path / name / "dino.safetensors").read_bytes() for name in ("all", "dino")}) == 1
    assert submitted == [("sam", "escnet"), ("clip", "dino", "dense", "detector", "sam2")]


def test_a_model_that_fails_beside_others_does_not_stop_them(tmp_path, monkeypatch, training_folder):
    """The extractor has a checkpoint of another seed."""
    monkeypatch.setattr("ovdeploy.export.tiny.train.SHARD", 6)
    monkeypatch.setenv("OMP_WAIT_POLICY", "PASSIVE")
    (tmp_path / "scenes").symlink_to(training_folder / "scenes")
    arguments = ["--out", str(tmp_path), "--steps", "1", "--scenes", "12", "--device", "cpu", "--threads", "2"]
    assert CliRunner().invoke(main, [*arguments, "--model", "dino", "--seed", "1"]).exit_code == 0
    result = CliRunner().invoke(main, arguments)
    torch.use_deterministic_algorithms(False)
    assert result.exit_code == 1 and "clip and dino" in result.output and "cannot go on" in result.output
    assert (tmp_path / "sam.safetensors").is_file() and (tmp_path / "clip.safetensors").is_file()


def test_the_command_tells_that_there_is_no_gpu(tmp_path, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    result = CliRunner().invoke(main, ["--out", str(tmp_path), "--device", "cuda"])
    assert result.exit_code == 2 and "no GPU" in result.output and not list(tmp_path.iterdir())


def test_the_dense_contrast_is_its_definition():
    """One patch after another. The last has no label; the one before it is alone with its own, and has no share."""
    labels = torch.tensor([[0, 1, 0, 1, 0, 2, -1]])
    units = torch.nn.functional.normalize(torch.randn(1, 7, 5, generator=torch.manual_seed(0)), dim=-1)
    cosine = (units[0] @ units[0].T).tolist()
    known, name = range(6), labels[0].tolist()
    pairs = [(i, j) for i in known for j in known if i != j]
    same, other = ([(i, j) for i, j in pairs if (name[i] == name[j]) is equal] for equal in (True, False))

    def weight(i, among):
        return sum(np.exp(cosine[i][j] / TEMPERATURE) for k, j in among if k == i)

    losses = dense_contrast(units, labels)
    assert float(losses["contrast"]) == pytest.approx(
        np.mean([-np.log(weight(i, same) / weight(i, pairs)) for i in range(5)]), rel=1e-5
    )
    assert float(losses["together"]) == pytest.approx(np.mean([1 - cosine[i][j] for i, j in same]), rel=1e-5)
    assert float(losses["apart"]) == pytest.approx(
        4 * np.mean([max(cosine[i][j] - APART, 0) ** 2 for i, j in other]), rel=1e-5
    )


def test_where_all_is_of_one_label_nothing_has_to_be_apart():
    assert dense_contrast(torch.ones(1, 3, 1), torch.zeros(1, 3))["apart"] == 0
