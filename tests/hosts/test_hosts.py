# SPDX-License-Identifier: Apache-2.0
"""Training on four hosts, with lines that are slow, lost for good or for a while."""
import os
import tempfile
import time
import unittest

import network
import ranks
import trials
from network import Line

RATE = 200  # Mbit/s
BOUND = 90
TRAIN = ["train", "--runtime", "mpi", "--data", trials.DATA, "--model", "dense 64, relu, dense 10", "--batch", "16", "--eval-every",
         "never", "--log", trials.LOG, "--json"]


@unittest.skipIf(ranks.reason_to_skip(), ranks.reason_to_skip())
class TestHosts(unittest.TestCase):
    def setUp(self):
        self.folder = self.enterContext(tempfile.TemporaryDirectory(prefix="hysgd-hosts-"))
        self.log = os.path.join(self.folder, trials.LOG)

    def start(self, lines, *options):
        """(network, job that has begun to train)"""
        if os.path.exists(self.log):
            os.remove(self.log)
        hosts = self.enterContext(network.Network(lines))
        words = hosts.mpirun(options=["--enable-recovery"]) + ["-n", str(len(lines)), ranks.PROGRAM, *TRAIN, *options]
        job = self.enterContext(ranks.Job(words, self.folder, hosts.environment()))
        self.assertTrue(trials.wait_for_updates(job, self.log), job.errors())
        return hosts, job

    def assert_right(self, job, reason="gradients"):
        self.assertIsNotNone(job.result(), job.errors())
        self.assertEqual(job.result()["reason"], reason)
        self.assertEqual(trials.account_wrongs(job.result(), trials.events(self.log)), [])

    def assert_ends(self, job):
        self.assertTrue(job.wait(BOUND), f"it hangs, and said: {job.errors()}")
        self.assert_right(job)

    def lost(self, job):
        return [line for _, line in job.said if trials.is_about_loss(line)]

    def test_ranks_on_four_hosts_account_for_every_gradient(self):
        for policy in ("sync", "async"):
            _, job = self.start([Line(RATE)] * 4, "--policy", policy, "--gradients", "200")
            self.assert_ends(job)

    def test_a_slow_and_bad_line_only_takes_longer(self):
        _, job = self.start([Line(RATE)] * 3 + [Line(RATE / 10, delay=5, jitter=3, loss=0.5)], "--policy", "async", "--gradients", "200")
        self.assert_ends(job)
        self.assertEqual(self.lost(job), [])
        self.assertEqual(trials.clock_wrongs(trials.events(self.log), 4), [])

    def test_a_host_that_is_cut_off_is_lost_and_the_others_go_on(self):
        hosts, job = self.start([Line(RATE)] * 4, "--policy", "sync", "--gradients", "2000", "--tolerate", "1", "--patience", "5")
        hosts.cut(3)
        self.assertTrue(job.wait_for_result(BOUND), f"there is no result; it said: {job.errors()}")  # mpirun waits for host 3
        self.assertEqual(job.result()["reason"], "gradients")
        self.assertEqual(trials.result_wrongs(job.result()), [])  # it has gone back to a copy
        self.assertTrue(any("worker 3" in line for line in self.lost(job)), job.errors())

    def test_a_line_that_comes_back_in_time_loses_nothing(self):
        hosts, job = self.start([Line(RATE)] * 4, "--policy", "sync", "--gradients", "1000", "--tolerate", "1", "--patience", "20")
        hosts.cut(2)
        time.sleep(1)
        hosts.mend(2)
        self.assert_ends(job)
        self.assertEqual(self.lost(job), [])


if __name__ == "__main__":
    unittest.main()
