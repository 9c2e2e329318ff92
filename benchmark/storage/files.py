"""Atomic writing of files: a reader, a crash or a full disk never leaves half of one."""

import contextlib
import errno
import json
import os
import secrets
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, BinaryIO

from ..errors import NameRefused, StorageError

Guard = Callable[[], None]
"""Called before a file is begun and before it is renamed; raises if this process has lost its lease."""


def no_guard() -> None:
    """Allow every write."""


@contextlib.contextmanager
def atomic_file(path: Path, guard: Guard = no_guard, durable: bool = True) -> Iterator[BinaryIO]:
    """Open a temporary file that replaces ``path`` when the block ends without an exception.

    The content is on disk (fsync) before the rename, unless ``durable`` is False: then it may be lost if the machine
    fails. On any error the temporary file is removed and an existing ``path`` is left as it was. StorageError: no
    space, no quota, no permission, a read-only folder or a file system that fails.
    """
    # Not by the pid: in containers it is 1, and two hosts repeat each other's.
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}.tmp")
    guard()
    try:
        make_folder(path.parent)
        with temporary.open("xb") as stream:
            yield stream
            stream.flush()
            if durable:
                os.fsync(stream.fileno())
        guard()
        temporary.replace(path)
        if durable:
            sync_folder(path.parent)
    except BaseException as error:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)
        raise storage_error(error, path) from error


@contextlib.contextmanager
def output_file(path: Path) -> Iterator[BinaryIO]:
    """Open a file that a user names for output; see :func:`atomic_file`.

    A link stays and its target is replaced. A pipe or a device (``/dev/stdout``, ``/dev/null``) is written to,
    not replaced by a file.

    Raises:
        StorageError: see :func:`atomic_file`.
    """
    if path.exists() and not path.is_file() and not path.is_dir():
        try:
            with path.open("wb") as stream:
                yield stream
        except OSError as error:
            raise storage_error(error, path) from error
        return
    with atomic_file(Path(os.path.realpath(path))) as stream:
        yield stream


def storage_error(error: BaseException, path: Path) -> BaseException:
    """Return a StorageError with the way out if the disk is the cause, else the error itself."""
    if isinstance(error, StorageError):
        return error
    cause: BaseException | None = error
    while cause is not None and not isinstance(cause, OSError):
        cause = cause.__cause__ or cause.__context__
    # torch reports a short write as a RuntimeError without the errno; the disk itself tells.
    full = isinstance(cause, OSError) and cause.errno in (errno.ENOSPC, errno.EDQUOT)
    if full or (isinstance(error, RuntimeError) and free_bytes(path.parent) < 1 << 20):
        return StorageError(
            f"no space left while writing {path}; the previous version is intact. "
            "Free some space and give the same command again; nothing that was finished is lost"
        )
    if isinstance(cause, OSError) and cause.errno in (errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR):
        return StorageError(f"cannot write {path}: {cause.strerror}. Choose another folder with --results-root")
    if isinstance(cause, OSError) and cause.errno in (errno.EISDIR, errno.EEXIST, errno.ELOOP, errno.ENAMETOOLONG):
        return NameRefused(f"cannot write {path}: {cause.strerror}. Give another name, or move away what is there")
    if isinstance(cause, OSError) and cause.errno in (errno.EIO, errno.ESTALE, errno.EMFILE, errno.ENFILE):
        return StorageError(f"cannot write {path}: {cause.strerror}. Give the same command again when it can be")
    return error


def unreadable(path: Path, error: OSError) -> StorageError:
    """Return the error of a file that may be whole."""
    return StorageError(
        f"cannot read {path}: {error.strerror or error}. It stays as it is: give the same command again once it "
        "can be read"
    )


def make_folder(path: Path) -> None:
    """Make a folder and those above it; StorageError where a link leads nowhere, or nothing can be made there."""
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        for place in (path, *path.parents):
            if place.is_symlink() and not place.exists():
                raise StorageError(
                    f"cannot write {path}: {place} is a link to {place.readlink()}, which is not there: mount it, or "
                    "name another folder"
                ) from error
        if isinstance(error, FileNotFoundError):
            raise StorageError(f"cannot make {path}: {error.strerror}. Name another folder") from error
        raise


def free_bytes(folder: Path) -> int:
    """Return the bytes an unprivileged process may still write to a folder's file system; 0 if it is gone."""
    try:
        status = os.statvfs(folder)
    except OSError:
        return 0
    return status.f_bavail * status.f_frsize


def sync_folder(folder: Path) -> None:
    """Make renames in a folder durable, where the file system can."""
    with contextlib.suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def write_text(path: Path, text: str, guard: Guard = no_guard, durable: bool = True) -> None:
    """Write a text file atomically; see :func:`atomic_file`."""
    with atomic_file(path, guard, durable) as stream:
        stream.write(text.encode())


def write_output(path: Path, text: str) -> None:
    """Write a text file that a user names; see :func:`output_file`."""
    with output_file(path) as stream:
        stream.write(text.encode())


def write_json(path: Path, data: Any, guard: Guard = no_guard) -> None:
    """Write data as indented JSON atomically."""
    write_text(path, json.dumps(data, indent=2, sort_keys=True) + "\n", guard)


def read_json(path: str | Path) -> Any:
    """Return a JSON file's content."""
    # Not by way of Path: a reader of thousands of runs joins and opens as many texts in half the time.
    with open(path, "rb", buffering=0) as stream:  # noqa: PTH123
        return json.loads(stream.read())


def read_object(path: str | Path, lenient: bool = False) -> dict[str, Any]:
    """Return the object in a JSON file, or raise OSError or ValueError; lenient: then an empty one."""
    try:
        value = read_json(path)
        if not isinstance(value, dict):
            raise ValueError(f"expected a JSON object, found {type(value).__name__}")
    except (OSError, ValueError):
        if lenient:
            return {}
        raise
    return value
