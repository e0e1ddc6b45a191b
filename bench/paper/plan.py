# SPDX-License-Identifier: Apache-2.0
"""What is run: the scenes and configurations of arXiv 2407.00101, what that paper lacks beside them, and the order.
What the paper does not state is chosen here; template.md, which becomes RESULTS.md, says so."""
import json
import os
import subprocess
import sys
from dataclasses import dataclass

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
import sweep

SEEDS = (1, 2, 3, 4, 5)
STEPS = (300, 500)
BATCHES = (32, 64)
IMAGES = ("mnist", "cifar10")

DATA = {"mnist": "mnist:" + sweep.PLACE + "/mnist", "cifar10": "cifar10:" + sweep.PLACE + "/cifar-10",
        "random": "random"}
CNN = "conv 3x3x8 stride 2, relu, pool 2, dense"
MODEL = {"mnist": CNN, "cifar10": CNN, "random": "dense 64, relu, dense"}
LENGTH = {"short": 100, "long": 600}  # virtual seconds

# The server's time for a gradient and for an update: seconds between two bounds, evenly.
SERVICE = {"fast": ((0, 0), (0, 0)), "light": ((0.001, 0.001), (0.004, 0.004)),
           "stated": ((0.001, 0.004), (0.004, 0.01)), "heavy": ((0.004, 0.004), (0.01, 0.01))}


@dataclass(frozen=True)
class Scene:
    """Everything but the policy and the seed."""
    data: str
    server: str
    batch: int = 32
    deviation: float = 0.25  # seconds, of the delay of half of the workers
    compute: float = 0.1  # seconds per gradient
    length: str = "short"


@dataclass(frozen=True)
class Way:
    """A policy with its options, and how the gradients of an update are combined."""
    policy: str
    combine: str = "sum"


def hybrid(step, combine="sum", wait="no"):
    return Way(f"threshold,step={step},wait={wait}", combine)


ASYNC = Way("async")
SYNCS = [Way("sync", "sum"), Way("sync", "mean")]
VARIANTS = [("sum", "no"), ("sum", "yes"), ("mean", "no"), ("mean", "yes")]
CONSTANTS = [Way(f"batch-async,size={size}") for size in (2, 4, 8, 16)]
FALLING = [Way("threshold,step=300,direction=down", combine) for combine in ("sum", "mean")]
BUFFERED = Way("batch-async,size=8")
OTHERS = [*FALLING, Way("switch"), Way("cyclic"), Way("cutoff")]
ADAPTIVE = Way("adaptive", "mean")

ABLATION_BATCHES = (8, 16, 32, 64, 128)
ABLATION_STEPS = (100, 300, 500, 700, 1000)
ABLATION_DEVIATIONS = (0.25, 0.5, 0.75, 1, 1.25)
COMPUTES = (0.02, 0.05, 0.1, 0.2)


def hybrids(step):
    return [hybrid(step, *variant) for variant in VARIANTS]


# What is run until it stops learning.
CONVERGED = [ASYNC, *hybrids(300), *SYNCS, *OTHERS, BUFFERED]


def _service(bounds):
    least, most = bounds
    return f"constant,mean={least}" if least == most else f"uniform,least={least},most={most}"


def run_of(scene, way, seed):
    seconds = LENGTH[scene.length]
    receive, apply = SERVICE[scene.server]
    options = {
        "data": DATA[scene.data], "model": MODEL[scene.data], "workers": 25, "batch": scene.batch,
        "policy": way.policy, "combine": way.combine, "optimizer": "sgd,rate=0.01", "seed": seed,
        "deadline": seconds,
        "compute": f"constant,mean={scene.compute}", "delay": f"half,normal,mean=0,std={scene.deviation}",
        "receive": _service(receive), "apply": _service(apply),
        "eval_every": "seconds=2" if scene.length == "short" else "seconds=20",
        "eval_limit": 2000 if scene.length == "short" else 10000}
    name = f"{scene.data} {scene.batch} {scene.server} {scene.length} {way.policy} {way.combine}, seed {seed}"
    return sweep.Run(name, **options)


def _ablations(adaptive):
    """The scenes of the paper's random data, each with its step."""
    for server in ("fast", "stated"):
        ways = [ASYNC, *hybrids(500), *SYNCS]
        for batch in ABLATION_BATCHES:
            yield of_batch(batch, server)[0], ways
        for step in ABLATION_STEPS:
            yield of_step(step, server)[0], hybrids(step)
        for deviation in ABLATION_DEVIATIONS:
            yield of_deviation(deviation, server)[0], ways
        yield Scene("random", server), [*CONSTANTS, *OTHERS, *adaptive]


def of_batch(batch, server):
    """The scene and step of an ablation, as those below."""
    return Scene("random", server, batch), 500


def of_grown_batch(batch, server):
    """With a compute time in proportion to the batch."""
    return Scene("random", server, batch, compute=0.1 * batch / 32), 500


def of_step(step, server):
    return Scene("random", server), step


def of_deviation(deviation, server):
    return Scene("random", server, deviation=deviation), 500


def _services():
    """Where the server's load begins to matter: random data, from no service time to a heavy one."""
    for server in ("stated", "heavy"):
        for batch in ABLATION_BATCHES:
            yield of_grown_batch(batch, server)[0], [ASYNC, hybrid(500), hybrid(500, "mean")]
    for server in SERVICE:
        for compute in COMPUTES:
            yield Scene("random", server, compute=compute), [ASYNC, hybrid(500), hybrid(500, "mean")]


def _tables(data, batch, servers=("fast", "stated")):
    for server in servers:
        yield Scene(data, server, batch), [ASYNC, *hybrids(300), *hybrids(500), *SYNCS]


def _sums(data, batch):
    """The part of the tables in which the paper's claim is nearest to holding."""
    for server in ("stated", "fast"):
        ways = [hybrid(step, "sum", wait) for step in STEPS for wait in ("no", "yes")]
        yield Scene(data, server, batch), [ASYNC, *ways]


def _beside(data):
    for server in ("fast", "stated"):
        yield Scene(data, server), [*CONSTANTS, *OTHERS]


def _overloaded(data):
    """A server that async asks for more than twice what it has."""
    yield Scene(data, "heavy"), [ASYNC, *hybrids(300)]


def _adaptive(data, batch, ways):
    for server in ("stated", "fast"):
        yield Scene(data, server, batch), ways


def _converged(data, ways):
    yield Scene(data, "stated", length="long"), ways


def _reduced():
    for server in ("fast", "stated"):
        base = Scene("random", server)
        yield base, [ASYNC, *SYNCS, *CONSTANTS, *OTHERS, *(hybrid(step) for step in ABLATION_STEPS), *hybrids(500)]
        for batch in ABLATION_BATCHES:
            yield of_batch(batch, server)[0], [ASYNC, hybrid(500)]
        for deviation in ABLATION_DEVIATIONS:
            yield of_deviation(deviation, server)[0], [ASYNC, hybrid(500)]
        for data in IMAGES:
            yield Scene(data, server), [ASYNC, hybrid(300), hybrid(300, "mean"), *SYNCS]


def _seeds(seeds, *parts):
    """Everything with one seed before anything with the next, so that tables fill evenly."""
    scenes = [pair for part in parts for pair in part]
    return [(scene, way, seed) for seed in seeds for scene, ways in scenes for way in ways]


def plan(reduced, adaptive, images):
    """(scene, way, seed) of all runs, the most telling first. images: the data of IMAGES that are there."""
    if reduced:
        parts = _seeds(SEEDS[:1], (pair for pair in _reduced() if pair[0].data in ("random", *images)))
    else:
        policy = [ADAPTIVE] if adaptive else []
        by = lambda make, *more: [pair for data in images for pair in make(data, *more)]
        small, large, beside, converged = by(_tables, 32), by(_tables, 64), by(_beside), by(_converged, CONVERGED)
        parts = (_seeds(SEEDS, _ablations(policy), _services())
                 + _seeds(SEEDS[:3], small)
                 + _seeds(SEEDS[:1], large, beside, converged)
                 + _seeds(SEEDS[3:], small)
                 + _seeds(SEEDS, by(_adaptive, 32, policy))
                 + _seeds(SEEDS[:3], by(_overloaded), by(_converged, policy))
                 + _seeds(SEEDS[1:3], by(_sums, 64), by(_adaptive, 64, policy))
                 + _seeds(SEEDS[1:3], beside)
                 + _seeds(SEEDS, by(_adaptive, 64, policy))
                 + _seeds(SEEDS[3:], by(_sums, 64))
                 + _seeds(SEEDS[1:], large)
                 + _seeds(SEEDS[1:3], converged)
                 + _seeds(SEEDS[3:], beside))
    return parts


def has_policy(program, name):
    listed = subprocess.run([program, "list", "policies", "--json"], capture_output=True, text=True, check=True)
    return any(policy["name"] == name for policy in json.loads(listed.stdout))


def present_images():
    """The data of IMAGES whose folders are there; a line for those that are not."""
    present = []
    for data in IMAGES:
        folder = DATA[data].split(":", 1)[1].replace(sweep.PLACE, sweep.DATASETS)
        if os.path.isdir(folder):
            present.append(data)
        else:
            print(f"{data} skipped because {folder} is not there: set HYSGD_DATASETS", file=sys.stderr)
    return present
