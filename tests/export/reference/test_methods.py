"""Every row of the methods table against a second, plain formula: token by token and head by head, on the tiny CLIP."""

from __future__ import annotations

from dataclasses import replace

import msgspec
import numpy as np
import pytest
import torch
import torch.nn.functional as F

from ovdeploy.export.reference.training_free.attention import layer_weights
from ovdeploy.export.reference.training_free.calibrated import outliers
from ovdeploy.export.reference.training_free.clip_image import similarity_layers
from ovdeploy.runtime import load_recipe
from ovdeploy.runtime.pipelines.training_free.methods import METHODS
from ovdeploy.runtime.recipe.parameters import Parameters

SIDE, PATCHES, FINE = 6, 36, 12  # of the tiny CLIP's grid on its windows of 96 pixels, and of the tiny DINO's
ROUNDING = {"rtol": 2e-4, "atol": 2e-4}  # float32, another order of summation, outputs of size 1 to 10


@pytest.fixture(autouse=True)
def _without_gradients():
    with torch.no_grad():
        yield


@pytest.fixture(scope="module")
def windows():
    return torch.rand(2, 3, 96, 96, generator=torch.Generator().manual_seed(0))


@pytest.fixture(scope="module")
def visual(micro_networks):
    return micro_networks.models["clip"].visual


@pytest.fixture(scope="module")
def states(visual, windows):
    """Upstream's own tokens before each block and after the last: a list of [B, 1 + N, D]."""
    kept = []
    hooks = [block.register_forward_hook(lambda _, i, o: kept.append((i[0], o))) for block in blocks_of(visual)]
    mean = torch.tensor([0.48145466, 0.4578275, 0.40821073]).view(3, 1, 1)
    std = torch.tensor([0.26862954, 0.26130258, 0.27577711]).view(3, 1, 1)
    with torch.no_grad():
        visual((windows - mean) / std)
    for hook in hooks:
        hook.remove()
    return [kept[0][0], *(output for _, output in kept)]


def blocks_of(visual):
    return list(visual.transformer.resblocks)


def features(micro_networks, method, windows, **parameters):
    """What the module of a method gives: [B, N, D]."""
    recipe = load_recipe("micro")
    settings = msgspec.structs.replace(recipe.parameters, **parameters)
    networks = replace(micro_networks, recipe=msgspec.structs.replace(recipe, method=method, parameters=settings))
    similarity = networks.modules["dino"](windows) if METHODS[method].proxy else ()
    return networks.modules["clip_image"](windows, *similarity).flatten(2).transpose(1, 2)


def heads(block, tokens):
    """[(q, k, v)] of one window's normalised tokens [T, D], a head each [T, d]."""
    attn, width = block.attn, tokens.shape[1]
    d = width // attn.num_heads
    projected = []
    for part in range(3):
        rows = slice(part * width, (part + 1) * width)
        projected.append(tokens @ attn.in_proj_weight[rows].T + attn.in_proj_bias[rows])
    return [tuple(p[:, h * d : (h + 1) * d] for p in projected) for h in range(attn.num_heads)]


def attend(block, tokens, weigh):
    """out_proj of every head's weights times its values, for one window's tokens [T, D]."""
    mixed = [weigh(q, k, v) @ v for q, k, v in heads(block, block.ln_1(tokens))]
    return block.attn.out_proj(torch.cat(mixed, dim=1))


def soft(scores, d):
    return torch.softmax(scores / d**0.5, dim=1)


def with_mlp(block, x):
    return x + block.mlp(block.ln_2(x))


def clip(visual, states):
    return states[-1][:, 1:]  # upstream's own


def maskclip(visual, states):
    return last_block(visual, states, lambda q, k, v: torch.eye(len(q)), class_token=False)


def sclip(visual, states):
    block = blocks_of(visual)[-1]
    weigh = lambda q, k, v: soft(q @ q.T, q.shape[1]) + soft(k @ k.T, k.shape[1])  # noqa: E731
    whole = [with_mlp(block, x + attend(block, x, weigh)) for x in states[-2]]
    return torch.stack(whole)[:, 1:]


def clearclip(visual, states):
    return last_block(visual, states, lambda q, k, v: soft(q @ q.T, q.shape[1]))


def naclip(visual, states):
    near = torch.zeros(1 + PATCHES, 1 + PATCHES)
    for i in range(PATCHES):
        for j in range(PATCHES):
            apart = (i // SIDE - j // SIDE) ** 2 + (i % SIDE - j % SIDE) ** 2
            near[1 + i, 1 + j] = np.exp(-apart / (2 * 5.0**2))
    return last_block(visual, states, lambda q, k, v: torch.softmax(k @ k.T / k.shape[1] ** 0.5 + near, dim=1))


def last_block(visual, states, weigh, class_token=True):
    """The last block's attention alone, without residual and MLP."""
    block = blocks_of(visual)[-1]
    tokens = states[-2] if class_token else states[-2][:, 1:]
    return torch.stack([attend(block, x, weigh) for x in tokens])[:, -PATCHES:]


def clipsurgery(visual, states):
    return dual_path(visual, states, lambda x: lambda q, k, v: soft(v @ v.T, v.shape[1]))


def gem(visual, states):
    def weigh_for(x):
        def weigh(q, k, v):
            sharp = x.norm(dim=1).mean() / q.shape[1] ** 0.5
            total = torch.zeros(len(q), len(q))
            for z in (q, k, v):
                z = z / z.norm(dim=1, keepdim=True)
                z = torch.softmax(sharp * z @ z.T, dim=1) @ z
                z = z / z.norm(dim=1, keepdim=True)
                total += torch.softmax(sharp * z @ z.T, dim=1) / 3
            return total

        return weigh

    return dual_path(visual, states, weigh_for)


def dual_path(visual, states, weigh_for):
    """The usual path feeds a second one, which adds attention and no MLP; on the tiny model, from the first block."""
    path = states[0].clone()
    for block, state in zip(blocks_of(visual), states, strict=False):
        for window, x in enumerate(state):
            path[window] += attend(block, x, weigh_for(block.ln_1(x)))
    return path[:, 1:]


FORMULAS = [clip, maskclip, sclip, clearclip, naclip, clipsurgery, gem]


@pytest.mark.parametrize("formula", FORMULAS, ids=lambda formula: formula.__name__)
def test_the_row_is_the_formula(formula, micro_networks, visual, windows, states):
    came = features(micro_networks, formula.__name__, windows)
    torch.testing.assert_close(came, formula(visual, states), **ROUNDING)


def test_every_row_has_a_formula():
    elsewhere = {"proxyclip", "trident", "maskclip-affinity", "s2clip", "scclip"}
    assert {formula.__name__ for formula in FORMULAS} | elsewhere == set(METHODS)


@pytest.mark.parametrize("method", ["proxyclip", "trident", "s2clip"])
def test_proxy_methods_are_the_formula(method, micro_networks, visual, windows, states):
    """Similarity matrices one by one, mixed from the shallowest block to the deepest, rows normalised in a loop."""
    blocks = blocks_of(visual)
    came = features(micro_networks, method, windows, similarity_layers=(1, 2), similarity_eta=0.7, dino_share=0.4)
    dino, _ = micro_networks.modules["dino"](windows)
    for window in range(len(windows)):
        similarity = unit(dino[window].flatten(1).T) @ unit(dino[window].flatten(1).T).T
        if METHODS[method].layers:
            deep = None
            for layer in (1, 2):
                on_grid = unit(finer(unit(states[layer][window, 1:])))
                own = on_grid @ on_grid.T
                deep = own if deep is None else 0.7 * deep + 0.3 * own
            similarity = 0.4 * similarity + 0.6 * deep
        mean = similarity.mean()
        tokens = blocks[-1].ln_1(states[-2][window, 1:])
        values = finer(torch.cat([v for _, _, v in heads(blocks[-1], tokens)], dim=1))
        rows = []
        for row in similarity:
            kept = (row >= 1.2 * mean).nonzero().flatten()
            rows.append(torch.softmax(3.0 * (row[kept] - 1.2 * mean), dim=0) @ values[kept])
        expected = blocks[-1].attn.out_proj(torch.stack(rows))
        torch.testing.assert_close(came[window], expected, **ROUNDING)


def unit(x):
    return x / x.norm(dim=1, keepdim=True)


def finer(tokens):
    """[36, D] on CLIP's grid → [144, D] on DINO's."""
    planes = tokens.T.reshape(1, -1, SIDE, SIDE)
    return F.interpolate(planes, (FINE, FINE), mode="bilinear", align_corners=False)[0].flatten(1).T


def test_scclip_is_the_formula(micro_networks, visual, windows, states):
    """SC-CLIP's steps for one window, patch by patch. Blocks 9, 4 and 4 to 10 of 12 are 2, 1 and 1 to 2 of 3."""
    block = blocks_of(visual)[-1]
    came = features(micro_networks, "scclip", windows)
    for window in range(len(windows)):
        tokens, summed = states[2][window], states[1][window] + states[2][window]
        bad = set(outliers(states[2][window : window + 1, 1:])[0].nonzero().flatten().tolist())
        repaired = repair(tokens[1:], bad)
        guide, smooth = unit(repaired) @ unit(repaired).T, unit(states[1][window, 1:]) @ unit(states[1][window, 1:]).T

        def last(patches, class_token, guide=guide):
            def weigh(q, k, v):
                guided = 3.0 * (guide - guide.mean())
                guided[guided < 0] = -torch.inf
                return (torch.softmax(guided, dim=1) + soft(k @ k.T, k.shape[1])) / 2

            return attend(block, patches, weigh) + 0.3 * class_token

        def gather(x, similarity):
            weights = similarity * (similarity >= 0.4)
            return torch.stack([row @ x / (row.sum() + 1e-6) for row in weights])

        expected = gather(last(gather(repaired, guide), tokens[0]), smooth)
        expected = expected + gather(last(summed[1:], summed[0]), smooth)
        torch.testing.assert_close(came[window], expected, **ROUNDING)


def repair(patches, bad):
    mended = patches.clone()
    for i in bad:
        y, x = divmod(i, SIDE)
        around = [(y + dy, x + dx) for dy in (-1, 0, 1) for dx in (-1, 0, 1) if (dy, dx) != (0, 0)]
        good = [r * SIDE + c for r, c in around if 0 <= r < SIDE and 0 <= c < SIDE and r * SIDE + c not in bad]
        if good:
            mended[i] = patches[good].mean(dim=0)
    return mended


def test_outliers_are_the_local_outlier_factor():
    """Against a plain factor in double precision, token by token."""
    tokens = torch.randn(1, 60, 8, generator=torch.Generator().manual_seed(1))
    tokens[0, 7] += 20
    tokens[0, 33] -= 15
    x = tokens[0].double().numpy()
    squared = ((x[:, None] - x[None]) ** 2).sum(axis=2)
    order = squared.argsort(axis=1, kind="stable")[:, 1:31]
    farthest = np.array([squared[i, order[i, -1]] for i in range(60)])
    factor = np.array([np.mean(farthest[i] / farthest[order[i]]) for i in range(60)])
    expected = factor > np.quantile(factor, 0.95)
    assert {7, 33} <= set(np.flatnonzero(expected))
    assert np.array_equal(outliers(tokens)[0].numpy() > 0, expected)


@pytest.mark.parametrize("count", [2, 3, 36])
def test_outliers_of_few_or_equal_tokens_are_finite(count):
    assert torch.isfinite(outliers(torch.ones(1, count, 4))).all()


@pytest.mark.parametrize(("count", "eta"), [(1, 0.5), (3, 0.5), (7, 0.9), (4, 0.0), (4, 1.0)])
def test_layer_weights_are_the_recurrence(count, eta):
    numbers = np.arange(2.0, 2.0 + count)
    progressive = numbers[0]
    for number in numbers[1:]:
        progressive = eta * progressive + (1 - eta) * number
    assert np.dot(layer_weights(count, eta), numbers) == pytest.approx(progressive)
    assert sum(layer_weights(count, eta)) == pytest.approx(1)


@pytest.mark.parametrize(
    ("depth", "given", "expected"),
    [(12, (), (4, 5, 6, 7, 8, 9, 10)), (24, (), tuple(range(8, 21))), (3, (), (1, 2)), (12, (9, 2, 2), (2, 9))],
)
def test_the_layers_of_s2clip(depth, given, expected):
    assert similarity_layers(Parameters(similarity_layers=given), depth) == expected
