"""Slurm: what is submitted, what waits there, how it is stopped."""
