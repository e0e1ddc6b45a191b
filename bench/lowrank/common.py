# SPDX-License-Identifier: Apache-2.0
"""What the comparisons of low-rank factorization share: the data sets as files that both programs read, runs of hysgd and of LIBMF with the
time of each epoch, and a book of what was measured, so that a comparison that was interrupted goes on. No program itself."""
import argparse
import csv
import json
import os
import re
import statistics
import subprocess
import sys
import threading
import time

sys.dont_write_bytecode = True
HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.dirname(HERE))
import rounds  # noqa: E402

HYSGD = rounds.program("hysgd")
ROOM = os.environ.get("HYSGD_LOWRANK_ROOM", os.path.join(rounds.BUILD, "bench", "lowrank"))
REAL = os.path.join(rounds.DATASETS, "ml-1m", "ratings.dat")
SETS = {"ml-1m": "planted:ml-1m,split=fraction:0.2", "ml-10m": "planted:ml-10m,split=fraction:0.2",
        "epinions": "planted:epinions,rank=1,split=fraction:0.2", "real-1m": f"ratings:{REAL},split=fraction:0.1"}


def arguments(text, **more):
    """--libmf, --rounds, --fresh, and what the comparison adds: a default by the name of an option."""
    parser = argparse.ArgumentParser(description=text, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--libmf", default=os.environ.get("HYSGD_LIBMF"), metavar="FILE",
                        help="LIBMF's mf-train, built with -O3 -march=native and USEAVX; or set HYSGD_LIBMF")
    parser.add_argument("--rounds", type=int, default=3, help="measurements of each kind, of which medians are taken")
    parser.add_argument("--fresh", action="store_true", help="forget what was measured before")
    for name, value in more.items():
        parser.add_argument(f"--{name}", default=value, type=type(value))
    return parser.parse_args()


class Folder:
    """A data set written as files: training.txt, test.txt, and few.txt with so few ratings that evaluating takes no time."""

    def __init__(self, name):
        self.path = os.path.join(ROOM, name)
        about = os.path.join(self.path, "about.json")
        if not os.path.exists(about):
            os.makedirs(self.path, exist_ok=True)
            found = subprocess.run([rounds.program("bench/bench_parts"), self.path, SETS[name]], stdout=subprocess.PIPE, text=True,
                                   check=True)
            with open(self.file("test"), encoding="ascii") as lines, open(self.file("few"), "w", encoding="ascii") as few:
                few.writelines(line for _, line in zip(range(100), lines))
            with open(about, "w", encoding="ascii") as file:
                file.write(found.stdout)
        with open(about, encoding="ascii") as file:
            self.about = json.load(file)
        self.count = self.about["training"]

    def file(self, part):
        return os.path.join(self.path, part + ".txt")

    def data(self, test="test"):
        return f"ratings:{self.file('training')},test={self.file(test)},duplicates=keep"


class Book:
    """What was measured, by name, in a file that is written after every measurement."""

    def __init__(self, name, is_fresh):
        os.makedirs(ROOM, exist_ok=True)
        self.path = os.path.join(ROOM, name + ".json")
        self.entries = {}
        if os.path.exists(self.path) and not is_fresh:
            with open(self.path, encoding="ascii") as file:
                self.entries = json.load(file)

    def get(self, key, measure):
        if key not in self.entries:
            self.entries[key] = measure()
            with open(self.path + ".new", "w", encoding="ascii") as file:
                json.dump(self.entries, file)
            os.replace(self.path + ".new", self.path)
        return self.entries[key]


def wait(process):
    """Processor seconds of a process that ends."""
    _, status, used = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    return used.ru_utime + used.ru_stime


class Peak(threading.Thread):
    """The peak memory of a process in bytes: its own high-water mark, looked at until it ends (that of wait4 begins with this program's)."""

    def __init__(self, process):
        super().__init__(daemon=True)
        self.path, self.bytes = f"/proc/{process.pid}/status", 0
        self.start()

    def run(self):
        try:
            while True:
                with open(self.path, encoding="ascii", errors="replace") as lines:
                    mark = next((line for line in lines if line.startswith("VmHWM")), None)
                if mark is None:
                    return
                self.bytes = int(mark.split()[1]) * 1024
                time.sleep(0.002)
        except OSError:
            return


def hysgd(data, model, *options, epochs=None, workers=1, wants_peak=False):
    """A run: its JSON, `wall`, `processor`, `peak` where asked, and `epochs`: seconds at the end of each and the RMSE on the test part."""
    table = os.path.join(ROOM, f"epochs-{os.getpid()}.csv")
    words = [HYSGD, "train", "--data", data, "--model", f"factors,{model}", "--workers", str(workers), "--json", "-q", "--csv", table,
             *options]
    if epochs is not None:
        words += ["--epochs", str(epochs)]
    begun = time.perf_counter()
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as process:
        peak = Peak(process) if wants_peak else None
        text = process.stdout.read()
        processor = wait(process)
    wall = time.perf_counter() - begun
    if not text:
        sys.exit(f"{' '.join(words)}: failed with exit code {process.returncode}")
    with open(table, newline="", encoding="ascii") as file:
        rows = [(float(row["seconds"]), float(row["test_loss"])) for row in csv.DictReader(file) if row["test_loss"]]
    os.remove(table)
    return {**json.loads(text), "wall": wall, "processor": processor, "peak": peak and peak.bytes, "epochs": rows}


def libmf(program, training, epochs, rank, workers=1, bins=None, rate=0.1, l2=0.05, test=None):
    """The same of LIBMF; the clock of `epochs` begins with the process. It says when an epoch is over, so that the times between are
    those of epochs (and, where there is a test file, of its evaluation)."""
    words = [program, "-k", str(rank), "-s", str(workers), "-t", str(epochs), "-r", str(rate), "-l2", str(l2),
             *(["-n", str(bins)] if bins else []), *(["-p", test] if test else []), training, os.path.join(ROOM, "libmf.model")]
    begun = time.perf_counter()
    rows = []
    with subprocess.Popen(words, stdout=subprocess.PIPE) as process:
        for line in process.stdout:
            now = time.perf_counter() - begun
            if re.match(rb" *[0-9]+ ", line):
                rows.append((now, float(line.split()[2]) if test else None))
        processor = wait(process)
    if process.returncode or len(rows) != epochs:
        sys.exit(f"{' '.join(words)}: failed with exit code {process.returncode}")
    return {"wall": time.perf_counter() - begun, "processor": processor, "epochs": rows}


def epoch_times(run):
    """Seconds of the epochs but the first, which is a lighter one under the rule with two accumulators."""
    times = [row[0] for row in run["epochs"]]
    return [after - before for before, after in zip(times, times[1:])]


def epoch_seconds(run):
    return statistics.median(epoch_times(run))


def first_at(run, target):
    """When the RMSE was reached; None: never."""
    return next((seconds for seconds, rmse in run["epochs"] if rmse <= target), None)


def median(values):
    return statistics.median(values)
