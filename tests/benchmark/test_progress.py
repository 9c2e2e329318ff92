"""What a run prints, where nobody is left to read it."""

import os
import sys

from ssdg.benchmark.progress import Display


def test_a_pipe_that_is_closed_turns_printing_off_and_ends_nothing(monkeypatch):
    reader, writer = os.pipe()
    stream = os.fdopen(writer, "w")
    monkeypatch.setattr(sys, "stdout", stream)
    display = Display("run")
    display.log("heard")
    assert os.read(reader, 100) == b"run: heard\n"
    os.close(reader)
    for _ in range(2):
        display.log("not heard")
    stream.close()  # as at the end of the process: nothing is left to be written
