# SPDX-License-Identifier: Apache-2.0
"""Many runs of `hysgd train` in virtual time, by several processes, with results that outlive a kill. Sibling
scripts import it; it is no program itself. The standard library is all it needs.

    import sweep

    runs = [sweep.Run(f"async, seed {seed}", data="mnist:$HYSGD_DATASETS/mnist", policy="async", deadline="100",
                      eval_every="seconds=2", seed=seed) for seed in range(1, 6)]
    arguments = sweep.parser(__doc__, results="build/paper/results.jsonl").parse_args()
    found = sweep.sweep(runs, arguments)
    for run in runs:
        record = found[run.key]
        record["result"]["target_seconds"], record["reason"], sweep.column(record, "test_accuracy")

A virtual run is a function of its options, so they are its key: runs of the same options are one run, whatever they
are called. Every finished run is one line of the results file, written and synced at once: {"key", "name",
"program", "reason", "result", "columns", "rows"}, where "result" is what `--json` prints and "rows" is what `--csv`
writes. A run that diverged or missed its target is finished, and says so by "reason" or a target_seconds of null;
any other failure ends the sweep. A killed sweep is continued by starting it again: a half line is dropped, and what
is there is skipped. The place of the data is no part of the key: write $HYSGD_DATASETS.

Results of another build of the command are refused, unless --fresh runs them again or --keep takes them as they
are; --verify runs some of them again and compares every number."""
import argparse
import concurrent.futures
import csv
import fcntl
import hashlib
import json
import os
import shlex
import signal
import subprocess
import sys
import tempfile
import threading
import time

FOLDER = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(FOLDER)
PROGRAM = os.path.join(os.environ.get("HYSGD_BUILD", os.path.join(ROOT, "build", "release")), "hysgd")
DATASETS = os.environ.get("HYSGD_DATASETS", os.path.join(ROOT, "..", "shared", "datasets"))
PLACE = "$HYSGD_DATASETS"
FINISHED = {0, 4}  # exit codes of hysgd: done, target not reached
DIVERGED = 1  # with the reason "diverged" in the result


class Run:
    """One run: a name for people, and options of `hysgd train` as keywords, eval_every="..." for --eval-every."""

    def __init__(self, name, **options):
        self.name = name
        self.options = {key.replace("_", "-"): str(value) for key, value in options.items()}
        self.key = " ".join(f"--{key} {shlex.quote(self.options[key])}" for key in sorted(self.options))

    def words(self):
        return [word for key, value in sorted(self.options.items())
                for word in ("--" + key, value.replace(PLACE, DATASETS))]


class Failed(Exception):
    """A run that ended without a result: what it said."""


def identify(program):
    """The build that results come from: the version, and the beginning of a hash of the program's bytes."""
    try:
        with open(program, "rb") as stream:
            digest = hashlib.sha256(stream.read()).hexdigest()
        version = subprocess.run([program, "--version"], capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError) as error:
        sys.exit(f"{program}: {error}: run make")
    return f"{version} {digest[:12]}"


def number(cell):
    return float(cell) if cell else None


def column(record, name):
    """One column of a record's rows; None where the run has no value."""
    at = record["columns"].index(name)
    return [row[at] for row in record["rows"]]


class File:
    """The results: a dictionary of records by key, and a file to which one line is appended for each. Held by one
    sweep at a time."""

    def __init__(self, path):
        os.makedirs(os.path.dirname(os.path.abspath(path)), exist_ok=True)
        self.path = path
        self.records = {}
        self.stream = open(path, "a+b")
        try:
            fcntl.flock(self.stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            self.stream.close()
            sys.exit(f"{path}: another sweep is writing to it")
        try:
            self._read()
        except BaseException:
            self.stream.close()
            raise

    def _read(self):
        self.stream.seek(0)
        whole = 0
        for number_of_line, line in enumerate(self.stream, 1):
            if not line.endswith(b"\n"):
                print(f"{self.path}:{number_of_line}: a half line is dropped", file=sys.stderr)
                break
            try:
                record = json.loads(line)
                self.records[record["key"]] = record
            except (ValueError, KeyError, TypeError):
                sys.exit(f"{self.path}:{number_of_line}: no result of a run: remove the line, or the file")
            whole += len(line)
        self.stream.truncate(whole)

    def add(self, record):
        self.stream.write(json.dumps(record, separators=(",", ":")).encode() + b"\n")
        self.stream.flush()
        os.fsync(self.stream.fileno())
        self.records[record["key"]] = record

    def close(self):
        self.stream.close()


class Sweep:
    """The processes of one sweep."""

    def __init__(self, program, folder, has_rows):
        self.program = program
        self.has_rows = has_rows
        self.build = identify(program)
        self.folder = folder
        self.lock = threading.Lock()
        self.processes = set()
        self.is_stopped = False

    def stop(self):
        with self.lock:
            self.is_stopped = True
            for process in self.processes:
                process.kill()

    def _start(self, command):
        with self.lock:
            if self.is_stopped:
                raise Failed("stopped")
            process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                                       stdin=subprocess.DEVNULL, env={**os.environ, "OMP_NUM_THREADS": "1"})
            self.processes.add(process)
            return process

    def run(self, run):
        """The record of a finished run."""
        with tempfile.NamedTemporaryFile("r", dir=self.folder, suffix=".csv", newline="") as rows:
            process = self._start([self.program, "train", "--runtime", "virtual", "--quiet", "--json",
                                   *(["--csv", rows.name] if self.has_rows else []), *run.words()])
            output, said = process.communicate()
            with self.lock:
                self.processes.discard(process)
            result = json.loads(output) if output else {}
            if process.returncode not in FINISHED and not (
                    process.returncode == DIVERGED and result.get("reason") == "diverged"):
                raise Failed(said.strip() or f"ended with status {process.returncode}")
            with open(rows.name, newline="", encoding="ascii") as stream:
                columns, *lines = csv.reader(stream) if self.has_rows else [[]]
        return {"key": run.key, "name": run.name, "program": self.build, "reason": result["reason"],
                "result": result, "columns": columns, "rows": [[number(cell) for cell in line] for line in lines]}


def parser(text, results):
    """The options that all sweeps share, to which a script may add its own. results: the file by default."""
    options = argparse.ArgumentParser(description=text, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("-j", "--jobs", type=int, default=1, metavar="N", help="runs at a time [1]")
    options.add_argument("--results", default=os.path.join(ROOT, results), metavar="FILE",
                         help=f"results of finished runs, as JSON lines [{results}]")
    options.add_argument("--program", default=PROGRAM, metavar="FILE", help="the command [build/release/hysgd]")
    other = options.add_mutually_exclusive_group()
    other.add_argument("--fresh", action="store_true", help="run again what another build of the command has run")
    other.add_argument("--keep", action="store_true", help="take results of another build as they are")
    options.add_argument("--verify", type=int, default=0, metavar="N",
                         help="run N of the results that are there again, and end if one differs [0]")
    return options


def _verify(runs, file, processes, count):
    """Compares `count` of the results, evenly spaced, with what this build makes of the same options."""
    present = [run for run in runs if run.key in file.records]
    for run in present[::max(1, len(present) // max(1, count))][:count]:
        there, again = file.records[run.key], processes.run(run)
        known = there["result"].keys() & again["result"].keys()  # a later build may tell more
        if any(there["result"][word] != again["result"][word] for word in known) or any(
                there[part] != again[part] for part in ("reason", "columns", "rows")):
            raise Failed(f"{run.name}: {processes.build} gives another result than {there['program']} did")
        print(f"{run.name}: the same as {there['program']} gave", file=sys.stderr, flush=True)


def _missing(unique, file, build, arguments):
    """The runs that are to be done, in order."""
    stale = [run for run in unique if run.key in file.records and file.records[run.key]["program"] != build]
    if stale and not arguments.fresh and not arguments.keep:
        other = file.records[stale[0].key]["program"]
        sys.exit(f"{arguments.results}: {len(stale)} results are of another build ({other}, not {build}): "
                 "--fresh runs them again, --keep takes them as they are")
    again = {run.key for run in stale} if arguments.fresh else set()
    return [run for run in unique if run.key in again or run.key not in file.records]


def _duration(seconds):
    return f"{seconds:.0f} s" if seconds < 100 else f"{seconds / 60:.0f} min"


def _finished(waiting):
    """Futures as they are done. Wakes every second, as a signal on the brink of a wait does not end it."""
    while waiting:
        done, waiting = concurrent.futures.wait(waiting, timeout=1, return_when=concurrent.futures.FIRST_COMPLETED)
        yield from done


def _do(missing, file, processes, jobs):
    start = time.monotonic()
    with concurrent.futures.ThreadPoolExecutor(jobs) as pool:
        try:
            waiting = {pool.submit(processes.run, run) for run in missing}
            for done, future in enumerate(_finished(waiting), 1):
                record = future.result()
                file.add(record)
                took = time.monotonic() - start
                left = took / done * (len(missing) - done)
                print(f"[{done}/{len(missing)}] {record['name']}: {record['reason']} at "
                      f"{record['result']['seconds']:g} s; {_duration(took)}, {_duration(left)} to go",
                      file=sys.stderr, flush=True)
        except BaseException:
            processes.stop()
            pool.shutdown(cancel_futures=True)
            raise


def _interrupted(_signal, _frame):
    raise KeyboardInterrupt


def sweep(runs, arguments, has_rows=True):
    """Does the runs that the results file lacks and returns its records by key. Ends the program when a run fails,
    and with 130 when it is interrupted. has_rows: whether the rows of evaluations are kept, or the result only."""
    if arguments.jobs < 1:
        sys.exit(f"--jobs {arguments.jobs}: expected 1 or more")
    signal.signal(signal.SIGTERM, _interrupted)
    file = File(arguments.results)
    failed = None
    try:
        with tempfile.TemporaryDirectory(prefix="hysgd-sweep-") as folder:
            processes = Sweep(arguments.program, folder, has_rows)
            unique = list({run.key: run for run in runs}.values())
            missing = _missing(unique, file, processes.build, arguments)
            _verify(unique, file, processes, arguments.verify)
            _do(missing, file, processes, arguments.jobs)
    except Failed as error:
        failed = str(error)
    except KeyboardInterrupt:
        print("interrupted; the same command goes on from here", file=sys.stderr)
        sys.exit(130)
    finally:
        file.close()
    if failed is not None:
        sys.exit(failed)
    return file.records
