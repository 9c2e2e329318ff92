"""Registry of methods as plain data: reading it imports neither torch nor any method.

Built-in methods are the table :data:`METHODS`. Installed packages add theirs through the entry-point group
``ssdg.methods`` (``my-method = "my_package.module:MyMethod"``), single files through :func:`register_plugin`.
"""

import dataclasses
import difflib
import hashlib
import importlib
import importlib.util
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from importlib.metadata import entry_points
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

if TYPE_CHECKING:
    from .base import Method

__all__ = ["METHODS", "NEEDS", "MethodEntry", "MethodError", "describe", "import_file", "load_method"]
__all__ += ["register_plugin", "registry", "require"]


class MethodError(Exception):
    """A method does not exist, cannot be loaded or cannot take a batch; the message names the way out."""

    exit_code: ClassVar[int] = 2  # of `bench`: wrong use or bad input


NEEDS = {
    "labels": "labels in augmentation",
    "partner": "a batch partner",
    "test image": "the test image, to adapt to",
    "grey images": "images other than colour photographs",
}
"""Needs of a method beyond one labelled image at a time: entry of ``Method.needs`` -> the words for it."""


@dataclass(frozen=True, slots=True)
class MethodEntry:
    """Location of a method's class, and its entries in tables and lists, without importing it."""

    module: str  # dotted name, or the path of a plugin file ending in ".py"
    cls: str
    label: str  # the name in tables
    access: str  # "ssdg" or "uda"
    ndims: tuple[int, ...]  # (2, 3), or the one it is defined for
    version: int = 1  # of the class; results of older versions are not taken for it
    needs: tuple[str, ...] = ()  # of NEEDS

    @property
    def capabilities(self) -> tuple[str, ...]:
        """Inputs and needs beyond one labelled source image at a time, in words."""
        sees = ("target images",) if self.access == "uda" else ()
        return sees + tuple(words for need, words in NEEDS.items() if need in self.needs)

    def works_on(self, ndim: int, photographs: bool) -> bool:
        """Return whether the method is defined for images of a dimension, colour photographs or not."""
        return ndim in self.ndims and not (photographs and "grey images" in self.needs)


METHODS: dict[str, MethodEntry] = {
    "erm": MethodEntry("ssdg.methods.erm", "Erm", "w/o SSDG", "ssdg", (2, 3)),
    "afa": MethodEntry("ssdg.methods.afa", "AFA", "AFA", "ssdg", (2, 3)),
    "ampmix": MethodEntry("ssdg.methods.ampmix", "AmpMix", "AmpMix", "ssdg", (2, 3), needs=("partner",)),
    "bigaug": MethodEntry("ssdg.methods.bigaug", "BigAug", "BigAug", "ssdg", (2, 3)),
    "csdg": MethodEntry("ssdg.methods.csdg", "CSDG", "CSDG", "ssdg", (2, 3)),
    "cutmix": MethodEntry("ssdg.methods.cutmix", "CutMix", "CutMix", "uda", (2, 3), 2, needs=("partner",)),
    "dsa": MethodEntry("ssdg.methods.dsa", "DSA", "DSA", "uda", (2, 3), 2),
    "dsu": MethodEntry("ssdg.methods.dsu", "DSU", "DSU", "ssdg", (2, 3), needs=("partner",)),
    "feddg": MethodEntry("ssdg.methods.feddg", "FedDG", "FedDG", "ssdg", (2,), needs=("partner",)),
    "freesdg": MethodEntry("ssdg.methods.freesdg", "FreeSDG", "FreeSDG", "ssdg", (2, 3), 2),
    "gin": MethodEntry("ssdg.methods.gin", "GIN", "GIN", "ssdg", (2, 3)),
    "mixstyle": MethodEntry("ssdg.methods.mixstyle", "MixStyle", "MixStyle", "ssdg", (2, 3), needs=("partner",)),
    "prorandconv": MethodEntry("ssdg.methods.prorandconv", "ProRandConv", "Pro-RandConv", "ssdg", (2, 3)),
    "raffesdg": MethodEntry("ssdg.methods.raffesdg", "RaffeSDG", "RaffeSDG", "ssdg", (2, 3)),
    "randconv": MethodEntry("ssdg.methods.randconv", "RandConv", "RandConv", "ssdg", (2, 3)),
    "ras4dg": MethodEntry("ssdg.methods.ras4dg", "RAS4DG", "RAS4DG", "ssdg", (2, 3)),
    "sansaw": MethodEntry("ssdg.methods.sansaw", "SanSaw", "SAN-SAW", "ssdg", (2, 3), 2),
    "slaug": MethodEntry("ssdg.methods.slaug", "SLAug", "SLAug", "ssdg", (2, 3), 3, needs=("labels",)),
    "src": MethodEntry("ssdg.methods.src", "SRC", "SRC", "ssdg", (2, 3), needs=("labels",)),
    "synthseg": MethodEntry(
        "ssdg.methods.synthseg", "SynthSeg", "SynthSeg", "ssdg", (2, 3), needs=("grey images", "labels")
    ),
    "trid": MethodEntry("ssdg.methods.trid", "TriD", "TriD", "ssdg", (2, 3)),
}

_plugins: dict[str, MethodEntry] = {}

_imported: dict[Path, str] = {}
"""Plugin -> digest of what was imported of it."""


def require(condition: bool, message: str, error: type[Exception] = ValueError) -> None:
    """Raise ``error(message)`` unless the condition holds."""
    if not condition:
        raise error(message)


def unknown(kind: str, name: str, valid: Iterable[str]) -> MethodError:
    """Return the error for a name that does not exist, offering the nearest one and listing all."""
    names = sorted(valid)
    near = difflib.get_close_matches(name, names, n=1, cutoff=0.5)
    hint = f"did you mean {near[0]!r}? " if near else ""
    return MethodError(f"unknown {kind} {name!r}: {hint}known are {', '.join(names)}")


def registry() -> dict[str, MethodEntry]:
    """Return id -> entry of all methods: built-in, installed (entry points), registered plugins.

    Imports torch only if an installed package declares a method. One that cannot be imported is left out here;
    :func:`load_method` says why. Built-in ids cannot be replaced.
    """
    return {**_installed()[0], **_plugins, **METHODS}


def load_method(name: str) -> "type[Method]":
    """Return the class of a method.

    Args:
        name: an id of the registry, "module:Class", or "file.py:Class".

    Raises:
        MethodError: no such id, module, file or class, or the class is not a method.
    """
    module, separator, cls = name.rpartition(":")
    if separator:
        return _load(module, cls)
    entry = METHODS.get(name) or registry().get(name)
    if entry is not None:
        return _load(entry.module, entry.cls)
    if name in _installed()[1]:
        raise MethodError(f"installed method {name!r} cannot be loaded: {_installed()[1][name]}")
    raise MethodError(f"{unknown('method', name, registry())}, or module:Class; one of your own needs --plugin FILE")


def plugin_digest(name: str, imported: bool = False) -> str:
    """Return a digest of the file that a method is in; "" of one of a package, which its ``version`` speaks for.

    ``imported``: of the file as this process imported it, instead of as it is now.
    """
    entry = _plugins.get(name)
    path = Path(name.rpartition(":")[0] if entry is None else entry.module)
    if imported:
        return _imported.get(path.resolve(), "")
    return _digest(path) if path.suffix == ".py" and path.is_file() else ""


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()[:12]


def register_plugin(path: Path, optional: bool = False) -> list[str]:
    """Register the methods of a Python file and return their ids; ``optional``: it may define none.

    Every subclass of ``Method`` written in the file counts, under its ``id`` attribute if it has one, else its class
    name in lower case; ``label`` likewise, else the class name. Entries hold the absolute path, so that a worker
    process loads them again with ``load_method`` on "path:Class", or by registering the same file.

    Raises:
        MethodError: the file is missing or fails, defines no method, or an id is taken.
    """
    module = import_file(path)
    base = importlib.import_module(f"{__name__}.base").Method
    classes = [item for item in vars(module).values() if isinstance(item, type) and issubclass(item, base)]
    defined = [cls for cls in classes if cls.__module__ == module.__name__]
    if not defined and not optional:
        raise MethodError(f"plugin {path} defines no method: a class derived from ssdg.methods.base.Method")
    entries = {}
    for cls in defined:
        _require_usable(cls, f"plugin {path}")
        name = str(vars(cls).get("id", cls.__name__.lower()))
        entry = describe(cls, str(path.resolve()))
        taken = registry().get(name)
        if name in entries or (taken is not None and taken != entry):
            raise MethodError(f"plugin {path}: the id {name!r} is taken; give class {cls.__name__} another `id`")
        entries[name] = entry
    _plugins.update(entries)
    return list(entries)


def describe(cls: "type[Method]", module: str) -> MethodEntry:
    """Return the entry of a method's class, found in a module or file."""
    label = str(vars(cls).get("label", cls.__name__))
    ndims, needs = tuple(sorted(cls.ndims)), tuple(sorted(cls.needs))
    return MethodEntry(module, cls.__name__, label, cls.access, ndims, cls.version, needs)


def _require_usable(cls: "type[Method]", where: str) -> None:
    """Raise MethodError for a class attribute that the benchmark cannot read."""
    where = f"{where}, class {cls.__name__}"
    if not (isinstance(cls.Config, type) and dataclasses.is_dataclass(cls.Config)):
        raise MethodError(f"{where}: Config is a class decorated with @dataclass(frozen=True), not {cls.Config!r}")
    missing = dataclasses.MISSING
    bare = [f.name for f in dataclasses.fields(cls.Config) if f.default is missing is f.default_factory and f.init]
    if bare:
        raise MethodError(f"{where}: Config needs a default for {', '.join(bare)}: runs without --set use it")
    if cls.access not in ("ssdg", "uda"):
        raise MethodError(f'{where}: access is "ssdg" or "uda", not {cls.access!r}')
    if not isinstance(cls.ndims, (set, frozenset, tuple, list)) or not cls.ndims or not set(cls.ndims) <= {2, 3}:
        raise MethodError(f"{where}: ndims is frozenset({{2, 3}}) or one of the two, not {cls.ndims!r}")
    if not isinstance(cls.needs, (set, frozenset, tuple, list)) or not set(cls.needs) <= set(NEEDS):
        raise MethodError(f"{where}: needs is a frozenset of {', '.join(map(repr, NEEDS))}, not {cls.needs!r}")
    if type(cls.version) is not int:
        raise MethodError(f"{where}: version is a whole number, not {cls.version!r}")


@cache
def _installed() -> tuple[Mapping[str, MethodEntry], Mapping[str, str]]:
    """Return the entries of installed packages, and name -> error of those that cannot be loaded."""
    entries, failures = {}, {}
    for point in entry_points(group="ssdg.methods"):
        try:
            entries[point.name] = describe(_load(point.module, point.attr), point.module)
        except MethodError as error:
            failures[point.name] = str(error)
    return entries, failures


def _load(module: str, cls: str) -> "type[Method]":
    try:
        loaded = import_file(Path(module)) if module.endswith(".py") else importlib.import_module(module)
    except MethodError:
        raise
    except (Exception, SystemExit) as error:  # a third party's module may fail in any way
        raise MethodError(f"cannot import {module!r}: {type(error).__name__}: {error}") from error
    item = getattr(loaded, cls, None)
    base = importlib.import_module(f"{__name__}.base").Method
    if not (isinstance(item, type) and issubclass(item, base)):
        what = "has no class" if item is None else "has something else than a method called"
        raise MethodError(f"{module!r} {what} {cls!r}; a method derives from ssdg.methods.base.Method")
    _require_usable(item, module)
    return item


def import_file(path: Path) -> Any:
    """Import a Python file once per path, under a module name that pickles by reference."""
    path = path.resolve()
    name = f"ssdg_plugin_{path.stem}_{hashlib.sha256(str(path).encode()).hexdigest()[:8]}"
    if name in sys.modules:
        return sys.modules[name]
    if not path.is_file():
        raise MethodError(f"no plugin file {path}")
    if path.suffix != ".py":
        raise MethodError(f"plugin {path} is no Python file: rename it so that it ends in .py")
    _imported[path] = _digest(path)
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # before execution: dataclasses look their module up while it runs
    try:
        spec.loader.exec_module(module)
    except (Exception, SystemExit) as error:
        del sys.modules[name]
        exits = '; put what it does as a script under if __name__ == "__main__"' * isinstance(error, SystemExit)
        raise MethodError(f"plugin {path} fails: {type(error).__name__}: {error}{exits}") from error
    return module
