"""What a checkpoint that cannot be loaded costs: a damaged one the steps since the one before, any other nothing."""

import errno
import shutil
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from torch import nn

from ssdg.benchmark.errors import StorageError, UsageError
from ssdg.benchmark.training.checkpoint import Checkpoints, clear_checkpoints, load_final
from ssdg.benchmark.training.train import Progress, restore, snapshot

PASSING = {
    "the GPU is full": torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 MiB"),
    "the GPU failed": torch.AcceleratorError("CUDA error: an illegal memory access was encountered"),
    "the memory is full": RuntimeError("[enforce fail at alloc_cpu.cpp:1] DefaultCPUAllocator: not enough memory"),
    "no memory for the file": MemoryError(),
}

OF_THE_DISK = {
    "the server lost the file": OSError(errno.ESTALE, "Stale file handle"),
    "the disk failed": OSError(errno.EIO, "Input/output error"),
    "no permission": PermissionError(errno.EACCES, "Permission denied"),
}


@pytest.fixture
def cut(tmp_path):
    """The checkpoints of a run that stopped after its eighth step."""
    take_step, checkpoints = a_step(), checkpoints_of(tmp_path / "cut")
    for step in (7, 8):
        checkpoints.save(snapshot(take_step, Progress(step, sums={"loss": torch.ones(())})))
    return tmp_path / "cut"


def a_step():
    """What is saved and restored of a training."""
    return SimpleNamespace(method=nn.Linear(64, 64), modules=[], batches=SimpleNamespace(device=torch.device("cpu")))


def checkpoints_of(folder, train_id="x"):
    return Checkpoints(folder, {"train_id": train_id}, warn=lambda text: None)


def begun(folder):
    return restore(checkpoints_of(folder), a_step()).step


def final(folder):
    return load_final(folder, "x")


def content(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def cut_off(whole):
    return whole[: len(whole) // 2]


DAMAGE = [cut_off, lambda _: b"", lambda _: b"half a file", lambda whole: bytes(len(whole))]


@pytest.mark.parametrize("damage", DAMAGE)
def test_damaged_checkpoints_fall_back_to_their_predecessors_and_are_kept(cut, damage):
    damaged = {}
    for name, step in (("last.pt", 7), ("previous.pt", 0)):
        damaged[f"{name}.damaged"] = damage((cut / name).read_bytes())
        (cut / name).write_bytes(damaged[f"{name}.damaged"])
        assert begun(cut) == step
    assert damaged.items() <= content(cut).items()
    clear_checkpoints(cut)
    assert not content(cut)


@pytest.mark.parametrize("error", PASSING.values(), ids=PASSING)
def test_an_error_that_passes_costs_no_checkpoint(cut, error, monkeypatch):
    shutil.copy(cut / "last.pt", cut / "final.pt")
    before = content(cut)
    with monkeypatch.context() as patch:
        patch.setattr(torch, "load", raising(error))
        for load in (begun, final):  # without the advice to remove the run
            with pytest.raises(type(error)):
                load(cut)
    assert content(cut) == before
    assert begun(cut) == 8


@pytest.mark.parametrize("error", OF_THE_DISK.values(), ids=OF_THE_DISK)
def test_a_checkpoint_that_cannot_be_read_is_not_begun_anew(cut, error, monkeypatch):
    before = content(cut)
    with monkeypatch.context() as patch:
        patch.setattr(Path, "read_bytes", raising(error))
        for load in (begun, final):
            with pytest.raises(StorageError, match=rf"cannot read .*\.pt.*: {error.strerror}.*same command again"):
                load(cut)
    assert content(cut) == before


def test_damaged_final_weights_name_the_way_out(tmp_path):
    (tmp_path / "final.pt").touch()
    with pytest.raises(UsageError, match=r"final.pt is damaged \(EOFError: \); remove .* to train again"):
        final(tmp_path)


def test_checkpoints_and_final_weights_of_another_run_are_refused(cut):
    checkpoints_of(cut).finish({"weight": torch.ones(2)})
    assert torch.equal(final(cut)["weight"], torch.ones(2))
    for load in (lambda: checkpoints_of(cut, "y").load(), lambda: load_final(cut, "y")):
        with pytest.raises(
            UsageError, match=r"belongs to another run \(train_id: 'x' there, 'y' here\).* to start over"
        ):
            load()


def test_what_a_killed_writer_left_goes_with_the_checkpoints(cut):
    (cut / ".last.pt.new.0123abcd.tmp").write_bytes(b"half")
    checkpoints_of(cut).finish({})
    clear_checkpoints(cut)
    assert [path.name for path in cut.iterdir()] == ["final.pt"]


def raising(error):
    def load(*_args, **_kwargs):
        raise error

    return load
