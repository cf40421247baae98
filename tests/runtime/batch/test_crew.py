"""A crew loses no photo and doubles none, whoever is killed; a photo that kills or hangs costs itself alone."""

from __future__ import annotations

import os
import signal
import time
from types import SimpleNamespace

import pytest

from ovdeploy.runtime import Bundle, Vocabulary
from ovdeploy.runtime.batch import crew as crew_module
from ovdeploy.runtime.batch import hand as hand_module
from ovdeploy.runtime.batch.crew import Crew
from ovdeploy.runtime.batch.messages import Begun, Done, Spec, Work
from ovdeploy.runtime.batch.portions import Tar
from ovdeploy.runtime.errors import BundleError, EngineError, PhotoError
from support.batches import Told, Uncounted, encoded, write_tar
from support.samples import random_vocabulary


@pytest.fixture
def crew(micro_bundle, tmp_path):
    """Makes a crew, and closes it."""
    made = []

    def make(workers=1, time_limit=None, at_once=2, **changed):
        opened = Bundle.load(micro_bundle)
        words = random_vocabulary(opened.manifest.dimensions.embedding)
        how = {"backend": "onnxruntime", "threads": 1}
        spec = {"bundle": opened.path, "digest": opened.digest, "vocabulary": words, "parameters": {}, "opening": how,
                "columns": ("mask",), "at_once": at_once, "folder": tmp_path, **changed}  # fmt: skip
        made.append(Crew(Spec(**spec), workers, time_limit))
        return made[-1]

    yield make
    for each in made:
        each.close()


def errors_of(work):
    assert sorted(work.rows) == list(range(len(work.rows)))
    return [work.rows[number].get("error_type") for number in range(len(work.rows))]


def test_a_photo_that_kills_costs_itself_and_no_neighbour(crew):
    """Two at once: a neighbour is in work when the worker dies, twice if it were not done alone the second time."""
    kinds = ("good", "deadly", "good", "good", "deadly")
    told = []
    [work] = crew().run([Work(0, Told(kinds))], told.append)
    assert errors_of(work) == [None, "WorkerDiedError", None, None, "WorkerDiedError"]
    assert sorted(row["row"] for row in told) == list(range(5)), "each is told once"
    assert "2 workers ended on this photo" in work.rows[1]["error"] and "signal 9" in work.rows[1]["error"]


def test_a_photo_whose_worker_was_killed_by_chance_is_done(crew, tmp_path):
    [work] = crew().run([Work(0, Told(("good", "once", "good"), str(tmp_path)))])
    assert errors_of(work) == [None] * 3 and work.ended.photos == 3


@pytest.fixture
def jumping(monkeypatch):
    """Gives a crew a clock that goes two hours on as soon as a worker has certain photos in work, and else as it does.

    So what hangs is overdue, and nothing else, however slow this machine is.
    """

    def jump(made, numbers):
        over = []

        def clock():
            over.extend(
                hand for hand in made._hands
                if hand not in over and numbers <= {begun.number for begun in hand.in_work}
            )  # fmt: skip
            return time.monotonic() + 7200 * len(over)

        for module in (crew_module, hand_module):
            monkeypatch.setattr(module, "time", SimpleNamespace(monotonic=clock))
        monkeypatch.setattr(crew_module, "LOOK", 0.05)
        return made

    return jump


def test_a_photo_that_hangs_is_ended_and_the_others_are_done(crew, jumping):
    made = jumping(crew(time_limit=3600), {0})
    [work] = made.run([Work(0, Told(("endless", "good", "good")))])
    assert errors_of(work) == ["TimeLimitError", None, None]
    assert "longer than 3600 s" in work.rows[0]["error"]


def test_a_photo_that_is_late_beside_another_is_tried_again_alone(crew, jumping, tmp_path):
    made = jumping(crew(time_limit=3600), {0, 1})
    [work] = made.run([Work(0, Told(("endless once", "good", "good"), str(tmp_path)))])
    assert errors_of(work) == [None] * 3


def test_a_photos_time_begins_when_it_is_the_first_in_work(crew, monkeypatch):
    """Before, the engines may have run on another."""
    hand, now = crew()._hands[0], [100.0]
    monkeypatch.setattr(hand_module, "time", SimpleNamespace(monotonic=lambda: now[0]))
    hand.give(Work(0, Told(("good", "good"))))
    hand._note(Begun(0, "a"))
    hand._note(Begun(1, "b"))
    assert hand.deadline(10) == 110 and hand.deadline(None) is None
    now[0] = 109.0
    hand._note(Done({"row": 0}, 9.0))
    assert hand.deadline(10) == 119
    assert hand.deadline(0.1) == 110, "its row may be on the way"


@pytest.mark.parametrize(("kind", "lost"), [(Told, 2), (Uncounted, 1)])
def test_a_portion_that_kills_whoever_looks_for_a_photo_ends_there_and_others_are_done(kind, lost, crew):
    """As pyarrow would in decoding. What follows is lost: who passes over a photo must find it too."""
    good = Told(("good",))
    works = [Work(0, good), Work(1, kind(("good", "unfound", "good"))), Work(2, good)]
    done = {work.number: errors_of(work) for work in crew().run(works)}
    assert done == {0: [None], 1: [None] + ["WorkerDiedError"] * lost, 2: [None]}
    assert "photo 1: 2 workers ended on finding it" in works[1].rows[1]["error"]


def test_several_workers_that_are_killed_leave_the_rows_of_an_undisturbed_run(crew):
    plans = [Told(("good",) * count) for count in (3, 5, 1, 4)]
    expected = {work.number: work.rows for work in crew(2).run(map(Work, range(4), plans))}
    disturbed = crew(2)
    kills = iter([1, 4, 9])
    count, at = 0, next(kills)

    def kill(row):
        nonlocal count, at
        count += 1
        if count == at:
            at = next(kills, 0)
            os.kill(disturbed._hands[count % 2]._process.pid, signal.SIGKILL)

    came = {work.number: work.rows for work in disturbed.run(map(Work, range(4), plans), kill)}
    assert came == expected and sum(map(len, came.values())) == count == 13
    assert disturbed.peak > 10**7


def test_rows_that_are_there_are_not_made_again(crew):
    there = {"row": 1, "name": "kept"}
    [work] = crew().run([Work(0, Told(("good", "deadly", "good")), {1: there})])
    assert work.rows[1] == there and work.fresh == {0, 2}


def test_a_tar_that_cannot_be_opened_again_is_an_error_behind_what_was_done(crew, tmp_path):
    """As when the first worker was killed, and the second meets a fault."""
    path = write_tar(tmp_path / "0.tar", [(f"{n}.png", encoded(n)) for n in range(6)])
    path.write_bytes(b"\1" * 512 + path.read_bytes()[512:])
    there = {number: {"row": number, "name": f"kept {number}"} for number in (0, 1, 2)}
    [work] = crew().run([Work(0, Tar(os.fsencode(path)), dict(there))])
    assert errors_of(work) == [None, None, None, "PhotoError"] and work.ended.photos == 4
    assert str(path) in work.rows[3]["error"] and {n: work.rows[n] for n in there} == there


def test_a_portion_of_fewer_photos_than_were_done_is_an_error(crew):
    there = {number: {"row": number, "name": f"kept {number}"} for number in (0, 1, 2)}
    [work] = crew().run([Work(0, Told(("good",)), dict(there))])
    assert errors_of(work) == [None, None, None, "PhotoError"]
    assert "1 photos are there, and 3 or more were" in work.rows[3]["error"]


def test_what_would_befall_every_photo_ends_the_run(crew, tmp_path, micro_bundle):
    good = Work(0, Told(("good",)))
    with pytest.raises(BundleError, match="another bundle here"):
        list(crew(digest="0" * 64).run([good]))
    with pytest.raises(BundleError):
        list(crew(bundle=tmp_path).run([good]))
    with pytest.raises(Exception, match="background") as caught:
        list(crew(parameters={"probability_threshold": 0.5}, vocabulary=_of_two(micro_bundle)).run([good]))
    assert type(caught.value).__module__ == "ovdeploy.runtime.errors"


def _of_two(bundle):
    words = random_vocabulary(Bundle.load(bundle).manifest.dimensions.embedding)
    return Vocabulary(["cup", "table"], words.embeddings[:2])


def test_workers_that_end_again_and_again_end_the_run(crew, monkeypatch):
    from ovdeploy.runtime.batch import hand

    monkeypatch.setattr(hand, "WORKER", "antigravity_that_is_not_there")
    with pytest.raises(EngineError, match="again and again"):
        list(crew().run([Work(0, Told(("good",)))]))


def test_a_folder_of_names_that_is_not_there_is_told(crew, tmp_path):
    with pytest.raises(PhotoError, match="no folder on this machine"):
        crew(folder=tmp_path / "elsewhere")


def test_a_worker_whose_crew_is_gone_ends(crew):
    made = crew()
    process = made._hands[0]._process
    made._hands[0].connection.close()
    assert process.wait(600) == 0
