# SPDX-License-Identifier: Apache-2.0
"""One trial of each kind; `faults` does hundreds."""
import unittest

import ranks
import trials
from trials import Plan, Scene

SHARED = Scene("computing", "async", "shared")
APART = Scene("pushing and pulling", "sync", "apart")
SAVING = Scene("checkpointing", "threshold,start=1,step=60", "shared")
LENGTH = 1.0  # seconds that are tried first; a run that was over before is done again, hit sooner
TRIES = 5


@unittest.skipIf(ranks.reason_to_skip(), ranks.reason_to_skip())
class TestFaults(unittest.TestCase):
    def survives(self, scene, action, role, rank, moment=0.4, has_replay=False):
        for shortening in range(TRIES):
            outcome = trials.run(Plan(scene, action, role, rank, moment, 1), LENGTH / 4 ** shortening, has_replay)
            self.assertEqual(outcome.wrongs, [])
            if outcome.was_hit:
                return
        self.fail(f"{TRIES} runs were over before")

    def test_a_run_without_faults_accounts_for_every_gradient(self):
        for scene in (SHARED, APART, SAVING):
            self.assertEqual(trials.run(Plan(scene, "none", "", -1, 0, 1), has_replay=True).wrongs, [])

    def test_a_killed_worker_costs_its_gradient(self):
        self.survives(APART, "kill", "worker", 1, has_replay=True)

    def test_a_killed_server_is_replaced_by_its_replica(self):
        self.survives(APART, "kill", "server", 4, has_replay=True)

    def test_a_killed_rank_that_works_and_serves_is_replaced(self):
        self.survives(SHARED, "kill", "worker and server", 3, has_replay=True)

    def test_a_killed_coordinator_is_replaced(self):
        self.survives(SHARED, "kill", "coordinator", 0, has_replay=True)

    def test_a_rank_killed_around_checkpoints_is_replaced(self):
        self.survives(SAVING, "kill", "worker and server", 2, has_replay=True)

    def test_a_rank_that_hangs_for_too_long_is_lost(self):
        self.survives(APART, "hang", "worker", 2, has_replay=True)

    def test_a_rank_that_hangs_shortly_is_only_slow(self):
        self.survives(APART, "pause", "worker", 2)

    def test_a_terminated_rank_is_drained(self):
        self.survives(SHARED, "drain", "worker and server", 1, has_replay=True)


if __name__ == "__main__":
    unittest.main()
