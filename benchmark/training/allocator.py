"""Keep the memory that a training step frees for the next step."""

import ctypes
import os
import sys

import torch

TRIM_THRESHOLD, MMAP_THRESHOLD = -1, -3  # parameters of ``mallopt`` (malloc.h)
LARGEST_KEPT = 2**30  # bytes; larger blocks go back to the system at once
CHOSEN = ("MALLOC_", "GLIBC_TUNABLES", "LD_PRELOAD")  # prefixes of variables that choose or tune an allocator


def keep_freed_memory(device: torch.device) -> bool:
    """Make this process keep the CPU memory that tensors free; return whether it does.

    glibc returns large blocks to the system, which clears them again at each step: 10 to 20 % of a step's time. No
    result changes. Nothing is done on a GPU, with another C library, or if the environment chooses an allocator.
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
