"""Everything that defines a run, as plain frozen data, and the digests that identify it.

A :class:`RunSpec` holds what can change trained weights; an :class:`EvaluationSpec` adds what can change stored
predictions.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from ssdg.methods import require

from .digests import JSON, canonical_json, digest, digest_of_text, identified, to_json

SCHEMA = 1
"""Layout of specs, rows and run folders; part of every identity."""

PIPELINE_VERSION = 1
"""Of preprocessing, shared augmentation, networks and the loop, in a run's identity: raise it when their mathematics
changes, and finished runs are not reused."""


def _later(default: Any) -> Any:
    """Return a field that earlier versions did not have: at its default it is no part of any identity."""
    return field(default=default, metadata={"later": True})


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingConfig:
    """The shared loop (``--set training.*``)."""

    epochs: int = 300
    batch_size: int = 2  # images
    window: tuple[int, ...] | None = _later(None)  # what the network sees of an image; None: all of it
    windows_per_image: int = _later(1)
    labelled_windows: float | None = _later(None)  # share centred on a labelled voxel; None: 1/3 if a class is small
    scaling: tuple[float, ...] | None = _later(None)  # range of the geometric augmentation; None: its own
    augmentation: Literal["none", "geometric", "nnunet", "nnunet-da5"] = "geometric"
    selection: Literal["last", "source-val", "oracle"] = "last"  # oracle: on the target's labels; has its own flag
    patience: int = 20  # epochs without improvement before source-val selection stops the run
    earliest_stop: float = _later(0.0)  # share of the epochs before which it does not
    min_delta: float = 1e-4  # improvement of the selecting DSC (0..1) that counts
    validation_interval: int = 10  # epochs between validations
    precision: Literal["auto", "fp32", "bf16"] = "auto"  # auto: bf16 autocast on CUDA, fp32 on CPU

    def __post_init__(self) -> None:
        for name in ("epochs", "batch_size", "validation_interval", "patience", "windows_per_image"):
            require(getattr(self, name) >= 1, f"training.{name} must be at least 1")
        _check_sides("training.window", self.window)
        for name in ("windows_per_image", "labelled_windows"):
            default = getattr(self, name) in (None, 1)
            require(self.window is not None or default, f"training.{name} goes with training.window")
        require(0 <= (self.labelled_windows or 0) <= 1, "training.labelled_windows must lie between 0 and 1")
        if self.scaling is not None:
            require(self.augmentation != "none", "training.scaling goes with an augmentation")
            ordered = len(self.scaling) == 2 and 0.1 <= self.scaling[0] <= self.scaling[1] <= 10
            require(ordered, "training.scaling: two factors, smaller first, from 0.1 to 10")
        require(0 <= self.earliest_stop <= 1, "training.earliest_stop must lie between 0 and 1")
        require(self.min_delta >= 0, "training.min_delta must not be negative")


@dataclass(frozen=True, slots=True, kw_only=True)
class OptimizerConfig:
    """Adam with a polynomial schedule per step (``--set optimizer.*``)."""

    lr: float = field(default=1e-4, metadata={"range": (1e-4, 1e-2)})  # range: of `bench tune`
    poly_power: float = 0.9
    weight_decay: float = 0.0
    clip: float | None = None  # largest gradient norm; None: no clipping

    def __post_init__(self) -> None:
        require(self.lr > 0, "optimizer.lr must be positive")
        require(self.poly_power >= 0, "optimizer.poly_power must not be negative")
        require(self.weight_decay >= 0, "optimizer.weight_decay must not be negative")
        require(self.clip is None or self.clip > 0, "optimizer.clip must be positive, or none")


@dataclass(frozen=True, slots=True, kw_only=True)
class NetworkConfig:
    """The shared network (``--set network.*``)."""

    name: str = _later("segresnet")  # of `bench list networks`
    init_filters: int = 32
    weights: str | None = _later(None)  # file of a state dict that the encoder starts from

    def __post_init__(self) -> None:
        whole = self.init_filters >= 8 and self.init_filters % 8 == 0
        require(whole, "network.init_filters must be a positive multiple of 8 (the size of a normalisation group)")


@dataclass(frozen=True, slots=True, kw_only=True)
class PreprocessConfig:
    """From native images to the network's grid (``--set preprocess.*``)."""

    shape: tuple[int, ...] | None = None  # None: the task's grid; sides are multiples of 8
    # mm between voxels (2D: pixels): a picture or the foreground's box as large as it is, whatever ``grid`` says
    spacing: tuple[float, ...] | None = _later(None)
    scale: Literal["native", "fov"] = _later("native")  # 2D; fov: pixels per degree of the camera's field of view
    grid: Literal["stretch", "isotropic"] = "isotropic"  # 2D: stretch or pad to square; 3D: box stretched or a cube
    brain_mask: Literal["label", "nonzero"] = "nonzero"  # 3D images with tissue around the brain; "label": an oracle
    normalisation: Literal["foreground", "grid"] = "foreground"
    corpus_callosum: Literal["wm", "gm"] = "wm"  # class of the atlases' label 8

    def __post_init__(self) -> None:
        _check_sides("preprocess.shape", self.shape)
        require(all(step > 0 for step in self.spacing or ()), "preprocess.spacing must be positive")
        require(None in (self.shape, self.spacing), "preprocess.shape and preprocess.spacing: leave one of them out")


def _check_sides(name: str, sides: tuple[int, ...] | None) -> None:
    for side in sides or ():
        require(side >= 16 and side % 8 == 0, f"{name}: sides are multiples of 8, at least 16, not {side}")


@dataclass(frozen=True, slots=True, kw_only=True)
class EvaluationConfig:
    """Scoring (``--set evaluation.*``); only ``overlap`` and ``resample`` change what is stored."""

    overlap: float = _later(0.5)  # of neighbouring windows, share of their sides; with training.window
    resample: Literal["nearest", "probabilities"] = "probabilities"  # how predictions return to the native grid
    region: Literal["foreground", "image"] = "foreground"  # 2D: field of view or whole image; 3D: always whole
    average: Literal["cases", "strata"] = "cases"  # headline: mean of cases, or unweighted mean of strata
    empty: Literal["skip", "one", "zero-fp"] = "zero-fp"  # class absent from the label; see metrics.dice

    def __post_init__(self) -> None:
        require(0 <= self.overlap < 1, "evaluation.overlap must be at least 0 and less than 1")

    def region_in(self, ndim: int) -> Literal["foreground", "image"]:
        """Return the region that is scored in a task of so many dimensions: volumes are always scored whole."""
        return self.region if ndim == 2 else "image"


SECTIONS: dict[str, type[Any]] = {
    "training": TrainingConfig,
    "optimizer": OptimizerConfig,
    "network": NetworkConfig,
    "preprocess": PreprocessConfig,
    "evaluation": EvaluationConfig,
}

PROTOCOLS: dict[str, dict[str, JSON]] = {
    "clean": {},  # the sections' defaults
    "paper": {
        "training.augmentation": "none",
        "training.selection": "source-val",
        "training.patience": 100,  # 20 ended slow methods on their plateau, at the weights of epoch 1
        "training.earliest_stop": 0.5,
        "training.validation_interval": 1,
        "preprocess.grid": "stretch",
        "preprocess.brain_mask": "label",
        "preprocess.normalisation": "grid",
        "preprocess.corpus_callosum": "gm",
        "evaluation.resample": "nearest",
        "evaluation.region": "image",
        "evaluation.average": "strata",
    },
}
"""Named presets of the sections; ``paper`` is as published or as the parent code does, ``clean`` is for claims."""


@dataclass(frozen=True, slots=True)
class Fold:
    """Fold ``index`` of ``count`` of an intra-domain run: it trains on the other folds and is scored on this one."""

    index: int
    count: int

    def __post_init__(self) -> None:
        require(0 <= self.index < self.count and self.count >= 2, f"no fold {self.index} of {self.count}")


@dataclass(frozen=True, slots=True, kw_only=True)
class RunRequest:
    """A run as asked for, before any data is seen: what suites list and tables look up."""

    task: str
    source: str
    method: str
    method_settings: Mapping[str, JSON] = field(default_factory=dict)  # as given; the rest are the method's defaults
    seed: int = 0
    protocol: str = "clean"  # name of the preset, for people; identity takes the resolved sections
    training: TrainingConfig = field(default_factory=TrainingConfig)
    optimizer: OptimizerConfig = field(default_factory=OptimizerConfig)
    network: NetworkConfig = field(default_factory=NetworkConfig)
    preprocess: PreprocessConfig = field(default_factory=PreprocessConfig)
    evaluation: EvaluationConfig = field(default_factory=EvaluationConfig)
    target: str | None = None  # only for methods that train on unlabelled target images, and oracle selection
    fold: Fold | None = None  # only for intra-domain runs, whose source is the target

    def __post_init__(self) -> None:
        fits = self.training.window is not None or self.preprocess.spacing is None
        require(fits, "preprocess.spacing goes with training.window")
        if self.training.selection == "oracle":
            require(self.target is not None, "oracle selection needs the target that selects")
            require(self.fold is None, "oracle selection is not for intra-domain runs, which train inside the target")

    @property
    def overlap(self) -> float | None:
        """Overlap of the windows that images are predicted in; None: whole images."""
        return None if self.training.window is None else self.evaluation.overlap


@dataclass(frozen=True, slots=True, kw_only=True)
class RunSpec:
    """A request with everything resolved that can change the trained weights."""

    request: RunRequest
    method_version: int
    method_config: Mapping[str, JSON]  # every field of the method's Config
    method_changed: tuple[str, ...]  # the fields that differ from the method's defaults
    source_manifest: str  # digest of the source domain's files
    split: str  # digest of the training and held-out case ids
    target_manifest: str | None = None
    task_definition: str = ""  # digest of the task's dimensions, channels, classes and grid: a file may change them
    network_weights: str = ""  # digest of the content of ``network.weights``
    degrees: tuple[float, ...] = ()  # angles of the source's and the target's cameras, under ``preprocess.scale=fov``
    pipeline: int = 1  # :data:`PIPELINE_VERSION` when it was resolved

    @property
    def version(self) -> tuple[int, int, int]:
        """What tells its numbers from those of other versions of the code: of pipeline, method, method before it."""
        before = self.method_config.get("before.version")
        return self.pipeline, self.method_version, before if isinstance(before, int) else 0

    @classmethod
    def of_record(
        cls, request: RunRequest, config: Mapping[str, JSON], task_definition: str, version: int = 1
    ) -> "RunSpec":
        """Return the spec of a run that was not trained here: of its data no more than the task is known."""
        return cls(
            request=request,
            method_version=version,
            method_config=config,
            method_changed=tuple(request.method_settings),
            source_manifest="",
            split="",
            task_definition=task_definition,
        )

    def is_of(self, task_definition: str) -> bool:
        """Return whether a task of that digest is the one trained on; results before version 0.2 do not say."""
        return not (self.task_definition and task_definition) or self.task_definition == task_definition

    @property
    def train_id(self) -> str:
        """Identity of the trained weights: equal ids, equal weights (up to the device's rounding)."""
        return digest(self._identity())

    def train_id_of_seed(self) -> Callable[[int], str]:
        """Return the ``train_id`` as a function of the seed, for many runs that differ in nothing else."""
        # Spliced into the text instead of digested anew: `bench status` of 5,000 runs takes 1.9 s of CPU, not 2.7 s.
        identity = self._identity()
        before = canonical_json({name: value for name, value in identity.items() if name < "seed"})
        after = canonical_json({name: value for name, value in identity.items() if name > "seed"})
        return lambda seed: digest_of_text(f'{before[:-1]},"seed":{seed},{after[1:]}')

    def _identity(self) -> dict[str, JSON]:
        request = identified(self.request)
        for name in ("protocol", "evaluation", "method_settings"):
            del request[name]
        request["network"].pop("weights", None)  # a path; what it held counts
        resolved = {name: to_json(getattr(self, name)) for name in IDENTIFYING}
        for name, before in {"network_weights": "", "degrees": [], "pipeline": 1}.items():
            if resolved[name] == before:  # as in every run of before it was recorded
                del resolved[name]
        return {"schema": SCHEMA, **request, **resolved}


IDENTIFYING = (
    "method_version",
    "method_config",
    "source_manifest",
    "split",
    "target_manifest",
    "task_definition",
    "network_weights",
    "degrees",
    "pipeline",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class EvaluationSpec:
    """What, besides the weights, can change an evaluation's stored predictions and counts."""

    train_id: str
    domain: str  # name of the domain scored, or "held-out" for the source's held-out cases
    manifest: str  # digest of that domain's files
    cases: str  # digest of the ids scored
    selection: str
    preprocess: PreprocessConfig
    resample: str
    overlap: float | None = _later(None)  # of the windows that images are predicted in; None: whole images
    degrees: float | None = _later(None)  # angle of the domain's camera, where ``preprocess.scale=fov``
    regions: str = _later("")  # see :func:`~ssdg.benchmark.task_digests.regions_digest`

    @property
    def eval_id(self) -> str:
        """Identity of the stored predictions."""
        return digest({"schema": SCHEMA, **identified(self)})
