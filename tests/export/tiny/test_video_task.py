"""Training SAM 2 on clips: what it sees, that all of it learns, and that what it is asked is what a clip shows."""

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from safetensors.torch import load_file

from ovdeploy.export.models.promptable.memory.video import build_tiny_video
from ovdeploy.export.models.weights import packaged, read_checkpoint
from ovdeploy.export.tiny.train import main
from ovdeploy.export.tiny.video_clips import CELL, SIDE, SMALLEST, some_clip
from ovdeploy.export.tiny.video_task import KINDS, VideoTask, _losses_of_those_there, begin_with_sam


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(0)
    model = build_tiny_video()
    begin_with_sam(model, read_checkpoint(packaged("sam")))
    return model


def test_the_miniature_is_small_enough_to_come_with_the_package(model):
    assert 2 * sum(value.numel() for value in model.state_dict().values()) < 2e6, "bytes in half precision"


def test_prompts_and_decoder_begin_as_the_miniature_sams(model):
    sam, state = read_checkpoint(packaged("sam")), model.state_dict()
    name = "point_embeddings.1.weight"
    assert torch.equal(state[f"sam_prompt_encoder.{name}"], sam[f"prompt_encoder.{name}"].float())
    taken = {key: key.replace("lin1", "layers.0").replace("lin2", "layers.1") for key in sam if ".transformer." in key}
    assert all(torch.equal(state[f"sam_{ours}"], sam[key].float()) for key, ours in taken.items()) and len(taken) > 50


def test_a_clip_shows_things_of_the_size_that_is_asked_for_and_is_the_same_again():
    clips = [some_clip(np.random.default_rng(seed), 4, 3) for seed in (1, 1, 2)]
    for clip in clips:
        assert clip.images.shape == (4, 3, SIDE, SIDE) and clip.targets.shape == (4, 3, SIDE // CELL, SIDE // CELL)
        assert clip.targets[0].sum((-2, -1)).min() >= SMALLEST
        cells = clip.sharp[:, 0].unflatten(2, (-1, CELL)).unflatten(1, (-1, CELL)).mean((2, 4))
        assert torch.equal(cells, clip.targets[0]), "what is sharp is what its cells are made of"
    assert torch.equal(clips[0].images, clips[1].images) and not torch.equal(clips[0].images, clips[2].images)


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_prompt_leaves_something_to_follow(model, kind, monkeypatch):
    monkeypatch.setattr("ovdeploy.export.tiny.video_task.KINDS", (kind,))
    losses = VideoTask(model).losses(np.random.default_rng(3))
    assert set(losses) == {"first", "followed", "iou", "score"}
    assert all(torch.isfinite(loss) and loss > 0 for loss in losses.values())


def test_all_of_the_model_learns_but_for_what_it_does_not_use(model, monkeypatch):
    """`no_mem_pos_enc` is in published checkpoints, and used by none of the steps."""
    reached = dict.fromkeys((name for name, _ in model.named_parameters()), False)
    for kind in KINDS:
        monkeypatch.setattr("ovdeploy.export.tiny.video_task.KINDS", (kind,))
        model.zero_grad()
        torch.stack(list(VideoTask(model).losses(np.random.default_rng(3)).values())).sum().backward()
        for name, parameter in model.named_parameters():
            reached[name] |= parameter.grad is not None
    assert [name for name, was in reached.items() if not was] == ["no_mem_pos_enc"]


def test_frames_that_are_followed_teach_every_mask_and_every_age_that_the_tracker_uses(model):
    """Of the decoder's three masks each has a network of its own, which learns where it was the best."""
    model.zero_grad()
    for seed in (3, 4):
        VideoTask(model).losses(np.random.default_rng(seed))["followed"].backward()
    networks = model.sam_mask_decoder.output_hypernetworks_mlps
    assert all(any(each.grad.any() for each in network.parameters()) for network in networks)
    rows = model.maskmem_tpos_enc.grad.flatten(1).abs().sum(1)
    assert len(rows) == 7 and (rows > 0).all(), "of the prompt and six frames back"


def test_a_frame_without_any_of_the_things_has_no_loss_of_masks():
    masks, iou = (torch.ones(2, 4, *more, requires_grad=True) for more in ((8, 8), ()))
    none = torch.zeros(2)
    losses = _losses_of_those_there(masks, iou, torch.zeros(2, 8, 8), none)
    assert [loss.item() for loss in losses] == [0, 0]
    torch.stack(losses).sum().backward()
    assert not masks.grad.any() and not iou.grad.any()


def test_the_same_random_numbers_give_the_same_losses(model):
    first, again = (VideoTask(model).losses(np.random.default_rng(5)) for _ in range(2))
    assert {name: loss.item() for name, loss in first.items()} == {name: loss.item() for name, loss in again.items()}


def test_the_command_trains_it_and_goes_on_where_it_was_stopped(tmp_path, training_folder, monkeypatch):
    monkeypatch.setattr("ovdeploy.export.tiny.train.SHARD", 6)
    (tmp_path / "scenes").symlink_to(training_folder / "scenes")
    arguments = ["--out", str(tmp_path), "--model", "sam2", "--steps", "2", "--scenes", "12", "--device", "cpu"]
    for more in (["--stop", "1"], []):
        result = CliRunner().invoke(main, [*arguments, "--threads", "2", *more])
        torch.use_deterministic_algorithms(False)
        assert result.exit_code == 0, result.output
    build_tiny_video().load_state_dict(load_file(tmp_path / "sam2.safetensors"))
