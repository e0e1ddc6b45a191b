# SPDX-License-Identifier: Apache-2.0
"""bench/policies/verdicts.py: medians, ratios and bars of made-up times, with targets that were missed."""
import math
import os
import sys
import unittest

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.dont_write_bytecode = True
sys.path.insert(0, os.path.join(ROOT, "bench", "policies"))
import verdicts


def times(**medians):
    return {name: [median / 2, median, median * 2] for name, median in medians.items()}


class VerdictsTest(unittest.TestCase):
    def test_rows_begin_with_the_best_and_compare_with_adaptive(self):
        found = verdicts.rows(times(sync=4, adaptive=2, other=1))
        self.assertEqual([(row.name, row.median, row.ratio) for row in found],
                         [("other", 1, 0.5), ("adaptive", 2, 1), ("sync", 4, 2)])
        self.assertEqual((found[0].least, found[0].most), (0.5, 2))

    def test_ten_per_cent_above_the_best_other_is_within_and_more_is_not(self):
        self.assertTrue(verdicts.bar(times(sync=4, async_=3, adaptive=1.1, other=1), False).is_within)
        self.assertFalse(verdicts.bar(times(sync=4, async_=3, adaptive=1.2, other=1), False).is_within)

    def test_adaptive_is_not_its_own_best_other(self):
        found = verdicts.bar(times(sync=4, adaptive=1), False)
        self.assertEqual((found.best, found.ratio), ("sync", 0.25))

    def test_with_unequal_workers_sync_and_async_must_be_behind(self):
        scene = {**times(sync=4, adaptive=1.05), "async": [1, 1, 1]}
        found = verdicts.bar(scene, True)
        self.assertEqual(found.is_ahead_of, {"sync": True, "async": False})
        self.assertTrue(found.is_within)
        self.assertFalse(verdicts.is_reached(found))
        self.assertTrue(verdicts.is_reached(verdicts.bar(scene, False)))

    def test_equal_is_not_ahead(self):
        scene = {**times(sync=1, adaptive=1), "async": [2, 2, 2]}
        self.assertFalse(verdicts.bar(scene, True).is_ahead_of["sync"])

    def test_a_missed_target_is_infinite_and_reaches_no_bar(self):
        scene = {"adaptive": [1, math.inf, math.inf], "sync": [2, 3, 4], "async": [math.inf] * 3}
        found = verdicts.bar(scene, True)
        self.assertTrue(math.isinf(found.ratio))
        self.assertFalse(verdicts.is_reached(found))
        scene["sync"] = [math.inf] * 3
        self.assertTrue(math.isnan(verdicts.bar(scene, True).ratio))
        self.assertFalse(verdicts.is_reached(verdicts.bar(scene, True)))

    def test_groups_are_of_neighbouring_seeds(self):
        self.assertEqual(verdicts.groups({"a": [1, 2, 3, 4, 5], "b": [6, 7, 8, 9, 10]}, 2),
                         [{"a": [1, 2], "b": [6, 7]}, {"a": [3, 4], "b": [8, 9]}])

    def test_images_need_time_and_accuracy(self):
        others = [[run(20, 95), run(30, 95), run(40, 95)], [run(None, 96), run(None, 96), run(None, 96)]]
        self.assertTrue(verdicts.image_bar([run(10, 97)] * 3, others).is_reached)
        self.assertFalse(verdicts.image_bar([run(10, 95.5)] * 3, others).is_reached)
        self.assertFalse(verdicts.image_bar([run(30, 97)] * 3, others).is_reached)
        found = verdicts.image_bar([run(10, 97)] * 3, others)
        self.assertEqual((found.best_target, found.best_accuracy), (30, 96))

    def test_a_run_that_diverges_has_no_accuracy_at_convergence(self):
        lost = [run(5, 99), run(5, 99), run(None, None)]
        found = verdicts.image_bar([run(4, 90)] * 3, [lost])
        self.assertTrue(found.is_reached)
        self.assertIsNone(found.best_accuracy)
        self.assertFalse(verdicts.image_bar(lost, [[run(6, 80)] * 3]).is_reached)


def run(target, accuracy):
    return {"target": target, "accuracy": accuracy}


if __name__ == "__main__":
    unittest.main()
