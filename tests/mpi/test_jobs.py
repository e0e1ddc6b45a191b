# SPDX-License-Identifier: Apache-2.0
"""What a user of several ranks sees: who speaks, what is picked by itself, what is refused and how it is named."""
import json
import os
import re
import signal
import subprocess
import tempfile
import unittest

import ranks
import trials

TRAIN = ["train", "--data", trials.DATA, "--model", "dense 16, relu, dense 10", "--batch", "8", "--gradients", "40", "--json"]
MPI = ["--runtime", "mpi"]


@unittest.skipIf(ranks.reason_to_skip(), ranks.reason_to_skip())
class TestJobs(unittest.TestCase):
    def setUp(self):
        self.folder = self.enterContext(tempfile.TemporaryDirectory(prefix="hysgd-job-"))

    def job(self, words, seconds=60):
        """A job that has ended, in time."""
        with ranks.Job(words, self.folder) as job:
            self.assertTrue(job.wait(seconds), f"it hangs, and said: {job.errors()}")
        return job

    def train(self, count, *options):
        job = self.job(ranks.launch(count) + [ranks.PROGRAM, *TRAIN, *MPI, *options])
        self.assertIsNotNone(job.result(), job.errors())
        return job

    def path(self, name):
        return os.path.join(self.folder, name)

    def hysgd(self, *words):
        return subprocess.run([ranks.PROGRAM, *words], cwd=self.folder, capture_output=True, text=True)

    def test_one_result_accounts_for_every_gradient(self):
        for policy in ("sync", "async", "threshold,start=1,step=10", "batch-async,size=3", "adaptive"):
            job = self.train(3, "--policy", policy, "--log", "run.hylog")
            self.assertEqual(job.process.returncode, 0, job.errors())
            self.assertEqual(trials.account_wrongs(job.result(), trials.events(self.path("run.hylog"))), [], policy)

    def test_mpi_is_picked_under_mpirun_and_said(self):
        job = self.job(ranks.launch(2) + [ranks.PROGRAM, *TRAIN])
        self.assertIsNotNone(job.result(), job.errors())
        self.assertEqual(job.errors().count("hysgd: 2 ranks: runtime mpi"), 1, job.errors())

    def test_what_is_told_to_be_quiet_is(self):
        job = self.job(ranks.launch(2) + [ranks.PROGRAM, *TRAIN, "-q"])
        self.assertEqual([line for line in job.errors().splitlines() if "hysgd" in line], [])

    def test_a_single_process_may_use_mpi_too(self):
        found = self.hysgd(*TRAIN, *MPI)
        self.assertEqual(found.returncode, 0, found.stderr)

    def test_replay_has_the_bits_of_every_policy(self):
        for policy in ("sync", "async", "threshold,start=1,step=10"):
            self.train(3, "--policy", policy, "--log", "run.hylog", "--save", "run.safetensors")
            replayed = self.hysgd("replay", "run.hylog", "--check", "run.safetensors")
            self.assertEqual(replayed.returncode, 0, replayed.stderr)

    def test_the_clocks_of_all_ranks_are_compared(self):
        self.train(3, "--gradients", "20000", "--log", "run.hylog")
        self.assertEqual(trials.clock_wrongs(trials.events(self.path("run.hylog")), 3), [])
        found = self.hysgd("inspect", "run.hylog", "--json")
        self.assertEqual(found.returncode, 0, found.stderr)
        self.assertEqual([clock["rank"] for clock in json.loads(found.stdout)["clocks"]], [0, 1, 2])

    def test_the_way_of_every_gradient_is_divided(self):
        for more in ([], ["--tolerate", "1"]):
            self.job(ranks.launch(3, "--enable-recovery") + [ranks.PROGRAM, *TRAIN, *MPI, "--gradients", "2000", "--log", "run.hylog", *more])
            arrivals = [event for event in trials.events(self.path("run.hylog")) if event.get("event") == "arrival"]
            known = [event for event in arrivals if event["pull_seconds"] is not None]
            self.assertGreater(len(known), len(arrivals) / 2)
            for event in known:
                self.assertGreaterEqual(min(event["pull_seconds"], event["push_seconds"]), 0)
                self.assertLessEqual(event["pull_seconds"] + event["push_seconds"], event["transit_seconds"] * 1.000001)

    def test_a_checkpoint_goes_on_with_other_servers_and_in_threads(self):
        self.train(4, "--save", "run.safetensors")
        self.train(6, "--resume", "run.safetensors", "--gradients", "80", "--servers", "2")
        found = self.hysgd("train", "--resume", "run.safetensors", "--runtime", "threads", "--gradients", "80", "--json")
        self.assertEqual(found.returncode, 0, found.stderr)

    def test_the_log_of_a_run_that_fails_says_when_and_can_be_repeated(self):
        words = ranks.launch(3, "--enable-recovery") + [ranks.PROGRAM, *TRAIN, *MPI, "--log", "run.hylog", "--gradients", "1000000000"]
        with ranks.Job(words, self.folder) as job:
            self.assertTrue(job.wait_for_line(lambda line: "accuracy" in line, 60), job.errors())
            job.signal(1, signal.SIGKILL)
            self.assertTrue(job.wait(60), job.errors())
        self.assertIn("1 of 3 ranks are lost, and tolerate=0", job.errors())
        lines = [json.loads(line) for line in self.hysgd("export", "run.hylog", "--jsonl", "-").stdout.splitlines()]
        end = next(line for line in lines if line.get("reason") == "failed")
        self.assertAlmostEqual(end["t"], max(line.get("t", 0) for line in lines), 9)
        answer = self.hysgd("replay", "run.hylog")
        self.assertEqual(answer.returncode, 0, answer.stderr)

    def test_more_servers_than_ranks_are_refused(self):
        job = self.job(ranks.launch(2) + [ranks.PROGRAM, *TRAIN, *MPI, "--servers", "3"])
        self.refused(job, r"servers.*3.*\b2\b")

    def refused(self, job, pattern):
        self.assertIsNone(job.result())
        self.assertNotEqual(job.process.returncode, 0)
        lines = [line for line in job.errors().splitlines() if re.search(pattern, line)]
        self.assertEqual(len(lines), 1, job.errors())

    def mixed(self, one, other):
        """Rank 0 has these words, ranks 1 and 2 the others."""
        *words, _, _ = ranks.launch(1)
        return self.job([*words, "-n", "1", *one, ":", "-n", "2", *other])

    def test_ranks_of_different_options_are_refused_and_named(self):
        for key, mine, theirs in (("seed", "1", "2"), ("batch", "8", "16"), ("policy", "sync", "async")):
            one, other = ([ranks.PROGRAM, *TRAIN, *MPI, f"--{key}", value] for value in (mine, theirs))
            self.refused(self.mixed(one, other), rf"rank 1\b.*{key}")

    def test_a_rank_that_cannot_begin_is_refused_and_named(self):
        one = [ranks.PROGRAM, *TRAIN, *MPI]
        for key, value, named in (("--sede", "2", "--sede"), ("--policy", "sink", "'sink'"), ("--runtime", "mpj", "'mpj'"),
                                  ("--data", "mnist:missing", "missing: ")):
            self.refused(self.mixed(one, [*one, key, value]), rf"^hysgd: rank 1 on .*{named}")

    def test_a_fault_of_all_ranks_is_told_once(self):
        self.refused(self.job(ranks.launch(3) + [ranks.PROGRAM, *TRAIN, "--sede", "2"]), r"hysgd: .*--sede")
        self.refused(self.job(ranks.launch(3) + [ranks.PROGRAM, *TRAIN, "--log", "missing/run.hylog"]), r"hysgd: .*missing/run.hylog")

    def test_ranks_that_do_not_share_the_directory_of_a_checkpoint_are_refused(self):
        for name in ("one", "two"):
            os.mkdir(self.path(name))
        program = [ranks.PROGRAM, *TRAIN, *MPI, "--save", "run.safetensors"]
        one, other = (["-wdir", self.path(name), *program] for name in ("one", "two"))
        self.refused(self.mixed(one, other), r"rank 1 on .*save=run.safetensors")
        self.assertEqual(os.listdir(self.path("one")) + os.listdir(self.path("two")), [])

    def test_losses_are_not_promised_where_mpirun_kills_all(self):
        self.refused(self.job([*ranks.launch(2), ranks.PROGRAM, *TRAIN, "--tolerate", "1"]), r"hysgd: .*tolerate=1.*--enable-recovery")

    def test_long_options_reach_the_runtime(self):
        job = self.job(ranks.launch(3) + [ranks.PROGRAM, *TRAIN, "--servers", "1", "--tolerate", "1", "--patience", "5", "--copies", "7",
                                          "--dry-run"])
        self.assertEqual([line for _, line in job.output if line.startswith("runtime")],
                         ["runtime = mpi,servers=1,tolerate=1,copies=7,patience=5,control=,restart=yes"])

    def test_ranks_of_different_data_are_refused_and_named(self):
        for name in ("one", "two"):
            os.mkdir(self.path(name))
            self.write_idx(name)
        one, other = ([ranks.PROGRAM, *TRAIN, *MPI, "--data", f"mnist:{self.path(name)}"] for name in ("one", "two"))
        self.refused(self.mixed(one, other), r"rank 1\b.*data")

    def write_idx(self, folder):
        """60 training and 20 test images of one grey each, another one in each folder."""
        grey = 10 if folder == "one" else 20
        for part, count in (("train", 60), ("t10k", 20)):
            header = bytes([0, 0, 8, 3]) + b"".join(number.to_bytes(4, "big") for number in (count, 28, 28))
            with open(self.path(f"{folder}/{part}-images-idx3-ubyte"), "wb") as stream:
                stream.write(header + bytes([grey]) * (count * 784))
            with open(self.path(f"{folder}/{part}-labels-idx1-ubyte"), "wb") as stream:
                stream.write(bytes([0, 0, 8, 1]) + count.to_bytes(4, "big") + bytes(i % 10 for i in range(count)))


if __name__ == "__main__":
    unittest.main()
