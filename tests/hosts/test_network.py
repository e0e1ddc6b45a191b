# SPDX-License-Identifier: Apache-2.0
"""The hosts themselves: names, addresses, lines. Times are only compared with what a line cannot be faster than."""
import os
import signal
import subprocess
import sys
import time
import unittest

import network
from network import Line, Network

# Answers one connection after the other: takes the bytes announced in the first 8, answers with one.
ECHO = """
import socket
listener = socket.create_server(("10.77.0.2", 7000))
print("ready", flush=True)
while True:
    with listener.accept()[0] as peer:
        left = int.from_bytes(peer.recv(8, socket.MSG_WAITALL), "big")
        while left:
            left -= len(peer.recv(min(left, 65536)))
        peer.send(b"x")
"""
# Sends so many bytes and waits for the answer; prints the seconds, or nothing when none comes for as long as argument 2 says.
SEND = """
import socket, sys, time
size = int(sys.argv[1])
try:
    with socket.create_connection(("10.77.0.2", 7000), timeout=float(sys.argv[2])) as peer:
        began = time.monotonic()
        peer.sendall(size.to_bytes(8, "big") + bytes(size))
        if peer.recv(1): print(time.monotonic() - began)
except OSError:
    pass
"""


def send(network, size, patience=20):
    """Seconds from host 0 to host 1 and for the answer back; None when it does not come."""
    words = network.inside(0) + [sys.executable, "-c", SEND, str(size), str(patience)]
    found = subprocess.run(words, capture_output=True, text=True, check=True).stdout
    return float(found) if found else None


class TestNetwork(unittest.TestCase):
    def open(self, *lines):
        opened = self.enterContext(Network(list(lines)))
        echo = self.enterContext(subprocess.Popen(opened.inside(1) + [sys.executable, "-c", ECHO], text=True,
                                                  stdout=subprocess.PIPE))
        self.addCleanup(echo.kill)
        self.assertEqual(echo.stdout.readline(), "ready\n")
        return opened

    def test_hosts_have_names_and_reach_each_other(self):
        opened = self.open(Line(), Line())
        self.assertEqual(subprocess.run(opened.inside(1) + ["hostname"], capture_output=True, text=True).stdout, "host1\n")
        self.assertIsNotNone(send(opened, 1))

    def test_a_line_carries_no_more_than_its_rate(self):
        opened = self.open(Line(), Line(rate=8))
        self.assertGreater(send(opened, 2 ** 20), 0.8)  # but for the burst

    def test_a_long_line_takes_its_time_both_ways(self):
        opened = self.open(Line(delay=10), Line(delay=20))
        self.assertGreater(send(opened, 1), 0.06)

    def test_a_long_line_carries_everything(self):
        opened = self.open(Line(), Line(delay=1, jitter=2, loss=1))
        self.assertIsNotNone(send(opened, 2 ** 22))

    def test_a_cut_line_carries_nothing_until_it_is_mended(self):
        for line in (Line(), Line(delay=1)):
            opened = self.open(Line(), line)
            opened.cut(1)
            self.assertIsNone(send(opened, 1, patience=0.3))
            opened.mend(1)
            self.assertIsNotNone(send(opened, 1))

    def test_a_killed_owner_leaves_nothing_once_the_next_one_begins(self):
        program = ("import os, sys; sys.path.insert(0, sys.argv[1]); import network\n"
                   "with network.Network([network.Line(delay=1)]) as n:\n"
                   "    os.kill(os.getpid(), int(sys.argv[2]))\n")
        for number in (signal.SIGTERM, signal.SIGKILL):
            owner = subprocess.Popen([sys.executable, "-c", program, network.FOLDER, str(number)])
            self.assertNotEqual(owner.wait(), 0)
            if number == signal.SIGTERM:
                self.assertEqual(network.spaces(f"{network.STEM}{owner.pid}-"), [])
            with Network([Line()]):
                self.assertEqual(network.spaces(f"{network.STEM}{owner.pid}-"), [])

    def test_a_line_that_cannot_be_made_leaves_nothing(self):
        with self.assertRaises(network.Failed):
            with Network([Line(), Line(delay=-1)]):
                self.fail("there is no such line")
        self.assertEqual(network.spaces(f"{network.STEM}{os.getpid()}-"), [])

    def test_processes_of_the_hosts_end_with_the_network(self):
        with Network([Line()]) as opened:
            sleeper = subprocess.Popen(opened.inside(0) + ["sleep", "1000"])
            while not subprocess.run(["ip", "netns", "pids", opened.space(0)], capture_output=True, text=True).stdout:
                time.sleep(0.01)
        self.assertNotEqual(sleeper.wait(), 0)


if __name__ == "__main__":
    unittest.main()
