"""Slurm behind the scheduler protocol."""
