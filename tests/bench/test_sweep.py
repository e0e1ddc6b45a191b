# SPDX-License-Identifier: Apache-2.0
"""bench/sweep.py: what a kill leaves is gone on with, torn lines are dropped, other builds are noticed. With the
real command (HYSGD_BUILD or build/release)."""
import contextlib
import io
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import unittest

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.dont_write_bytecode = True
sys.path.insert(0, os.path.join(ROOT, "bench"))
import sweep

# A script like those of bench/: a run for each seed below the count; the last one has so many gradients.
PLAN = """
import sys
sys.dont_write_bytecode = True
sys.path.insert(0, %r)
import sweep
options = sweep.parser("a plan", "unused")
options.add_argument("--count", type=int)
options.add_argument("--last", default="200")
arguments = options.parse_args()
lengths = ["200"] * (arguments.count - 1) + [arguments.last]
sweep.sweep([sweep.Run(f"run {seed}", data="random,samples=500", model="softmax", eval_every="gradients=50",
                       gradients=gradients, seed=seed) for seed, gradients in enumerate(lengths)], arguments)
""" % os.path.join(ROOT, "bench")


def small(**options):
    return sweep.Run("small", **{"data": "random,samples=500", "model": "softmax", "gradients": 40, **options})


class SweepTest(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = folder.name
        self.results = os.path.join(self.folder, "results.jsonl")

    def start(self, *words):
        return subprocess.Popen([sys.executable, "-c", PLAN, "--results", self.results, *words], text=True,
                                stdout=subprocess.PIPE, stderr=subprocess.PIPE)

    def finish(self, *words):
        process = self.start(*words)
        said = process.communicate()[1]
        return process.returncode, said

    def sweep(self, runs, *words, **how):
        arguments = sweep.parser("", "unused").parse_args(["--results", self.results, *words])
        with contextlib.redirect_stderr(io.StringIO()):
            return sweep.sweep(runs, arguments, **how)

    def lines(self):
        with open(self.results, "rb") as stream:
            return stream.readlines()

    def tear(self, ending):
        with open(self.results, "ab") as stream:
            stream.write(ending)

    def test_a_killed_sweep_goes_on_where_it_was(self):
        self.assertEqual(self.finish("--count", "6", "-j", "2")[0], 0)
        whole = {line for line in self.lines()}
        os.remove(self.results)
        process = self.start("--count", "6", "-j", "2")
        for line in process.stderr:
            if line.startswith("[2/6]"):
                break
        process.send_signal(signal.SIGKILL)
        process.communicate()
        self.tear(self.lines()[0][:100])
        before = self.lines()[:-1]
        status, said = self.finish("--count", "6", "-j", "2")
        self.assertEqual(status, 0)
        self.assertIn("a half line is dropped", said)
        self.assertEqual(self.lines()[:len(before)], before)
        self.assertEqual(said.count("] run "), 6 - len(before))
        self.assertEqual({line for line in self.lines()}, whole)

    def test_an_interrupted_sweep_ends_its_runs_and_says_130(self):
        process = self.start("--count", "2", "--last", "1000000000000")
        self.assertTrue(process.stderr.readline().startswith("[1/2]"))
        process.send_signal(signal.SIGTERM)
        said = process.communicate()[1]
        self.assertEqual(process.returncode, 130)
        self.assertIn("the same command goes on", said)
        self.assertEqual(len(self.lines()), 1)

    def test_what_is_there_is_not_run_again(self):
        self.sweep([small()])
        before = self.lines()
        self.sweep([small(), small(seed=2)])
        self.assertEqual(self.lines()[:1], before)
        self.assertEqual(len(self.lines()), 2)

    def test_runs_of_the_same_options_are_one(self):
        self.sweep([small(), sweep.Run("under another name", **small().options)])
        self.assertEqual(len(self.lines()), 1)

    def test_a_record_has_the_result_and_the_curve(self):
        run = small(eval_every="gradients=10")
        record = self.sweep([run])[run.key]
        self.assertEqual(record["result"]["received"], 40)
        self.assertEqual(sweep.column(record, "received"), [10, 20, 30, 40])

    def test_rows_are_left_out_where_asked_for(self):
        run = small(eval_every="gradients=10")
        record = self.sweep([run], has_rows=False)[run.key]
        self.assertEqual(record["result"]["received"], 40)
        self.assertEqual(record["rows"], [])

    def test_a_run_that_misses_its_target_is_finished(self):
        run = small(target="accuracy=1")
        self.assertIsNone(self.sweep([run])[run.key]["result"]["target_seconds"])

    def test_a_run_that_diverges_is_finished(self):
        run = small(optimizer="sgd,rate=1e6", model="mlp", gradients=1000)
        self.assertEqual(self.sweep([run])[run.key]["reason"], "diverged")

    def test_a_wrong_option_ends_the_sweep_with_its_line(self):
        with self.assertRaisesRegex(SystemExit, "unknown policy 'asynk'"):
            self.sweep([small(policy="asynk")])

    def test_a_line_that_is_no_result_is_refused(self):
        self.sweep([small()])
        self.tear(b'{"half":\n')
        with self.assertRaisesRegex(SystemExit, ":2: no result of a run"):
            self.sweep([small()])

    def test_results_of_another_build_are_refused_run_again_or_kept(self):
        self.sweep([small()])
        other = os.path.join(self.folder, "hysgd")
        shutil.copy(sweep.PROGRAM, other)
        with open(other, "ab") as stream:
            stream.write(b"\0")
        with self.assertRaisesRegex(SystemExit, "1 results are of another build"):
            self.sweep([small()], "--program", other)
        self.sweep([small()], "--program", other, "--keep")
        self.assertEqual(len(self.lines()), 1)
        self.sweep([small()], "--program", other, "--fresh")
        self.sweep([small()], "--program", other)
        first, second = (json.loads(line) for line in self.lines())
        self.assertNotEqual(first.pop("program"), second.pop("program"))
        self.assertEqual(first, second)

    def test_verify_finds_a_number_that_this_build_does_not_give(self):
        self.sweep([small(), small(seed=2)])
        self.sweep([small(), small(seed=2)], "--verify", "2")
        first, second = self.lines()
        with open(self.results, "wb") as stream:
            changed = json.loads(second)
            changed["rows"][0][-1] += 1e-9
            stream.write(first + json.dumps(changed).encode() + b"\n")
        self.sweep([small(), small(seed=2)], "--verify", "1")
        with self.assertRaisesRegex(SystemExit, "gives another result"):
            self.sweep([small(), small(seed=2)], "--verify", "2")

    def test_two_sweeps_do_not_share_a_file(self):
        file = sweep.File(self.results)
        self.addCleanup(file.close)
        with self.assertRaisesRegex(SystemExit, "another sweep is writing"):
            self.sweep([small()])


if __name__ == "__main__":
    unittest.main()
