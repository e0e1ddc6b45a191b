# SPDX-License-Identifier: Apache-2.0
"""bench/policies/choose.py: the search finds the best rate and parameters of made-up policies, whose seconds are
known, and asks for no more than it says."""
import math
import os
import sys
import unittest

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.dont_write_bytecode = True
sys.path.insert(0, os.path.join(ROOT, "bench", "policies"))
import choose

SEEDS = (1, 4, 12)
MOST = 28


class Bowl:
    """A policy whose seconds grow with the distance from the best step of the ladder and of its parameter k."""

    def __init__(self, step, k=0, lowest=0, highest=MOST):
        self.step, self.k, self.lowest, self.highest = step, k, lowest, highest
        self.asked = []

    def seconds(self, combination, step, seed):
        if not self.lowest <= step <= self.highest:
            return math.inf
        return 1 + abs(step - self.step) + abs(dict(combination).get("k", self.k) - self.k) + seed / 1000

    def measure(self, asked, seeds):
        self.asked += [(combination, step, len(seeds)) for combination, step in asked]
        return {(combination, step): [self.seconds(combination, step, seed) for seed in seeds]
                for combination, step in asked}


class ChooseTest(unittest.TestCase):
    def test_combinations_are_all_of_one_value_each(self):
        self.assertEqual(choose.combinations({"a": [1, 2], "b": ["x"]}),
                         [(("a", 1), ("b", "x")), (("a", 2), ("b", "x"))])
        self.assertEqual(choose.combinations({}), [()])

    def test_the_median_decides_and_the_mean_between_equals(self):
        self.assertLess(choose.score([1, 2, 9]), choose.score([1, 3, 3]))
        self.assertLess(choose.score([1, 2, 3]), choose.score([1, 2, 9]))
        self.assertLess(choose.score([1, 2, math.inf]), choose.score([1, math.inf, math.inf]))

    def test_the_best_rate_is_found_far_from_the_start_on_either_side(self):
        for step in (1, 10, 11, 27):
            (_, found), times = choose.best(Bowl(step).measure, [()], 12, SEEDS, MOST)
            self.assertEqual(found, step)
            self.assertEqual(len(times), SEEDS[-1])

    def test_the_ladder_has_two_ends(self):
        for step in (-5, MOST + 5):
            bowl = Bowl(step)
            (_, found), _ = choose.best(bowl.measure, [()], 14, SEEDS, MOST)
            self.assertEqual(found, min(max(step, 0), MOST))
            self.assertTrue(all(0 <= asked[1] <= MOST for asked in bowl.asked))

    def test_a_start_where_nothing_reaches_the_target_is_left(self):
        for lowest, highest in ((0, 9), (17, MOST)):
            bowl = Bowl(13, lowest=lowest, highest=highest)
            (_, found), _ = choose.best(bowl.measure, [()], 13, SEEDS, MOST)
            self.assertIn(found, (lowest, highest))

    def test_a_policy_that_never_reaches_the_target_is_given_up(self):
        bowl = Bowl(0, lowest=MOST + 1)
        _, times = choose.best(bowl.measure, [()], 14, SEEDS, MOST)
        self.assertTrue(all(math.isinf(time) for time in times))
        self.assertLessEqual(max(asked[1] for asked in bowl.asked), 14 + 2 + choose.FARTHEST + 4)

    def test_the_best_parameters_are_found(self):
        combos = choose.combinations({"k": list(range(40))})
        (combination, step), _ = choose.best(Bowl(13, k=33).measure, combos, 12, SEEDS, MOST)
        self.assertEqual((dict(combination)["k"], step), (33, 13))

    def test_only_the_better_part_is_looked_at_again(self):
        bowl = Bowl(13, k=33)
        choose.best(bowl.measure, choose.combinations({"k": list(range(40))}), 12, SEEDS, MOST)
        self.assertEqual(len({combination for combination, _, count in bowl.asked if count == SEEDS[1]}),
                         choose.KEPT[1])
        self.assertEqual(sum(count == SEEDS[2] for _, _, count in bowl.asked), choose.LAST)


if __name__ == "__main__":
    unittest.main()
