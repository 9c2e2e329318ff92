"""From label maps to counts and metrics."""
