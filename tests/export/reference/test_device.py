"""That every stage's module computes where its input lies: PyTorch's fake tensors claim to be on a GPU.

Whoever compares engines with PyTorch on a GPU, or measures it there, moves the modules; a tensor that a module makes
while it runs, or holds without registering it, stays behind.
"""

from __future__ import annotations

import copy
from dataclasses import replace

import msgspec
import pytest
import torch
from torch import nn
from torch._subclasses.fake_tensor import FakeTensorDeviceMismatchError, FakeTensorMode

from ovdeploy.export.reference.networks import Networks
from ovdeploy.runtime import load_recipe
from ovdeploy.runtime.pipelines.training_free.methods import METHODS
from support.devices import pretended, usual_feeds

CUDA = torch.device("cuda", 0)


def devices(module, feeds):
    """Where a module's outputs are when it and its inputs claim to be on a GPU."""
    with FakeTensorMode(allow_non_fake_inputs=True):
        module = pretended(module, CUDA, {})
        outputs = module(*(torch.empty(array.shape, dtype=kind, device=CUDA) for array, kind in feeds))
    return {output.device for output in (outputs if isinstance(outputs, (tuple, list)) else [outputs])}


def check(networks, stages):
    for stage in stages:
        feeds = [(array, torch.from_numpy(array).dtype) for array in usual_feeds(networks.contract(stage)).values()]
        assert devices(copy.deepcopy(networks.modules[stage]), feeds) == {CUDA}, stage


@pytest.mark.parametrize("name", ["micro", "sam-micro", "micro-catseg", "micro-escnet"])
def test_every_stage_of_a_recipe(name):
    networks = Networks.load(load_recipe(name))
    check(networks, [use.name for use in networks.recipe.uses])


@pytest.mark.parametrize("method", METHODS)
def test_every_method(method, micro_networks):
    networks = replace(micro_networks, recipe=msgspec.structs.replace(micro_networks.recipe, method=method))
    check(networks, [stage for stage in ("clip_image", "dino", "head") if stage in networks.recipe.possible_stages])


def test_a_tensor_that_stays_behind_is_noticed():
    class Adds(nn.Module):
        def forward(self, x):
            return x + torch.ones(3)

    with pytest.raises(FakeTensorDeviceMismatchError):
        devices(Adds(), [(torch.ones(3), torch.float32)])
