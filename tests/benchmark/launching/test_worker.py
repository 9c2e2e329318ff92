"""Signals that ask a job to stop."""

import signal

import pytest

from ssdg.benchmark.launching.worker import stop_on_request

ASKING = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR2, signal.SIGHUP)


@pytest.fixture(autouse=True)
def handlers():
    """Whatever this process does about signals, nohup included, begins as by default and ends as it was."""
    before = {number: signal.signal(number, signal.SIG_DFL) for number in ASKING}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.parametrize("number", ASKING)
def test_each_asks_for_a_checkpoint(number, capsys):
    stop = stop_on_request(None)
    assert not stop()
    assert signal.getsignal(number) not in (signal.SIG_DFL, signal.SIG_IGN)
    signal.raise_signal(number)
    assert stop()
    assert "stopping after this step" in capsys.readouterr().err


def test_a_terminal_that_closes_does_not_stop_what_nohup_protects():
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    stop = stop_on_request(None)
    signal.raise_signal(signal.SIGHUP)
    assert not stop()
