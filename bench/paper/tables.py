# SPDX-License-Identifier: Apache-2.0
"""The tables of RESULTS.md, as Markdown: a function each, listed in TABLES by the name that template.md calls."""
import statistics

import figures
import plan
from plan import ADAPTIVE, ASYNC, Scene, SYNCS, VARIANTS, hybrid, hybrids

SERVERS = ("fast", "stated")
SERVER_WORDS = {"fast": "infinitely fast", "light": "1 + 4 ms", "stated": "1-4 + 4-10 ms", "heavy": "4 + 10 ms"}
METRICS = {"accuracy": "{:+.2f}", "test_loss": "{:+.3f}", "train_loss": "{:+.3f}"}
ABSENT = "-"


def table(head, rows):
    lines = ["| " + " | ".join(str(cell) for cell in row) + " |" for row in [head, ["---"] * len(head), *rows]]
    return "\n".join(lines)


def spread(values, form, seeds=len(plan.SEEDS)):
    """Mean and standard deviation; the number of seeds where it is not that of all."""
    if not values:
        return ABSENT
    text = form.format(statistics.mean(values))
    if len(values) > 1:
        text += " ± " + form.replace("+", "").format(statistics.stdev(values))
    return text if len(values) == seeds else f"{text} ({len(values)})"


def middle(values, seeds=len(plan.SEEDS)):
    """The median of times, of which those that are None were never reached."""
    if not values:
        return ABSENT
    reached = sorted(value if value is not None else float("inf") for value in values)
    median = statistics.median_low(reached)
    text = "never" if median == float("inf") else f"{median:.0f}"
    return text if len(values) == seeds else f"{text} ({len(values)})"


def variant_words(combine, wait):
    return f"hybrid, {combine}, {'waits' if wait == 'yes' else 'no wait'}"


def words(way):
    """A way as tables call it."""
    name, *options = way.policy.split(",")
    values = dict(option.split("=") for option in options)
    if name == "threshold":
        if values.get("direction") == "down":
            return f"falling threshold, {way.combine}"
        return variant_words(way.combine, values["wait"])
    if name == "batch-async":
        return f"batch-async, K = {values['size']}"
    if name == "switch":
        return "sync, after a quarter async"
    if name in ("sync", "adaptive"):
        return f"{name}, {way.combine}"
    return name


def difference(found, scene, way, name):
    """A figure of `way` minus that of async, over the seeds in which neither diverged."""
    values = found.differences(scene, way, ASYNC, name)
    lost = found.diverged(scene, way) + found.diverged(scene, ASYNC)
    parts = [spread(values, METRICS[name])] if values or not lost else []
    return ", ".join(parts + ([f"{lost} diverged"] if lost else []))


def main_table(data, name):
    """A metric of the hybrid minus that of async in the paper's four configurations."""
    def rows(found):
        form = METRICS[name]
        paper = figures.PAPER.get((data, name))
        if paper:
            yield ["**the paper**", "unknown", *(f"**{form.format(value)}**" for value in paper)]
        for server in SERVERS:
            scenes = [(step, Scene(data, server, batch)) for step, batch in figures.CONFIGURATIONS]
            for combine, wait in VARIANTS:
                yield [variant_words(combine, wait), SERVER_WORDS[server],
                       *(difference(found, scene, hybrid(step, combine, wait), name) for step, scene in scenes)]
            for way in [*SYNCS, ADAPTIVE]:
                cells = [difference(found, scene, way, name) for _, scene in scenes]
                if way is not ADAPTIVE or set(cells) != {ABSENT}:
                    yield [words(way), SERVER_WORDS[server], *cells]
    return lambda found: table(["minus async", "server", *map(str, figures.CONFIGURATIONS)], rows(found))


def levels_table(data, step=300):
    """Every policy in one configuration of a batch of 32."""
    def ways(found, scene):
        constants = [way for way in plan.CONSTANTS if found.figures(scene, way)]
        best = sorted(constants, key=lambda way: -statistics.mean(
            figure.accuracy for figure in found.figures(scene, way).values()))[:1]
        return [ASYNC, *hybrids(step), *SYNCS, *plan.OTHERS, *constants, ADAPTIVE], best

    def rows(found):
        for server in SERVERS:
            scene = Scene(data, server)
            listed, best = ways(found, scene)
            for way in listed:
                runs = list(found.figures(scene, way).values())
                lost = found.diverged(scene, way)
                if not runs and not lost:
                    continue
                name = words(way) + (" (best K)" if way in best else "") + (f", {lost} diverged" if lost else "")
                gained = ABSENT if way is ASYNC else spread(found.differences(scene, way, ASYNC, "accuracy"),
                                                            METRICS["accuracy"])
                yield [name, SERVER_WORDS[server], gained, *_level(runs)]

    head = ["policy", "server", "minus async", "accuracy %", "at the end %", "test loss", "train loss",
            f"s to {figures.TARGET[data]} %", "gradients", "updates", "staleness", "server busy %"]
    return lambda found: table(head, rows(found))


def _level(runs):
    def column(name, form):
        return spread([getattr(run, name) for run in runs if getattr(run, name) is not None], form)

    def rounded(name, form):
        return form.format(statistics.mean(getattr(run, name) for run in runs)) if runs else ABSENT
    return [column("accuracy", "{:.2f}"), column("last", "{:.2f}"), column("test_loss", "{:.3f}"),
            column("train_loss", "{:.3f}"), middle([run.target for run in runs]), rounded("gradients", "{:,.0f}"),
            rounded("updates", "{:,.0f}"), rounded("staleness", "{:.1f}"), rounded("server", "{:.0f}")]


def overloaded_table(found):
    """Points over async by the server, for all images."""
    rows = []
    for server in (*SERVERS, "heavy"):
        for combine, wait in VARIANTS:
            rows.append([variant_words(combine, wait), SERVER_WORDS[server],
                         *(difference(found, Scene(data, server), hybrid(300, combine, wait), "accuracy")
                           for data in plan.IMAGES)])
    paper = [f"**{figures.PAPER[data, 'accuracy'][0]:+.2f}**" for data in plan.IMAGES]
    return table(["minus async", "server", "MNIST", "CIFAR-10"], [["**the paper**", "unknown", *paper], *rows])


def ablation_table(paper, at):
    """Points of accuracy on the random data, one value of the ablated option per column. at: value, server ->
    scene, step."""
    def rows(found):
        yield ["**the paper**", "unknown", *(f"**{value:+.2f}**" for value in paper.values())]
        for server in SERVERS:
            for combine, wait in VARIANTS:
                cells = []
                for value in paper:
                    scene, step = at(value, server)
                    cells.append(difference(found, scene, hybrid(step, combine, wait), "accuracy"))
                yield [variant_words(combine, wait), SERVER_WORDS[server], *cells]
            for way in SYNCS:
                yield [words(way), SERVER_WORDS[server],
                       *(difference(found, at(value, server)[0], way, "accuracy") for value in paper)]
    return lambda found: table(["minus async", "server", *(f"{value:g}" for value in paper)], rows(found))


def grown_table(found):
    """The batch ablation where a batch of twice the size takes twice the time."""
    rows = [["**the paper**", "unknown", *(f"**{value:+.2f}**" for value in figures.PAPER_BATCHES.values())]]
    for server in ("stated", "heavy"):
        scenes = [plan.of_grown_batch(batch, server)[0] for batch in figures.PAPER_BATCHES]
        for combine in ("sum", "mean"):
            rows.append([variant_words(combine, "no"), SERVER_WORDS[server],
                         *(difference(found, scene, hybrid(500, combine), "accuracy") for scene in scenes)])
    return table(["minus async", "server", *figures.PAPER_BATCHES], rows)


def service_table(way):
    """Points over async, by the service times and by the workers' seconds per gradient; in brackets the gradients
    that way serves over those that async serves."""
    def cell(found, scene):
        gained = spread(found.differences(scene, way, ASYNC, "accuracy"), METRICS["accuracy"])
        served = [runs[seed].gradients / base[seed].gradients
                  for runs, base in [(found.figures(scene, way), found.figures(scene, ASYNC))]
                  for seed in runs if seed in base]
        return f"{gained}, x{statistics.fmean(served):.2f}" if served else gained

    def busy(found, scene):
        runs = found.figures(scene, ASYNC).values()
        return f"{statistics.fmean(run.server for run in runs):.0f} %" if runs else ABSENT

    def rows(found):
        for server in plan.SERVICE:
            scenes = [Scene("random", server, compute=compute) for compute in plan.COMPUTES]
            yield [SERVER_WORDS[server], *(f"{cell(found, scene)} ({busy(found, scene)})" for scene in scenes)]
    return lambda found: table(["service", *(f"{1000 * compute:g} ms" for compute in plan.COMPUTES)], rows(found))


def converged_table(data):
    def rows(found):
        scene = Scene(data, "stated", length="long")
        for way in [*plan.CONVERGED, ADAPTIVE]:
            runs = list(found.endings(scene, way).values())
            lost = found.diverged(scene, way)
            if runs or lost:
                yield [words(way) + (f", {lost} diverged" if lost else ""), *_converged(runs)]
    head = ["policy", "accuracy %", "rise", "best %", "test loss", f"s to {figures.LONG_TARGET[data]} %",
            "gradients"]
    return lambda found: table(head, rows(found))


def _converged(runs, seeds=3):
    def column(name, form):
        return spread([getattr(run, name) for run in runs], form, seeds)
    gradients = f"{statistics.fmean(run.gradients for run in runs):,.0f}" if runs else ABSENT
    return [column("accuracy", "{:.2f}"), column("rise", "{:+.2f}"), column("best", "{:.2f}"),
            column("test_loss", "{:.3f}"), middle([run.target for run in runs], seeds), gradients]


TABLES = {f"{data} {name}": main_table(data, name) for data in plan.IMAGES for name in METRICS}
TABLES |= {f"{data} policies": levels_table(data) for data in plan.IMAGES}
TABLES |= {f"{data} converged": converged_table(data) for data in plan.IMAGES}
TABLES |= {
    "overloaded": overloaded_table,
    "random policies": levels_table("random", step=500),
    "random batch": ablation_table(figures.PAPER_BATCHES, plan.of_batch),
    "random grown": grown_table,
    "random step": ablation_table(figures.PAPER_STEPS, plan.of_step),
    "random deviation": ablation_table(figures.PAPER_DEVIATIONS, plan.of_deviation),
    "service sum": service_table(hybrid(500)),
    "service mean": service_table(hybrid(500, "mean")),
}
