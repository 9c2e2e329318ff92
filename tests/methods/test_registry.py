"""Finding methods: the built-in table, installed packages, plugin files."""

import pickle
import subprocess
import sys
from importlib.metadata import EntryPoint

import pytest

import ssdg.methods as methods
from ssdg.methods import METHODS, NEEDS, MethodError, load_method, register_plugin, registry
from ssdg.methods.base import Method
from ssdg.methods.erm import Erm

PLUGIN = """
from dataclasses import dataclass, field
from ssdg.methods.base import Method

@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    strength: float = field(default=1.0, metadata={"source": "choice"})

class Brighter(Method):
    Config = Settings

class Second(Method):
    id = "my-second"
    label = "Second (ours)"
    setting = "uda"
    ndims = frozenset({2})
    needs = frozenset({"partner", "labels"})
"""


@pytest.fixture
def plugin(tmp_path, monkeypatch):
    """A plugin file; what it registers is forgotten afterwards."""
    monkeypatch.setattr(methods, "_plugins", {})
    path = tmp_path / "my_plugin.py"
    path.write_text(PLUGIN)
    yield path
    for name in [name for name in sys.modules if name.startswith("ssdg_plugin_")]:
        del sys.modules[name]


@pytest.fixture
def installed(monkeypatch):
    """Call it with entry points: they count as declared by installed packages, and there are no plugins."""
    monkeypatch.setattr(methods, "_plugins", {})

    def declare(**points):
        found = [EntryPoint(name, value, "ssdg.methods") for name, value in points.items()]
        monkeypatch.setattr(methods, "entry_points", lambda group: found if group == "ssdg.methods" else [])
        methods._installed.cache_clear()

    yield declare
    methods._installed.cache_clear()


def run_python(code, *arguments):
    command = [sys.executable, "-c", code, *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()


def test_listing_imports_neither_torch_nor_monai_nor_numpy():
    code = (
        "import sys, ssdg.methods as m; print(*m.registry());"
        "print('loaded:', *{'torch', 'monai', 'numpy'} & set(sys.modules))"
    )
    *names, marker = run_python(code)
    assert marker == "loaded:"
    assert set(METHODS) <= set(names)


@pytest.mark.parametrize("name", METHODS)
def test_the_table_agrees_with_the_classes(name):
    entry, cls = METHODS[name], load_method(name)
    assert cls.__module__ == entry.module
    assert cls.__name__ == entry.cls
    assert cls.access == entry.access
    assert tuple(sorted(cls.ndims)) == entry.ndims
    assert cls.version == entry.version
    assert cls.needs == set(entry.needs)


def test_who_needs_what():
    needs = {need: {name for name, entry in METHODS.items() if need in entry.needs} for need in NEEDS}
    assert needs["partner"] >= {"cutmix", "dsu", "feddg", "mixstyle"}
    assert not needs["partner"] & {"dsa", "erm", "trid"}
    assert needs["test image"] == set()
    assert needs["grey images"] == {"synthseg"}
    assert METHODS["synthseg"].works_on(2, photographs=False)
    assert not METHODS["synthseg"].works_on(2, photographs=True)
    assert not METHODS["feddg"].works_on(3, photographs=False)


def test_labels_are_the_papers():
    expected = {"erm": "w/o SSDG", "randconv": "RandConv", "ras4dg": "RAS4DG"}
    assert {name: METHODS[name].label for name in expected} == expected


def test_a_class_can_be_named_by_its_module():
    assert load_method("ssdg.methods.erm:Erm") is Erm is load_method("erm")


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("ras4gd", "did you mean 'ras4dg'"),
        ("nothing-like-it", "known are .*erm.*module:Class"),
        ("no.such.module:Class", "cannot import 'no.such.module': ModuleNotFoundError"),
        ("ssdg.methods.erm:Missing", "has no class 'Missing'"),
        ("ssdg.methods.base:Batch", "derives from ssdg.methods.base.Method"),
        ("/no/such/plugin.py:Class", "no plugin file"),
    ],
)
def test_what_cannot_be_loaded_is_an_error_that_says_why(name, message):
    with pytest.raises(MethodError, match=message):
        load_method(name)


def test_plugin_classes_are_registered_under_id_or_class_name(plugin):
    assert register_plugin(plugin) == ["brighter", "my-second"]
    entries = registry()
    assert entries["brighter"].label == "Brighter"
    assert entries["brighter"].access == "ssdg"
    assert entries["my-second"].label == "Second (ours)"
    assert entries["my-second"].access == "uda"
    assert entries["my-second"].ndims == (2,)
    assert entries["my-second"].capabilities == ("target images", "labels in augmentation", "a batch partner")
    assert entries["brighter"].capabilities == ()
    assert issubclass(load_method("brighter"), Method)
    assert "method" not in entries  # imported into the file, not written there


def test_registering_a_plugin_twice_is_harmless(plugin):
    register_plugin(plugin)
    first = load_method("brighter")
    assert register_plugin(plugin) == ["brighter", "my-second"]
    assert load_method("brighter") is first


def test_plugin_classes_survive_pickling(plugin):
    register_plugin(plugin)
    cls = load_method("brighter")
    assert pickle.loads(pickle.dumps(cls)) is cls
    assert pickle.loads(pickle.dumps(cls.Config(strength=2.0))) == cls.Config(strength=2.0)


def test_another_process_loads_a_plugin_by_its_path(plugin):
    register_plugin(plugin)
    entry, cls = registry()["my-second"], load_method("my-second")
    code = "import sys; from ssdg.methods import load_method; c = load_method(sys.argv[1]); print(c.__module__, c.id)"
    assert run_python(code, f"{entry.module}:{entry.cls}") == [cls.__module__, "my-second"]


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("x = 1", "defines no method"),
        ("1 / 0", "fails: ZeroDivisionError"),
        ("from ssdg.methods.erm import Erm", "defines no method"),
        ("from ssdg.methods.base import Method\nclass Erm(Method): pass", "'erm' is taken"),
        ("import sys\nsys.exit(3)", "SystemExit: 3; put what it does as a script under if __name__"),
        (PLUGIN.replace('setting = "uda"', 'access = "target"'), r'class Second: access is "ssdg" or "uda"'),
        (f"{PLUGIN}\n    ndims = 2", "class Second: ndims is .*not 2"),
        (f"{PLUGIN}\n    needs = {{'gold'}}", "class Second: needs is a frozenset of 'labels', .*not {'gold'}"),
        (f"{PLUGIN}\n    version = '2'", "class Second: version is a whole number"),
        (PLUGIN.replace("= field(default=1.0, ", "= field("), "class Brighter: Config needs a default for strength"),
        (PLUGIN.replace("@dataclass(frozen=True, slots=True, kw_only=True)", ""), "Config is a class decorated with"),
    ],
)
def test_bad_plugins_are_errors_that_name_the_file(plugin, source, message):
    plugin.write_text(source)
    with pytest.raises(MethodError, match=message) as caught:
        register_plugin(plugin)
    assert str(plugin) in str(caught.value)
    assert set(registry()) == set(METHODS)


def test_a_plugin_with_another_suffix_is_refused(plugin):
    with pytest.raises(MethodError, match=r"my_plugin\.txt is no Python file: .*ends in \.py"):
        register_plugin(plugin.rename(plugin.with_suffix(".txt")))


@pytest.mark.parametrize("name", ["exits", "bare"])
def test_a_module_of_such_a_kind_is_refused_too(tmp_path, monkeypatch, name):
    bare = PLUGIN.replace("= field(default=1.0, ", "= field(")
    (tmp_path / f"own_{name}.py").write_text({"exits": "raise SystemExit", "bare": bare}[name])
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(MethodError, match=f"own_{name}"):
        load_method(f"own_{name}:Brighter")


def test_a_plugin_that_failed_can_be_mended_and_registered(plugin):
    plugin.write_text("1 / 0")
    with pytest.raises(MethodError):
        register_plugin(plugin)
    plugin.write_text(PLUGIN)
    assert register_plugin(plugin) == ["brighter", "my-second"]


def test_installed_packages_add_methods_and_cannot_replace_any(installed):
    installed(theirs="ssdg.methods.template:Template", ras4dg="ssdg.methods.erm:Erm")
    assert registry()["theirs"].cls == "Template"
    assert load_method("theirs").__name__ == "Template"
    assert registry()["ras4dg"] == METHODS["ras4dg"]


def test_a_broken_package_spoils_nothing_but_itself(installed):
    installed(broken="no_such_package.module:Broken")
    assert set(registry()) == set(METHODS)
    with pytest.raises(MethodError, match=r"installed method 'broken' cannot be loaded: .*no_such_package"):
        load_method("broken")
