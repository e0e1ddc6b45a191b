# SPDX-License-Identifier: Apache-2.0
"""Runs of hysgd in several ranks, measured by their logs. Sibling scripts import it; it is no program itself."""
import json
import os
import statistics
import subprocess
import sys
import tempfile

FOLDER = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [os.path.join(FOLDER, ".."), os.path.join(FOLDER, "..", "..", "tests", "mpi")]
import ranks
import trials

LIMIT = 300  # seconds after which a run counts as hanging
WARM_UP = 0.1  # of the updates, left out


class Run:
    """A finished run: `result` as --json prints it, and the events of its log."""

    def __init__(self, words, *options, environment=None, watch=None):
        """words: that launch it; [] for a run without mpirun; its only evaluation is at the end unless the options have others.
        watch(job): called while it runs; what it returns is `watched`."""
        with tempfile.TemporaryDirectory(prefix="hysgd-bench-") as folder:
            command = [*words, ranks.PROGRAM, "train", "--eval-every", "never", "--log", trials.LOG, "--json", "-q", *options]
            with ranks.Job(command, folder, environment) as job:
                self.watched = watch(job) if watch else None
                if not job.wait_for_result(LIMIT):
                    sys.exit(f"{' '.join(command)}: no result; it said: {job.errors()}")
                job.wait(10)
            self.result = job.result()
            self.events = trials.events(os.path.join(folder, trials.LOG))

    def of(self, name):
        return [event for event in self.events if event.get("event") == name]

    def window(self):
        """The arrivals and the updates after the warm-up, each with the first of them as where time begins."""
        updates = self.of("update")
        updates = updates[int(WARM_UP * len(updates)):]
        return [event for event in self.of("arrival") if updates[0]["t"] < event["t"] <= updates[-1]["t"]], updates

    def gradients_per_second(self):
        arrivals, updates = self.window()
        return len(arrivals) / (updates[-1]["t"] - updates[0]["t"])

    def seconds_per_update(self):
        """Median of the time from one update to the next."""
        _, updates = self.window()
        return statistics.median(b["t"] - a["t"] for a, b in zip(updates, updates[1:]))

    def median_of(self, field):
        """Over the gradients of which it is known."""
        return statistics.median(event[field] for event in self.window()[0] if event[field] is not None)

    def compute_seconds(self):
        """Median time of a gradient."""
        return self.median_of("compute_seconds")

    def share_outside(self):
        """Of the workers' time, in which they do not compute."""
        arrivals, updates = self.window()
        computing = sum(event["compute_seconds"] for event in arrivals)
        return 1 - computing / ((updates[-1]["t"] - updates[0]["t"]) * len({event["worker"] for event in arrivals}))

    def seconds_outside(self):
        """Of synchronous updates: median of the time from one to the next, less that of the gradient that took longest."""
        arrivals, updates = self.window()
        found = []
        for one, next_one in zip(updates, updates[1:]):
            longest = max(event["compute_seconds"] for event in arrivals if one["t"] < event["t"] <= next_one["t"])
            found.append(next_one["t"] - one["t"] - longest)
        return statistics.median(found)


def processor_seconds(pid):
    """Of all threads of a process, so far."""
    total = 0
    for thread in os.listdir(f"/proc/{pid}/task"):
        with open(f"/proc/{pid}/task/{thread}/schedstat", encoding="ascii") as stream:
            total += int(stream.read().split()[0])
    return total * 1e-9


def allreduce_seconds(count, floats, turns):
    """Median time of MPI_Allreduce with so many ranks."""
    words = [*ranks.launch(count), os.path.join(ranks.BUILD, "bench", "mpi", "allreduce"), str(floats), str(turns)]
    done = subprocess.run(words, capture_output=True, text=True, env={**os.environ, **ranks.AS_ROOT})
    if done.returncode:
        sys.exit(f"{' '.join(words)}: {done.stderr.strip()}")
    return json.loads(done.stdout)["seconds"]
