"""A real Slurm cluster of one node, from Debian's packages, for tests: everything it writes is in one folder."""

import contextlib
import fcntl
import os
import secrets
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path
from typing import IO, Self

from ..processes import KILLED_WITH_US, MARK
from ..waiting import STILL, TICKS, wait_for

DAEMONS = ("slurmd", "slurmctld", "munged")
HELPERS = ("slurmstepd: ", "slurmctld: ")

CONFIGURATION = (Path(__file__).parent / "slurm.conf").read_text()
"""With names in braces, for ``str.format``."""

SOCKET_PATH_LIMIT = 100
"""The kernel's is 107 bytes; munged adds a suffix for its lock."""


class Cluster:
    """A controller, a node daemon and a munge daemon of our own, on free ports.

    Start it again in the same folder after anything, ``kill -9`` included: what an earlier one left is ended first.
    Two processes cannot use one folder at the same time: the second is told so.
    """

    cpus = 8
    max_array_size = 6
    """As in ``slurm.conf``: one more than the largest index of an array."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder.resolve()
        self.configuration = self.folder / "slurm.conf"
        self._lock: IO[str] | None = None
        self._daemons: dict[str, subprocess.Popen[bytes]] = {}
        # A daemon that a test starts again must not end with that test.
        self._mark = os.environ.get(MARK, "")

    @staticmethod
    def missing() -> str | None:
        """Say why no cluster can run here, if so."""
        if os.geteuid() != 0:
            return "a Slurm cluster for tests must be started by root"
        absent = [name for name in (*DAEMONS, "sbatch", "srun") if _executable(name) is None]
        return f"not installed: {', '.join(absent)} (apt-get install slurm-wlm munge)" if absent else None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def environment(self) -> dict[str, str]:
        """Return what a client has to have in its environment; munge's socket is named in the file."""
        return {"SLURM_CONF": str(self.configuration)}

    def start(self) -> None:
        """Start the daemons, and return when the node is idle."""
        self._take_folder()
        try:
            self._end()
            self._write()
            files = ("socket", "key-file", "pid-file", "seed-file", "log-file")
            places = [f"--{option}={self.folder}/munge.{option.removesuffix('-file')}" for option in files]
            self._spawn("munged", "--foreground", "--force", *places)
            self._wait("munge's socket", (self.folder / "munge.socket").is_socket)
            self._spawn("slurmctld", "-D", "-f", str(self.configuration))
            self._spawn("slurmd", "-D", "-f", str(self.configuration))
            self._wait("an idle node", self._is_idle)
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """Cancel all jobs, then end the daemons and whatever jobs left behind."""
        if "slurmctld" in self._daemons and self._daemons["slurmctld"].poll() is None:
            with contextlib.suppress(RuntimeError, AssertionError):
                self.cancel_all()
        try:
            self._end()
            for daemon in self._daemons.values():
                daemon.wait()
            self._daemons.clear()
        finally:
            if self._lock is not None:
                self._lock.close()

    def run(self, *command: str, cwd: Path | None = None) -> str:
        """Run a client's command and return its output; RuntimeError shows that of a failed one."""
        done = subprocess.run(
            command,
            cwd=cwd,
            env={**os.environ, **self.environment()},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
        )
        if done.returncode:
            raise RuntimeError(f"{' '.join(command)}: exit {done.returncode}\n{done.stdout}{done.stderr}")
        return done.stdout

    def submit(self, script: str, *options: str) -> str:
        """Submit lines of shell with options of sbatch, and return the job's number."""
        output = f"--output={self.folder}/job-%j.out"
        return self.run("sbatch", "--parsable", output, *options, f"--wrap={script}").strip()

    def queue(self) -> dict[str, str]:
        """Return the state of each job that is not over, by its number; ``12_3`` for an element of an array."""
        lines = self.run("squeue", "--array", "--noheader", "--format=%i|%T").splitlines()
        return dict(line.split("|", 1) for line in lines)

    def wait_for(self, what: str, condition: Callable[[], object]) -> None:
        """Return when the condition holds, as long as the queue or the jobs move; AssertionError shows the queue."""
        try:
            wait_for(condition, what, progress=self._moved)
        except AssertionError as error:
            raise AssertionError(f"{error}; the queue: {self.queue()}") from None

    def wait_until_empty(self) -> None:
        """Return when no job is pending, running or ending."""
        self.wait_for("empty queue", lambda: not self.queue())

    def ended(self) -> list[float]:
        """Return the seconds that each allocation of a sweep held, oldest first; a requeued one counts each time."""
        seconds = []
        log = self.folder / "ended.log"
        for line in log.read_text().splitlines() if log.exists() else ():
            said = dict(part.partition("=")[::2] for part in line.split() if "=" in part)
            if said["Name"].startswith("bench-") and "Unknown" not in (said["StartTime"], said["EndTime"]):
                began, end = (datetime.fromisoformat(said[name]) for name in ("StartTime", "EndTime"))
                seconds.append((end - began).total_seconds())
        return seconds

    @contextlib.contextmanager
    def without_node(self) -> Iterator[None]:
        """End the node as a power cut would, nothing on it gets to say anything; start it again at the end."""
        for process in (self._daemons["slurmd"].pid, *list(self._processes(jobs_only=True))):
            with contextlib.suppress(ProcessLookupError):
                os.kill(process, signal.SIGKILL)
        self._daemons["slurmd"].wait()
        self.run("scontrol", "update", f"NodeName={_host()}", "State=DOWN", "Reason=lost")
        try:
            yield
        finally:
            self._spawn("slurmd", "-D", "-f", str(self.configuration))
            self.run("scontrol", "update", f"NodeName={_host()}", "State=RESUME")
            self._wait("node that is up", lambda: self._node() in ("idle", "mixed", "allocated"))

    def cancel_all(self) -> None:
        """Cancel every job and wait until none is left."""
        self.run("scancel", "--user=root")
        self.wait_until_empty()

    def _take_folder(self) -> None:
        """Hold the folder until this process ends, however it ends."""
        if len(str(self.folder / "munge.socket")) > SOCKET_PATH_LIMIT:
            raise RuntimeError(f"{self.folder}: too long a path for a socket")
        self.folder.mkdir(parents=True, exist_ok=True)
        if any(self.folder.iterdir()) and not (self.folder / "lock").exists():
            raise RuntimeError(f"{self.folder}: not a folder of a test cluster, and starting one would empty it")
        lock = (self.folder / "lock").open("w")
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            lock.close()
            raise RuntimeError(f"{self.folder}: another process runs a cluster here") from error
        self._lock = lock

    def _write(self) -> None:
        """Empty the folder and write the configuration and munge's key."""
        for path in self.folder.iterdir():
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            elif path.name != "lock":
                path.unlink()
        for name in ("state", "spool"):
            (self.folder / name).mkdir()
        key = self.folder / "munge.key"
        key.touch(mode=0o600)
        key.write_bytes(secrets.token_bytes(128))
        controller_port, node_port = _free_ports(2)
        text = CONFIGURATION.format(
            folder=self.folder,
            host=_host(),
            controller_port=controller_port,
            node_port=node_port,
            cpus=self.cpus,
            memory=os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 2**20,
            max_array_size=self.max_array_size,
        )
        self.configuration.write_text(text)

    def _spawn(self, name: str, *arguments: str) -> None:
        """Start a daemon in the foreground of a session of its own: Ctrl-C in a terminal must not reach it."""
        with (self.folder / f"{name}.err").open("wb") as log:
            self._daemons[name] = subprocess.Popen(
                [*KILLED_WITH_US, str(_executable(name)), *arguments],
                cwd=self.folder,
                env={**os.environ, MARK: self._mark},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def _moved(self) -> tuple[dict[str, str], int]:
        """Return the queue and the seconds that its jobs have computed: what changes while the cluster gets on."""
        ticks = 0
        for process in self._processes(jobs_only=True):
            with contextlib.suppress(OSError):  # it ended meanwhile
                fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
                ticks += sum(map(int, fields[11:15]))
        return self.queue(), ticks // TICKS

    def _wait(self, what: str, condition: Callable[[], bool]) -> None:
        """Return when the condition holds; RuntimeError shows the logs, at once if a daemon has died."""
        with contextlib.suppress(AssertionError):
            wait_for(lambda: condition() or any(daemon.poll() is not None for daemon in self._daemons.values()), what)
        if not condition():
            logs = [*sorted(self.folder.glob("*.log")), *sorted(self.folder.glob("*.err"))]
            tails = "".join(f"--- {log.name}\n{_tail(log)}\n" for log in logs)
            raise RuntimeError(f"the test cluster in {self.folder} has no {what}\n{tails}")

    def _is_idle(self) -> bool:
        return self._node() == "idle"

    def _node(self) -> str:
        """Return the state of the node; "" while nobody answers."""
        try:
            return self.run("sinfo", "--noheader", "--partition=low", "--format=%T").strip()
        except RuntimeError:
            return ""

    def _processes(self, jobs_only: bool = False) -> Iterator[int]:
        """Find daemons and processes of jobs of this folder, and nothing else."""
        ours = (f"{self.configuration}", f"--socket={self.folder}/munge.socket")
        for entry in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):  # it ended meanwhile
                arguments = (entry / "cmdline").read_bytes().decode(errors="replace").split("\0")
                variables = (entry / "environ").read_bytes().decode(errors="replace").split("\0")
                is_daemon = Path(arguments[0]).name in DAEMONS and any(mine in arguments for mine in ours)
                # Helpers of the daemons replace their command line and environment, and keep the working folder.
                is_helper = arguments[0].startswith(HELPERS) and (entry / "cwd").readlink() == self.folder
                is_job = f"SLURM_CONF={self.configuration}" in variables and any(
                    variable.startswith("SLURM_JOB_ID=") for variable in variables
                )
                is_step = is_helper and arguments[0].startswith("slurmstepd: ")
                if is_job or is_step or (not jobs_only and (is_daemon or is_helper)):
                    yield int(entry.name)

    def _end(self) -> None:
        """End what is left of this folder's cluster; a job may ignore a polite signal for as long as it likes."""
        asked = time.monotonic()
        while left := list(self._processes()):
            for process in left:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(process, signal.SIGTERM if time.monotonic() - asked < 10 else signal.SIGKILL)
            if time.monotonic() - asked > STILL:
                raise RuntimeError(f"processes of {self.folder} cannot be killed: {left}")
            time.sleep(0.2)


def until_exists(path: Path) -> str:
    """Return the line of a job's shell that waits for a file."""
    return f"until test -e {path}; do sleep 0.2; done"


def _host() -> str:
    return socket.gethostname().split(".")[0]


def _executable(name: str) -> str | None:
    """Find a program; Debian's daemons are where a user's PATH need not look."""
    return shutil.which(name, path=f"{os.environ.get('PATH', os.defpath)}:/usr/sbin:/sbin")


def _free_ports(count: int) -> list[int]:
    """Find ports that nothing uses, all different."""
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(count)]
        return [int(each.getsockname()[1]) for each in sockets]


def _tail(log: Path, lines: int = 15) -> str:
    return "\n".join(log.read_text(errors="replace").splitlines()[-lines:])
