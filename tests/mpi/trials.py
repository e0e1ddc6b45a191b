# SPDX-License-Identifier: Apache-2.0
"""One trial of what a job survives: a small training of several ranks, something done to one of them at a random moment, and everything
that must hold afterwards. A trial is named by a seed and a number, and its choices are a function of them. A module for `faults` and for
the tests."""
import json
import os
import random
import re
import signal
import statistics
import subprocess
import tempfile
import time
from typing import NamedTuple

import ranks

PATIENCE = 6  # seconds that a hanging rank is waited for
BOUND = 60  # seconds in which everything must have ended
AROUND = 1  # second after the loss in which its consequences begin
GRADIENTS = 300
LOG = "run.hylog"
DATA = "digits,train=2000,test=500"

# What most of a run's time goes into, by the shapes of the model.
WORK = {
    "computing": ["--model", "lenet", "--batch", "32"],
    "pushing and pulling": ["--model", "dense 2048, relu, dense 10", "--batch", "2"],
    "checkpointing": ["--model", "dense 512, relu, dense 10", "--batch", "8", "--save-every", "updates=2", "--save", "run.safetensors"],
}
POLICIES = ["sync", "async", "threshold,start=1,step=60"]
# Ranks, options, and who is what: with servers of their own each role has a rank to itself.
PLACES = {
    "shared": (4, [], {"coordinator": [0], "worker and server": [1, 2, 3]}),
    "apart": (5, ["--servers", "2"], {"coordinator": [0], "worker": [1, 2], "server": [3, 4]}),
}
ACTIONS = ["kill", "hang", "pause", "drain"]


class Scene(NamedTuple):
    work: str
    policy: str
    place: str


class Plan(NamedTuple):
    scene: Scene
    action: str  # none: undisturbed
    role: str
    rank: int
    moment: float  # 0 to 1, of an undisturbed run
    seed: int


class Outcome(NamedTuple):
    plan: Plan
    wrongs: list  # what did not hold, a line each
    seconds: float  # from the first update to the end
    loss: float  # on the test data, None without a result
    recovery: float  # seconds without an update, at most, when it was done; None where nothing was, or nothing can be said
    was_hit: bool  # the run was not over before its time had come


class Failed(Exception):
    """What a run lacks, so that nothing more can be said of it."""


def every_scene():
    return [Scene(work, policy, place) for work in WORK for policy in POLICIES for place in PLACES]


def choose(seed, number, actions):
    """What trial `number` does."""
    random_choice = random.Random(f"{seed} {number}")
    scene = Scene(random_choice.choice(list(WORK)), random_choice.choice(POLICIES), random_choice.choice(list(PLACES)))
    roles = PLACES[scene.place][2]
    role = random_choice.choice(list(roles))
    return Plan(scene, random_choice.choice(actions), role, random_choice.choice(roles[role]), random_choice.uniform(0.02, 0.9),
                random_choice.randrange(1, 10 ** 6))


def words_of(plan):
    count, options, _ = PLACES[plan.scene.place]
    return [*ranks.launch(count, "--enable-recovery"), ranks.PROGRAM, "train", "--runtime", "mpi", "--tolerate", "2", "--patience",
            str(PATIENCE), *options, *WORK[plan.scene.work], "--policy", plan.scene.policy, "--data", DATA, "--gradients", str(GRADIENTS),
            "--eval-every", "never", "--seed", str(plan.seed), "--log", LOG, "--json"]


def wait_for_updates(job, log):
    """Until the log has grown beyond its beginning, as training goes on. True unless that does not happen."""
    until = time.monotonic() + BOUND
    begin = 0
    while time.monotonic() < until and job.process.poll() is None:
        size = os.path.getsize(log) if os.path.exists(log) else 0
        begin = begin or size
        if size > begin:
            return True
        time.sleep(0.005)
    return False


def act(job, plan, moment):
    """Does it at `moment`, on the monotonic clock; when it was done, None if the rank had ended by itself."""
    time.sleep(max(0, moment - time.monotonic()))
    first = {"kill": signal.SIGKILL, "hang": signal.SIGSTOP, "pause": signal.SIGSTOP, "drain": signal.SIGTERM}[plan.action]
    done = job.signal(plan.rank, first)
    if done and first == signal.SIGSTOP:
        time.sleep(2 * PATIENCE if plan.action == "hang" else PATIENCE / 5)
        job.signal(plan.rank, signal.SIGCONT)
    return done


def events(log):
    """Of a log, in order; the run first and the end last."""
    exported = subprocess.run([ranks.PROGRAM, "export", log, "--jsonl", "-", "-q"], capture_output=True, text=True)
    if exported.returncode:
        raise Failed(f"the log cannot be exported: {exported.stderr.strip()}")
    return [json.loads(line) for line in exported.stdout.splitlines()]


def clock_wrongs(log, least):
    """What is wrong with how a log compares the clocks of ranks of this machine, which are one clock, the first `least` at least; a line
    each."""
    clocks = [event for event in log if event.get("event") == "clock"]
    missing = set(range(least)) - {clock["rank"] for clock in clocks}
    return [f"the clock of rank {rank} was not compared" for rank in sorted(missing)] + [
        f"the clock of rank {clock['rank']} is off by {clock['offset_seconds']}, and by {clock['error_seconds']} at most"
        for clock in clocks if abs(clock["offset_seconds"]) > clock["error_seconds"] + 1e-9]


def result_wrongs(result):
    if result["received"] != result["applied"] + result["dropped"]:
        return [f"received {result['received']} is not applied {result['applied']} + dropped {result['dropped']}"]
    return []


def standing(log):
    """The events that no return has undone. An event's number is its place in the log, whose first record is the run."""
    returns = []
    for number, event in enumerate(log):
        if event.get("event") != "restored":
            continue
        while returns and returns[-1][1] > event["kept"]:  # undone with the rest, and what it had undone stands again
            returns.pop()
        returns.append((event["kept"], number))
    undone = {number for kept, at in returns for number in range(kept + 1, at)}
    return [event for number, event in enumerate(log) if number not in undone]


def account_wrongs(result, log):
    """What does not add up in the result of a run and the events of its log, a line each."""
    wrongs = result_wrongs(result)
    all_arrivals = [event for event in log if event.get("event") == "arrival"]
    log = standing(log)

    def same(what, one, other):
        if one != other:
            wrongs.append(f"{what}: {one} is not {other}")

    end = log[-1]
    if end.get("event") != "end":
        return ["the log has no end"]
    arrivals = [event for event in log if event.get("event") == "arrival"]
    updates = [event for event in log if event.get("event") == "update"]
    same("arrivals in the log, and received", len(arrivals), result["received"])
    same("updates in the log, and in the result", len(updates), result["updates"])
    same("gradients of the updates, and applied", sum(update["gradients"] for update in updates), result["applied"])
    same("the last version, and the updates", updates[-1]["version"] if updates else 0, result["updates"])
    for key in ("received", "applied", "dropped"):
        same(f"{key} of all workers, and in the result", sum(account[key] for account in end["accounts"]), result[key])
    same("arrivals undone, and those in the result", len(all_arrivals) - len(arrivals), result["undone"])
    for worker, account in enumerate(end["accounts"]):
        same(f"worker {worker}, arrivals in all, and received + undone", sum(event["worker"] == worker for event in all_arrivals),
             account["received"] + account["undone"])
        same(f"worker {worker}, received, and applied + dropped", account["received"], account["applied"] + account["dropped"])
        same(f"worker {worker}, arrivals in the log, and received", sum(event["worker"] == worker for event in arrivals),
             account["received"])
    return wrongs


def ends_run(plan):
    """Whether the run is to end early: the coordinator is told to."""
    return plan.action == "drain" and plan.role == "coordinator"


def is_about_loss(line):
    return re.search(r"\blost\b", line) is not None


def naming_wrongs(plan, lines):
    """Whether who was lost or told to end is named, and nobody is lost otherwise. lines: of standard error."""
    named = [line for line in lines if is_about_loss(line)]
    told = [line for line in lines if re.search(rf"\brank {plan.rank} on \S+ was told to end", line)]
    if plan.action in ("kill", "hang") and not any(re.search(rf"\brank {plan.rank} on \S+ has (ended|been silent)", line) for line in named):
        return [f"rank {plan.rank} is not named as lost"]
    if plan.action in ("none", "pause", "drain") and named:
        return [f"said without a loss: {named[0]}"]
    if plan.action == "drain" and not ends_run(plan) and len(told) != 1:
        return [f"said {len(told)} times that rank {plan.rank} was told to end"]
    return []


def replay_wrongs(log):
    replayed = subprocess.run([ranks.PROGRAM, "replay", log, "-q"], capture_output=True, text=True)
    return [f"the replay differs: {replayed.stderr.strip()}"] if replayed.returncode else []


def recovery_seconds(done, ended, seconds, log):
    """The longest time between two updates of the log around `done`, which is at least that from the loss to the next update; None where
    the log has none afterwards. ended: when the result came, on the clock of `done`; seconds: the run's end on the log's."""
    if not done:
        return None
    moment = seconds - (ended - done)  # or shortly after it, as the result comes some time after the end
    times = [event["t"] for event in log if event.get("event") == "update"]
    return max((b - a for a, b in zip(times, times[1:]) if b > moment and a < moment + AROUND), default=None)


def watch(job, plan, length, log):
    """The job from its beginning to its end: (what did not hold, when the first update was there, when it was done)."""
    if not wait_for_updates(job, log):
        return ["it did not begin"], time.monotonic(), None
    began = time.monotonic()
    done = act(job, plan, began + plan.moment * length) if plan.action != "none" else None
    wrongs = [] if job.wait(BOUND) else [f"it hangs: after {BOUND} s there are still {sorted(job.processes())}"]
    return wrongs, began, done


def is_over_unnoticed(plan, began, done, result, log):
    """Whether a rank hung so late that nobody could have lost patience with it before the run was over. began: when the log had its first
    update, on the clock of `done`."""
    times = [event["t"] for event in log if event.get("event") == "update"]
    return plan.action == "hang" and bool(times) and times[0] + done - began + PATIENCE > result["seconds"]


def run(plan, length=None, has_replay=False):
    """One trial. length: seconds that an undisturbed run takes from its first update to its end."""
    loss = recovery = None
    must_name = True
    with tempfile.TemporaryDirectory(prefix="hysgd-trial-") as folder:
        log = os.path.join(folder, LOG)
        with ranks.Job(words_of(plan), folder) as job:
            wrongs, began, done = watch(job, plan, length, log)
            seconds = time.monotonic() - began
        result = job.result()
        try:
            if result is None:
                raise Failed("there is no result, or more than one")
            is_early = ends_run(plan) and result["reason"] == "interrupted"
            if result["reason"] != "gradients" and not is_early:
                wrongs.append(f"it ended for another reason: {result['reason']}")
            loss = None if is_early else result["test_loss"]
            found = events(log)
            recovery = recovery_seconds(done, job.output[-1][0], result["seconds"], found)
            must_name = not (done and is_over_unnoticed(plan, began, done, result, found))
            wrongs += account_wrongs(result, found) + clock_wrongs(found, 1)
            wrongs += replay_wrongs(log) if has_replay else []
        except Failed as failure:
            wrongs.append(str(failure))
    ended = job.output[-1][0] if job.output else time.monotonic()
    if plan.action == "none" or (done and must_name and ended - done > AROUND):
        wrongs += naming_wrongs(plan, [line for _, line in job.said])
    if wrongs:
        wrongs.append("it said: " + job.errors()[-3000:])
    return Outcome(plan, wrongs, seconds, loss, recovery, done is not None)


class Calm(NamedTuple):
    """Undisturbed runs of one scene."""
    length: float  # seconds from the first update to the end, of the shortest
    loss: float  # mean
    spread: float  # standard deviation of the loss


def calm(scene, seeds):
    """(what undisturbed runs give, their outcomes)"""
    outcomes = [run(Plan(scene, "none", "", -1, 0, seed)) for seed in seeds]
    losses = [outcome.loss for outcome in outcomes if outcome.loss is not None] or [float("nan")]
    return Calm(min(outcome.seconds for outcome in outcomes), statistics.mean(losses),
                statistics.stdev(losses) if len(losses) > 1 else 0), outcomes


def is_within_noise(loss, undisturbed):
    """May a run without a fault have had this loss? Up to four deviations, which are known from few runs, or a half if that is more: fifteen
    undisturbed seeds of one scene gave 0.70 to 0.95. That there is no smaller loss of quality is for the mean over many trials to show."""
    return loss <= undisturbed.loss + max(4 * undisturbed.spread, 0.5 * undisturbed.loss)
