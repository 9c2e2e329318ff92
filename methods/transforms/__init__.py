"""Transforms of batches of 2D and 3D images, shared by the benchmark's augmentations and the methods."""
