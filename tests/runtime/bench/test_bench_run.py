"""A whole run on fakes: what is started, left out, timed, judged, told and drawn."""

import io

import msgspec
import numpy as np
import pytest
from rich.console import Console

from ovdeploy.runtime import Bundle, EngineError
from ovdeploy.runtime.bench.chart import REST, draw_chart
from ovdeploy.runtime.bench.many import throughput
from ovdeploy.runtime.bench.memory import Memory
from ovdeploy.runtime.bench.plan import Outcome, ProductSpec, RunnerSpec
from ovdeploy.runtime.bench.products import FLOPS
from ovdeploy.runtime.bench.report import Peak, Report, judge, measured_peaks, peak_of
from ovdeploy.runtime.bench.run import Job, bench
from ovdeploy.runtime.bench.soak import judged, mixed_sizes, soak
from ovdeploy.runtime.bench.sweep import Point, fitted
from ovdeploy.runtime.bench.tables import growth_line, tables
from ovdeploy.runtime.pipelines.training_free.sweeps import SWEEPS
from ovdeploy.runtime.words.vocabulary import random_vocabulary
from support.samples import draw_photo

PHOTO = draw_photo((30, 40))
SPEEDS = {"torch": 40.0, "engines fp32": 10.0, "engines bf16": 5.0}


class FakeProcess:
    """A runner whose times are known: half of a photo is `dino`, a quarter `coarse`, the rest is no step."""

    started, opened_ms = 0.0, 2.0

    @property
    def calls(self):
        return {} if self.spec.label == "torch" else {"dino": [{"B": 2}, {"B": 1}], "sam_decoder": [{"R": 3}]}

    def __init__(self, spec, log):
        self.spec, self._log, self._rounds = spec, log, 0
        if spec.label == "broken fp32":
            raise EngineError("broken fp32: it has no heart")

    def run(self, photo, vocabulary, parameters=None):
        self._log.append(self.spec.label)
        if self.spec.label == "failing fp32":
            raise EngineError("failing fp32: NaN")
        whole = SPEEDS[self.spec.label]
        mask = np.zeros(photo.shape[:2], np.uint16)
        mask[0, 0] = self.spec.precision == "bf16"
        return Outcome(whole, {"dino": whole / 2, "coarse": whole / 4}, mask, np.zeros_like(mask), 3, self.calls)

    def call(self, method, *arguments):
        assert method == "seconds"
        self._log.append(self.spec.label)
        self._rounds += 1
        return {"numpy": 0.5, "torch": 0.25}[self.spec.kind] * (1 if self._rounds > 1 else 1.05)

    def memory(self):
        return Memory(5 << 20, 7 << 20)

    def close(self):
        self._log.append(f"closed {self.spec.label}")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


def run(micro_bundle, labels=tuple(SPEEDS), **changes):
    bundle, log = Bundle.load(micro_bundle), []
    specs = [RunnerSpec(label=label, bundle=micro_bundle, precision=label.split()[-1]) for label in labels]
    settings = {
        "bundle": bundle, "runners": specs, "rivals": frozenset({"torch"}), "photo": PHOTO, "rounds": 3,
        "vocabulary": random_vocabulary(6, bundle.manifest.dimensions.embedding), "parameters": {},
        "products": [ProductSpec(kind="numpy"), ProductSpec(kind="torch")],
    }  # fmt: skip
    return bench(Job(**{**settings, **changes}), start=lambda spec: FakeProcess(spec, log)), log


@pytest.fixture(scope="module")
def report(micro_bundle):
    return run(micro_bundle)[0]


def test_times_ratios_and_shares(report):
    torch, fp32, bf16 = report.runners
    assert report.reference == "torch" and [r.whole.ratio for r in report.runners] == [1.0, 4.0, 8.0]
    assert fp32.whole.milliseconds.median == 10.0 and fp32.steps["dino"].milliseconds.p90 == 5.0
    assert fp32.between.milliseconds.median == 5.0 and fp32.between_share == 0.5, "what is no stage of the recipe"
    assert (torch.agreement, fp32.agreement, fp32.coarse_agreement) == (1.0, 1.0, 1.0)
    assert bf16.agreement == pytest.approx(1 - 1 / PHOTO[..., 0].size)
    assert (fp32.peak_bytes, fp32.resident_bytes) == (7 << 20, 5 << 20)
    assert [start.opening for start in fp32.cold_starts] == [2.0]
    assert report.noise.judgeable and not report.left_out


def test_shares_of_the_peak_are_products_a_second(report):
    _, fp32, _ = report.runners
    best = report.peaks[0]
    assert best.label == "torch fp32" and best.gflops == pytest.approx(FLOPS / 0.25 / 1e9)
    assert best.spread == pytest.approx(1 - 1 / 1.05)
    dino = fp32.steps["dino"]
    assert dino.gflop > 0 and dino.peak_share == pytest.approx(dino.gflop / 5e-3 / best.gflops)
    assert fp32.steps["coarse"].gflop is None and fp32.steps["coarse"].peak_share is None


def test_products_come_before_every_round_and_all_is_closed(micro_bundle):
    _, log = run(micro_bundle, rounds=2, starts=2)
    labels, products = list(SPEEDS), ["numpy fp32", "torch fp32"]
    starts = [line for label in labels for line in (label, f"closed {label}", label)]
    rounds = [*products, *labels, *products, *labels[1:], labels[0]]
    assert log[: len(starts)] == starts and log[len(starts) : len(starts) + len(rounds)] == rounds
    assert sorted(log[len(starts) + len(rounds) :]) == sorted(f"closed {name}" for name in (*labels, *products))


@pytest.mark.parametrize(("label", "why"), [("broken fp32", "it has no heart"), ("failing fp32", "NaN")])
def test_what_does_not_work_is_left_out_unless_it_was_asked_for(micro_bundle, label, why):
    found, log = run(micro_bundle, labels=(label, "engines fp32"))
    assert found.left_out == {label: why} and found.reference == "engines fp32"
    assert (f"closed {label}" in log) == (label == "failing fp32")
    with pytest.raises(EngineError, match=why):
        run(micro_bundle, labels=(label, "engines fp32"), required=frozenset({label}))
    with pytest.raises(EngineError, match=f"no runner works here.*{why}"):
        run(micro_bundle, labels=(label,))


def test_a_library_without_this_product_is_passed_over(micro_bundle):
    class Missing(FakeProcess):
        def __init__(self, spec, log):
            if isinstance(spec, ProductSpec):
                raise EngineError("no such library")
            super().__init__(spec, log)

    bundle = Bundle.load(micro_bundle)
    job = Job(
        bundle=bundle, runners=[RunnerSpec(label="engines fp32", bundle=micro_bundle)], photo=PHOTO, rounds=1,
        vocabulary=random_vocabulary(2, 8), parameters={}, products=[ProductSpec(kind="numpy")],
    )  # fmt: skip
    found = bench(job, start=lambda spec: Missing(spec, []))
    assert found.peaks == () and found.runners[0].steps["dino"].peak_share is None
    assert "could be measured" in printed(found)


def test_without_onnx_times_are_told_and_operations_are_not(micro_bundle, monkeypatch):
    monkeypatch.setattr("ovdeploy.runtime.bench.run.product_flops", lambda *_: (_ for _ in ()).throw(ImportError))
    found, _ = run(micro_bundle)
    assert "pip install 'ovdeploy[graph]'" in found.flops_note and "[graph]" in printed(found)
    assert found.runners[0].whole.milliseconds.median == 40.0


@pytest.mark.parametrize(
    ("peak_spread", "spreads", "rounds", "reasons"),
    [
        (0.0, {"a": 0.05}, 3, 0),
        (0.0, {"a": 0.05}, 2, 1),
        (0.2, {"a": 0.05}, 5, 1),
        (0.2, {"a": 0.2, "b": 0.3}, 5, 3),
    ],
)
def test_noise_is_judged_by_rounds_peak_and_spread(peak_spread, spreads, rounds, reasons):
    peaks = [
        Peak(label="fast", precision="fp32", gflops=9.0, spread=peak_spread),
        Peak(label="slow", precision="fp32", gflops=3.0, spread=0.9),
    ]
    noise = judge(peaks, spreads, rounds)
    assert len(noise.reasons) == reasons and noise.judgeable == (not reasons)


def test_a_precision_without_a_product_is_held_against_fp32():
    peaks = measured_peaks({("a", "fp32"): [2.0], ("b", "fp32"): [1.0, 3.0], ("c", "bf16"): [0.5], ("d", "bf16"): []})
    assert [peak.label for peak in peaks] == ["c", "b", "a"]
    assert [peak_of(precision, peaks).label for precision in ("fp32", "fp16", "bf16")] == ["b", "b", "c"]
    assert peak_of("fp32", ()) is None


def points(*values):
    return [
        Point(at=at, milliseconds=a + b + 1, steps={"dino": a, "coarse": b, "rest": 1.0}, regions=2)
        for at, a, b in values
    ]


def test_the_term_that_grows_the_most_is_named():
    sweep = fitted("windows", "engines fp32", points((4, 9.0, 8.0), (1, 3.0, 2.0), (2, 5.0, 4.0)), SWEEPS["windows"])
    assert [point.at for point in sweep.points] == [1, 2, 4]
    assert sweep.per_unit == pytest.approx(4) and sweep.fixed == pytest.approx(2)
    assert sweep.terms[0].per_unit == pytest.approx(2) and sweep.terms[0].share == pytest.approx(0.5)
    steep = fitted("classes", "x", points((1, 3.0, 2.0), (2, 9.0, 1.0)), SWEEPS["classes"])
    assert steep.terms[0].step == "dino" and steep.terms[0].share == 1.0, "what shrinks is no growth"
    assert "the largest term is dino, 6 ms a class, 100% of the growth" in growth_line(steep)


def test_a_sweep_of_one_place_does_not_grow():
    flat = fitted("regions", "x", points((3, 3.0, 2.0), (3, 9.0, 1.0)), SWEEPS["regions"])
    assert flat.per_unit == 0.0 and "no step grows" in growth_line(flat)


def test_growth_of_memory_is_judged_after_all_sizes_have_come():
    settling = [Memory(n << 20, 0) for n in (*range(1, 26), *[100] * 75)]
    assert not judged("x", settling, 20).grows
    growing = [Memory((100 + n) << 20, 200 << 20) for n in range(100)]
    found = judged("x", growing, 20)
    assert found.grows and found.per_hundred == pytest.approx(100 << 20) and found.peak == 200 << 20
    assert not judged("x", [Memory(1, 1)], 1).grows


def test_soaking_mixes_sizes_and_looks_after_every_photo():
    sizes, looks = [], []

    def run_one(photo, vocabulary):
        sizes.append(photo.shape[:2])

    def memory():
        looks.append(len(sizes))
        return Memory(1 << 20, 2 << 20)

    found = soak("x", run_one, memory, PHOTO, None, 12)
    assert looks == list(range(1, 13)) and found.sizes == 3 and len(set(sizes)) == 3
    assert sizes[:3] == sizes[3:6]
    upright = [h > w for h, w in mixed_sizes((100, 400), 10)]
    assert upright == [False, True] * 5


@pytest.mark.parametrize("wrong", [False, True])
def test_throughput_compares_masks_too(wrong):
    log = []

    def call(way, paths, vocabulary, *workers):
        log.append((way, len(paths)))
        assert all(path.is_file() for path in paths)
        masks = [np.full((2, 2), index) for index in range(len(paths))]
        return {"loop": 6.0, "many": 4.0}[way], masks[:: -1 if wrong and way == "many" else 1]

    found = throughput("x", call, PHOTO, None, 4, 2)
    assert log == [("many", 2), ("loop", 4), ("many", 4), ("many", 4), ("loop", 4)]
    assert found.ratio == 1.5 and found.loop.median == 1500.0 and found.equal is not wrong


def test_the_extras_are_run_for_what_is_measured_and_told(micro_bundle):
    found, _ = run(micro_bundle, sweeps=["windows"], soak=4)
    assert [sweep.runner for sweep in found.sweeps] == ["engines fp32", "engines bf16"]
    assert [soaked.runner for soaked in found.soaks] == ["engines fp32", "engines bf16"]
    text = printed(found)
    for words in ("ms by windows", "memory, MiB", "no step grows"):
        assert words in text


class Impatient(FakeProcess):
    """Somebody presses Ctrl-C in its sixth run."""

    def run(self, photo, vocabulary, parameters=None):
        if self._log.count(self.spec.label) == 5:  # the first was the cold start
            raise KeyboardInterrupt
        return super().run(photo, vocabulary, parameters)


@pytest.mark.parametrize(("rounds", "done", "told"), [(6, 4, "after 4 of 6 rounds"), (4, 4, "before all sweeps")])
def test_an_interrupted_run_tells_what_it_has(micro_bundle, rounds, done, told):
    """In the rounds, and in the soaking after them."""
    log = []
    bundle = Bundle.load(micro_bundle)
    job = Job(
        bundle=bundle, runners=[RunnerSpec(label="engines fp32", bundle=micro_bundle)], photo=PHOTO, rounds=rounds,
        vocabulary=random_vocabulary(6, bundle.manifest.dimensions.embedding), parameters={}, soak=4,
    )  # fmt: skip
    report = bench(job, start=lambda spec: Impatient(spec, log))
    assert told in report.cut_short and report.rounds == done and not report.soaks
    assert report.runners[0].whole.milliseconds.median == SPEEDS["engines fp32"]
    assert told in printed(report) and log[-1] == "closed engines fp32"


def test_the_report_survives_json(report):
    assert msgspec.json.decode(msgspec.json.encode(report), type=Report) == report


def printed(report):
    console = Console(file=io.StringIO(), width=160)
    for part in tables(report):
        console.print(part)
    return console.file.getvalue()


def test_the_tables_tell_all(report):
    text = printed(report)
    for words in ("10.0 (10.0) 4.00×", "all that is no engine", "whole photo", "50.0%", "quiet enough", "torch fp32",
                  "cold start", "peak memory", "dino: share of peak", "the decoded photo"):  # fmt: skip
        assert words in text, words
    noisy = msgspec.structs.replace(report, noise=judge((), {}, 1), left_out={"gpu [x]": "no [driver]"})
    assert "TOO NOISY TO JUDGE" in printed(noisy) and "gpu [x] (no [driver])" in printed(noisy)


def test_bars_are_as_long_as_the_times(report):
    pixels = np.asarray(draw_chart(report))
    row_lengths = []
    for row in pixels:
        rest = np.flatnonzero((row == np.array(REST, np.uint8)).all(axis=-1))
        if len(rest) > 20:  # past a legend's square
            row_lengths.append(len(rest))
    longest, shortest = max(row_lengths), min(row_lengths)
    assert longest / shortest == pytest.approx(8, rel=0.1), "torch against bf16, to the pixel"
