# SPDX-License-Identifier: Apache-2.0
"""What the trials check with, on made-up runs: each kind of fault is seen."""
import copy
import unittest

import trials
from trials import Plan, Scene

RESULT = {"received": 3, "applied": 2, "dropped": 1, "undone": 0, "updates": 2}
LOG = [
    {"hysgd_log": 1},
    {"event": "arrival", "t": 1.0, "worker": 0}, {"event": "update", "t": 1.0, "version": 1, "gradients": 1},
    {"event": "arrival", "t": 2.0, "worker": 1}, {"event": "update", "t": 2.0, "version": 2, "gradients": 1},
    {"event": "lost", "t": 2.5, "worker": 1},
    {"event": "arrival", "t": 3.0, "worker": 1},
    {"event": "end", "t": 3.0, "accounts": [{"received": 1, "applied": 1, "dropped": 0, "undone": 0},
                                          {"received": 2, "applied": 1, "dropped": 1, "undone": 0}]},
]
SCENE = Scene("computing", "sync", "shared")


class TestChecks(unittest.TestCase):
    def test_a_right_account_is_right(self):
        self.assertEqual(trials.account_wrongs(RESULT, LOG), [])

    def test_every_number_of_an_account_is_looked_at(self):
        for key in RESULT:
            self.assertNotEqual(trials.account_wrongs({**RESULT, key: RESULT[key] + 1}, LOG), [], key)
        for worker in (0, 1):
            for key in LOG[-1]["accounts"][worker]:
                log = copy.deepcopy(LOG)
                log[-1]["accounts"][worker][key] += 1
                self.assertNotEqual(trials.account_wrongs(RESULT, log), [], key)

    def test_every_event_of_an_account_is_looked_at(self):
        for i, event in enumerate(LOG):
            if event.get("event") in ("arrival", "update", "end"):
                self.assertNotEqual(trials.account_wrongs(RESULT, LOG[:i] + LOG[i + 1:]), [], event)

    def test_what_a_return_has_undone_is_in_no_account_but_its_own(self):
        again = LOG[3:-1]
        log = LOG[:5] + [{"event": "restored", "t": 2.2, "kept": 2}] + again + LOG[-1:]
        result = {**RESULT, "undone": 1}
        log[-1] = copy.deepcopy(LOG[-1])
        log[-1]["accounts"][1]["undone"] = 1
        self.assertEqual(trials.account_wrongs(result, log), [])
        self.assertNotEqual(trials.account_wrongs({**result, "undone": 0}, log), [])
        log[5]["kept"] = 1
        self.assertNotEqual(trials.account_wrongs(result, log), [])

    def test_a_return_beyond_an_earlier_one_brings_back_what_that_had_undone(self):
        log = ["run", "a", "b", {"event": "restored", "kept": 0}, {"event": "restored", "kept": 2}, "c"]
        log = [event if isinstance(event, dict) else {"event": event} for event in log]
        self.assertEqual([event["event"] for event in trials.standing(log)], ["run", "a", "b", "restored", "c"])

    def test_who_is_lost_must_be_named(self):
        killed = Plan(SCENE, "kill", "worker", 2, 0.5, 1)
        self.assertEqual(trials.naming_wrongs(killed, ["", "server 0 is lost: rank 2 on vm has ended; back to update 1"]), [])
        self.assertEqual(trials.naming_wrongs(killed, ["worker 2 is lost: rank 2 on vm has been silent for 4 s"]), [])
        self.assertNotEqual(trials.naming_wrongs(killed, ["worker 2 is lost: rank 20 on vm has ended", "rank 2 on vm has ended"]), [])

    def test_who_is_told_to_end_must_be_named_once(self):
        drained = Plan(SCENE, "drain", "worker", 2, 0.5, 1)
        line = "worker 2 leaves: rank 2 on vm was told to end (SIGTERM)"
        self.assertEqual(trials.naming_wrongs(drained, [line]), [])
        for lines in ([], [line, line], [line.replace("rank 2", "rank 20")], [line, "worker 2 is lost: rank 2 on vm has ended"]):
            self.assertNotEqual(trials.naming_wrongs(drained, lines), [], lines)
        self.assertEqual(trials.naming_wrongs(drained._replace(role="coordinator", rank=0), []), [])

    def test_nobody_else_may_be_named(self):
        paused = Plan(SCENE, "pause", "worker", 2, 0.5, 1)
        self.assertEqual(trials.naming_wrongs(paused, ["rank 2 is slow"]), [])
        self.assertNotEqual(trials.naming_wrongs(paused, ["rank 2 is lost"]), [])

    def test_recovery_is_the_longest_gap_between_updates_around_the_loss(self):
        log = LOG[:-1] + [{"event": "update", "t": t, "version": 3, "gradients": 1} for t in (4.5, 6.0, 16.0)]
        self.assertAlmostEqual(trials.recovery_seconds(101.0, 104.0, 5.2, log), 2.5)
        self.assertIsNone(trials.recovery_seconds(101.0, 104.0, 99.0, log))

    def test_trials_are_a_function_of_their_number(self):
        plans = [trials.choose(1, number, ["kill"]) for number in range(200)]
        self.assertEqual(plans, [trials.choose(1, number, ["kill"]) for number in range(200)])
        self.assertEqual({plan.scene for plan in plans}, set(trials.every_scene()))
        self.assertEqual({plan.role for plan in plans}, {"coordinator", "worker", "server", "worker and server"})


if __name__ == "__main__":
    unittest.main()
