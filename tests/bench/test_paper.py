# SPDX-License-Identifier: Apache-2.0
"""bench/paper: the plan has every configuration of arXiv 2407.00101 in words that the command takes, and figures are
those of the seeds that two policies share."""
import os
import subprocess
import sys
import unittest

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.dont_write_bytecode = True
sys.path[:0] = [os.path.join(ROOT, "bench"), os.path.join(ROOT, "bench", "paper")]
import figures
import plan
import sweep
import tables

SCENE = plan.Scene("random", "fast")


def record(way, seed, *accuracies, reason="deadline", loss=1.0):
    return plan.run_of(SCENE, way, seed).key, {
        "reason": reason, "columns": ["seconds", "train_loss", "test_loss", "test_accuracy"],
        "rows": [[2.0 * row, None, loss, value] for row, value in enumerate(accuracies, 1)],
        "result": {"received": 10, "updates": 5, "mean_staleness": 1, "server_share": 0}}


class PaperTest(unittest.TestCase):
    def test_the_plan_has_every_configuration_with_five_seeds(self):
        planned = set(plan.plan(False, False, plan.IMAGES))
        for data in plan.IMAGES:
            for server in ("fast", "stated"):
                for step, batch in figures.CONFIGURATIONS:
                    for seed in (1, 2, 3, 4, 5):
                        scene = plan.Scene(data, server, batch)
                        for way in [plan.ASYNC, *plan.SYNCS, *plan.hybrids(step)]:
                            self.assertIn((scene, way, seed), planned)

    def test_the_command_takes_every_run_of_the_plan(self):
        for scene, way, seed in set(plan.plan(False, False, plan.IMAGES)):
            if seed == 1:
                words = plan.run_of(scene, way, seed).words()
                done = subprocess.run([sweep.PROGRAM, "train", "--runtime", "virtual", "--dry-run", *words],
                                      capture_output=True, text=True, check=False)
                self.assertEqual(done.returncode, 0, done.stderr)

    def test_the_reduced_plan_is_part_of_the_full_one(self):
        full = {plan.run_of(*parts).key for parts in plan.plan(False, False, plan.IMAGES)}
        for parts in plan.plan(True, False, plan.IMAGES):
            self.assertIn(plan.run_of(*parts).key, full)

    def test_differences_are_of_the_same_seed(self):
        found = figures.Found(dict([record(plan.ASYNC, 1, 0.5, 0.6), record(plan.ASYNC, 2, 0.1),
                                    record(plan.SYNCS[0], 1, 0.6, 0.8), record(plan.SYNCS[0], 3, 0.9)]))
        self.assertEqual([round(value, 6) for value in
                          found.differences(SCENE, plan.SYNCS[0], plan.ASYNC, "accuracy")], [15.0])

    def test_diverged_runs_are_named_and_not_averaged(self):
        found = figures.Found(dict([record(plan.ASYNC, 1, 0.5, reason="diverged"), record(plan.SYNCS[0], 1, 0.6),
                                    record(plan.ASYNC, 2, 0.1, loss=1e13), record(plan.SYNCS[0], 2, 0.6),
                                    record(plan.ASYNC, 3, 0.5), record(plan.SYNCS[0], 3, 0.6)]))
        self.assertEqual(tables.difference(found, SCENE, plan.SYNCS[0], "accuracy"), "+10.00 (1), 2 diverged")

    def test_a_target_is_reached_at_the_first_evaluation_that_has_it(self):
        found = figures.Found(dict([record(plan.ASYNC, 1, 0.5, 0.91, 0.8, 0.92)]))
        self.assertEqual(found.figures(SCENE, plan.ASYNC)[1].target, 4.0)

    def test_every_table_of_the_report_exists(self):
        with open(os.path.join(ROOT, "bench", "paper", "template.md"), encoding="utf-8") as stream:
            text = stream.read()
        for name in tables.TABLES:
            self.assertIn("{{" + name + "}}", text)
            text = text.replace("{{" + name + "}}", "")
        self.assertEqual(text.replace("{{builds}}", "").count("{{"), 0)


if __name__ == "__main__":
    unittest.main()
