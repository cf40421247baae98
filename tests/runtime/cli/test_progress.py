"""How far work is, where no bar can be drawn; and warnings, each in one line."""

from __future__ import annotations

import io
import warnings

import pytest
from rich.console import Console

from ovdeploy.runtime import OvdeployWarning
from ovdeploy.runtime.cli import progress
from ovdeploy.runtime.cli.failing import warnings_told
from ovdeploy.runtime.cli.progress import Lines, line_reporter, progress_bar
from ovdeploy.runtime.errors import hearing, warn


def console(*, terminal: bool) -> Console:
    return Console(file=io.StringIO(), force_terminal=terminal, width=100)


def written(where: Console) -> str:
    assert isinstance(where.file, io.StringIO)
    return where.file.getvalue()


def test_a_line_is_said_every_few_seconds_and_not_for_every_event():
    where, times = console(terminal=False), iter(range(100))
    lines = Lines(where, now=lambda: float(next(times) // 2))
    for event in range(40):
        lines.tell(str(event))
    said = [int(line) for line in written(where).split()]
    assert 2 <= len(said) <= 8 and said == sorted(said)


def test_a_terminal_gets_no_lines():
    where = console(terminal=True)
    lines = Lines(where, now=iter([0.0, 100.0, 200.0]).__next__)
    lines.tell("event")
    assert written(where) == ""


def test_a_bar_that_is_no_terminals_says_how_far_it_is(monkeypatch):
    monkeypatch.setattr(progress, "INTERVAL", 0.0)
    where = console(terminal=False)
    with progress_bar(where) as bar:
        task = bar.add_task("photos", total=3)
        bar.update(task, description=r"a\[1].png")
        bar.advance(task)
    assert "a[1].png: 0 of 3\na[1].png: 1 of 3\n" in written(where)


def test_a_quiet_bar_says_nothing(monkeypatch):
    monkeypatch.setattr(progress, "INTERVAL", 0.0)
    where = console(terminal=False)
    with progress_bar(where, quiet=True) as bar:
        bar.advance(bar.add_task("photos", total=3))
    assert written(where) == ""


def test_what_a_status_line_would_show_is_said_in_lines(monkeypatch):
    monkeypatch.setattr(progress, "INTERVAL", 0.0)
    where = console(terminal=False)
    with where.status("") as status:
        tell = line_reporter(where, status)
        tell("exporting", about="head")
        tell("exported, 1.6 s", about="head", lasting=True)
    assert written(where).splitlines() == ["head: exporting", "head          exported, 1.6 s"]


def test_a_warning_is_one_line_however_often_it_comes(capsys):
    with warnings_told():
        for index in range(3):
            for text in ("the same", f"another {index // 2}"):
                warn(text)
    lines = capsys.readouterr().err.splitlines()
    assert lines == ["warning: the same", "warning: another 0", "warning: another 1"]


def test_a_warning_that_is_to_be_an_error_is_one(capsys):
    with warnings.catch_warnings():
        warnings.simplefilter("error", OvdeployWarning)
        with pytest.raises(OvdeployWarning, match="odd"), warnings_told():
            warn("odd")


def test_other_warnings_are_left_to_python():
    with pytest.warns(UserWarning, match="theirs"), warnings_told():
        warnings.warn("theirs", UserWarning, stacklevel=1)


def test_what_is_heard_is_of_this_part_alone():
    with warnings.catch_warnings(), hearing() as outer:
        warnings.simplefilter("ignore")
        warn("a")
        with hearing() as inner:
            warn("b")
            warn("b")
        warn("c")
    assert (outer, inner) == (["a", "c"], ["b"]), "also of what nobody is shown"
