"""`ovdeploy layers`: what is measured, what is proposed, and what is written."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from PIL import Image

from ovdeploy.calib.layers.measure import LayerMeter, propose_layers
from ovdeploy.calib.layers.plot import draw_layers
from ovdeploy.calib.layers.spatial_entropy import spatial_entropy
from ovdeploy.runtime import Bundle, ParameterError, RecipeError, load_recipe
from ovdeploy.runtime.backends.fake import FakeSession
from ovdeploy.runtime.backends.registry import open_session
from ovdeploy.runtime.cli import main
from ovdeploy.runtime.pipelines.training_free.methods import method_of
from ovdeploy.runtime.pipelines.training_free.plan import plan_photo
from ovdeploy.runtime.recipe.writing import check_writable, write_parameters
from support.samples import draw_photo

BLOCKS = 3  # of the tiny CLIP


@pytest.fixture(scope="module")
def bundle(complete_bundle):
    return Bundle.load(complete_bundle)


def test_the_engine_gives_every_block_of_open_clip(bundle, micro_networks):
    """Forward hooks on open_clip's own blocks, on windows of its own size, see the same features."""
    visual = micro_networks.models["clip"].visual
    windows = torch.rand(2, 3, 96, 96, generator=torch.Generator().manual_seed(0))
    seen = []
    hooks = [block.register_forward_hook(lambda m, a, out: seen.append(out)) for block in visual.transformer.resblocks]
    mean = torch.tensor([0.48145466, 0.4578275, 0.40821073]).view(3, 1, 1)
    std = torch.tensor([0.26862954, 0.26130258, 0.27577711]).view(3, 1, 1)
    with torch.no_grad():
        visual((windows - mean) / std)
    for hook in hooks:
        hook.remove()
    expected = torch.stack([out[:, 1:].transpose(1, 2).unflatten(2, (6, 6)) for out in seen], dim=1)
    contract = bundle.stage("clip_layers").contract
    with open_session(bundle.engine_path("clip_layers", "fp32"), contract) as session:
        came = session.run({"windows": windows.numpy()})["features"]
    assert came.shape == (2, BLOCKS, 64, 6, 6)
    np.testing.assert_allclose(came, expected, rtol=1e-4, atol=2e-5)  # float32, another order of summation


def fake(bundle, make):
    contract = bundle.stage("clip_layers").contract
    return FakeSession(contract, lambda feeds: {"features": make(feeds["windows"])})


def noise(windows):
    """Features that depend on each window alone, and get peakier with the block."""
    out = []
    for window in windows:
        base = np.random.default_rng(int(window.sum() * 1000)).standard_normal((64, 6, 6))
        out.append([np.sign(base) * np.abs(base) ** (1 + block) for block in range(BLOCKS)])
    return np.array(out, np.float32)


def test_photos_count_once_and_windows_are_averaged(bundle):
    """Against the plain mean over the windows of a photo, then over the photos, and their deviation."""
    photos = [draw_photo((150, 203)), draw_photo((90, 400), seed=1), draw_photo((96, 96), seed=2)]
    meter = LayerMeter(bundle.manifest, fake(bundle, noise))
    came = [meter.add(photo) for photo in photos]
    assert meter.photos == 3
    expected = []
    for photo in photos:
        session = fake(bundle, noise)
        LayerMeter(bundle.manifest, session).add(photo)
        windows = np.concatenate([call["windows"] for call in session.calls])
        plan = plan_photo(
            photo.shape[:2], bundle.recipe.parameters, method_of(bundle.recipe), bundle.manifest.dimensions
        )
        assert len(windows) == len(plan.row_starts) * len(plan.column_starts)
        per_window = [[spatial_entropy(noise(w[None])[:, b]).mean for b in range(BLOCKS)] for w in windows]
        expected.append(np.mean(per_window, axis=0))
    np.testing.assert_allclose([photo[:, 0] for photo in came], expected, rtol=1e-9)
    blocks = meter.blocks()
    np.testing.assert_allclose([b.entropy for b in blocks], np.mean(expected, axis=0), rtol=1e-9)
    np.testing.assert_allclose([b.entropy_deviation for b in blocks], np.std(expected, axis=0), rtol=1e-6)
    assert [b.block for b in blocks] == [1, 2, 3]


def test_few_windows_go_through_at_a_time(bundle):
    session = fake(bundle, noise)
    LayerMeter(bundle.manifest, session).add(draw_photo((150, 900)))
    assert len(session.calls) > 3 and max(len(call["windows"]) for call in session.calls) <= 2


@pytest.mark.parametrize(
    ("entropies", "count", "prefer", "expected"),
    [
        ([3.0, 1.0, 2.0, 0.0], 1, "low", (2,)),  # the last is no candidate
        ([3.0, 1.0, 2.0, 0.0], 2, "low", (2, 3)),
        ([3.0, 1.0, 2.0, 9.0], 2, "high", (1, 3)),
        ([1.0, 1.0, 1.0, 1.0], 2, "low", (1, 2)),
        (list(range(12)), None, "low", tuple(range(1, 8))),  # 7 of 12, as S2CLIP
        (list(range(12, 0, -1)), None, "low", tuple(range(5, 12))),
        ([1.0, 2.0], None, "low", (1,)),
    ],
)
def test_the_blocks_of_the_lowest_or_highest_entropy_are_proposed_shallow_to_deep(entropies, count, prefer, expected):
    assert propose_layers(entropies, count, prefer) == expected


@pytest.mark.parametrize(("entropies", "count"), [([1.0, 2.0, 3.0], 3), ([1.0, 2.0, 3.0], 0), ([1.0], None)])
def test_more_blocks_than_there_are_cannot_be_proposed(entropies, count):
    with pytest.raises(ParameterError, match="blocks"):
        propose_layers(entropies, count)


def test_the_plot_shows_the_chosen_blocks_in_another_colour(bundle):
    meter = LayerMeter(bundle.manifest, fake(bundle, noise))
    meter.add(draw_photo((96, 96)))
    plain, marked = (np.asarray(draw_layers(meter.blocks(), chosen, "title")) for chosen in ((), (2,)))
    assert plain.shape == marked.shape and (plain != marked).any()
    flat = [type(b)(**{**dict.fromkeys(b.__struct_fields__, 0.0), "block": b.block}) for b in meter.blocks()]
    assert draw_layers(flat, (), "all alike").size == (plain.shape[1], plain.shape[0])


def invoke(*arguments):
    result = CliRunner().invoke(main, [str(argument) for argument in arguments])
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "photos").mkdir()
    for index in range(2):
        Image.fromarray(draw_photo((80, 100), seed=index)).save(tmp_path / "photos" / f"{index}.png")
    (tmp_path / "photos" / "broken.jpg").write_bytes(b"no photo")
    return tmp_path


def test_the_command_measures_draws_proposes_and_writes_a_recipe_that_loads(complete_bundle, folder):
    result = invoke("layers", complete_bundle, "--images", "photos", "--count", 1, "--write", "mine.toml", "--json")
    assert result.exit_code == 0, result.stderr
    report = json.loads(result.stdout)
    assert report["photos"] == 2 and report["failed"] == 1 and "broken.jpg" in result.stderr
    assert len(report["blocks"]) == BLOCKS and len(report["proposed"]) == 1
    entropies = [block["entropy"] for block in report["blocks"]]
    assert report["proposed"][0] == int(np.argmin(entropies[:-1])) + 1
    assert all(0 < entropy <= np.log(36) + 1e-9 for entropy in entropies), "at most log N, N = 6 × 6"
    assert Image.open(folder / "layers.png").format == "PNG"
    made = load_recipe("mine.toml")
    assert made.parameters.similarity_layers == tuple(report["proposed"])
    assert made.name == "mine" and made.models == Bundle.load(complete_bundle).recipe.models
    assert "does not use similarity_layers" in result.stderr, "the tiny bundle is Trident's"


def test_the_command_prints_a_table_for_people(complete_bundle, folder):
    result = invoke(
        "layers", complete_bundle, "--images", "photos/0.png", "--output", "plots/a.png", "--prefer", "high"
    )
    assert result.exit_code == 0 and "similarity_layers = [" in result.stdout
    assert (folder / "plots" / "a.png").is_file()


def test_the_command_fails_where_nothing_could_be_measured(complete_bundle, micro_bundle, folder):
    result = invoke("layers", complete_bundle, "--images", "photos/broken.jpg")
    assert result.exit_code == 1 and "no photo could be measured" in result.stderr
    assert not (folder / "layers.png").exists()
    result = invoke("layers", micro_bundle, "--images", "photos")
    assert result.exit_code == 1 and ",clip_layers" in result.stderr
    (folder / "bad.toml").write_text("method = 1")
    result = invoke("layers", complete_bundle, "--images", "photos", "--write", "bad.toml")
    assert result.exit_code == 1 and "bad.toml" in result.stderr


RECIPE = """# my recipe
method = "maskclip"  # as it is

[clip]
model = "tiny"

[parameters]  # sizes
stride = 48
similarity_layers = [1]  # old

[tolerances]
labels = 0.9
"""


def test_a_recipe_that_is_there_keeps_its_comments_and_order(tmp_path):
    path = tmp_path / "own.toml"
    path.write_text(RECIPE)
    write_parameters(path, load_recipe("micro"), {"similarity_layers": [1, 2], "crop": 96})
    text = path.read_text()
    assert "# my recipe" in text and "# as it is" in text and "[parameters]  # sizes\ncrop = 96\n" in text
    recipe = load_recipe(path)
    assert recipe.parameters.similarity_layers == (1, 2) and recipe.parameters.stride == 48
    assert recipe.method == "maskclip" and recipe.tolerances.labels == 0.9


def test_a_recipe_without_parameters_gets_some(tmp_path):
    path = tmp_path / "own.toml"
    path.write_text('method = "maskclip"\n[clip]\nmodel = "tiny"')
    write_parameters(path, load_recipe("micro"), {"similarity_layers": [2]})
    assert load_recipe(path).parameters.similarity_layers == (2,)


@pytest.mark.parametrize(
    "parameters", ["parameters = {stride = 48}\n", "parameters.stride = 48\n"], ids=["inline", "dotted"]
)
def test_what_cannot_be_changed_line_by_line_is_left_and_told(tmp_path, parameters):
    path = tmp_path / "own.toml"
    path.write_text(parameters + 'method = "maskclip"\n[clip]\nmodel = "tiny"\n')
    before = path.read_text()
    with pytest.raises(RecipeError, match="similarity_layers"):
        write_parameters(path, load_recipe("micro"), {"similarity_layers": [2]})
    assert path.read_text() == before


def test_a_new_recipe_says_all_that_the_bundles_does(tmp_path):
    for name in ("tiny", "trident-b16", "maskclip-b16", "s2clip-b16"):
        recipe = load_recipe(name)
        path = tmp_path / f"{name}.toml"
        write_parameters(path, recipe, {"similarity_layers": [3]})
        assert load_recipe(path).parameters.similarity_layers == (3,)
        write_parameters(path, recipe, {"similarity_layers": list(recipe.parameters.similarity_layers)})
        assert load_recipe(path) == recipe


def test_a_place_that_cannot_be_written_is_told_before_the_work(tmp_path):
    with pytest.raises(RecipeError, match="no folder"):
        check_writable(tmp_path / "missing" / "own.toml")
    check_writable(tmp_path / "own.toml")
