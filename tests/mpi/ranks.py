# SPDX-License-Identifier: Apache-2.0
"""A job of several ranks under mpirun, watched from outside: who its processes are, what they say and when, signals to single ranks, and an
end that always comes. A module for tests and benchmarks:

    with Job(launch(4) + [PROGRAM, "train", "--runtime", "mpi", "--json"]) as job:
        job.signal(2, signal.SIGKILL)
        job.wait(60)            # False: it hangs; whatever is left of it is killed at the end of the block
        job.result()            # what --json printed
"""
import itertools
import json
import os
import shutil
import subprocess
import threading
import time

FOLDER = os.path.dirname(os.path.abspath(__file__))
BUILD = os.environ.get("HYSGD_BUILD", os.path.join(FOLDER, "..", "..", "build", "release"))
PROGRAM = os.environ.get("HYSGD_PROGRAM", os.path.abspath(os.path.join(BUILD, "hysgd")))
MARK = "HYSGD_TEST_JOB"  # an environment variable by which the processes of a job are found, on all of its hosts
JOINED = "OMPI_PARENT_PORT"  # of a process that another one had started
RANK_VARIABLES = ("OMPI_COMM_WORLD_RANK", "PMI_RANK")
AS_ROOT = {"OMPI_ALLOW_RUN_AS_ROOT": "1", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1"}
numbers = itertools.count()


def reason_to_skip():
    """Why no job of several ranks can run, in one line; None where it can."""
    if not shutil.which("mpirun.openmpi"):
        return "mpirun.openmpi is not installed"
    if not os.path.exists(PROGRAM):
        return f"{PROGRAM} is missing: run make"
    alone = subprocess.run([PROGRAM, "train", "--runtime", "mpi", "--data", "none", "--model", "quadratic", "--updates", "1", "-q"],
                           capture_output=True, text=True, env={**os.environ, **AS_ROOT})
    return alone.stderr.strip() if alone.returncode and "without MPI" in alone.stderr else None


def launch(ranks, *options):
    """The words before a program that is to run with so many ranks on this machine, most of them without a core of their own."""
    settings = {"mpi_yield_when_idle": "1", "btl_tcp_if_include": "lo", "oob_tcp_if_include": "lo"}
    words = [word for key, value in settings.items() for word in ("--mca", key, value)]
    return ["mpirun.openmpi", *words, "--oversubscribe", "--bind-to", "none", *options, "-n", str(ranks)]


def read(path):
    try:
        with open(path, "rb") as stream:
            return stream.read()
    except OSError:  # the process has ended
        return b""


class Job:
    """folder: where its processes work; the present one by default."""

    def __init__(self, words, folder=None, environment=None):
        self.mark = f"{os.getpid()}-{next(numbers)}"
        self.output, self.said = [], []  # of (time.monotonic(), line), from standard output and standard error
        self.began = time.monotonic()
        self.process = subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                                        errors="replace", start_new_session=True, cwd=folder,
                                        env={**os.environ, **AS_ROOT, **(environment or {}), "OMP_NUM_THREADS": "1",
                                             MARK: self.mark})
        self.readers = [threading.Thread(target=self._read, args=pair, daemon=True)
                        for pair in ((self.process.stdout, self.output), (self.process.stderr, self.said))]
        for reader in self.readers:
            reader.start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.kill()

    def _read(self, stream, lines):
        with stream:
            for line in stream:
                lines.append((time.monotonic(), line.rstrip("\n")))

    def processes(self):
        """[(process id, rank; None for mpirun and its like)] of all that live."""
        mine = f"{MARK}={self.mark}".encode()
        found = []
        for entry in os.listdir("/proc"):
            if not entry.isdigit():
                continue
            words = read(f"/proc/{entry}/environ").split(b"\0")
            if mine not in words or read(f"/proc/{entry}/stat").rpartition(b") ")[2][:1] in (b"Z", b""):
                continue
            values = dict(word.decode(errors="replace").partition("=")[::2] for word in words)
            rank = next((int(values[name]) for name in RANK_VARIABLES if name in values), None)
            if JOINED in values:  # each is rank 0 of a world of its own
                rank = JOINED
            found.append((int(entry), rank))
        return found

    def newcomers(self):
        """Process ids of those that have joined, or are about to."""
        return [pid for pid, rank in self.processes() if rank == JOINED]

    def ranks(self):
        """Process ids by rank, of the ranks that live."""
        name = os.path.basename(PROGRAM)[:15]
        return {rank: pid for pid, rank in self.processes()
                if isinstance(rank, int) and read(f"/proc/{pid}/comm").decode(errors="replace").strip() == name}

    def wait_for_ranks(self, count, seconds):
        """Process ids by rank, once there are so many; {} if that takes longer."""
        until = time.monotonic() + seconds
        while time.monotonic() < until and self.process.poll() is None:
            found = self.ranks()
            if len(found) >= count:
                return found
            time.sleep(0.02)
        return {}

    def wait_for_line(self, has, seconds):
        """(time, line) of the first on standard error for which `has(line)` is true; None if none comes."""
        until = time.monotonic() + seconds
        while True:
            is_over = self.process.poll() is not None or time.monotonic() >= until
            found = next((pair for pair in list(self.said) if has(pair[1])), None)
            if found or is_over:
                return found
            time.sleep(0.01)

    def signal(self, rank, number):
        """When it was sent; None if there is no such rank any more."""
        pid = self.ranks().get(rank)
        try:
            if pid is not None:
                os.kill(pid, number)
                return time.monotonic()
        except ProcessLookupError:
            pass
        return None

    def wait(self, seconds):
        """True when all processes have ended by then and everything that they said is there."""
        until = time.monotonic() + seconds
        try:
            self.process.wait(max(0, until - time.monotonic()))
        except subprocess.TimeoutExpired:
            return False
        while self.processes():
            if time.monotonic() > until:
                return False
            time.sleep(0.02)
        for reader in self.readers:
            reader.join(max(0.1, until - time.monotonic()))
        return True

    def wait_for_result(self, seconds):
        """True as soon as the result has been printed: mpirun itself may wait longer, for a host that it cannot reach."""
        until = time.monotonic() + seconds
        while self.result() is None and time.monotonic() < until:
            if self.wait(0.05):
                break
        return self.result() is not None

    def kill(self):
        """Ends all that is left, mpirun last, as it would only start to report."""
        for _ in range(100):
            left = self.processes()
            for pid, _rank in left:
                try:
                    os.kill(pid, 9)
                except ProcessLookupError:
                    pass
            if not left:
                break
            time.sleep(0.02)
        self.process.wait()

    def result(self):
        """What --json printed, as a dictionary; None where nothing was, or more than one."""
        found = []
        for _, line in list(self.output):
            try:
                found.append(json.loads(line))
            except ValueError:
                pass
        return found[0] if len(found) == 1 and isinstance(found[0], dict) else None

    def errors(self):
        return "\n".join(line for _, line in self.said)
