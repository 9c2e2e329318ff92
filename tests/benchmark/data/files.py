"""Pictures and volumes written by hand."""

import nibabel as nib
import numpy as np
from PIL import Image

AFFINE = np.array([[0.8, 0.1, 0, -5], [-0.1, 0.8, 0, 3], [0, 0, 1.2, 7], [0, 0, 0, 1.0]])


def save_volume(path, array, affine=AFFINE, **header):
    image = nib.Nifti1Image(array, affine)
    for name, value in header.items():
        image.header[name] = value
    nib.save(image, path)
    return path


def save_picture(path, array, mode=None):
    Image.fromarray(array).convert(mode).save(path) if mode else Image.fromarray(array).save(path)
    return path
