"""One writer per run folder, without file locks: works on NFS, between hosts, and after kill -9.

A lease is a file ``lease.<token>.json`` created with O_EXCL; the highest token owns the folder. Its owner raises a
counter in it from a thread. A lease is stale if its owner is gone (its process, or the boot of this machine that it
ran in), or if an observer saw no change of the counter for ``patience`` seconds; clocks are not compared, but for a
file without content. Taking over creates the next token, which only one process can; an owner that was paused sees
the higher token, or its file gone, and must not write (:meth:`Lease.check` before every change).
"""

import contextlib
import json
import os
import socket
import threading
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from ..errors import LeaseHeld, LeaseLost
from .files import make_folder, read_json, storage_error

INTERVAL = 5.0  # seconds between two beats of the counter
PATIENCE = 60.0  # seconds without a beat after which an owner on another host counts as dead
LOOKS = 12  # parts of patience; a stall of the observer lengthens the time between two, and skips none


@dataclass(frozen=True, slots=True)
class Owner:
    """Holder of a lease, as in its file."""

    token: int
    id: str
    place: str
    host: str
    pid: int
    started: str
    counter: int
    empty_for: float = 0.0  # seconds since a file without content was written; 0 of one with content

    @property
    def described(self) -> str:
        """Process and host, for messages."""
        return f"process {self.pid} on {self.host}"


def read_owner(folder: Path) -> Owner | None:
    """Return the owner with the highest token, None if the folder is free."""
    for token in sorted(_tokens(folder), reverse=True):
        try:
            return Owner(token=token, **read_json(_file(folder, token)))
        except FileNotFoundError:
            continue
        except (ValueError, TypeError):
            # Created and not yet written, or written by a host that crashed: it never beats.
            with contextlib.suppress(FileNotFoundError):
                age = time.time() - _file(folder, token).stat().st_mtime
                return Owner(token, "", "", host="an unknown host", pid=0, started="", counter=-1, empty_for=age)
    return None


def is_gone(owner: Owner) -> bool:
    """Tell whether the owner certainly died: its process, or the boot of this machine that it ran in, is gone."""
    if _is_here(owner):
        return started(owner.pid) != owner.started and not _is_hidden(owner.pid)
    (host, boot, _, machine), own = _parts(owner.place), _parts(_place())
    same_machine = host == own[0] and not host.startswith("localhost") and machine in ("", own[3])
    rebooted = same_machine and "" not in (boot, own[1]) and boot != own[1]
    return rebooted or owner.empty_for > PATIENCE


class Lease:
    """Ownership of a folder, which is created, for the length of a ``with`` block.

    ``wait``: seconds for a live owner to finish, before LeaseHeld; ``look`` is called meanwhile, and an exception of
    it ends the wait.
    """

    def __init__(
        self, folder: Path, patience: float = PATIENCE, wait: float = 0.0, look: Callable[[], None] = lambda: None
    ) -> None:
        self.folder, self.patience, self.wait, self.look = folder, patience, wait, look
        self.token = 0
        self._id = uuid.uuid4().hex
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    def __enter__(self) -> "Lease":
        make_folder(self.folder)
        deadline = time.monotonic() + self.wait
        while True:
            owner = read_owner(self.folder)
            if owner is None or self._is_stale(owner):
                if self._create(1 if owner is None else owner.token + 1):
                    break
                continue
            if time.monotonic() >= deadline:
                raise LeaseHeld(f"{self.folder} is being worked on by {owner.described}")
            self.look()
            time.sleep(min(1.0, self.patience / 10))
        for token in _tokens(self.folder):
            if token < self.token:
                _file(self.folder, token).unlink(missing_ok=True)
        self._thread = threading.Thread(target=self._beat, name=f"lease {self.folder.name}", daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        if self._thread is not None:
            self._thread.join()
        with contextlib.suppress(OSError, LeaseLost):
            self.check()
            _file(self.folder, self.token).unlink(missing_ok=True)

    def check(self) -> None:
        """Raise LeaseLost if this process no longer owns the folder."""
        owner = read_owner(self.folder)
        if owner is None or owner.id != self._id:
            by = owner.described if owner else "another process"
            raise LeaseLost(
                f"{self.folder} was taken over by {by} while this process was paused; nothing was written"
            )

    def _create(self, token: int) -> bool:
        try:
            descriptor = os.open(_file(self.folder, token), os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666)
        except FileExistsError:
            return False
        try:
            with os.fdopen(descriptor, "w") as stream:
                stream.write(self._record(0))
        except OSError as error:
            with contextlib.suppress(OSError):
                _file(self.folder, token).unlink()
            raise storage_error(error, _file(self.folder, token)) from error
        self.token = token
        return True

    def _record(self, counter: int) -> str:
        # Two beats differ in digits alone, so that a torn read is a beat too.
        pid, host = os.getpid(), socket.gethostname()
        owner = {"id": self._id, "place": _place(), "host": host, "pid": pid, "started": started(pid)}
        return f'{json.dumps(owner)[:-1]}, "counter": {counter:10d}}}'

    def _beat(self) -> None:
        counter = 0
        while not self._stop.wait(INTERVAL):
            counter += 1
            # A missed beat (a hiccup of the file system) is not fatal; a lost lease is seen by check().
            with contextlib.suppress(Exception):
                self._write_beat(counter)

    def _write_beat(self, counter: int) -> None:
        # In place: a rename by an owner that was paused right before it would bring back a file that its successor
        # has removed, and with that the ownership.
        with _file(self.folder, self.token).open("r+") as stream:
            stream.write(self._record(counter))

    def _is_stale(self, owner: Owner) -> bool:
        if is_gone(owner):
            return True
        if _is_here(owner) and started(owner.pid) == owner.started:
            return False
        for _ in range(LOOKS):
            self.look()
            time.sleep(self.patience / LOOKS)
            now = read_owner(self.folder)
            if now is None or (now.id, now.counter) != (owner.id, owner.counter):
                return False
        return True


def _file(folder: Path, token: int) -> Path:
    return folder / f"lease.{token}.json"


def _tokens(folder: Path) -> list[int]:
    names = [path.name.split(".") for path in folder.glob("lease.*.json")]
    return [int(parts[1]) for parts in names if parts[1].isdigit()]


def _place() -> str:
    """Return the scope of a pid: host, boot and process namespace; and the machine's id, where it has one."""
    parts = [socket.gethostname(), "", "", ""]
    with contextlib.suppress(OSError):
        parts[1] = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        parts[2] = str(Path("/proc/self/ns/pid").readlink())
        parts[3] = Path("/etc/machine-id").read_text().strip()
    return "|".join(parts)


def _parts(place: str) -> list[str]:
    """Return host, boot, process namespace and machine; "" for what an earlier version did not record."""
    return [*place.split("|"), "", "", ""][:4]


def _is_here(owner: Owner) -> bool:
    """Tell whether the owner's pid is one of this process's namespace."""
    return _parts(owner.place)[:3] == _parts(_place())[:3]


def _is_hidden(pid: int) -> bool:
    """Tell whether a process is alive of which /proc shows nothing: another user's, where it is mounted so."""
    try:
        os.kill(pid, 0)
    except PermissionError:
        return not started(pid)
    except OSError:
        pass
    return False


def is_running(pid: int, since: str) -> bool:
    """Tell whether the process of this machine that started at a kernel time still runs; a zombie does not."""
    return since != "" and started(pid) == since


def started(pid: int) -> str:
    """Return the kernel's start time of a process, "" if there is none: a reused pid has another one."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return ""
    return "" if fields[0] in "ZX" else fields[19]
