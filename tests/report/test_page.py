# SPDX-License-Identifier: Apache-2.0
"""The report as a browser shows it: what it draws, what the keyboard reaches, phone, paper and darkness. Runs are made by the command."""
import os
import re
import subprocess
import tempfile
import unittest

import browser

HYSGD = os.path.abspath(os.environ["HYSGD"])
RUN = ("--runtime virtual --model softmax,kernels=reference --data digits,train=400,test=100 --workers 4 --speeds 3x1,1x0.3 --batch 8"
       " --epochs 2").split()
CHARTS = "accuracy loss threshold staleness".split()
DRAWN = "document.documentElement.dataset.drawn"


def focused(page):
    return page.value("document.activeElement.id || document.activeElement.parentElement.id || document.activeElement.className")


@unittest.skipUnless(browser.find(), "there is no Chromium")
class Page(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = tempfile.TemporaryDirectory()
        logs = []
        for policy in ("sync", "async", "threshold,step=40"):
            logs.append(cls.path(f"{len(logs)}.hylog"))
            subprocess.run([HYSGD, "train", "-q", *RUN, "--policy", policy, "--log", logs[-1]], check=True, stdout=subprocess.DEVNULL)
        subprocess.run([HYSGD, "report", *logs, "--out", cls.path("all.html")], check=True)
        subprocess.run([HYSGD, "report", logs[0], logs[0], "--title", "</script><img src=x onerror=alert(1)>", "--out",
                        cls.path("twice.html")], check=True)
        cls.browser = browser.Browser()

    @classmethod
    def tearDownClass(cls):
        cls.browser.__exit__()
        cls.folder.cleanup()

    @classmethod
    def path(cls, name):
        return os.path.join(cls.folder.name, name)

    def open(self, name="all.html", **screen):
        self.browser.faults.clear()
        self.browser.emulate(**screen)
        self.browser.open("file://" + self.path(name))
        self.browser.wait_for(DRAWN)
        return self.browser

    def tearDown(self):
        self.assertEqual(self.browser.faults, [])

    def inked(self, page, canvas):
        """How many colours there are on a canvas: a blank one has one."""
        return page.value(f"""(() => {{ const canvas = {canvas}, pixels = new Uint32Array(canvas.getContext('2d').getImageData(
            0, 0, canvas.width, canvas.height).data.buffer); return new Set(pixels).size; }})()""")

    def test_every_chart_is_drawn(self):
        page = self.open()
        self.assertEqual(page.value(DRAWN).split(), [*CHARTS, "timeline"])
        count = page.value("document.querySelectorAll('.chart').length")
        self.assertEqual(count, len(CHARTS))
        for i in range(count):
            self.assertGreater(self.inked(page, f"document.querySelectorAll('.chart')[{i}].querySelector('canvas')"), 5)
        self.assertGreater(self.inked(page, "document.getElementById('timeline')"), 5)

    def test_the_page_asks_for_nothing(self):
        page = self.open()
        self.assertEqual(page.value("performance.getEntriesByType('resource').length"), 0)

    def test_gradients_and_samples_are_axes_too(self):
        page = self.open()
        for axis, most in (("gradients", 100), ("samples", 800)):
            page.value(f"$('axis').value = '{axis}', $('axis').dispatchEvent(new Event('change'))")
            self.assertEqual(page.value("charts.map(({graph}) => graph.xAxisRange()[1])"), [most] * len(CHARTS))
            ends = page.value("charts[0].series.map(({points}) => points[points.length - 1][0])")
            self.assertEqual(ends, [most] * 3)
            self.assertEqual(page.value("charts[0].graph.getOption('xlabel')"), axis)
        page.value("$('axis').value = 'seconds', $('axis').dispatchEvent(new Event('change'))")
        self.assertEqual(page.value("charts[0].graph.xAxisRange()"), page.value("[0, Math.max(...runs.map((run) => run.seconds))]"))

    def test_curves_rise_with_the_gradients(self):
        page = self.open()
        places = page.value("""(() => { const run = runs[1], list = []; for (let i = 0; i <= 200; i++)
            list.push(gradientsAt(run, run.seconds * i / 200)); return list; })()""")
        self.assertEqual(places, sorted(places))
        self.assertEqual((places[0], places[-1]), (0, 100))

    def test_the_keyboard_reaches_and_moves_everything(self):
        page = self.open()
        reached = []
        for _ in range(60):
            page.press("Tab")
            reached.append(focused(page))
        for wanted in ("legend", "axis", "from", "to", "whole", "logarithmic", "timeline-run", "zoom-in", "zoom-out", "pan-left",
                       "pan-right", "zoom-reset", "timeline", "accounts-box", "settings-box", "chart"):
            self.assertIn(wanted, reached)
        page.value("document.querySelector('.chart').focus()")
        whole = page.value("range")
        page.press("+", "Equal", "+")
        inside = page.value("range")
        self.assertAlmostEqual(inside[1] - inside[0], (whole[1] - whole[0]) / 2)
        page.press("ArrowRight")
        self.assertGreater(page.value("range")[0], inside[0])
        page.press("0", "Digit0", "0")
        self.assertEqual(page.value("range"), whole)
        page.value("canvas.focus()")
        page.press("+", "Equal", "+")
        page.press("ArrowLeft")
        self.assertLess(page.value("view.to - view.from"), page.value("runs[0].seconds") * 0.51)
        page.press("0", "Digit0", "0")
        self.assertEqual(page.value("[view.from, view.to]"), page.value("[0, runs[0].seconds]"))

    def test_the_timeline_is_zoomed_by_dragging(self):
        page = self.open()
        box = page.value("canvas.scrollIntoView(), (({x, y, width}) => ({x, y, width}))(canvas.getBoundingClientRect())")
        at = {"y": box["y"] + 10, "button": "left", "clickCount": 1}
        for kind, part in (("mousePressed", 0.4), ("mouseMoved", 0.5), ("mouseReleased", 0.5)):
            page.call("Input.dispatchMouseEvent", type=kind, x=box["x"] + part * box["width"], buttons=1, **at)
        span = page.value("(view.to - view.from) / runs[0].seconds")
        self.assertTrue(0.08 < span < 0.13, span)

    def test_a_run_can_be_hidden(self):
        page = self.open()
        page.value("document.querySelectorAll('#legend button')[1].focus()")
        page.press("Enter", text="\r")
        self.assertEqual(page.value("charts[0].graph.visibility()"), [True, False, True])

    def test_each_worker_has_its_gradients(self):
        page = self.open()
        rows = page.value("[...document.querySelectorAll('#worker-gradients tbody tr')].map((row) => row.innerText)")
        self.assertEqual(len(rows), 4)
        self.assertEqual(sum(int(re.split(r"\s+", row)[1]) for row in rows), 100)

    def test_phone_and_paper_and_darkness(self):
        page = self.open(width=390, height=844, scale=2)
        self.assertEqual(page.value("document.documentElement.scrollWidth"), 390)
        page = self.open(dark=True)
        self.assertEqual(page.value("getComputedStyle(document.body).backgroundColor"), "rgb(20, 23, 26)")
        page.print(self.path("page.pdf"))
        with open(self.path("page.pdf"), "rb") as file:
            self.assertGreater(len(re.findall(rb"/Type\s*/Page\b", file.read())), 1)

    def test_a_hostile_title_is_a_text(self):
        page = self.open("twice.html")
        self.assertEqual(page.value("document.getElementById('title').textContent"), "</script><img src=x onerror=alert(1)>")
        self.assertEqual(page.value("document.querySelectorAll('img').length"), 0)
        self.assertIn("0.hylog", page.value("title(0)"))


if __name__ == "__main__":
    unittest.main()
