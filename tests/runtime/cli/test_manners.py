"""What all commands have in common: how they are told of a bundle, how they fail, what they say when asked to."""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys

import click
import pytest
from click.testing import CliRunner

from ovdeploy.runtime import Bundle
from ovdeploy.runtime.cli import group, main
from ovdeploy.runtime.cli.common import Choice
from ovdeploy.runtime.cli.failing import fail_cleanly
from ovdeploy.runtime.errors import EngineError, MissingExtraError
from ovdeploy.runtime.reporting import logged, logger

NO_BUNDLE = ("doctor", "scenes")
BY_PLACE = ("segment", "batch", "prompt", "everything", "track")
"""Commands that take photos or a video by their place, and so the bundle by its option alone."""


def invoke(*arguments):
    result = CliRunner().invoke(main, [str(argument) for argument in arguments])
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result


@pytest.mark.parametrize("name", sorted(set(main.found) - set(NO_BUNDLE)))
def test_every_command_takes_its_bundle_by_the_same_option(name):
    command = main.get_command(click.Context(main), name)
    options = {option for parameter in command.params for option in parameter.opts}
    assert "--bundle" in options
    assert ("placed" in options) == (name not in BY_PLACE)


def test_a_bundle_by_its_place_is_the_same(micro_bundle):
    told = [invoke("inspect", *how, "--json") for how in ((micro_bundle,), ("--bundle", micro_bundle))]
    assert told[0].exit_code == 0 and told[0].stdout == told[1].stdout
    assert invoke("inspect", "--bundle", micro_bundle, micro_bundle).exit_code == 0


@pytest.mark.parametrize(
    ("given", "words"), [((), "Missing option '--bundle'"), (("a", "--bundle", "b"), "two bundles")]
)
def test_no_bundle_and_two_bundles_end_with_2(given, words):
    result = invoke("inspect", *given)
    assert result.exit_code == 2 and words in result.stderr


@pytest.mark.parametrize("name", sorted(main.found))
def test_every_command_can_be_asked_to_say_more(name):
    assert "--verbose" in invoke(name, "--help").stdout


@pytest.mark.parametrize(
    ("typed", "told"),
    [
        ("segmnt", "Did you mean 'segment'? Valid: batch, "),
        ("buildplans", "Did you mean 'build-plans'?"),
        ("export", "export-engines RECIPE"),
        ("export-engines", "export-engines RECIPE"),
    ],
)
def test_an_unknown_command_is_answered_with_the_likeliest(typed, told):
    result = invoke(typed, "x")
    assert result.exit_code == 2 and told in result.stderr


def test_an_unknown_option_and_an_unknown_value_are_answered_likewise(micro_bundle):
    assert "--precision" in invoke("profile", micro_bundle, "--precison", "fp32").stderr
    result = invoke("profile", micro_bundle, "--by", "trtexe")
    assert result.exit_code == 2 and "Did you mean 'trtexec'?" in result.stderr and "--by" in result.stderr


def test_a_choice_takes_its_words():
    assert Choice(["low", "high"]).convert("low", None, None) == "low"


def test_a_command_of_another_package_is_listed_with_its_own_words_or_with_what_is_wrong(monkeypatch):
    class Point:
        def __init__(self, load):
            self.value, self.load = "elsewhere:command", load

    def broken():
        raise ImportError("no module named 'gone'")

    points = {"good": Point(lambda: click.Command("good", help="Do good.")), "broken": Point(broken)}
    told = CliRunner().invoke(_group(points, monkeypatch), ["--help"])
    assert told.exit_code == 0
    assert "Do good." in told.stdout and "(cannot be imported: no module named 'gone')" in told.stdout


def _group(points, monkeypatch):
    monkeypatch.setattr(group, "SUMMARIES", {"good": "of ours"})
    commands = group.Commands("test")
    commands.found = points
    return commands


USAGE = {
    "an unknown command": ("segmnt", "--json"),
    "an unknown option": ("inspect", "b", "--jsn", "--json"),
    "a missing argument": ("segment", "--json", "--bundle", "b"),
    "no bundle": ("inspect", "--json"),
    "a bad value": ("profile", "b", "--json", "--top", "many"),
    "a file of bench": ("bench", "b", "--json", "-", "--rounds", "0"),
    "a file of bench, as one word": ("bench", "b", "--json=-", "--rounds", "0"),
}


@pytest.mark.parametrize("what", USAGE)
def test_a_wrong_command_line_is_told_as_json_too(what):
    result = invoke(*USAGE[what])
    error = json.loads(result.stdout)["error"]
    assert result.exit_code == error["exit_code"] == 2 and error["type"] == "UsageError"
    assert error["message"] in result.stderr


@pytest.mark.parametrize("given", [("bench", "b", "--json", "f.json", "--rounds", "0"), ("inspect", "b", "--jsn"),
                                   ("scenes", "--count", "x", "--", "--json")])  # fmt: skip
def test_where_json_was_not_asked_for_there_is_none(given):
    result = invoke(*given)
    assert result.exit_code == 2 and result.stdout == "" and "Error: " in result.stderr


@pytest.mark.parametrize("name", ["inspect", "lint", "profile", "parity"])
def test_a_bundle_that_is_none_is_told_as_json_too(name, tmp_path):
    result = invoke(name, tmp_path, "--json")
    error = json.loads(result.stdout)["error"]
    assert result.exit_code == error["exit_code"] == 1 and error["type"] == "BundleError"
    assert result.stderr == f"error: {error['message']}\n"


def run(error, **options):
    @click.command()
    @click.option("--json", "as_json", is_flag=True)
    @fail_cleanly
    def command(as_json):
        raise error

    return CliRunner().invoke(command, ["--json"])


@pytest.mark.parametrize(
    ("error", "more"),
    [
        (EngineError("it failed", "head"), {"stage": "head"}),
        (MissingExtraError("onnx", "graph", "linting"), {"package": "onnx", "extra": "graph", "purpose": "linting"}),
        (PermissionError(13, "no"), {}),
    ],
)
def test_an_errors_attributes_are_in_the_json(error, more):
    told = json.loads(run(error).stdout)
    assert told == {"error": {"type": type(error).__name__, "message": str(error), "exit_code": 1, **more}}


def test_the_library_says_nothing_unless_it_is_asked(micro_bundle):
    code = (
        f"from ovdeploy.runtime import Segmenter\nSegmenter.load({str(micro_bundle)!r}).close()\n"
        "from ovdeploy.runtime.kept.trust import log\nlog.warning('heard')\n"
    )
    for asked, heard in (("", False), ("import logging; logging.basicConfig(level='INFO')\n", True)):
        done = subprocess.run([sys.executable, "-c", asked + code], capture_output=True, text=True, env=os.environ)
        assert done.returncode == 0, done.stderr
        assert ("heard" in done.stderr, "ovdeploy.bundle" in done.stderr) == (heard, heard)


@pytest.mark.parametrize(("option", "levels"), [((), 1), (("-v",), 2), (("-vv",), 3), (("--verbose",), 2)])
def test_a_command_says_as_much_as_it_is_asked_to(option, levels):
    @click.command()
    @fail_cleanly
    def command():
        for level in (logging.WARNING, logging.INFO, logging.DEBUG):
            logger("room").log(level, "level %d", level)

    lines = CliRunner().invoke(command, option).stderr.splitlines()
    assert len(lines) == levels and lines[0] == "warning: level 30"
    assert all("room: level" in line for line in lines[1:])


def test_what_was_heard_is_not_heard_afterwards(capsys):
    heard: list[str] = []
    with logged(2, heard.append):
        logger("room").debug("within")
    logger("room").debug("after")
    assert len(heard) == 1 and logging.getLogger("ovdeploy").level == logging.NOTSET
    assert capsys.readouterr() == ("", "")


def test_opening_a_bundle_is_logged(micro_bundle, caplog):
    with caplog.at_level(logging.INFO, "ovdeploy"):
        Bundle.load(micro_bundle)
    assert "recipe micro" in caplog.text
