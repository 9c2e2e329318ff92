"""A first task file from the files of a data set: what they tell, and questions where they do not."""

import json
import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np

from ssdg.datasets.base import DataError
from ssdg.datasets.pairing import Pairs, pair_files

from ..environment import cores
from .stored import stored_label, stored_samples

T = TypeVar("T")

SAMPLED = 50
"""Files of a kind that are decoded, evenly spread over all."""

MOST_VALUES = {2: 64, 3: 255}
"""Distinct values of a label; with more, or with ``SOFT_VALUES`` up to 255, it is grey: an average, or a JPEG."""

SOFT_VALUES = 5

LONGEST = {2: 512, 3: 144}
"""Voxels of the proposed grid's longest side."""

AIR, CT_WINDOW = -500, (-160, 240)
"""Hounsfield units: below the first lies air, the second shows soft tissue."""

NEGATIVE = 0.01
"""Share of a volume's absolute sum below which negative values are what resampling leaves."""

DEPTHS = (8, 10, 12, 14, 16, 24, 32)


@dataclass(frozen=True, slots=True)
class ImageFacts:
    """Facts read from one image file."""

    box: tuple[int, ...]  # pixels; of a volume the voxels that are no background
    spacing: tuple[float, ...]
    channels: int  # 1 where all channels are equal
    low: float
    high: float
    negative: float  # share of negative values in the absolute sum
    bits: int  # of its type if it is an integer, else 0
    dark_corners: bool


@dataclass(frozen=True, slots=True)
class LabelFacts:
    """Voxels of each value of one label file, and the value most frequent on the border of its slices."""

    counts: Counter[float]
    border: float


@dataclass(frozen=True, slots=True)
class Draft:
    """Facts read from a domain's sampled files."""

    pairs: Pairs
    cases: tuple[str, ...]  # stems of all images
    images: list[ImageFacts]
    labels: list[list[LabelFacts]]  # of each pattern

    @property
    def ndim(self) -> int:
        """Dimensions of the files."""
        return 3 if self.pairs.volumes else 2


def draft_domain(patterns: Mapping[str, str], root: Path) -> Draft:
    """Pair the files of a domain and look into a sample of them.

    Raises:
        DataError: files that do not pair, or that cannot be used.
    """
    pairs = pair_files(patterns, root)
    files = {key: pairs.files(key, root) for key in patterns}
    labels = [_each(_label_facts, files[key]) for key in patterns if key.startswith("labels")]
    return Draft(pairs, tuple(path.name for path in files["images"]), _each(_image_facts, files["images"]), labels)


def draft_task(name: str, drafts: Mapping[str, Draft], command: str) -> str:
    """Return the text of a task file whose first domain is the source; a single domain is its own target.

    Raises:
        DataError: pictures and volumes together, or labels without or with too many values.
    """
    first, *others = drafts.values()
    if any(other.ndim != first.ndim for other in others):
        raise DataError("some domains are of pictures and some of volumes: one task takes one kind")
    tables = [_labels(draft) for draft in drafts.values()]
    classes = max(count for count, _ in tables)
    channels = max(facts.channels for draft in drafts.values() for facts in draft.images)
    named = json.dumps(["background", *(f"class-{index}" for index in range(1, classes))])
    lines = [
        f"# Drafted by `{command}` from at most {SAMPLED} files of a kind. Answer what is marked # ?, then look at",
        "# the pictures of `bench data verify`, which reads every file.",
        f"name = {json.dumps(name)}",
        f"ndim = {first.ndim}",
        f"channels = {channels}",
        f"classes = {named}  # ? names of the classes, in the order of the label's values below",
        _shape(first),
    ]
    for index, (domain, (_, labels)) in enumerate(zip(drafts, tables, strict=True)):
        role = "domain" if not others else "target" if index else "source"
        lines += ["", f"[{role}.{domain}]", *_paths(drafts[domain]), *labels, *_intensity(drafts[domain])]
        lines += _questions(drafts[domain])
        if role == "target":
            lines.append(f"# ? do these values stand for the same classes as those of {name}?")
    if not others:
        lines += [
            "",
            f"# [domain.{name}] trains, and its held-out cases are scored. To measure generalisation, make it",
            f"# [source.{name}] and describe other data in a [target.NAME] (`bench data new --target` does both).",
        ]
    return "\n".join(lines) + "\n"


def _each(look: Callable[[Path], T], paths: Sequence[Path]) -> list[T]:
    step = max(1.0, len(paths) / SAMPLED)
    sampled = [paths[int(index * step)] for index in range(min(SAMPLED, len(paths)))]
    with ThreadPoolExecutor(min(4, cores())) as pool:
        return list(pool.map(look, sampled))


def _image_facts(path: Path) -> ImageFacts:
    samples, spacing = stored_samples(path)
    if samples.dtype.kind not in "biuf" or not np.isfinite(samples).all():
        raise DataError(f"{path} holds NaN, infinite values or no plain numbers: repair or replace the file")
    low, high = float(samples.min()), float(samples.max())
    channels = 1 if (samples == samples[..., :1]).all() else samples.shape[-1]
    size = samples.shape[:-1]
    if len(size) == 3:
        base = AIR if low < AIR else max(low, 0)
        inside = np.asarray((samples > base + 1e-3 * (high - base)).any(axis=3))
        sides = [np.flatnonzero(inside.any(axis=axes)) for axes in ((1, 2), (0, 2), (0, 1))]
        size = tuple(int(side[-1] - side[0]) + 1 if len(side) else 1 for side in sides)
    below = -float(samples[samples < 0].sum(dtype=np.float64))
    negative = below / max(float(samples.sum(dtype=np.float64)) + 2 * below, 1e-9)
    corners = samples[:: samples.shape[0] - 1 or 1, :: samples.shape[1] - 1 or 1]
    dark = len(size) == 2 and float(np.median(corners)) < low + 0.05 * (high - low)
    bits = 8 * samples.dtype.itemsize if samples.dtype.kind in "iu" else 0
    return ImageFacts(size, spacing, channels, low, high, negative, bits, dark)


def _label_facts(path: Path) -> LabelFacts:
    label = stored_label(path)
    if label.dtype.kind == "f" and np.abs(label - np.rint(label)).max() <= 1e-3:
        label = np.rint(label)
    values, counts = np.unique(label, return_counts=True)
    border = np.concatenate([label[[0, -1]].ravel(), label[:, [0, -1]].ravel()])
    edge, frequency = np.unique(border, return_counts=True)
    by_value = dict(zip(values.tolist(), counts.tolist(), strict=True))
    return LabelFacts(Counter(by_value), float(edge[frequency.argmax()]))


def _labels(draft: Draft) -> tuple[int, list[str]]:
    """Return the number of classes and the lines of the keys labels and label_map."""
    patterns = [text for key, text in draft.pairs.patterns.items() if key.startswith("labels")]
    layers = []
    for index, (text, facts) in enumerate(zip(patterns, draft.labels, strict=True), 1):
        counts = sum((each.counts for each in facts), Counter())
        values = sorted(counts)
        whole = all(value == int(value) for value in values)
        if len(values) == 1:
            raise DataError(f"labels = {text!r}: every one of {len(facts)} files is {values[0]:g} throughout")
        grey = len(values) > MOST_VALUES[draft.ndim] or not whole
        soft = grey or (len(values) >= SOFT_VALUES and (values[0], values[-1]) == (0, 255))
        if grey and draft.ndim == 3:
            raise DataError(
                f"labels = {text!r}: {len(values)} values from {values[0]:g} to {values[-1]:g} are no classes"
            )
        shares = ", ".join(f"{value:g}: {counts[value] / counts.total():.2%}" for value in values[:8])
        note = f"{len(facts)} files hold {shares}{', …' if values[8:] else ''}"
        if len(patterns) == 1 and not soft:
            return _mapped(text, facts, [int(value) for value in values], note)
        rule = f"at_least = {int(values[-1] + 1) // 2}" if soft else f"values = {[int(v) for v in values if v]}"
        ask = "# ? grey levels: averaged experts, or a JPEG; from which value on is it the class? " if soft else "# "
        layers += [f"    {ask}{note}", f'    {{ path = {json.dumps(text)}, class = "class-{index}", {rule} }},']
    return len(patterns) + 1, ["labels = [  # the last lies on top", *layers, "]"]


def _mapped(text: str, facts: Sequence[LabelFacts], values: list[int], note: str) -> tuple[int, list[str]]:
    border = int(Counter(each.border for each in facts).most_common(1)[0][0])
    same = values == [0, 1, 255] and not any({1, 255} <= set(each.counts) for each in facts)
    others = [value for value in values if value != border]
    classes = {border: 0} | {value: 1 if same else index for index, value in enumerate(others, 1)}
    mapping = ", ".join(f"{value} = {classes[value]}" for value in values)
    questions = [f"# {note}"]
    if border:
        questions.append(f"# ? {border} is the most frequent value on the border and taken for background: is it?")
    if same:
        questions.append("# ? no file holds both 1 and 255, so they are taken for one class: are they?")
    elif 255 in others and len(others) > 1:
        questions.append("# ? is 255 a class? What was not annotated has no class here")
    return max(classes.values()) + 1, [
        f"labels = {json.dumps(text)}",
        f"label_map = {{ {mapping} }}  # value on disk = class",
        *questions,
    ]


def _shape(draft: Draft) -> str:
    """Return the grid about the median image: of one aspect ratio in mm, multiples of 8, at most ``LONGEST``."""
    extents = np.array([facts.box for facts in draft.images]) * [facts.spacing for facts in draft.images]
    median = np.median(extents, axis=0)
    finest = np.median([min(facts.spacing) for facts in draft.images])
    pitch = max(finest, median.max() / LONGEST[draft.ndim])
    shape = [max(16, 8 * round(side / pitch / 8)) for side in median]
    text = " x ".join(f"{side:g}" for side in np.median([facts.box for facts in draft.images], axis=0))
    what = "image" if draft.ndim == 2 else "box of voxels that are no background"
    return f"shape = {shape}  # of the network; the median {what} is {text}"


def _paths(draft: Draft) -> list[str]:
    lines = [f"images = {json.dumps(draft.pairs.patterns['images'])}"]
    if "foregrounds" in draft.pairs.patterns:
        lines.append(f"foregrounds = {json.dumps(draft.pairs.patterns['foregrounds'])}")
    return lines if draft.pairs.id == "{case}" else [*lines, f"id = {json.dumps(draft.pairs.id)}"]


def _intensity(draft: Draft) -> list[str]:
    images = draft.images
    low, high = min(facts.low for facts in images), max(facts.high for facts in images)
    span = f"values on disk: {low:g} to {high:g}"
    if draft.ndim == 3 and low < AIR and all(facts.bits or facts.low == int(facts.low) for facts in images):
        return [f"intensity = {{ window = {list(CT_WINDOW)} }}  # ? Hounsfield units, soft tissue; {span}"]
    odd = max(facts.negative for facts in images) > NEGATIVE or (
        draft.ndim == 2 and (low < 0 or (high > 1 and not all(facts.bits for facts in images)))
    )
    if odd:
        return [f"intensity = {{ percentiles = [0.5, 99.5] }}  # ? what becomes black and white; {span}"]
    used = [int(facts.high).bit_length() for facts in images if facts.bits > 8]
    if draft.ndim == 2 and used and min(used) < 15:
        bits = next((depth for depth in DEPTHS if depth >= max(used)), DEPTHS[-1])
        return [f"intensity = {{ bits = {bits} }}  # ? the camera's depth; {span}"]
    return []


def _questions(draft: Draft) -> list[str]:
    """Return the open questions about the files, as comments."""
    images, patterns = draft.images, draft.pairs.patterns
    guess = "CT" if min(facts.low for facts in images) < AIR else "MRI"
    if draft.ndim == 2:
        guess = "colour photography" if max(facts.channels for facts in images) == 3 else "grey pictures"
    lines = [f'# modality = "{guess}"  # ?']
    if draft.ndim == 2 and "foregrounds" not in patterns and np.mean([facts.dark_corners for facts in images]) > 0.5:
        lines.append("# foregrounds = { threshold = 0.1 }  # ? dark corners: a round field of view?")
    spacing = np.median([facts.spacing for facts in images], axis=0)
    if spacing.max() > 3 * spacing.min():
        lines.append(
            f"# ? slices lie {spacing.max() / spacing.min():.0f} times further apart than pixels: 2D may do better "
            f"(ndim = 2, two sides of shape, and here slices = {{ axis = {int(spacing.argmax())} }})"
        )
    if "{group}" in patterns["images"]:
        lines.append("# ? {group} is taken for the patient: no split separates the cases of a group")
        return lines
    if re.search(r"(?<!\*)\*/", patterns["images"]):
        lines.append("# ? * stands for folders: if they are patients write {group}, if sites or kinds {stratum}")
    heads = [re.match(r".*?\d+(?=[A-Za-z]\b|[_-].*\d)", case) for case in draft.cases]
    repeated = Counter(head[0] for head in heads if head).most_common(1)
    if repeated and repeated[0][1] > 1:
        lines.append(
            f"# ? {repeated[0][1]} cases begin with {repeated[0][0]}: if that is a patient, write a restricted "
            '{group:[0-9][0-9]} or the like for it, {case} for the rest in every pattern, and id = "{group}{case}"'
        )
    return lines
