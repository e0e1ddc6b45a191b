# SPDX-License-Identifier: Apache-2.0
"""The image scenes: MNIST and CIFAR-10 as bench/paper has them, `adaptive` against `threshold` with the paper's
parameters. Sibling scripts import it; it is no program itself."""
import importlib.util
import math
import os
import statistics
import sys

import choose
import plan
import sweep


def _paper_plan():
    """plan.py of bench/paper, which has the same name as ours."""
    path = os.path.join(sweep.FOLDER, "paper", "plan.py")
    found = importlib.util.spec_from_file_location("paper_plan", path)
    module = importlib.util.module_from_spec(found)
    sys.modules["paper_plan"] = module
    found.loader.exec_module(module)
    return module


paper = _paper_plan()


def run_of(data, policy, combine, rate, seed, **others):
    scene = paper.Scene(data, plan.IMAGE_SERVER, length="long")
    options = {**paper.run_of(scene, paper.Way(policy, combine), seed).options,
               "optimizer": f"sgd,rate={rate:g}", **{key.replace("_", "-"): text for key, text in others.items()}}
    return sweep.Run(f"{data}: {policy} {combine} rate {rate:g}, seed {seed}",
                     **{key.replace("-", "_"): text for key, text in options.items()})


def tune_one_worker(arguments, data):
    """The best rate of one worker and its seconds to the target, one for each seed."""
    def measure(asked, seeds):
        runs = {(one, seed): run_of(data, "async", "mean", plan.rate_of(one[1]), seed,
                                    target=f"accuracy={plan.IMAGES[data] / 100:g}", **plan.IMAGE_ONE_WORKER)
                for one in asked for seed in seeds}
        records = sweep.sweep(list(runs.values()), arguments, has_rows=False)
        return {one: [seconds_of(records[runs[one, seed].key]) for seed in seeds] for one in asked}

    (_, step), times = choose.best(measure, [()], plan.step_of(plan.IMAGE_START), plan.IMAGE_TUNING_SEEDS,
                                   plan.RATE_STEPS)
    return {"rate": plan.rate_of(step), "seconds": choose.score(times)[0], "times": times}


def seconds_of(record):
    """Until the run's own target; infinity: not before the deadline, or diverged."""
    found = record["result"]["target_seconds"]
    return math.inf if found is None else found


def ways(data, chosen):
    """(name, policy, combine, rate) of what is compared."""
    found = [(f"{policy}, {combine}", policy, combine, plan.PAPER_RATE) for policy, combine in plan.PAPER_WAYS]
    rates = dict.fromkeys([chosen[data]["rate"], plan.PAPER_RATE])
    return found + [(f"adaptive, rate {rate:g}", "adaptive", "mean", rate) for rate in rates]


def figures(data, record):
    """What is kept of a run: seconds to the target, accuracy at convergence and the curve, both in per cent. A run
    that diverged has no accuracy."""
    seconds = sweep.column(record, "seconds")
    accuracy = [100 * value for value in sweep.column(record, "test_accuracy")]
    target = next((at for at, value in zip(seconds, accuracy) if value >= plan.IMAGES[data]), None)
    length = paper.LENGTH["long"]
    last = [value for at, value in zip(seconds, accuracy) if at > length - plan.CONVERGED + 0.001]
    is_whole = record["reason"] != "diverged"
    return {"target": target, "accuracy": round(statistics.fmean(last), 3) if is_whole and last else None,
            "curve": [[round(at, 2), round(value, 2)] for at, value in zip(seconds, accuracy)]}


def final(arguments, chosen):
    """The figures of every run by data, name and seed. What was run already is taken from the results file."""
    wanted = {(data, name, seed): run_of(data, policy, combine, rate, seed, **plan.IMAGE_OPTIONS)
              for data in paper.present_images() for name, policy, combine, rate in ways(data, chosen)
              for seed in plan.IMAGE_FINAL_SEEDS}
    records = sweep.sweep(list(wanted.values()), arguments)
    found = {}
    for (data, name, seed), run in wanted.items():
        found.setdefault(data, {}).setdefault(name, {})[str(seed)] = figures(data, records[run.key])
    return found
