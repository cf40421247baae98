"""That training keeps to one device: with tensors that claim to be on a GPU, and hold nothing.

PyTorch's fake tensors check the devices of every operator without a GPU. What reads values back, to draw prompts from
them, cannot work on them and is replaced; it brings its results to its argument's device itself.
"""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn
from torch._subclasses.fake_tensor import FakeTensorDeviceMismatchError, FakeTensorMode
from torch.fx.experimental.symbolic_shapes import ShapeEnv

from ovdeploy.export.models.miniature.networks import build_clip, build_sam
from ovdeploy.export.tiny import (
    clip_task,
    dense_task,
    detector_task,
    dino_task,
    sam_affinity,
    sam_task,
    sam_user,
    video_task,
)
from ovdeploy.export.tiny.crops import cut_crops
from ovdeploy.export.tiny.dataset import Drawn
from ovdeploy.export.tiny.train import BUILDERS, TASKS
from ovdeploy.export.tiny.video_clips import some_clip
from ovdeploy.runtime.scenes import draw_scene
from support.devices import pretended

CUDA = torch.device("cuda", 0)
RNG = np.random.default_rng


class Scenes:
    def __len__(self):
        return 4

    def __getitem__(self, seed):
        scene = draw_scene(seed)
        return Drawn(scene.photo, scene.labels, list(scene.captions))


@pytest.fixture
def small(monkeypatch):
    """Batches that are drawn before tensors are fake, and no need of values."""
    crops, item = cut_crops(Scenes(), RNG(0), 4, 2), sam_task.prompt_scene(Scenes()[1], RNG(0), 2, mirrored=False)
    monkeypatch.setattr(clip_task, "BATCH", 4)
    monkeypatch.setattr(clip_task, "RECOLOURED", 2)
    for module in (clip_task, dino_task):
        monkeypatch.setattr(module, "cut_crops", lambda *arguments: crops)
    monkeypatch.setattr(sam_task, "prompt_scene", lambda *arguments: item)
    followed = some_clip(RNG(0), 3, 2)
    monkeypatch.setattr(video_task, "some_clip", lambda *arguments: followed)
    monkeypatch.setattr(video_task, "BATCH", 3)
    weights = {"clip": build_clip().state_dict(), "sam": build_sam().state_dict()}
    # which no file can be read to while tensors are fake
    monkeypatch.setattr("ovdeploy.export.tiny.train.read_checkpoint", lambda path: weights[path.stem])
    stage = sam_task.STAGES[-1]._replace(images=2, regions=2, users=2, corrections=1)
    monkeypatch.setattr(sam_task, "STAGES", (stage,))
    for module, name, shapes in (
        (sam_task, "pick", [(2, 2)]),
        (sam_task, "boxes_of", [(2, 4)]),
        (sam_task, "corrections", [(1, 2), (1,)]),
        (sam_affinity, "_tokens", [(8,)]),
        (video_task, "pick", [(2, 2)]),
        (video_task, "boxes_of", [(2, 4)]),
    ):

        def drawn(*arguments, shapes=shapes, whole=name == "_tokens"):
            made = tuple(arguments[0].new_zeros(shape, dtype=torch.long if whole else None) for shape in shapes)
            return made[0] if len(made) == 1 else made

        monkeypatch.setattr(module, name, drawn)
    # of a size that depends on values PyTorch's own refuses to be fake
    monkeypatch.setattr(torch.Tensor, "logsumexp", lambda tensor, axis: tensor.exp().sum(axis).log())


def losses(role, folder, monkeypatch):
    known = {}
    model = BUILDERS[role]()
    with FakeTensorMode(
        allow_non_fake_inputs=True,
        shape_env=ShapeEnv(allow_scalar_outputs=True, allow_dynamic_output_shape_ops=True),
    ):
        monkeypatch.setattr(nn.Module, "to", lambda module, device: pretended(module, device, known))
        task = TASKS[role](model.to(CUDA), Scenes(), folder)
        return [part() for part in task.parts(RNG(0), 0)]


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize("role", BUILDERS)
def test_losses_are_computed_where_the_model_is(role, tmp_path, monkeypatch):
    for told in losses(role, tmp_path, monkeypatch):
        assert told and {loss.device for loss in told.values()} == {CUDA}


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize("role", BUILDERS)
def test_a_batch_that_stays_behind_is_noticed(role, tmp_path, monkeypatch):
    modules = {"clip": clip_task, "dino": dino_task, "sam": sam_task, "detector": detector_task, "sam2": video_task}
    module = modules.get(role, dense_task)
    monkeypatch.setattr(module, "moved", lambda batch, device: batch)
    with pytest.raises(FakeTensorDeviceMismatchError):
        losses(role, tmp_path, monkeypatch)


@pytest.mark.parametrize("draw", [sam_user.pick, sam_user.boxes_of])
def test_prompts_come_back_to_the_device_of_the_masks(draw):
    """`meta` is a device that every machine has; the masks are read on the CPU, as if they had been there."""

    class Elsewhere(torch.Tensor):
        def cpu(self):
            return torch.ones(self.shape)

    masks = torch.empty(2, 8, 8, device="meta").as_subclass(Elsewhere)
    assert draw(masks, RNG(0)).device == masks.device
