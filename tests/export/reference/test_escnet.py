"""ESC-Net's head: its prompts against loops, its use of SAM's modules against SAM's own forward pass."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from ovdeploy.export.models.dense.builds import build_head
from ovdeploy.export.models.dense.esc_block import PromptEmbedding
from ovdeploy.export.models.dense.escnet import SMALL, EscTransformer
from ovdeploy.export.models.dense.pseudo_prompts import Prompts, PromptSizes, PseudoPrompts
from ovdeploy.export.models.weights import load_model, random_state
from ovdeploy.export.reference.dense.choices import CLOSE, choose
from ovdeploy.runtime.errors import RecipeError, WeightsError
from ovdeploy.runtime.recipe.recipe import ModelChoice, recipe_from

ROUNDING = 1e-5  # float32, summed in another order


def filled(module, seed=3):
    module.load_state_dict(random_state(module, seed))
    return module.eval().requires_grad_(False)


def drawn(*shape, seed=0):
    return torch.from_numpy(np.random.default_rng(seed).standard_normal(shape).astype(np.float32))


def smooth_maps(count, side, seed):
    """[count, side, side]: hills of a width of some places, as likenesses are; about 1 high."""
    return F.avg_pool2d(drawn(count, 1, side + 4, side + 4, seed=seed), 5, stride=1)[:, 0]


@pytest.mark.parametrize("side", [6, 12, 24])
@pytest.mark.parametrize("seed", range(4))
def test_prompts_are_those_of_loops_wherever_the_choice_is_not_close(side, seed):
    maps, sizes = smooth_maps(12, side, seed), PromptSizes(threshold=0.05)
    came = PseudoPrompts(side, sizes)(maps.flatten(1))
    expected = [choose(each.numpy(), sizes) for each in maps]
    clear = [index for index, choice in enumerate(expected) if choice.margin > CLOSE]
    assert len(clear) > 6
    for index in clear:
        used = expected[index].used
        assert np.array_equal(came.used[index].numpy(), used)
        assert np.array_equal(came.places[index].numpy()[used], expected[index].places[used])


def test_a_choice_that_was_close_is_told_as_close():
    level = np.zeros((6, 6), np.float32)
    level[1, 1] = level[4, 4] = 1
    assert choose(level, PromptSizes(objects=1)).margin == 0
    level[4, 4] = 0.99
    assert choose(level, PromptSizes(objects=1)).margin == pytest.approx(0.01, abs=1e-4)


def test_probabilities_are_a_softmax_over_places_by_its_largest():
    maps = drawn(3, 36)
    soft = (maps / 0.07).softmax(dim=1)
    torch.testing.assert_close(
        PseudoPrompts(6, PromptSizes()).probabilities(maps), soft / soft.amax(dim=1, keepdim=True), rtol=1e-4, atol=1e-7
    )


@pytest.mark.parametrize("inside", [1, 2, 4, 5, 6])
def test_there_are_as_many_points_as_places_up_to_the_objects(inside):
    maps = torch.full((1, 36), -9.0)
    places = [0, 35, 7, 20, 3, 30][:inside]
    maps[0, places] = torch.arange(inside) * 1e-3
    came = PseudoPrompts(6, PromptSizes())(maps)
    assert int(came.used.sum()) == min(inside, 5)
    assert set(came.places[came.used].tolist()) <= set(places)
    assert (came.masks[~came.used] == 0).all() and ((came.masks > 0).sum(dim=1) <= 1).all(), "regions do not overlap"


def test_a_map_without_a_hill_is_cut_into_all_its_regions():
    came = PseudoPrompts(6, PromptSizes())(torch.zeros(2, 36))
    assert came.used.all() and (came.masks.sum(dim=1) == 1).all()


def test_points_and_masks_are_embedded_as_by_sams_prompt_encoder():
    embedding = filled(PromptEmbedding(SMALL))
    prompts = PseudoPrompts(6, PromptSizes())(drawn(4, 36) * torch.tensor([[0.01], [0.1], [1], [3]]))
    assert prompts.used.any() and not prompts.used.all()
    points = embedding.points(prompts, embedding.positions())
    places = torch.stack([prompts.places % 6, prompts.places // 6], dim=-1).float()
    labels = torch.where(prompts.used, 1, -1)
    expected = embedding.prompt_encoder._embed_points(places, labels, pad=True)
    torch.testing.assert_close(points, expected, rtol=ROUNDING, atol=ROUNDING)
    for word in range(4):
        used = prompts.masks[word][prompts.used[word]].unflatten(1, (1, 6, 6))
        large = F.interpolate(used, (24, 24), mode="bilinear", align_corners=False)
        mean = embedding.prompt_encoder._embed_masks(large).mean(dim=0).flatten(1).T
        torch.testing.assert_close(embedding.masks(prompts)[word], mean, rtol=ROUNDING, atol=ROUNDING)


@pytest.fixture(scope="module")
def transformer():
    return filled(build_head("micro_escnet")).transformer


def inputs(words, seed=0):
    features = drawn(1, 64, 6, 6, seed=seed), drawn(1, 32, 12, 12), drawn(1, 16, 24, 24)
    return *features, F.normalize(drawn(words, 64, seed=5), dim=1)


def test_its_own_prompts_given_back_give_the_same(transformer):
    answer = transformer.answer(*inputs(4))
    again = transformer.answer(*inputs(4), given=answer.prompts)
    assert torch.equal(answer.logits, again.logits) and len(answer.prompts) == len(answer.maps) == SMALL.blocks


def test_other_prompts_give_another_answer(transformer):
    answer = transformer.answer(*inputs(4))
    moved = [Prompts((each.places + 1) % 36, each.used, each.masks.roll(1, 2)) for each in answer.prompts]
    assert (transformer.answer(*inputs(4), given=moved).logits - answer.logits).abs().max() > 1e-3


def test_words_have_no_order(transformer):
    *features, text = inputs(5)
    order = [3, 0, 4, 1, 2]
    plain, other = transformer(*features, text), transformer(*features, text[order])
    torch.testing.assert_close(other, plain[order], rtol=ROUNDING, atol=ROUNDING * float(plain.abs().max()))


@pytest.mark.parametrize("change", [{"sam_depth": 0}, {"sam_depth": 2}, {"prompted": False}, {"chained": False}])
def test_what_the_paper_leaves_open_changes_the_answer(change):
    whole = EscTransformer(SMALL._replace(**change))
    state = random_state(EscTransformer(SMALL._replace(sam_depth=2)), 3)
    whole.load_state_dict({name: state[name] for name in whole.state_dict()})
    plain = EscTransformer(SMALL)
    plain.load_state_dict({name: state[name] for name in plain.state_dict()})
    with torch.no_grad():
        came, expected = whole(*inputs(3)), plain(*inputs(3))
    assert came.shape == expected.shape == (3, 24, 24) and (came - expected).abs().max() > 1e-3


def test_the_head_has_about_as_many_weights_as_the_papers():
    """The paper's model has 451.3 M, CLIP ViT-L/14 at 336 pixels 427.94 M: 23.4 M are the head's. Ours: 22.0 M."""
    head = build_head("escnet_vit_l")
    count = sum(p.numel() for p in head.parameters())
    assert count == pytest.approx(23.4e6, rel=0.07)
    assert round(count / 1e6, 1) == 22.0, "what docs/dense.md says"


def test_published_weights_are_refused_with_the_reason():
    with pytest.raises(WeightsError, match="published neither code nor weights"):
        load_model("dense", ModelChoice(model="escnet_vit_b", pretrained="any"), "pretrained")


def test_its_words_cannot_see_each_other_on_a_coarser_map():
    data = {"name": "x", "pipeline": "dense", "dense": {"model": "micro_escnet"}, "parameters": {"pooling": 2}}
    with pytest.raises(RecipeError, match="leave `pooling` out"):
        recipe_from(data, "x")
