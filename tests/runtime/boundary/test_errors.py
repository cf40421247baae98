"""Every error of the tree survives being pickled, copied and sent to another process."""

from __future__ import annotations

import copy
import errno
import pickle

import pytest

import ovdeploy.runtime.errors as errors

ARGUMENTS = {
    errors.MissingExtraError: ("onnx", "graph", "counting nodes"),
    errors.EngineError: ("it failed", "dino"),
    errors.FileError: ("no room", errno.ENOSPC),
}
"""Of constructors that take more than a message."""


def tree(kind=errors.OvdeployError):
    return [kind, *(each for child in kind.__subclasses__() for each in tree(child))]


def told(error):
    return type(error), str(error), error.args, {**vars(error), "errno": getattr(error, "errno", None)}


@pytest.mark.parametrize("kind", sorted(set(tree()), key=lambda kind: kind.__name__))
@pytest.mark.parametrize("again", [copy.copy, copy.deepcopy, lambda error: pickle.loads(pickle.dumps(error))])  # noqa: S301 (its own)
def test_an_error_survives_pickle_and_copy_with_message_and_attributes(kind, again):
    error = kind(*ARGUMENTS.get(kind, ("what was expected, what came, what to do",)))
    error.noted = ["an attribute of its own"]
    assert told(again(error)) == told(error)
    assert str(again(error)) and again(error) is not error


def test_the_systems_and_pythons_kinds_are_kinds_of_ours():
    assert issubclass(errors.FileError, OSError) and errors.FileError("no room", errno.ENOSPC).errno == errno.ENOSPC
    assert issubclass(errors.WrongTypeError, TypeError)


def test_a_value_is_shown_whatever_its_methods_do():
    class Broken:
        def __repr__(self):
            raise RuntimeError

    assert errors.shown(10**5000) == "a number of 16610 bits"
    assert errors.shown(Broken()) == "a value of type Broken"
    assert len(errors.shown("x" * 10**6)) == errors.SHOWN
    assert "unknown stage" in errors.one_of("stage", Broken(), ["dino"])
