"""What runs beside its caller: when it is called, what it gives, and whose error is told."""

import threading
import warnings

import pytest

from ovdeploy.runtime.errors import OvdeployWarning, hearing, warn
from ovdeploy.runtime.pipelines.beside import beside
from ovdeploy.runtime.reporting import OVERLAP, Clock

LONG = 20  # seconds, after which a test fails that would else wait for ever


def test_else_it_is_called_by_who_asks_once_and_never_if_nobody_does():
    calls, clock = [], Clock()
    with beside(lambda: calls.append(threading.current_thread()), False, clock) as value:
        assert not calls
        value(), value()
    assert calls == [threading.current_thread()]
    with beside(lambda: calls.append(None), False, clock):
        pass
    assert len(calls) == 1 and OVERLAP not in clock.timings()


def test_at_once_it_goes_on_while_the_block_does_and_that_time_is_told():
    clock, there = Clock(), threading.Event()

    def function():
        assert there.wait(LONG), "the block must go on meanwhile"
        return threading.current_thread()

    with beside(function, True, clock) as value:
        there.set()
        assert value() is value() is not threading.current_thread()
    assert 0 <= clock.timings()[OVERLAP] <= clock.timings()["total"]


@pytest.mark.parametrize("asks", [True, False])
def test_its_error_is_the_callers(asks):
    def ask():
        with beside(lambda: 1 / 0, True, Clock()) as value:
            if asks:
                value()

    with pytest.raises(ZeroDivisionError):
        ask()


def test_the_blocks_own_error_is_told_when_the_function_has_ended():
    begun, ended = threading.Event(), []

    def function():
        begun.wait(LONG)
        ended.append(True)
        return 1 / 0

    def fail():
        with beside(function, True, Clock()):
            begun.set()
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    assert ended


def test_its_warnings_are_heard_by_the_caller():
    with warnings.catch_warnings(), hearing() as heard:
        warnings.simplefilter("ignore", OvdeployWarning)
        with beside(lambda: warn("mind this"), True, Clock()):
            pass
    assert heard == ["mind this"]
