"""Pictures and volumes written by hand, and the readers called with a file alone."""

import nibabel as nib
import numpy as np
from PIL import Image

from ssdg.benchmark.data import images, labels
from ssdg.benchmark.spec import PreprocessConfig
from ssdg.datasets.base import Case, Domain, Task

AFFINE = np.array([[0.8, 0.1, 0, -5], [-0.1, 0.8, 0, 3], [0, 0, 1.2, 7], [0, 0, 0, 1.0]])


def save_volume(path, array, affine=AFFINE, **header):
    nib.save(nib.Nifti1Image(array, affine), path)
    if header:  # afterwards: nibabel repairs what it saves
        with path.open("r+b") as stream:
            fields = nib.Nifti1Header.from_fileobj(stream, check=False)
            for name, value in header.items():
                fields[name] = value
            stream.seek(0)
            fields.write_to(stream)
    return path


def save_picture(path, array, mode=None):
    Image.fromarray(array).convert(mode).save(path) if mode else Image.fromarray(array).save(path)
    return path


def task(ndim, channels=1):
    return Task("toy", ndim, channels, ("background", "a", "b"), (16,) * ndim, {}, {})


def domain(label_map=None, **options):
    return Domain("toy", "test", (), label_map or {0: 0}, "nowhere", "none", **options)


def read_image(path, ndim, channels, **options):
    return images.read_image(Case("a", path), domain(**options), task(ndim, channels))


def read_label(path, label_map, image, **options):
    return labels.read_label(Case("a", path, path), domain(label_map, **options), image, PreprocessConfig())


def read_mask(path, image, **options):
    return labels.read_mask(Case("a", path, None, path), domain(**options), image)


def write_prediction(array, like, path, **options):
    images.write_prediction(array, Case("a", like), domain(**options), path)


def read_prediction(path, **options):
    return images.read_prediction(path, domain(**options)).array[0]
