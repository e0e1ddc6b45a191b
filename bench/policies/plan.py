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

# One worker, for the only rate that `adaptive` is given.
ONE_WORKER = {"compute": STEADY, "workers": "1", "deadline": "200"}

TUNING_SEEDS = tuple(range(1, 16))
FINAL_SEEDS = tuple(range(101, 106))
MORE_FINAL_SEEDS = tuple(range(106, 126))  # reported beside the five, to show how much chance there is in them


def options(scene, seed, policy, rate, **others):
    """The options of `hysgd train` for one run, by long name without the dashes."""
    described = {**PROBLEM, "runtime": "virtual", "workers": str(WORKERS),
                 **(ONE_WORKER if scene == "one-worker" else SCENES[scene]), "seed": str(seed), "policy": policy,
                 "optimizer": f"sgd,rate={rate:g}"}
    return {**described, **others}
