# SPDX-License-Identifier: Apache-2.0
"""The live view of a run that goes on until it is interrupted: what it answers, to whom, and what it survives."""
import errno
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import unittest
import urllib.error
import urllib.request

import browser

sys.path.append("/usr/lib/python3/dist-packages")  # where Debian's packages are, should this be another Python
try:
    from prometheus_client.parser import text_string_to_metric_families
except ImportError:
    text_string_to_metric_families = None

HYSGD = os.path.abspath(os.environ["HYSGD"])
RUN = ("--runtime threads --model softmax,kernels=reference --data digits,train=400,test=100 --workers 3 --batch 8 --policy threshold,step=50"
       " --deadline 600 --eval-every gradients=200").split()
SECONDS = 60  # no answer in this time is a failure


def free_port():
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


def has_live_view():
    done = subprocess.run([HYSGD, "train", "-q", "--updates", "1", "--data", "none", "--model", "quadratic", "--serve", str(free_port())],
                          capture_output=True, text=True)
    return done.returncode == 0 or "built without" not in done.stderr


@unittest.skipUnless(has_live_view(), "the command was built without libmicrohttpd")
class Live(unittest.TestCase):
    def setUp(self):
        self.port = free_port()
        self.run_, self.ended = self.start(self.port), False

    def start(self, port, *options):
        run = subprocess.Popen([HYSGD, "train", *RUN, *options, "--serve", str(port)], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                               text=True)
        for line in run.stderr:  # the first one comes with the port open
            if "live view" in line:
                threading.Thread(target=run.stderr.read, daemon=True).start()
                return run
        self.fail("the live view was not announced")

    def stop(self):
        """Interrupts the run; the exit status."""
        self.ended = True
        self.run_.send_signal(signal.SIGINT)
        self.run_.stdout.read()
        return self.run_.wait(SECONDS)

    def tearDown(self):
        if not self.ended:
            self.assertIsNone(self.run_.poll(), "the run did not go on")
            self.assertEqual(self.stop(), 130)
        self.run_.stdout.close()

    def get(self, path, **headers):
        request = urllib.request.Request(f"http://127.0.0.1:{self.port}{path}", headers=headers)
        with urllib.request.urlopen(request, timeout=SECONDS) as answer:
            return answer.read().decode()

    def code(self, path, method="GET", **headers):
        request = urllib.request.Request(f"http://127.0.0.1:{self.port}{path}", method=method, headers=headers)
        try:
            return urllib.request.urlopen(request, timeout=SECONDS).status
        except urllib.error.HTTPError as error:
            with error:
                return error.code

    def data(self, after=0):
        return json.loads(self.get(f"/data?after={after}"))

    def connect(self):
        return socket.create_connection(("127.0.0.1", self.port), timeout=SECONDS)

    def exchange(self, request):
        """What comes back until the server closes."""
        with self.connect() as one:
            try:
                one.sendall(request)
                one.shutdown(socket.SHUT_WR)
                return b"".join(iter(lambda: one.recv(65536), b""))
            except (ConnectionResetError, BrokenPipeError):
                return b""
            except OSError as fault:  # closed between the two
                if fault.errno != errno.ENOTCONN:
                    raise
                return b""

    def test_data_go_on_with_the_run(self):
        first = self.data()
        second = self.data(first["serial"])
        third = self.data(second["serial"])
        self.assertLess(first["serial"], second["serial"])
        self.assertLess(second["runs"][0]["seconds"], third["runs"][0]["seconds"])
        self.assertTrue(third["runs"][0]["is_running"])
        account = third["runs"][0]["summary"]["accounts"]
        for one in account:
            self.assertEqual(one["received"], one["applied"] + one["dropped"] + one["held"])
        self.assertGreater(sum(one["received"] for one in account), 0)

    def test_readers_that_wait_get_the_end(self):
        serial = self.data()["serial"]
        ends = []

        def follow():
            moment = self.data(serial)
            try:
                while moment["runs"][0]["is_running"]:
                    moment = self.data(moment["serial"])
            except OSError:  # it was so slow to ask again that the run had gone
                return
            ends.append(moment["runs"][0]["summary"]["reason"])

        readers = [threading.Thread(target=follow) for _ in range(3)]
        for one in readers:
            one.start()
        self.data(self.data(serial)["serial"])
        self.assertEqual(self.stop(), 130)
        for one in readers:
            one.join(SECONDS)
        self.assertEqual(set(ends), {"interrupted"})
        with self.assertRaises(OSError):
            self.connect()

    @unittest.skipUnless(text_string_to_metric_families, "there is no python3-prometheus-client")
    def test_prometheus_understands_the_metrics(self):
        serial = self.data()["serial"]
        for _ in range(2):
            serial = self.data(serial)["serial"]
        families = {family.name: family for family in text_string_to_metric_families(self.get("/metrics"))}
        fates = families["hysgd_gradients"]
        self.assertEqual(fates.type, "counter")
        received = sum(one.value for one in families["hysgd_gradients_received"].samples)
        held = sum(one.value for one in families["hysgd_gradients_held"].samples)
        decided = sum(one.value for one in fates.samples if one.labels["fate"] != "abandoned")
        self.assertGreater(received, 0)
        self.assertEqual(received, held + decided)
        self.assertEqual({one.labels["worker"] for one in fates.samples}, {"0", "1", "2"})
        self.assertEqual(families["hysgd_run_info"].samples[0].labels["policy"], "threshold,step=50")
        self.assertEqual(families["hysgd_running"].samples[0].value, 1)
        self.assertTrue(all(family.documentation for family in families.values()))

    def test_nothing_else_is_answered(self):
        self.assertEqual(self.code("/data", method="HEAD"), 200)
        for path, method, code in (("/nowhere", "GET", 404), ("/data/", "GET", 404), ("/../data", "GET", 404), ("/%2e/data", "GET", 404),
                                   ("/data?after=-1", "GET", 400), ("/data?after=", "GET", 400), ("/data?after=1e3", "GET", 400),
                                   ("/data?after=99999999999999999999", "GET", 400), ("/", "POST", 405), ("/", "PUT", 405),
                                   ("/data", "DELETE", 405), ("/metrics", "OPTIONS", 405)):
            with self.subTest(path=path, method=method):
                self.assertEqual(self.code(path, method), code)

    def test_another_host_s_page_reads_nothing(self):
        for host, code in (("evil.example", 403), ("127.0.0.1.evil.example", 403), ("localhost:1", 200), ("127.0.0.1", 200),
                           ("[::1]:8080", 200)):
            with self.subTest(host=host):
                self.assertEqual(self.code("/metrics", Host=host), code)

    def test_malformed_and_huge_requests_change_nothing(self):
        head = b"GET / HTTP/1.1\r\nHost: localhost\r\n"
        for request in (b"", b"\0" * 100, b"GET\r\n\r\n", b"GET / HTTP/9.9\r\n\r\n", b"\xff\xfe / \r\n\r\n", b"GET " + b"/" * 1000000,
                        b"GET /" + b"a" * 100000 + b" HTTP/1.1\r\nHost: localhost\r\n\r\n", head + b"X: " + b"y" * 1000000,
                        head + b"X: y\r\n" * 100000 + b"\r\n", head + b"Content-Length: 99999999999999999999\r\n\r\n",
                        head + b"Content-Length: -1\r\n\r\n", head + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n",
                        head.replace(b"GET", b"POST") + b"Content-Length: 1000000\r\n\r\n" + b"z" * 1000000,
                        head + b"\r\n" + head + b"\r\n" * 3):
            answer = self.exchange(request)
            with self.subTest(request=request[:60]):
                self.assertTrue(answer == b"" or answer.startswith(b"HTTP/1."), answer[:100])
        self.assertGreater(self.data()["serial"], 0)

    def test_slow_and_vanishing_readers_are_left_behind(self):
        serial = self.data()["serial"]
        ask = "GET /data?after=%d HTTP/1.1\r\nHost: localhost\r\n\r\n"
        slow = [self.connect() for _ in range(20)]
        for i, one in enumerate(slow):
            one.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1024)
            one.sendall((ask % (0 if i % 2 else serial)).encode() * 5)  # and reads nothing
        for _ in range(20):
            with self.connect() as one:
                one.sendall((ask % (serial + 5)).encode())  # and goes away
        begin = self.data(serial)
        end = self.data(begin["serial"])
        self.assertGreater(end["runs"][0]["seconds"], begin["runs"][0]["seconds"])
        self.assertEqual(self.stop(), 130)
        for one in slow:
            one.close()

    def test_more_readers_than_there_is_room_for(self):
        crowd = [self.connect() for _ in range(100)]
        for one in crowd:
            one.close()
        self.assertGreater(self.data()["serial"], 0)

    def test_a_port_in_use_is_refused_before_training(self):
        done = subprocess.run([HYSGD, "train", "-q", *RUN, "--serve", str(self.port)], capture_output=True, text=True)
        self.assertEqual((done.returncode, done.stdout, done.stderr),
                         (1, "", f"hysgd: serve={self.port}: the port cannot be opened: Address already in use\n"))

    @unittest.skipUnless(browser.find(), "there is no Chromium")
    def test_the_page_follows_the_run(self):
        with browser.Browser() as page:
            page.emulate()
            page.open(f"http://127.0.0.1:{self.port}/")
            page.wait_for("data.serial > 2 && charts.length === 4")
            page.wait_for("$('live').textContent.startsWith('Live, ')")
            self.assertEqual(page.value("charts.map(({box, graph}) => graph.size().width - box.clientWidth)"), [0] * 4)
            seconds = page.value("runs[0].seconds")
            page.value("setRange(0, runs[0].seconds / 2), zoom(0.5, 0)")
            kept, span = page.value("range[1]"), page.value("view.to - view.from")
            page.wait_for(f"runs[0].seconds > {seconds}")
            self.assertEqual(page.value("range[1]"), kept)
            self.assertEqual(page.value("view.to - view.from"), span)
            page.value("showWhole(), wholeView()")
            seconds = page.value("runs[0].seconds")
            page.wait_for(f"runs[0].seconds > {seconds} && range[1] === runs[0].seconds")
            self.assertEqual(self.stop(), 130)
            page.wait_for("$('live').textContent === 'The run has ended: interrupted.'")
            self.assertEqual(page.faults, [])


if __name__ == "__main__":
    unittest.main()
