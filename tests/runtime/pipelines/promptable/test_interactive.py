"""Interactive prompts: what is accepted, what goes to the engines, and what comes back."""

import json
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from ovdeploy.runtime import Bundle, BundleError, PhotoError, Prompt, Prompter, PromptError, Segmenter
from ovdeploy.runtime.backends.fake import FakeSession
from ovdeploy.runtime.cli import main
from ovdeploy.runtime.geometry.sam_frame import sam_frame
from ovdeploy.runtime.pipelines.engines import Engines
from ovdeploy.runtime.pipelines.prompt_input import prompt_feeds
from support.samples import draw_photo

HW = (150, 203)
SIDE, MASK = 512, 128  # of the tiny SAM


@pytest.fixture(scope="module")
def prompter(complete_bundle):
    with Prompter.load(complete_bundle) as opened:
        yield opened


@pytest.fixture(scope="module")
def prompted(prompter, photo):
    return prompter.encode(photo)


@pytest.fixture(scope="module")
def frame(complete_bundle):
    return sam_frame(HW, Bundle.load(complete_bundle).manifest.dimensions, multiple=1)


def same(a, b):
    # another batch sums matrix products in another order: float32 rounding of logits of size 1
    np.testing.assert_allclose(a.low_res_logits, b.low_res_logits, atol=2e-5)
    np.testing.assert_allclose(a.iou, b.iou, atol=1e-5)
    assert (a.masks == b.masks).mean() > 0.9995


def test_answers_have_the_promised_shapes(prompted):
    several, single = prompted.predict([[20, 30]]), prompted.predict([[20, 30]], multimask=False)
    for answer, count in ((several, 3), (single, 1)):
        assert answer.masks.shape == (count, *HW) and answer.masks.dtype == bool
        assert answer.iou.shape == (count,) and answer.iou.dtype == np.float32
        assert answer.low_res_logits.shape == (count, MASK, MASK) and answer.low_res_logits.dtype == np.float32
    assert several.iou[several.best] == several.iou.max()
    assert {"decode", "sam_image", "sam_encoder", "total"} == set(prompted.timings)


def test_a_photo_is_encoded_once_and_asked_often(complete_bundle, photo, monkeypatch):
    calls = []
    with Segmenter.load(complete_bundle) as segmenter:
        session = segmenter.engines["sam_encoder"]
        run = session.run
        monkeypatch.setattr(session, "run", lambda *given: calls.append(1) or run(*given))
        prompted = segmenter.prompt(photo)
        first = prompted.predict([[60, 50]], multimask=False)
        second = prompted.predict([[60, 50], [10, 10]], [1, 0], mask=first.low_res_logits[0], multimask=False)
    assert len(calls) == 1
    assert np.abs(first.low_res_logits - second.low_res_logits).max() > 1e-3, "another prompt, another answer"


def test_the_segmenter_and_the_prompter_answer_the_same(complete_bundle, prompted, photo, tmp_path):
    Image.fromarray(photo).save(tmp_path / "photo.png")
    with Segmenter.load(complete_bundle) as segmenter:
        came = segmenter.prompt(tmp_path / "photo.png").predict(box=[20, 10, 120, 90])
        segmenter.prompt(photo)  # the session of the optional stage is opened once and used again
    expected = prompted.predict(box=[20, 10, 120, 90])
    assert came.low_res_logits.tobytes() == expected.low_res_logits.tobytes()


def test_prompts_of_different_kinds_in_one_batch_are_answered_as_alone(prompted):
    """Padding must change nothing, neither the attention nor the "not a point" that SAM adds."""
    mask = np.random.default_rng(0).standard_normal((MASK, MASK)).astype(np.float32)
    prompts = [
        Prompt([[20, 30]]),
        Prompt([[20, 30], [100, 90], [5, 140], [200, 1]], [1, 0, 1, 0]),
        Prompt(box=[20, 10, 120, 90]),
        Prompt(mask=mask),
        Prompt([[40, 50]], [0], box=[20, 10, 120, 90], mask=mask),
    ]
    together = prompted.predict_many(prompts)
    for prompt, answer in zip(prompts, together, strict=True):
        same(answer, prompted.predict_many([prompt])[0])
    assert prompted.predict_many([]) == []


def test_batches_go_through_in_the_batch_size(complete_bundle, photo, prompted):
    manifest = Bundle.load(complete_bundle).manifest
    contract = manifest.stages["sam_prompt_decoder"].contract
    decoder = FakeSession(contract, lambda feeds: {
        "low_res_logits": np.zeros((len(feeds["points"]), 4, MASK, MASK), np.float32),
        "iou": np.zeros((len(feeds["points"]), 4), np.float32),
    })  # fmt: skip
    encoder = FakeSession(manifest.stages["sam_encoder"].contract, lambda feeds: {
        "features": prompted.features, "affinity": np.zeros((1024, 1024), np.float32)})  # fmt: skip
    encoded = Prompter(manifest.dimensions, encoder, decoder, manifest.recipe.parameters).encode(photo)
    answers = encoded.predict_many([Prompt(box=[0, 0, 9, 9])] * 37)
    assert len(answers) == 37 and [len(call["points"]) for call in decoder.calls] == [16, 16, 5]
    assert not answers[0].masks.any(), "a logit of 0 is outside, as in SAM"


def test_an_encoder_without_the_affinity_is_fed_its_image_alone(complete_bundle, micro_networks, photo):
    """Methods that only refine have such an encoder."""
    from ovdeploy.runtime.stage.contract import StageContract

    manifest = Bundle.load(complete_bundle).manifest
    full = manifest.stages["sam_encoder"].contract
    plain = StageContract(stage="sam_encoder", inputs=full.inputs[:1], outputs=full.outputs[:1])
    encoder = FakeSession(plain, lambda feeds: {"features": np.zeros((1, 64, 32, 32), np.float32)})
    Prompter(manifest.dimensions, encoder, None).encode(photo)
    (call,) = encoder.calls
    assert list(call) == ["image"]
    padding = np.asarray(manifest.dimensions.sam_padding, np.float32)
    np.testing.assert_array_equal(call["image"][0, :, -1, -1], padding)


def test_points_and_boxes_are_scaled_into_sams_frame(frame):
    """Side 512 for a photo of width 203: 203 → 512, 150 → 378 (378.3 rounded), each axis by its own factor."""
    feeds = prompt_feeds([Prompt([[203, 150]], [0], box=[0, 0, 203, 75])], HW, frame)
    np.testing.assert_allclose(feeds["points"][0], [[512, 378], [0, 0], [512, 189]])
    assert feeds["labels"].tolist() == [[0, 2, 3]] and feeds["has_mask"].tolist() == [False]
    assert feeds["points"].dtype == np.float32 and feeds["labels"].dtype == np.int32


def test_shorter_prompts_are_padded(frame):
    mask = np.ones((1, MASK, MASK), np.float64)
    feeds = prompt_feeds([Prompt(mask=mask), Prompt([[1, 1]]), Prompt(box=[1, 1, 2, 2])], HW, frame)
    assert feeds["labels"].tolist() == [[-1, -1], [1, -1], [2, 3]]
    assert feeds["has_mask"].tolist() == [True, False, False]
    assert feeds["mask_prompts"].shape == (3, 1, MASK, MASK) and not feeds["mask_prompts"][1:].any()


@pytest.mark.parametrize(
    ("prompt", "told"),
    [
        (Prompt(), "points, a box or a mask"),
        (Prompt(labels=[1]), "no points"),
        (Prompt(points=[]), "points"),
        (Prompt(points=[1, 2]), r"\[N, 2\], got \[2\]"),
        (Prompt(points=[[1, 2, 3]]), r"\[N, 2\]"),
        (Prompt(points=np.zeros((0, 2))), "empty"),
        (Prompt(points=[["a", "b"]]), "numbers"),
        (Prompt(points=[[np.nan, 1]]), "NaN"),
        (Prompt(points=[[1, 2]], labels=[1, 0]), r"labels: expected shape \[1\], got \[2\]"),
        (Prompt(points=[[1, 2]], labels=[2]), "1 .* or 0"),
        (Prompt(box=[1, 2, 3]), r"box: expected shape \[4\]"),
        (Prompt(box=[[1, 2, 3, 4]]), r"\[4\], got \[1, 4\]"),
        (Prompt(box=[10, 2, 3, 4]), "x0 < x1"),
        (Prompt(box=[3, 2, 3, 4]), r"3, 2, 3, 4, which has no area \(the photo is 203 wide and 150 high\)"),
        (Prompt(box=[3, 4, 5, 4]), "no area"),
        (Prompt(box=[203, 0, 300, 9]), "203, 0, 300, 9 lies outside the photo, which is 203 wide and 150 high"),
        (Prompt(box=[-9, -9, 9, 0]), "lies outside the photo"),
        (Prompt([[204, 5]]), "204, 5 lies outside the photo, which is 203 wide and 150 high"),
        (Prompt([[5, 5], [5, 150.5]]), "5, 150.5 lies outside"),
        (Prompt([[-0.5, 5]]), "-0.5, 5 lies outside"),
        (Prompt(mask=np.zeros((256, 256), np.float32)), r"\[128, 128\], got \[256, 256\]"),
        (Prompt(mask=np.ones((MASK, MASK), bool)), "logits"),
        (Prompt(mask=np.full((MASK, MASK), np.inf, np.float32)), "infinity"),
    ],
)
def test_what_is_no_prompt_is_refused_with_what_was_expected(frame, prompt, told):
    with pytest.raises(PromptError, match=told):
        prompt_feeds([prompt], HW, frame)


@pytest.mark.parametrize("hw", [(1, 1), (1, 400), (400, 1), (2, 3), (512, 512), (700, 40)])
def test_photos_of_any_size_can_be_prompted(prompter, hw):
    answer = prompter.encode(draw_photo(hw)).predict([[0, 0]], box=[0, 0, hw[1], hw[0]])
    assert answer.masks.shape == (3, *hw)


def test_what_is_no_photo_is_refused(prompter):
    with pytest.raises(PhotoError):
        prompter.encode("missing.png")


def test_a_bundle_without_the_stage_says_how_to_add_it(micro_bundle, photo):
    told = r"--stages \S*sam_prompt_decoder"
    with pytest.raises(BundleError, match=told):
        Prompter.load(micro_bundle)
    with Segmenter.load(micro_bundle) as segmenter, pytest.raises(BundleError, match=told):
        segmenter.prompt(photo)


def invoke(*arguments):
    result = CliRunner().invoke(main, [str(argument) for argument in arguments])
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result


@pytest.fixture
def ask(complete_bundle, tmp_path, photo, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Image.fromarray(photo).save("cup.png")
    return lambda *arguments: invoke("prompt", *arguments, "--bundle", complete_bundle, "-o", "out")


def test_the_command_writes_masks_an_overlay_json_and_logits(ask, tmp_path, prompted):
    result = ask("cup.png", "--point", "60,50", "--point", "10,140,0", "--box", "20,10,120,90", "--json")
    assert result.exit_code == 0, result.stderr
    names = ["0.mask.png", "1.mask.png", "2.mask.png", "json", "npy", "overlay.png"]
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [f"cup.prompt.{name}" for name in names]
    told = json.loads(result.stdout)
    expected = prompted.predict([[60, 50], [10, 140]], [1, 0], box=[20, 10, 120, 90])
    assert told["best"] == expected.best
    for index, entry in enumerate(told["masks"]):
        mask = np.asarray(Image.open(tmp_path / "out" / f"cup.prompt.{index}.mask.png"))
        np.testing.assert_array_equal(mask > 0, expected.masks[index])
        assert entry["area"] == expected.masks[index].sum()
        assert entry["iou"] == pytest.approx(float(expected.iou[index]))
    logits = np.load(tmp_path / "out" / "cup.prompt.npy")
    np.testing.assert_array_equal(logits[0], expected.low_res_logits[expected.best])
    assert Image.open(tmp_path / "out" / "cup.prompt.overlay.png").size == HW[::-1]


def test_the_command_takes_its_own_answer_for_another_round(ask, tmp_path):
    assert ask("cup.png", "--point", "60,50").exit_code == 0
    result = ask("cup.png", "--mask", "out/cup.prompt.npy", "--single")
    assert result.exit_code == 0 and result.stdout.startswith("* mask 0  IoU ")
    (tmp_path / "broken.npy").write_bytes(b"x")
    result = ask("cup.png", "--mask", "broken.npy")
    assert result.exit_code == 1 and "broken.npy" in result.stderr


@pytest.mark.parametrize(
    ("arguments", "code", "told"),
    [
        (["cup.png"], 1, "give points, a box or a mask"),
        (["cup.png", "--point", "1"], 2, "X,Y"),
        (["cup.png", "--point", "a,b"], 2, "X,Y"),
        (["cup.png", "--box", "1,2,3"], 2, "X0,Y0,X1,Y1"),
        (["none.png", "--point", "1,2"], 1, "no such photo"),
    ],
)
def test_the_command_refuses_clearly(ask, tmp_path, arguments, code, told):
    result = ask(*arguments)
    assert result.exit_code == code and told in result.stderr
    assert not (tmp_path / "out").exists()


def test_prompts_take_their_turn(complete_bundle, photo, monkeypatch):
    """On a GPU engines share buffers: whoever holds the engines' turn runs alone, prompts included."""

    class Turn:
        held = taken = 0

        def __enter__(self):
            self.held, self.taken = self.held + 1, self.taken + 1

        def __exit__(self, *_):
            self.held -= 1

    turn = Turn()
    monkeypatch.setattr(Engines, "turn", turn)
    with Segmenter.load(complete_bundle) as opened:
        for stage in ("sam_encoder", "sam_prompt_decoder"):
            session, run = opened.engines[stage], opened.engines[stage].run
            session.run = lambda *given, run=run: [run(*given), turn.held == 1 or pytest.fail("out of turn")][0]
        prompted = opened.prompt(photo)
        prompted.predict([[20, 30]])
        assert turn.taken == 2 and not turn.held
        opened.warmup()
        assert turn.taken >= 4 and not turn.held
    with Prompter.load(complete_bundle) as prompter:
        before = turn.taken
        prompter.encode(photo).predict([[20, 30]])
        assert turn.taken == before + 2


def test_engines_on_a_gpu_take_turns_and_those_on_the_host_do_not():
    class Somewhere:
        def __init__(self, device):
            self.device = device

    assert Engines({"a": Somewhere("cpu")}).turn.__enter__() is None
    engines = Engines({"a": Somewhere("cpu"), "b": Somewhere("cuda:0")})
    assert engines.turn is engines.turn
    with engines.turn, ThreadPoolExecutor(1) as pool:
        assert not pool.submit(engines.turn.acquire, blocking=False).result()
