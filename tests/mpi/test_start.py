# SPDX-License-Identifier: Apache-2.0
"""Ranks that are killed or stopped before a run begins: the others end, and say who it was. One rank has so many data to make that a test
finds it doing so, by the time that it has computed."""
import os
import signal
import time
import unittest

import ranks
from ranks import PROGRAM

PATIENCE = 5
BOUND = 90  # seconds in which everything must have ended; those that wait in MPI_Init do so for 60
TRAIN = ["train", "--runtime", "mpi", "--model", "dense 16, relu, dense 10", "--batch", "8", "--gradients", "40", "--json", "--patience",
         str(PATIENCE)]
FEW, MANY = ("digits,train=%d,test=50" % count for count in (200, 1000000))
COMPUTED = 2  # seconds of a core, which is more than the start takes and less than making MANY
KILL, STOP = signal.SIGKILL, signal.SIGSTOP


@unittest.skipIf(ranks.reason_to_skip(), ranks.reason_to_skip())
class TestStart(unittest.TestCase):
    def computed(self, job, rank):
        """Seconds of a core that a rank has used so far."""
        fields = ranks.read(f"/proc/{job.ranks().get(rank)}/stat").rpartition(b") ")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK") if fields else 0

    def start(self, reader, tolerate):
        """A job of three ranks, of which `reader` makes its data by now; and the rest wait for it."""
        *words, _, _ = ranks.launch(1, "--enable-recovery")
        for rank in range(3):
            words += [":"] * (rank > 0) + ["-n", "1", PROGRAM, *TRAIN, "--data", MANY if rank == reader else FEW, "--tolerate",
                                           str(tolerate)]
        job = self.enterContext(ranks.Job(words))
        until = time.monotonic() + BOUND
        while self.computed(job, reader) < COMPUTED:
            self.assertLess(time.monotonic(), until, job.errors())
            time.sleep(0.02)
        return job

    def others_end(self, job, rank):
        until = time.monotonic() + BOUND
        while set(job.ranks()) - {rank}:
            self.assertLess(time.monotonic(), until, f"ranks {sorted(job.ranks())} hang, and said: {job.errors()}")
            time.sleep(0.02)
        job.signal(rank, KILL)  # mpirun waits for one that only sleeps
        self.assertTrue(job.wait(BOUND), job.errors())
        self.assertIsNone(job.result())

    def named(self, job, rank, what):
        lines = [line for line in job.errors().splitlines() if line.startswith("hysgd: ")]
        self.assertEqual(len(lines), 1, job.errors())
        self.assertRegex(lines[0], rf"hysgd: rank {rank} on \S+ {what} while it read its data, and the run has not begun")

    def test_a_rank_that_is_killed_while_it_reads_its_data_is_named(self):
        for rank in (0, 2):
            for tolerate in (0, 1):
                job = self.start(rank, tolerate)
                self.assertIsNotNone(job.signal(rank, KILL))
                self.others_end(job, rank)
                self.named(job, rank, "has ended")

    def test_a_rank_that_stops_while_it_reads_its_data_is_named(self):
        for rank in (0, 1):
            job = self.start(rank, 1)
            self.assertIsNotNone(job.signal(rank, STOP))
            self.others_end(job, rank)
            self.named(job, rank, r"has been silent for \d+ s")

    @unittest.skipUnless(os.environ.get("HYSGD_LONG"), "skipped because ranks wait for a minute in MPI_Init: HYSGD_LONG=1 runs it")
    def test_a_rank_that_is_lost_at_any_moment_of_the_start_keeps_nobody(self):
        for number, delay in ((KILL, 0), (STOP, 0), (KILL, 0.3), (STOP, 0.3), (KILL, 0.6), (KILL, 0.9)):
            words = [*ranks.launch(3, "--enable-recovery"), PROGRAM, *TRAIN, "--data", FEW, "--gradients", "1000000"]
            with self.subTest(number=number, delay=delay), ranks.Job(words) as job:
                self.assertTrue(job.wait_for_ranks(3, BOUND))
                time.sleep(delay)
                job.signal(1, number)
                self.others_end(job, 1)
                self.assertRegex(job.errors(), r"hysgd: (rank 1 on|MPI: )")


if __name__ == "__main__":
    unittest.main()
