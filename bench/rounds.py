# SPDX-License-Identifier: Apache-2.0
"""What the benchmarks share: programs kept running that answer one line each, rounds that alternate between them,
medians, and tables of found figures beside their bars. Sibling scripts import it; it is no program itself."""
import atexit
import json
import os
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile

FOLDER = os.path.dirname(os.path.abspath(__file__))
BUILD = os.environ.get("HYSGD_BUILD", os.path.join(FOLDER, "..", "build", "release"))
DATASETS = os.environ.get("HYSGD_DATASETS", os.path.join(FOLDER, "..", "..", "shared", "datasets"))
TORCH_PYTHON = os.environ.get("HYSGD_TORCH_PYTHON", "/usr/bin/python3")
NETWORKS = ["mlp", "lenet", "cifar-cnn", "resnet20"]

# One thread a worker, in every library that has threads of its own.
ONE_THREAD = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
# Freed memory stays with the process: a step as written spends a fifth of its time on page faults.
KEEP_MEMORY = {"MALLOC_MMAP_THRESHOLD_": "4294967296", "MALLOC_TRIM_THRESHOLD_": "4294967296",
               "MALLOC_TOP_PAD_": "268435456"}


def program(name):
    """The path of something built, or an end with the command that builds it."""
    path = os.path.join(BUILD, name)
    if not os.path.exists(path):
        sys.exit(f"{path} is missing: run make all benches")
    return path


class Peer:
    """One or several processes that answer each line on their standard input with one line of JSON."""

    def __init__(self, *commands, extra=None):
        environment = {**os.environ, **ONE_THREAD, **(extra or {})}
        self.processes = [subprocess.Popen(command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                           text=True) for command in commands]

    def ask(self, *words):
        """The first process's answer; `rate` is the sum over all."""
        for process in self.processes:
            process.stdin.write(" ".join(str(word) for word in words) + "\n")
            process.stdin.flush()
        lines = [process.stdout.readline() for process in self.processes]
        if not all(lines):
            sys.exit(f"{self.processes[0].args}: ended without an answer to {words}")
        answers = [json.loads(line) for line in lines]
        return {**answers[0], "rate": sum(answer["rate"] for answer in answers)}

    def close(self):
        for process in self.processes:
            process.stdin.close()
            process.wait()


class Hysgd(Peer):
    """bench_step, which trains through the library's job."""

    def __init__(self):
        super().__init__([program("bench/bench_step"), "--serve"])

    def train(self, network, precision="fp32", policy="sync", workers=1, steps=0, runtime="threads"):
        return self.ask(network, precision, policy, "momentum", runtime, workers, steps)


def torch(mode, threads=1):
    """A PyTorch process: mode written, tuned or ddp (two processes). OpenBLAS keeps one thread whatever PyTorch has:
    with two of its own the mlp falls to a tenth."""
    script = [TORCH_PYTHON, os.path.join(FOLDER, "pytorch_step.py"), mode]
    if mode == "ddp":
        folder = tempfile.mkdtemp(prefix="hysgd-ddp-")
        atexit.register(shutil.rmtree, folder, ignore_errors=True)
        meeting = os.path.join(folder, "meeting")
        return Peer(script + ["0", meeting], script + ["1", meeting], extra={**KEEP_MEMORY, "GLOO_SOCKET_IFNAME": "lo"})
    return Peer(script + [str(threads)], extra={"OMP_NUM_THREADS": str(threads), **(KEEP_MEMORY if mode == "tuned" else {})})


def alternate(rounds, **measures):
    """Calls the measures in turn, `rounds` times; the lists of what they returned, by name."""
    found = {name: [] for name in measures}
    for _ in range(rounds):
        for name, measure in measures.items():
            found[name].append(measure())
    return found


def median_of(answers, key):
    return statistics.median(answer[key] for answer in answers)


def ratio(answers, others):
    """The median over the rounds of the ratio of two neighbouring measurements: what disturbs both, cancels."""
    return statistics.median(a["rate"] / b["rate"] for a, b in zip(answers, others))


def latency():
    """Nanoseconds between two cores now; None where there is only one."""
    found = subprocess.run([program("bench/bench_latency"), "--json"], capture_output=True, text=True)
    return json.loads(found.stdout)["nanoseconds"] if found.returncode == 0 else None


def latency_text():
    found = latency()
    return "one core" if found is None else f"{found:.0f} ns"


def machine():
    """The line that every table begins with."""
    model = platform.machine()
    with open("/proc/cpuinfo", encoding="ascii", errors="replace") as lines:
        for line in lines:
            if line.startswith("model name"):
                model = line.split(":", 1)[1].strip()
                break
    load = os.getloadavg()[0]
    return f"{len(os.sched_getaffinity(0))} cores, {model}, core to core {latency_text()}, load before {load:.1f}"


class Verdicts:
    """Figures beside their bars. The exit status says whether all were reached."""

    def __init__(self, title):
        self.missed = 0
        print(f"{title}\n{machine()}", flush=True)

    def row(self, what, found, bar, is_least=True, form="{:.2f}", note=""):
        is_reached = found >= bar if is_least else found <= bar
        self.missed += not is_reached
        sign = ">=" if is_least else "<="
        print(f"  {what:50} {form.format(found):>10}   {sign} {form.format(bar):8} {'PASS' if is_reached else 'MISS'}"
              f"{'  ' + note if note else ''}", flush=True)

    def note(self, text):
        print("  " + text, flush=True)

    def end(self):
        print(f"  {self.missed} missed" if self.missed else "  all reached", flush=True)
        sys.exit(1 if self.missed else 0)


def chosen_networks(default=NETWORKS):
    """The networks named on the command line, or all."""
    words = sys.argv[1:]
    for word in words:
        if word not in default:
            sys.exit(f"{sys.argv[0]}: {word}: expected {', '.join(default)}")
    return words or default
