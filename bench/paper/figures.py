# SPDX-License-Identifier: Apache-2.0
"""What is read off the runs: averages over a run, differences between policies of the same seed, curves; and the
figures that arXiv 2407.00101 printed."""
import statistics
from dataclasses import dataclass

import plan
import sweep

CONFIGURATIONS = [(300, 32), (300, 64), (500, 32), (500, 64)]  # step, batch

# Hybrid minus async, averaged over the 100 s.
PAPER = {("mnist", "accuracy"): (1.374, -0.516, 1.366, 1.291),
         ("mnist", "test_loss"): (-0.047, 0.001, -0.053, -0.022),
         ("cifar10", "accuracy"): (4.849, 2.435, 3.468, 2.884),
         ("cifar10", "test_loss"): (-0.137, -0.066, -0.092, -0.080)}
PAPER_BATCHES = dict(zip(plan.ABLATION_BATCHES, (4.896, 5.183, 4.222, 3.304, 2.599)))
PAPER_STEPS = dict(zip(plan.ABLATION_STEPS, (0.136, 3.857, 3.915, 3.083, 2.967)))
PAPER_DEVIATIONS = dict(zip(plan.ABLATION_DEVIATIONS, (3.915, 1.920, 3.012, 2.879, 5.184)))

# Per cent of the test samples, between what all policies reach and what the best end with.
TARGET = {"mnist": 93, "cifar10": 44, "random": 90}
LONG_TARGET = {"mnist": 97, "cifar10": 52}
HOPELESS = 10  # a loss; that of guessing is 2.3
PHASE = 100  # seconds at the end of a long run, compared with as many before


@dataclass
class Figures:
    """One run: means over its evaluations, and what its summary says."""
    accuracy: float  # per cent
    test_loss: float
    train_loss: float
    last: float  # accuracy at the end
    target: float  # seconds until the accuracy is that of TARGET; None where it never is
    gradients: int
    updates: int
    staleness: float
    server: float  # per cent of the time that the server is busy


@dataclass
class Ending:
    """A long run: per cent of the test samples."""
    accuracy: float  # mean over the last PHASE seconds
    rise: float  # that less the mean over the PHASE before
    best: float
    test_loss: float  # over the last PHASE
    target: float  # seconds until LONG_TARGET
    gradients: int


def mean_of(values):
    present = [value for value in values if value is not None]
    return statistics.fmean(present) if present else None


def is_lost(record):
    """Whether a run diverged: its loss was hopeless once, or no number. Some go on with a network of dead units."""
    losses = sweep.column(record, "test_loss")
    return record["reason"] == "diverged" or any(loss is None or loss > HOPELESS for loss in losses)


class Found:
    """The records of a sweep, asked by scene and way."""

    def __init__(self, records):
        self.records = records

    def of(self, scene, way):
        """The records by seed that are there, diverged ones among them."""
        keys = {seed: plan.run_of(scene, way, seed).key for seed in plan.SEEDS}
        return {seed: self.records[key] for seed, key in keys.items() if key in self.records}

    def diverged(self, scene, way):
        return sum(is_lost(record) for record in self.of(scene, way).values())

    def _each(self, scene, way, read):
        return {seed: read(scene, record) for seed, record in self.of(scene, way).items() if not is_lost(record)}

    def figures(self, scene, way):
        return self._each(scene, way, _figures)

    def endings(self, scene, way):
        return self._each(scene, way, _ending)

    def differences(self, scene, way, other, name):
        """A figure of `way` minus that of `other`, for every seed that both have."""
        ours, theirs = self.figures(scene, way), self.figures(scene, other)
        return [getattr(ours[seed], name) - getattr(theirs[seed], name) for seed in ours if seed in theirs]

    def curve(self, scene, way):
        """Seconds, mean accuracy and its standard deviation over the seeds, in per cent."""
        runs = [record for record in self.of(scene, way).values() if not is_lost(record)]
        if not runs:
            return [], [], []
        rows = min(len(record["rows"]) for record in runs)
        at = [100 * value for record in runs for value in sweep.column(record, "test_accuracy")[:rows]]
        points = [at[row::rows] for row in range(rows)]
        return (sweep.column(runs[0], "seconds")[:rows], [statistics.fmean(point) for point in points],
                [statistics.stdev(point) if len(point) > 1 else 0 for point in points])


def _reached(record, target):
    for seconds, accuracy in zip(sweep.column(record, "seconds"), sweep.column(record, "test_accuracy")):
        if 100 * accuracy >= target:
            return seconds
    return None


def _figures(scene, record):
    accuracy = [100 * value for value in sweep.column(record, "test_accuracy")]
    result = record["result"]
    return Figures(statistics.fmean(accuracy), statistics.fmean(sweep.column(record, "test_loss")),
                   mean_of(sweep.column(record, "train_loss")), accuracy[-1], _reached(record, TARGET[scene.data]),
                   result["received"], result["updates"], result["mean_staleness"], 100 * result["server_share"])


def _ending(scene, record):
    seconds, end = sweep.column(record, "seconds"), plan.LENGTH[scene.length]
    accuracy = [100 * value for value in sweep.column(record, "test_accuracy")]
    losses = sweep.column(record, "test_loss")
    last = [row for row, at in enumerate(seconds) if at > end - PHASE + 0.001]
    before = [row for row, at in enumerate(seconds) if end - 2 * PHASE + 0.001 < at <= end - PHASE + 0.001]
    mean = statistics.fmean(accuracy[row] for row in last)
    return Ending(mean, mean - statistics.fmean(accuracy[row] for row in before), max(accuracy),
                  statistics.fmean(losses[row] for row in last), _reached(record, LONG_TARGET[scene.data]),
                  record["result"]["received"])
