# SPDX-License-Identifier: Apache-2.0
"""The plots of RESULTS.md, as SVG files: a function each, listed in PLOTS under the name of its file."""
import io
import re
import statistics

import matplotlib

matplotlib.use("svg")
import matplotlib.pyplot as pyplot

import figures
import plan
from plan import ADAPTIVE, ASYNC, BUFFERED, SYNCS, Scene, hybrid
from tables import SERVER_WORDS, SERVERS, words

# The same file from the same runs: text stays text, and names inside do not change.
STYLE = {"svg.fonttype": "none", "svg.hashsalt": "hysgd", "font.size": 9, "axes.grid": True, "grid.alpha": 0.3,
         "axes.spines.top": False, "axes.spines.right": False, "legend.frameon": False, "path.simplify": True}
# Colours that remain apart for all kinds of sight (Okabe and Ito).
COLOURS = {ASYNC: "#000000", hybrid(300): "#d55e00", hybrid(300, "sum", "yes"): "#e69f00",
           hybrid(300, "mean"): "#cc79a7", SYNCS[0]: "#0072b2", SYNCS[1]: "#56b4e9", ADAPTIVE: "#009e73",
           BUFFERED: "#8c8c8c", plan.FALLING[0]: "#a6761d"}
LONG_NUMBER = re.compile(r"\b\d+\.\d{3,}\b")  # in points; a tenth of one is finer than what is seen
NAMES = {"mnist": "MNIST", "cifar10": "CIFAR-10"}


def add_legend(figure, columns=4):
    """Below the panels, for which it leaves room: one entry for each name, and none where nothing is drawn."""
    named = {}
    for axes in figure.axes:
        handles, labels = axes.get_legend_handles_labels()
        named |= dict(zip(labels, handles))
    if named:
        figure.legend(named.values(), named.keys(), loc="lower center", ncol=columns)
    lines = -(-len(named) // columns)
    figure.tight_layout(rect=(0, 0.22 * lines / figure.get_figheight(), 1, 1))


def draw_curves(axes, found, scene, ways):
    for way in ways:
        seconds, mean, deviation = found.curve(scene, way)
        if not seconds:
            continue
        colour = COLOURS[way]
        axes.plot(seconds, mean, color=colour, linewidth=1.3, label=words(way))
        band = [(second, m - d, m + d) for second, m, d in zip(seconds, mean, deviation)][::4]  # fewer: size
        axes.fill_between(*zip(*band), color=colour, alpha=0.15, linewidth=0)


def curves(data, lowest, highest):
    """Accuracy over the 100 s of (300,32), for both servers."""
    def draw(found):
        figure, panels = pyplot.subplots(1, 2, figsize=(9.5, 3.9), sharey=True)
        ways = [ASYNC, hybrid(300), hybrid(300, "sum", "yes"), hybrid(300, "mean"), *SYNCS, ADAPTIVE]
        for axes, server in zip(panels, SERVERS):
            draw_curves(axes, found, Scene(data, server), ways)
            axes.set(title=f"{NAMES[data]}, (300,32), server: {SERVER_WORDS[server]}", xlabel="virtual seconds",
                     xlim=(0, 100), ylim=(lowest, highest))
        panels[0].set_ylabel("test accuracy, %")
        add_legend(figure)
        return figure
    return draw


def converged(found):
    figure, panels = pyplot.subplots(1, 2, figsize=(9.5, 3.9))
    ways = [ASYNC, hybrid(300), hybrid(300, "mean"), *SYNCS, plan.FALLING[0], BUFFERED, ADAPTIVE]
    for axes, data, low, high in zip(panels, plan.IMAGES, (92, 36), (97.8, 56)):
        draw_curves(axes, found, Scene(data, "stated", length="long"), ways)
        axes.set(title=f"{NAMES[data]}, (300,32), server: {SERVER_WORDS['stated']}", xlabel="virtual seconds",
                 xlim=(0, plan.LENGTH["long"]), ylim=(low, high))
    panels[0].set_ylabel("test accuracy, %")
    add_legend(figure)
    return figure


def summary(values):
    return statistics.fmean(values), statistics.stdev(values) if len(values) > 1 else 0


def draw_spread(axes, points, colour, mark, name):
    """Means with their standard deviations: points of (x, mean, deviation)."""
    if points:
        axes.errorbar(*zip(*points), color=colour, marker=mark, markersize=4, linewidth=0, elinewidth=1, label=name)


def draw_points(axes, found, values, paper, at):
    """The paper's figures as crosses, ours as points with their standard deviations, side by side."""
    positions = range(len(values))
    axes.axhline(0, color="black", linewidth=0.8)
    axes.plot(positions, paper, "x", color="black", label="the paper")
    shown = [("sum", "no", "fast", "#56b4e9", "o"), ("sum", "no", "stated", "#0072b2", "o"),
             ("sum", "yes", "stated", "#009e73", "^"), ("mean", "no", "fast", "#e6ab5c", "s"),
             ("mean", "no", "stated", "#d55e00", "s")]
    for order, (combine, wait, server, colour, mark) in enumerate(shown):
        points = []
        for position, value in zip(positions, values):
            scene, step = at(value, server)
            gained = found.differences(scene, hybrid(step, combine, wait), ASYNC, "accuracy")
            if gained:
                points.append((position + 0.12 * (order - 2), *summary(gained)))
        name = f"{combine}{', waits' if wait == 'yes' else ''}, server {SERVER_WORDS[server]}"
        draw_spread(axes, points, colour, mark, name)
    axes.set_xticks(list(positions), [str(value) for value in values])


def images(found):
    figure, panels = pyplot.subplots(1, 2, figsize=(9.5, 3.9))
    for axes, data in zip(panels, plan.IMAGES):
        draw_points(axes, found, figures.CONFIGURATIONS, figures.PAPER[data, "accuracy"],
                    lambda value, server, data=data: (Scene(data, server, value[1]), value[0]))
        axes.set(title=f"{NAMES[data]}: hybrid minus async", xlabel="(step, batch)")
    panels[0].set_ylabel("points of accuracy, mean of 100 s")
    add_legend(figure, columns=3)
    return figure


def ablations(found):
    figure, panels = pyplot.subplots(1, 3, figsize=(11, 3.9), sharey=True)
    kinds = [("batch", figures.PAPER_BATCHES, plan.of_batch), ("step", figures.PAPER_STEPS, plan.of_step),
             ("delay's deviation, s", figures.PAPER_DEVIATIONS, plan.of_deviation)]
    for axes, (name, paper, at) in zip(panels, kinds):
        draw_points(axes, found, list(paper), list(paper.values()), at)
        axes.set(title="random data: hybrid minus async", xlabel=name)
    panels[0].set_ylabel("points of accuracy, mean of 100 s")
    add_legend(figure, columns=3)
    return figure


def service(found):
    """What the hybrid gains over async, by how much of async's gradients the server can serve."""
    figure, axes = pyplot.subplots(figsize=(6.2, 3.6))
    axes.axhline(0, color="black", linewidth=0.8)
    axes.axvline(1, color="black", linewidth=0.8, linestyle=":")
    for way, colour, mark in [(hybrid(500), "#0072b2", "o"), (hybrid(500, "mean"), "#d55e00", "s")]:
        points = []
        for server, (receive, apply) in plan.SERVICE.items():
            for compute in plan.COMPUTES:
                free = found.figures(Scene("random", "fast", compute=compute), ASYNC)
                gained = found.differences(Scene("random", server, compute=compute), way, ASYNC, "accuracy")
                if gained and free:
                    rate = statistics.fmean(run.gradients for run in free.values()) / plan.LENGTH["short"]
                    points.append((rate * (sum(receive) + sum(apply)) / 2, *summary(gained)))
        draw_spread(axes, points, colour, mark, words(way))
    axes.set(title="random data, (500,32)", xlabel="server seconds asked for by async, per second",
             ylabel="hybrid minus async, points")
    axes.set_xscale("symlog", linthresh=0.25)
    axes.set_xticks([0, 0.25, 0.5, 1, 2, 4, 8], ["0", "0.25", "0.5", "1", "2", "4", "8"])
    add_legend(figure)
    return figure


PLOTS = {"mnist": curves("mnist", 80, 97), "cifar10": curves("cifar10", 15, 56), "images": images,
         "ablations": ablations, "service": service, "converged": converged}


def write(found, folder):
    with matplotlib.rc_context(STYLE):
        for name, draw in PLOTS.items():
            figure = draw(found)
            drawn = io.StringIO()
            figure.savefig(drawn, format="svg", metadata={"Date": None})
            pyplot.close(figure)
            with open(f"{folder}/{name}.svg", "w", encoding="utf-8") as stream:
                stream.write(LONG_NUMBER.sub(lambda number: f"{round(float(number[0]), 1):g}", drawn.getvalue()))
