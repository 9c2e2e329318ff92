"""How ``bench`` ends, beside 0."""

FAILED, USAGE, INCOMPLETE, INTERRUPTED = 1, 2, 3, 130
"""A run failed; wrong use or bad input; results are missing; stopped by Ctrl-C."""
