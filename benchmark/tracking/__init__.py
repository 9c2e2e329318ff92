"""Experiment trackers that follow runs: optional, and no part of a run's identity."""
