"""Every number on the command line has a range, and numbers of any length are answered by a sentence."""

import importlib

import click
import pytest
from click.testing import CliRunner

from ovdeploy.runtime import toml
from ovdeploy.runtime.cli.dataset_options import open_dataset
from ovdeploy.runtime.errors import OvdeployError
from ovdeploy.runtime.words.vocabulary import random_vocabulary
from support.samples import ROOT

HUGE = "9" * 5_000
OPEN = {"threads"}  # how many there may be is the machine's to say

ALL = toml.loads((ROOT / "pyproject.toml").read_text())["project"]["entry-points"]["ovdeploy.commands"]
COMMANDS = {name: place for name, place in ALL.items() if not place.startswith("ovdeploy.export")}
"""Those that need no PyTorch."""


def load(name):
    module, _, attribute = COMMANDS[name].partition(":")
    return getattr(importlib.import_module(module), attribute)


def numbers(command):
    kinds = (click.types.IntParamType, click.types.FloatParamType)
    return [option for option in command.params if isinstance(option.type, kinds) and option.name not in OPEN]


@pytest.mark.parametrize("name", COMMANDS)
def test_every_number_has_both_ends(name):
    for option in numbers(load(name)):
        assert getattr(option.type, "min", None) is not None, option.name
        assert getattr(option.type, "max", None) is not None, option.name


@pytest.mark.parametrize("value", [HUGE, "-1", "inf", "nan", "1e400"])
@pytest.mark.parametrize(
    "name", ["bench", "evaluate", "scenes", "profile", "segment", "track", "build-plans", "tune", "calibrate"]
)
def test_numbers_out_of_range_end_the_command_in_words(name, value):
    command = load(name)
    for option in numbers(command):
        if option.count:  # how often it is given, no number
            continue
        done = CliRunner().invoke(command, [max(option.opts, key=len), value])
        assert done.exit_code == 2 and isinstance(done.exception, SystemExit), (option.name, done.output)


@pytest.mark.parametrize("value", [HUGE, "nan", "inf", "1e999", "-1", "0"])
def test_a_parameter_on_the_command_line_is_refused_in_words(value, micro_bundle, tmp_path):
    from ovdeploy.runtime.cli import main

    arguments = ["segment", str(tmp_path), "--bundle", str(micro_bundle), "--classes", "cup", "--set"]
    done = CliRunner().invoke(main, [*arguments, f"short_side={value}"])
    assert done.exit_code == 1 and "short_side" in done.output and "Traceback" not in done.output, done.output


@pytest.mark.parametrize("values", ['"0-99999999999"', '"0-' + HUGE + '"', HUGE, '"0, 99999"'])
def test_values_of_label_maps_are_refused_before_they_are_listed(values, tmp_path):
    path = tmp_path / "mine.toml"
    path.write_text(
        f'title = "t"\nsource = "s"\nclasses = ["a", "b"]\nphotos = ["x/{{}}.jpg"]\n'
        f'[[labels]]\npath = "y/{{}}.png"\nvalues = {values}\n'
    )
    with pytest.raises(OvdeployError, match=r"mine\.toml"):
        open_dataset(str(path), tmp_path, None, held_out=False, given="all", first_seed=0)


def test_more_random_classes_than_indices_are_refused_before_they_are_drawn():
    with pytest.raises(OvdeployError, match="65,535"):
        random_vocabulary(10**9, 1_000_000)
