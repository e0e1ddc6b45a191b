# SPDX-License-Identifier: Apache-2.0
"""Writes RESULTS.md: template.md with every {{NAME}} replaced by the table of that name, and the plots beside it."""
import math
import os
import statistics
import sys

import images
import plan
import verdicts

FOLDER = os.path.dirname(os.path.abspath(__file__))
FIVE = len(plan.FINAL_SEEDS)


def table(head, rows):
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    return "\n".join(lines + ["| " + " | ".join(row) + " |" for row in rows])


def seconds_text(time):
    return "missed" if math.isinf(time) else f"{time:.2f}"


def ratio_text(ratio):
    return "-" if math.isnan(ratio) or math.isinf(ratio) else f"{ratio:.2f}"


def accuracy_text(accuracy):
    return "-" if accuracy is None else f"{accuracy:.2f}"


def way_text(way):
    """A tuned configuration in the words of the command."""
    others = "".join(f" --{key} {value}" for key, value in way["options"].items()
                     if (key, value) not in (("staleness-weight", "none"), ("combine", "mean")))
    return f"`{way['policy']}{others}`"


class Report:
    """The tables, from what the stages have written."""

    def __init__(self, chosen, final, image):
        self.chosen = chosen
        self.times = {scene: {name: [math.inf if time is None else time for time in times]
                              for name, times in found.items()} for scene, found in final.items()}
        self.image = image

    def five(self, scene):
        return {name: times[:FIVE] for name, times in self.times[scene].items()}

    def bars(self, which):
        """The bar in every scene. which: the times of a scene."""
        rows = []
        for scene in self.times:
            times, is_unequal = which(scene), scene in plan.UNEQUAL
            bar = verdicts.bar(times, is_unequal)
            ahead = ", ".join(f"{name}: {'yes' if is_one else 'no'}" for name, is_one in bar.is_ahead_of.items())
            parts = [verdicts.is_reached(verdicts.bar(part, is_unequal)) for part in verdicts.groups(times, FIVE)]
            rows.append([scene, seconds_text(bar.median), f"{seconds_text(bar.best_median)} {bar.best}",
                         ratio_text(bar.ratio), "yes" if bar.is_within else "**no**", ahead or "-",
                         "met" if verdicts.is_reached(bar) else "**missed**", f"{sum(parts)} of {len(parts)}"])
        head = ["scene", "adaptive, s", "best other, s", "ratio", "within 1.10", "ahead of", "bar"]
        if all(row[-1].endswith(" of 1") for row in rows):
            return table(head, [row[:-1] for row in rows])
        return table([*head, "met in groups of five"], rows)

    def scene(self, scene):
        rows = []
        for row in verdicts.rows(self.five(scene)):
            way = self.chosen[scene].get(row.name)
            all_times = self.times[scene][row.name]
            rows.append([row.name, way_text(way) if way else "`adaptive`",
                         f"{way['rate'] if way else self.rate():g}", seconds_text(row.median),
                         f"{seconds_text(row.least)} to {seconds_text(row.most)}", ratio_text(row.ratio),
                         seconds_text(statistics.median(all_times)) if len(all_times) > FIVE else "-"])
        return table(["policy", "tuned", "rate", "median, s", "range, s", "to adaptive", "25 seeds, s"], rows)

    def rate(self):
        return self.chosen["one-worker"]["async"]["rate"]

    def image_bars(self):
        """adaptive with the rate of one worker, and with the paper's, against the best of threshold."""
        rows = []
        for data, ways in self.image.items():
            others = [list(runs.values()) for name, runs in ways.items() if not name.startswith("adaptive")]
            for name in (name for name in ways if name.startswith("adaptive")):
                bar = verdicts.image_bar(list(ways[name].values()), others)
                rows.append([images.paper.DATA[data].split(":")[0], name, seconds_text(bar.target),
                             seconds_text(bar.best_target), accuracy_text(bar.accuracy),
                             accuracy_text(bar.best_accuracy), "met" if bar.is_reached else "**missed**"])
        return table(["data", "policy", "to target, s", "best threshold, s", "at convergence, %",
                      "best threshold, %", "bar"], rows) if rows else "(not run)"

    def images(self):
        rows = []
        for data, ways in self.image.items():
            for name, runs in ways.items():
                times = [math.inf if run["target"] is None else run["target"] for run in runs.values()]
                ends = [run["accuracy"] for run in runs.values() if run["accuracy"] is not None]
                lost = len(runs) - len(ends)
                rows.append([images.paper.DATA[data].split(":")[0], name,
                             seconds_text(statistics.median(times)),
                             f"{seconds_text(min(times))} to {seconds_text(max(times))}",
                             f"{statistics.fmean(ends):.2f}" if ends else "-",
                             f"{min(ends):.2f} to {max(ends):.2f}" if ends else "-", f"{lost} of {len(runs)}"])
        return table(["data", "policy", "seconds to target", "range", "accuracy at convergence, %", "range",
                      "diverged"], rows) if rows else "(not run)"

    def fill(self, text):
        found = {"bars": self.bars(self.five), "bars of 25": self.bars(lambda scene: self.times[scene]),
                 "images": self.images(), "image bars": self.image_bars(), "rate": f"{self.rate():g}",
                 **{scene: self.scene(scene) for scene in self.times},
                 **{"rate " + data: f"{self.chosen[data]['rate']:g}" for data in plan.IMAGES if data in self.chosen}}
        for name, value in found.items():
            text = text.replace("{{" + name + "}}", value)
        return text


def write(chosen, final, image, folder):
    if not final:
        sys.exit("final.json: nothing to report: run the stage `final`")
    found = Report(chosen, final, image)
    with open(os.path.join(FOLDER, "template.md"), encoding="utf-8") as stream:
        text = found.fill(stream.read())
    with open(os.path.join(folder, "RESULTS.md"), "w", encoding="utf-8") as stream:
        stream.write(text)
    try:
        import plots
    except ImportError as error:
        print(f"plots skipped because of {error}: tools/setup bench installs matplotlib", file=sys.stderr)
    else:
        plots.write(found, folder)
    print(f"{folder}/RESULTS.md")
