# SPDX-License-Identifier: Apache-2.0
"""How the best configuration of a policy is found: by climbing the ladder of rates for every combination of its
parameters with few seeds, then for the better part of them with more, and by many seeds for the last few. Knows
nothing of hysgd: what a configuration takes is measured by a function. Sibling scripts import it; it is no program
itself."""
import itertools
import math
import statistics

KEPT = (4, 6)  # at least and at most so many combinations are looked at again; in between a quarter of them
LAST = 5  # configurations compared with all seeds
FARTHEST = 4  # from its start, where nothing reaches the target, in steps of the ladder


def combinations(parameters):
    """Of one value for each key, as tuples of (key, value)."""
    return [tuple(zip(parameters, values)) for values in itertools.product(*parameters.values())]


def score(times):
    """What is compared, less is better: the median, and the mean where medians are equal."""
    return statistics.median(times), statistics.fmean(times)


def _is_hopeless(times):
    return math.isinf(statistics.median(times))


class Climb:
    """The rates tried for one combination: `found` has the seconds of every step of the ladder that was."""

    def __init__(self, combination, steps, stride, most):
        self.combination = combination
        self.first, self.last, self.stride, self.most = min(steps), max(steps), stride, most
        self.found = {}
        self.open = [step for step in steps if 0 <= step <= most]

    def best(self):
        return min(self.found, key=lambda step: score(self.found[step]))

    def go_on(self):
        """The steps to try next: beyond the best if it is the last on its side; none: the climb is over."""
        tried = self.found
        if all(_is_hopeless(times) for times in tried.values()):
            ends = [step for step in (min(tried) - self.stride, max(tried) + self.stride)
                    if self.first - FARTHEST <= step <= self.last + FARTHEST]
        else:
            ends = [self.best() - self.stride, self.best() + self.stride]
        self.open = [step for step in ends if 0 <= step <= self.most and step not in tried]


def climb(measure, climbs, seeds):
    """Measures until no climb has a step left to try. measure: a list of (combination, step), and seeds, to a list of
    seconds for each seed, by configuration."""
    while True:
        asked = [(one.combination, step) for one in climbs for step in one.open]
        if not asked:
            return
        found = measure(asked, seeds)
        for one in climbs:
            for step in one.open:
                one.found[step] = found[one.combination, step]
            one.go_on()


def better_part(climbs):
    least, most = KEPT
    count = min(max(least, math.ceil(len(climbs) / 4)), most)
    return sorted(climbs, key=lambda one: score(one.found[one.best()]))[:count]


def best(measure, combos, start, seeds, most):
    """The best (combination, step) and its seconds. seeds: how many judge the grid, its better part and the last few;
    start: the step of the ladder to begin at; most: its last step."""
    few, more, all_seeds = (tuple(range(1, count + 1)) for count in seeds)
    grid = [Climb(combination, [start - 2, start, start + 2], 2, most) for combination in combos]
    climb(measure, grid, few)
    part = [Climb(one.combination, [one.best() - 1, one.best(), one.best() + 1], 1, most) for one in better_part(grid)]
    climb(measure, part, more)
    judged = {(one.combination, step): times for one in part for step, times in one.found.items()}
    last = sorted(judged, key=lambda configuration: score(judged[configuration]))[:LAST]
    found = measure(last, all_seeds)
    chosen = min(last, key=lambda configuration: score(found[configuration]))
    return chosen, found[chosen]
