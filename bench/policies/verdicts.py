# SPDX-License-Identifier: Apache-2.0
"""What is read off the final runs of a scene: medians, ratios, and whether the bars are reached. Sibling scripts
import it; it is no program itself."""
import math
import statistics
from dataclasses import dataclass

WITHIN = 1.10  # times the best other median, at most
OURS = "adaptive"


@dataclass
class Row:
    """One policy in one scene. Seconds; infinity: the target was missed."""
    name: str
    median: float
    least: float
    most: float
    ratio: float  # to the median of adaptive


@dataclass
class Bar:
    """adaptive in one scene."""
    median: float
    best: str  # of the other policies
    best_median: float
    ratio: float  # of adaptive to the best
    is_within: bool
    is_ahead_of: dict  # of sync and async; empty where the workers are equal


def ratio_of(time, other):
    """Of two times either of which may be infinite; NaN when both are."""
    if math.isinf(time) and math.isinf(other):
        return math.nan
    return math.inf if math.isinf(time) else time / other


def rows(times):
    """times: seconds for each seed, by policy. Best first."""
    ours = statistics.median(times[OURS])
    found = [Row(name, statistics.median(each), min(each), max(each), ratio_of(statistics.median(each), ours))
             for name, each in times.items()]
    return sorted(found, key=lambda row: (row.median, row.least, row.name))


def bar(times, is_unequal):
    medians = {name: statistics.median(each) for name, each in times.items()}
    ours = medians.pop(OURS)
    best = min(medians, key=lambda name: (medians[name], name))
    ratio = ratio_of(ours, medians[best])
    ahead = {name: ours < medians[name] for name in ("sync", "async")} if is_unequal else {}
    return Bar(ours, best, medians[best], ratio, ratio <= WITHIN, ahead)


def is_reached(one):
    return one.is_within and all(one.is_ahead_of.values())


def groups(times, size):
    """The same times in groups of so many seeds, each as if it were all there is."""
    count = min(map(len, times.values())) // size
    return [{name: each[group * size:(group + 1) * size] for name, each in times.items()} for group in range(count)]


@dataclass
class ImageBar:
    """One way of `adaptive` against the best of `threshold`, in each of the two respects. None: no run came that
    far."""
    target: float
    best_target: float
    accuracy: float
    best_accuracy: float
    is_reached: bool


def median_target(runs):
    return statistics.median(math.inf if run["target"] is None else run["target"] for run in runs)


def mean_accuracy(runs):
    """Of the runs of one way at convergence; None where one of them diverged."""
    values = [run["accuracy"] for run in runs]
    return None if None in values else statistics.fmean(values)


def image_bar(ours, others):
    """ours: the runs of adaptive; others: those of each of the other ways."""
    target, accuracy = median_target(ours), mean_accuracy(ours)
    best_target = min(median_target(runs) for runs in others)
    best_accuracy = max((found for found in map(mean_accuracy, others) if found is not None), default=None)
    is_ahead = accuracy is not None and (best_accuracy is None or accuracy > best_accuracy)
    return ImageBar(target, best_target, accuracy, best_accuracy, target < best_target and is_ahead)
