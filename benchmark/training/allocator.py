"""Keeping the memory that a step frees for the next step."""

import ctypes
import os
import sys

import torch

TRIM_THRESHOLD, MMAP_THRESHOLD = -1, -3
"""What ``mallopt`` calls its parameters (malloc.h)."""
LARGEST_KEPT = 2**30
"""Bytes; larger blocks go back to the system at once, whoever frees them."""
CHOSEN = ("MALLOC_", "GLIBC_TUNABLES", "LD_PRELOAD")
"""Variables by whose beginning a user chooses an allocator, or how it works."""


def keep_freed_memory(device: torch.device) -> bool:
    """Have this process keep the memory that tensors on the CPU free; return whether it does.

    Every step of training frees what the next one asks for again. glibc gives the larger of such blocks back to the
    system, which clears page after page of them again at each step: a tenth to a fifth of a step's time. Kept are as
    many bytes as were in use at once. No result changes. Nothing is done where tensors are on a GPU, where the C
    library has no such setting, and where the environment already chooses.
    """
    if device.type != "cpu" or not sys.platform.startswith("linux"):
        return False
    if any(name.startswith(CHOSEN) for name in os.environ):
        return False
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except AttributeError:  # a C library that is not glibc
        return False
    never = ctypes.c_int(-1)
    return bool(mallopt(MMAP_THRESHOLD, LARGEST_KEPT) and mallopt(TRIM_THRESHOLD, never))
