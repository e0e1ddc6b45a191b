# SPDX-License-Identifier: Apache-2.0
"""hysgd join: a worker is added to a run that goes on, in the place of a lost one or on a spare one, or is refused."""
import json
import os
import signal
import socket
import subprocess
import tempfile
import time
import unittest

import ranks

# Enough work for every run to be ended by its test, and a deadline in case that it is not.
TRAIN = [ranks.PROGRAM, "train", "--runtime", "mpi", "--data", "random,samples=2000,dimensions=20", "--model", "dense 200, relu, dense",
         "--policy", "async", "--batch", "1024", "--deadline", "300", "--eval-every", "never", "--control", "run.sock",
         "--save", "run.st", "--log", "run.hylog", "--json"]
START = 60  # seconds


def hysgd(*words, folder, timeout=300):
    return subprocess.run([ranks.PROGRAM, *words], cwd=folder, capture_output=True, text=True, timeout=timeout)


@unittest.skipIf(ranks.reason_to_skip(), ranks.reason_to_skip())
class TestJoin(unittest.TestCase):
    def setUp(self):
        place = tempfile.TemporaryDirectory()
        self.addCleanup(place.cleanup)
        self.folder = place.name

    def start(self, *options, count=3, launcher=("--enable-recovery",)):
        job = ranks.Job(ranks.launch(count, *launcher) + TRAIN + list(options), self.folder)
        self.addCleanup(job.kill)
        return job

    def wait_for_door(self, job):
        until = time.monotonic() + START
        while not os.path.exists(os.path.join(self.folder, "run.sock")):
            self.assertLess(time.monotonic(), until, job.errors())
            time.sleep(0.05)

    def wait_for_gradients(self, job):
        """Only then has the run begun: who is lost before ends it."""
        until = time.monotonic() + START
        while not self.delivered_at_last():
            self.assertLess(time.monotonic(), until, job.errors())
            time.sleep(0.1)

    def join(self):
        return hysgd("join", "run.sock", folder=self.folder)

    def assert_joined(self, worker, rank):
        answer = self.join()
        self.assertEqual((answer.returncode, answer.stderr), (0, ""))
        self.assertTrue(answer.stdout.startswith(f"worker {worker} joins as rank {rank} on "), answer.stdout)

    def assert_refused(self, reason, code=1, answer=None):
        answer = answer or self.join()
        self.assertEqual((answer.returncode, answer.stdout), (code, ""))
        self.assertEqual(answer.stderr.count("\n"), 1, answer.stderr)
        self.assertIn(reason, answer.stderr)

    def end(self, job, workers):
        """Stops the run as Ctrl-C does, and checks its account and the repetition of its log. Workers: those that are left."""
        self.assertTrue(job.ranks(), job.errors())
        leader = min(job.ranks())
        until = time.monotonic() + START
        while leader == 0 and self.delivered_at_last() != workers and time.monotonic() < until:
            time.sleep(0.1)
        job.signal(leader, signal.SIGINT)
        self.assertTrue(job.wait(START), job.errors())
        self.assertFalse(os.path.exists(os.path.join(self.folder, "run.sock")))
        result = job.result()
        if leader == 0:
            self.assertEqual(result["received"], result["applied"] + result["dropped"])
            self.assertEqual(self.delivered_at_last(), workers)
            self.check_repetition()

    def delivered_at_last(self):
        """The workers whose gradients came after all changes of who takes part."""
        lines = hysgd("export", "run.hylog", "--jsonl", "-", folder=self.folder).stdout.splitlines()
        delivered = set()
        for event in map(json.loads, lines):
            if event.get("event") in ("joined", "lost"):
                delivered = set()
            elif event.get("event") == "arrival":
                delivered.add(event["worker"])
        return sorted(delivered)

    def check_repetition(self):
        answer = hysgd("replay", "run.hylog", "--check", "run.st", "--json", folder=self.folder)
        self.assertEqual(answer.returncode, 0, answer.stderr)
        told = json.loads(answer.stdout)
        self.assertTrue(told["check_is_equal"] and told["end_is_equal"] and not told["differs"], answer.stdout)

    def test_a_worker_joins_on_a_spare_place(self):
        job = self.start("--spare", "1")
        self.wait_for_door(job)
        self.assert_joined(3, 3)
        self.assert_refused("all places are taken: spare=N keeps N more free")
        self.end(job, [0, 1, 2, 3])

    def test_a_worker_takes_the_place_of_one_that_was_killed(self):
        job = self.start("--tolerate", "1", "--spare", "1", "--servers", "1", count=4)
        self.wait_for_gradients(job)
        job.signal(1, signal.SIGKILL)
        self.assertTrue(job.wait_for_line(lambda line: line.startswith("worker 1 is lost"), START), job.errors())
        self.assert_joined(1, 4)
        self.assert_joined(3, 5)
        self.end(job, [0, 1, 2, 3])

    def test_one_that_has_joined_may_be_lost_and_replaced(self):
        job = self.start("--tolerate", "2", "--spare", "1", "--wire", "int8", "--policy", "threshold,step=50")
        self.wait_for_gradients(job)
        self.assert_joined(3, 3)
        os.kill(job.newcomers()[0], signal.SIGKILL)
        self.assertTrue(job.wait_for_line(lambda line: line.startswith("worker 3 is lost"), START), job.errors())
        self.assert_joined(3, 4)
        self.end(job, [0, 1, 2, 3])

    def test_one_that_has_joined_goes_on_after_the_loss_of_a_server(self):
        job = self.start("--tolerate", "1", "--spare", "1", "--copies", "20", "--model", "dense 2000, relu, dense")
        self.wait_for_gradients(job)
        self.assert_joined(3, 3)
        job.signal(2, signal.SIGKILL)
        self.assertTrue(job.wait_for_line(lambda line: "gradients undone" in line, START), job.errors())
        self.assert_joined(2, 4)
        self.end(job, [0, 1, 2, 3])

    def test_who_comes_to_lead_opens_the_door_again(self):
        job = self.start("--tolerate", "1")
        self.wait_for_gradients(job)
        job.signal(0, signal.SIGKILL)
        self.assertTrue(job.wait_for_line(lambda line: "gradients undone" in line, START), job.errors())
        self.assert_joined(0, 3)
        self.end(job, None)

    def test_a_drained_worker_is_replaced(self):
        job = self.start()
        self.wait_for_gradients(job)
        job.signal(2, signal.SIGTERM)
        self.assertTrue(job.wait_for_line(lambda line: line.startswith("worker 2 leaves"), START), job.errors())
        self.assert_joined(2, 3)
        self.end(job, [0, 1, 2])

    def test_a_rank_that_does_not_take_part_in_time_keeps_others_out(self):
        job = self.start("--spare", "1", "--tolerate", "1", "--patience", "5")
        self.wait_for_gradients(job)
        job.signal(2, signal.SIGSTOP)
        self.assert_refused("run.sock: ")
        self.assertTrue(job.wait_for_line(lambda line: "rank 2 on" in line and "silent" in line, START), job.errors())
        job.signal(2, signal.SIGKILL)
        self.end(job, [0, 1])

    def test_other_data_are_refused(self):
        path = os.path.join(self.folder, "data.txt")
        with open(path, "w", encoding="ascii") as data:
            data.writelines(f"{user} {item} {(user + item) % 5 + 1}\n" for user in range(60) for item in range(30))
        job = self.start("--spare", "1", "--data", "ratings,path=data.txt", "--model", "factors", "--scheduler", "none")
        self.wait_for_door(job)
        length = os.path.getsize(path)
        with open(path, "a", encoding="ascii") as data:
            data.write("3 200 5\n")
        self.assert_refused("data checksum=")
        os.truncate(path, length)
        self.end(job, [0, 1, 2])

    def test_a_process_that_cannot_begin_is_refused(self):
        config = os.path.join(self.folder, "more.conf")
        with open(config, "w", encoding="ascii") as file:
            file.write("seed = 3\n")
        job = self.start("--spare", "1", "--config", "more.conf")
        self.wait_for_door(job)
        with open(config, "w", encoding="ascii") as file:
            file.write("seed = none\n")
        self.assert_refused("seed")
        with open(config, "w", encoding="ascii") as file:
            file.write("seed = 4\n")
        self.assert_refused("has seed=4, and the run has 3: expected the same")
        self.end(job, [0, 1, 2])

    def test_a_process_that_cannot_be_started_is_refused_and_so_are_all_after_it(self):
        job = self.start("--spare", "1")
        self.wait_for_door(job)
        self.assert_refused("no process can be started", answer=hysgd("join", "run.sock", "--host", "nowhere.invalid", folder=self.folder))
        self.assert_refused("no process can join any more, since one could not be started")
        self.assert_refused("no process can join any more, since one could not be started")
        self.end(job, [0, 1, 2])

    def test_what_is_no_run_is_refused(self):
        path = os.path.join(self.folder, "run.sock")
        self.assert_refused("run.sock: there is no run: ", 3)
        with open(path, "w", encoding="ascii"):
            pass
        self.assert_refused("run.sock: is no socket of a run", 3)
        os.remove(path)
        with socket.socket(socket.AF_UNIX) as door:
            door.bind(path)
        self.assert_refused("run.sock: nobody listens there: the run is over, or has just lost the rank that led it", 3)
        self.assert_refused("expected the name of a host", 2, hysgd("join", "run.sock", "--host", "a b", folder=self.folder))

    def test_the_door_of_a_run_that_is_over_is_replaced_and_that_of_another_is_not(self):
        path = os.path.join(self.folder, "run.sock")
        with socket.socket(socket.AF_UNIX) as door:
            door.bind(path)
        job = self.start("--spare", "1")
        until = time.monotonic() + START
        while self.join().returncode == 3 and time.monotonic() < until:
            time.sleep(0.1)
        other = self.start("--save", "other.st", "--log", "other.hylog", count=2)
        self.assertTrue(other.wait(START), other.errors())
        self.assertIn("control=run.sock: another run listens there: expected a path of its own", other.errors())
        self.end(job, [0, 1, 2, 3])

    def test_wrong_words_at_the_door_get_one_line(self):
        job = self.start("--spare", "1")
        self.wait_for_door(job)
        for words in (b"GET / HTTP/1.0\n", b"hysgd 1 join a b\n", b"hysgd 1 joinx\n", b"\n", b"x" * 5000, b"\0\n"):
            with socket.socket(socket.AF_UNIX) as asking:
                asking.connect(os.path.join(self.folder, "run.sock"))
                try:
                    asking.sendall(words)
                except BrokenPipeError:
                    pass
                asking.settimeout(START)
                self.assertTrue(asking.recv(1000).startswith(b"no expected a request"))
        self.assert_joined(3, 3)
        self.end(job, [0, 1, 2, 3])

    def test_without_recovery_nobody_can_join(self):
        job = self.start(launcher=())
        self.assertTrue(job.wait(START), job.errors())
        self.assertIn("control=run.sock: mpirun ends all ranks with a process that cannot join", job.errors())


if __name__ == "__main__":
    unittest.main()
