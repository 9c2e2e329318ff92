"""What tests of several methods record."""

import pytest

from ssdg.methods.parts import gin


@pytest.fixture
def convolutions(monkeypatch):
    """Record (kernel, bias) of every layer of a random network: (B, C', C, *K) and (B, C')."""
    seen = []
    original = gin._convolve_each

    def spy(x, kernel, bias):
        seen.append((kernel, bias))
        return original(x, kernel, bias)

    monkeypatch.setattr(gin, "_convolve_each", spy)
    return seen
