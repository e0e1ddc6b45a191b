# SPDX-License-Identifier: Apache-2.0
"""What is measured, written down before it was: the problem, the five scenes, the target and the seeds. PLAN.md
says why. Sibling scripts import it; it is no program itself."""

# Every run of every policy. The data keep one seed of their own, so that a seed of the run changes what chance there
# is in training (initial parameters, order of the samples, times) and not how hard the problem is.
PROBLEM = {
    "data": "random,seed=1",
    "model": "dense 64, relu, dense 10",
    "batch": "8",
    "target": "accuracy=0.94",
    "eval-every": "seconds=0.02",
}
WORKERS = 16

STEADY = "normal,mean=0.02,std=0.002"  # seconds per gradient of a worker that is neither slow nor disturbed
PAPER_DELAY = "half,normal,mean=0,std=0.25"  # arXiv 2407.00101: in half of the workers, negative draws are none

SCENES = {
    "equal": {"compute": STEADY, "deadline": "15"},
    "half-delayed": {"compute": STEADY, "delay": PAPER_DELAY, "deadline": "40"},
    "straggler": {"compute": STEADY, "speeds": "15x1,1x0.1", "deadline": "40"},
    "heavy-tail": {"compute": "lognormal,mean=0.02,sigma=1", "deadline": "20"},
    "slow-server": {"compute": STEADY, "delay": PAPER_DELAY, "receive": "constant,mean=0.001",
                    "apply": "constant,mean=0.008", "deadline": "40"},
}
TITLES = {
    "equal": "equal workers",
    "half-delayed": "half of the workers delayed, as in the paper",
    "straggler": "one worker ten times slower",
    "heavy-tail": "compute times with a heavy tail (lognormal)",
    "slow-server": "half delayed, and a slow server",
}
UNEQUAL = [scene for scene in SCENES if scene != "equal"]

# While grids are searched a run is given up earlier, at several times what good configurations need; not for policies
# with "patient" below. A policy that never reaches the target by then is searched again without.
TUNING_DEADLINES = {"equal": "4", "half-delayed": "7", "straggler": "5", "heavy-tail": "5", "slow-server": "12"}

# One worker, for the only rate that `adaptive` is given.
ONE_WORKER = {"compute": STEADY, "workers": "1", "deadline": "200"}

TUNING_SEEDS = (1, 4, 12)  # so many of the seeds 1, 2, ... judge the whole grid, its better part, and the last few
FINAL_SEEDS = tuple(range(101, 106))
MORE_FINAL_SEEDS = tuple(range(106, 126))  # reported beside the five, to show how much chance there is in them

# Rates are steps of a ladder of the square root of two; a tuning begins with the three around its start, two steps
# apart, and climbs on where the best is the last.
LOWEST_RATE = 0.0125 / 4
RATE_STEPS = 28


def rate_of(step):
    return float(f"{LOWEST_RATE * 2 ** (step / 2):.3g}")


def step_of(rate):
    return min(range(RATE_STEPS + 1), key=lambda step: abs(rate_of(step) / rate - 1))


# The grid of each policy: values of its parameters, of the run's options beside it, and the rate to start from. Where
# every update takes the same number of gradients, combine=sum at a rate is combine=mean at that rate times their
# number, so only policies that vary it have both. "paper" is the threshold as published, with a rate of its own.
WEIGHTS = ["none", "inverse", "polynomial"]
BOTH = ["mean", "sum"]
POLICIES = {
    "sync": {"start": 3.2, "patient": True},
    "async": {"options": {"staleness-weight": WEIGHTS}, "start": 0.2},
    "paper": {"policy": "threshold", "parameters": {"step": [300, 500]}, "options": {"combine": BOTH}, "start": 0.2},
    "threshold": {"parameters": {"step": [30, 100, 300, 1000], "cap": [4, 16], "direction": ["up", "down"],
                                 "wait": ["no", "yes"]},
                  "options": {"combine": BOTH}, "start": 0.2},
    "cyclic": {"parameters": {"sync": [1, 3, 10], "async": [10, 30, 100], "first": ["sync", "async"]},
               "options": {"combine": BOTH}, "start": 0.2},
    "switch": {"parameters": {"unit": ["updates"], "to": ["async", "sync"], "at": [10, 30, 100, 300, 1000]},
               "options": {"combine": BOTH}, "start": 0.2},
    "bounded": {"parameters": {"staleness": [0, 1, 3, 10, 30], "dynamic": [0, 4]},
                "options": {"staleness-weight": ["none", "polynomial"]}, "start": 0.2},
    "backup": {"parameters": {"count": [2, 4, 8, 10, 12, 14, 15], "cancel": ["no", "yes"]},
               "options": {"micro-batch": [2]}, "start": 1.6},
    "timeout": {"parameters": {"patience": [0, 0.025, 0.03, 0.04, 0.06, 0.1], "trials": [1, 2]},
                "options": {"micro-batch": [0, 2]}, "start": 2.26},
    "table": {"start": 0.8},
    "batch-sync": {"parameters": {"size": [2, 4, 8, 16, 32]}, "start": 1.6},
    "batch-async": {"parameters": {"size": [2, 3, 4, 6, 8, 12, 16, 32]}, "options": {"staleness-weight": WEIGHTS},
                    "start": 0.8},
    "cutoff": {"parameters": {"limit": [2, 4, 8, 16, 32, 64]}, "options": {"staleness-weight": ["none", "inverse"]},
               "start": 0.2},
}

# MNIST and CIFAR-10 in the scene of bench/paper, with its stated server: 600 s, per cent of the target, and the last
# seconds over which accuracy at convergence is averaged. `threshold` has the paper's parameters.
IMAGES = {"mnist": 95.5, "cifar10": 52}
IMAGE_SERVER = "stated"
CONVERGED = 100
PAPER_RATE = 0.01
PAPER_WAYS = [("threshold,step=300", "sum"), ("threshold,step=300", "mean"), ("threshold,step=500", "sum"),
              ("threshold,step=500", "mean")]
IMAGE_OPTIONS = {"eval_every": "seconds=5", "eval_limit": "5000"}
IMAGE_ONE_WORKER = {"workers": "1", "deadline": "3000", "eval_every": "gradients=200", "eval_limit": "5000",
                    "delay": ""}
IMAGE_START = 0.04  # of the ladder for one worker
IMAGE_TUNING_SEEDS = (1, 2, 3)
IMAGE_FINAL_SEEDS = (101, 102, 103)


def options(scene, seed, policy, rate, **others):
    """The options of `hysgd train` for one run, by long name without the dashes."""
    described = {**PROBLEM, "workers": str(WORKERS),
                 **(ONE_WORKER if scene == "one-worker" else SCENES[scene]), "seed": str(seed), "policy": policy,
                 "optimizer": f"sgd,rate={rate:g}"}
    return {**described, **others}
