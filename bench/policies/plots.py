# SPDX-License-Identifier: Apache-2.0
"""The plots of RESULTS.md, as SVG files."""
import math
import os
import statistics

import matplotlib

matplotlib.use("svg")
import matplotlib.pyplot as pyplot

import plan
import verdicts

# The same file from the same figures: text stays text, and names inside do not change.
STYLE = {"svg.fonttype": "none", "svg.hashsalt": "hysgd", "font.size": 9, "axes.grid": True, "grid.alpha": 0.3,
         "axes.spines.top": False, "axes.spines.right": False, "legend.frameon": False}
OURS, OTHERS = "#d55e00", "#0072b2"
LINES = ["#0072b2", "#56b4e9", "#000000", "#999999", "#d55e00", "#e69f00"]
TICKS = [0.5, 0.7, 1, 1.5, 2, 3, 4, 6, 8, 12, 16, 24, 32, 40]


def draw_scene(axes, times, title):
    """A line per policy, the best on top: every seed a faint point, the five of the bar full ones, their median a
    stroke; those that missed the target stand at the right edge as crosses."""
    rows = verdicts.rows({name: each[:len(plan.FINAL_SEEDS)] for name, each in times.items()})[::-1]
    finite = [time for each in times.values() for time in each if not math.isinf(time)]
    edge = max(finite) * 1.25
    for at, row in enumerate(rows):
        colour = OURS if row.name == verdicts.OURS else OTHERS
        of_bar, more = times[row.name][:len(plan.FINAL_SEEDS)], times[row.name][len(plan.FINAL_SEEDS):]
        for each, size, alpha in ((more, 2.5, 0.3), (of_bar, 4.5, 1)):
            reached = [time for time in each if not math.isinf(time)]
            axes.plot(reached, [at] * len(reached), "o", color=colour, markersize=size, alpha=alpha,
                      markeredgewidth=0)
            if len(reached) < len(each):
                axes.plot(edge, at, "x", color=colour, markersize=5)
        if not math.isinf(row.median):
            axes.plot([row.median] * 2, [at - 0.38, at + 0.38], color=colour, linewidth=1.8)
    best = min(row.median for row in rows if row.name != verdicts.OURS)
    axes.axvline(best * verdicts.WITHIN, color="black", linewidth=0.8, linestyle=":")
    axes.set_xscale("log")
    low, high = min(finite) / 1.1, edge * 1.1
    axes.set(title=title, xlabel="seconds to the target", xlim=(low, high))
    shown = [tick for tick in TICKS if low <= tick <= high]
    axes.set_xticks(shown, [f"{tick:g}" for tick in shown])
    axes.minorticks_off()
    axes.set_yticks(range(len(rows)), [row.name for row in rows])


def scenes(found):
    figure, panels = pyplot.subplots(3, 2, figsize=(9.5, 12))
    for axes, scene in zip(panels.flat, found.times):
        draw_scene(axes, found.times[scene], plan.TITLES[scene])
    for axes in list(panels.flat)[len(found.times):]:
        axes.axis("off")
    panels.flat[-1].text(0, 0.9, "full points: the five seeds of the bar\nstroke: their median\nfaint points: the "
                         "other 20 seeds\ncrosses at the edge: target missed\ndotted: 1.10 times the best other "
                         "median", verticalalignment="top")
    return figure


def mean_curve(runs):
    """Mean over the seeds that have not diverged."""
    curves = [run["curve"] for run in runs.values() if run["accuracy"] is not None]
    rows = min((len(curve) for curve in curves), default=0)
    return ([curves[0][row][0] for row in range(rows)],
            [statistics.fmean(curve[row][1] for curve in curves) for row in range(rows)])


def images(found):
    figure, panels = pyplot.subplots(1, 2, figsize=(9.5, 4))
    for axes, (data, ways) in zip(panels, found.image.items()):
        for colour, (name, runs) in zip(LINES, ways.items()):
            seconds, accuracy = mean_curve(runs)
            if seconds:
                axes.plot(seconds, accuracy, color=colour, linewidth=1.4, label=name)
        target = plan.IMAGES[data]
        axes.axhline(target, color="black", linewidth=0.8, linestyle=":")
        axes.set(title={"mnist": "MNIST", "cifar10": "CIFAR-10"}[data], xlabel="modelled seconds",
                 ylim=(target - 12 if data == "mnist" else target - 32, None))
        axes.legend(loc="lower right")
    panels[0].set_ylabel("test accuracy, %")
    return figure


def write(found, folder):
    for name, draw, figures in (("scenes", scenes, found.times), ("images", images, found.image)):
        if figures:
            with matplotlib.rc_context(STYLE):
                figure = draw(found)
                figure.tight_layout()
                figure.savefig(os.path.join(folder, name + ".svg"), metadata={"Date": None})
                pyplot.close(figure)
