"""``network.weights``: the encoder starts from a file of weights instead of random ones."""

from collections.abc import Iterator, Mapping
from pathlib import Path

from torch import Tensor

from ssdg.methods.networks.base import SegmentationNetwork

from ..errors import UsageError
from .checkpoint import DamagedFile, read_saved

WRAPPERS = ("weights", "state_dict", "model")
"""Keys under which files keep their state dict; the first is that of this benchmark's final weights."""

PREFIXES = ("module.", "network.", "encoder.")
"""Prefixes of layers' names, in any order: of parallel training, a method, a network."""

COUNTER = "num_batches_tracked"
"""Counter of batch normalisations; plays no part where their momentum is fixed, and old files lack it."""


def check_weights(network: SegmentationNetwork, path: str) -> None:
    """Raise UsageError unless a file has the weights of the network's encoder; it may have others."""
    _fitting(network, path)


def load_weights(network: SegmentationNetwork, path: str) -> None:
    """Set the encoder's weights to those of a file.

    Raises:
        UsageError: not a state dict, or its layers are not those of the encoder; names them.
    """
    network.load_state_dict(_fitting(network, path), strict=False)


def _fitting(network: SegmentationNetwork, path: str) -> dict[str, Tensor]:
    """Return name in the network -> weights of the file."""
    offered = {_bare(name): value for name, value in _read(path).items()}
    encoder = {n: value for n, value in network.state_dict().items() if n.split(".")[0] in network.encoder_parts}
    names = {}
    for name in encoder:
        own, published = _bare(name), network.published_name(_bare(name))
        names[name] = own if own in offered else published
    problems = list(_problems(names, encoder, offered))
    if problems:
        shown = "; ".join(problems[:5]) + ("; …" if len(problems) > 5 else "")
        count = f"{len(problems)} layer{'' if len(problems) == 1 else 's'}"
        raise UsageError(
            f"network.weights={path} does not fit the encoder of {type(network).__name__} ({count}): {shown}. "
            "network.name, network.init_filters and the task's channels must be those of the file"
        )
    return {name: offered[source] for name, source in names.items() if source in offered}


def _problems(
    names: Mapping[str, str], encoder: Mapping[str, Tensor], offered: Mapping[str, Tensor]
) -> Iterator[str]:
    for name, source in names.items():
        if source in offered and offered[source].shape != encoder[name].shape:
            yield f"{source} is {tuple(offered[source].shape)}, not {tuple(encoder[name].shape)}"
        elif source not in offered and not source.endswith(COUNTER):
            yield f"{source} is missing"
    tops, used = {source.split(".")[0] for source in names.values()}, set(names.values())
    for source in offered:
        if source.split(".")[0] in tops and source not in used and not source.endswith(COUNTER):
            yield f"{source} is not in the encoder"


def _bare(name: str) -> str:
    while prefix := next((prefix for prefix in PREFIXES if name.startswith(prefix)), ""):
        name = name.removeprefix(prefix)
    return name


def _read(path: str) -> dict[str, Tensor]:
    try:
        content = read_saved(Path(path))
    except OSError as error:
        raise UsageError(f"network.weights={path} cannot be read: {error.strerror}") from None
    except DamagedFile as error:
        raise UsageError(f"network.weights={path} is no file of weights that torch.save wrote: {error}") from None
    content = next((content[k] for k in WRAPPERS if isinstance(content, dict) and k in content), content)
    if not isinstance(content, dict) or not any(isinstance(value, Tensor) for value in content.values()):
        raise UsageError(f"network.weights={path} has no state dict: name -> tensor, or one under {WRAPPERS}")
    return {str(name): value for name, value in content.items() if isinstance(value, Tensor)}
