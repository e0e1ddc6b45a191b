# SPDX-License-Identifier: Apache-2.0
"""Several hosts on one machine: network namespaces with addresses and names of their own, joined by a switch in a namespace of its own,
by lines with a rate, a delay, jitter and loss. Nothing touches the machine's own network. Needs root and iproute2. A module for tests
and benchmarks:

    with Network([Line(), Line(), Line(rate=10), Line(delay=20, jitter=5, loss=0.1)]) as network:
        run = subprocess.Popen(network.mpirun(4) + [program], env=network.environment())
        network.cut(2)
        network.mend(2)

However the block is left, SIGTERM included, processes of the hosts are killed and the namespaces removed; what a killed program has left
behind is removed by the next one."""
import itertools
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from typing import NamedTuple

FOLDER = os.path.dirname(os.path.abspath(__file__))
BUILD = os.environ.get("HYSGD_BUILD", os.path.join(FOLDER, "..", "..", "build", "release"))
DELAY = os.path.join(BUILD, "tests", "hosts", "delay")
STEM = "hysgd-"  # then the process id of the owner, its number of this network, and the host
numbers = itertools.count()
MPI_AS_ROOT = {"OMPI_ALLOW_RUN_AS_ROOT": "1", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1"}


class Line(NamedTuple):
    """Between a host and the switch, the same in both directions. 0: unlimited, none."""
    rate: float = 0  # Mbit/s
    delay: float = 0  # milliseconds, one way
    jitter: float = 0  # milliseconds, on top of the delay
    loss: float = 0  # per cent


class Failed(Exception):
    """A command that the network is made with: what it said."""


def call(*words):
    done = subprocess.run(words, stdin=subprocess.DEVNULL, capture_output=True, text=True)
    if done.returncode:
        raise Failed(f"{' '.join(words)}: {done.stderr.strip() or done.stdout.strip()}")
    return done.stdout


def spaces(stem):
    """Names of the namespaces that begin so."""
    listed = subprocess.run(["ip", "netns", "list"], capture_output=True, text=True).stdout
    return [line.split()[0] for line in listed.splitlines() if line.startswith(stem)]


def remove(names):
    """Kills what runs in these namespaces and removes them. Goes on whatever fails."""
    for name in names:
        for _ in range(20):
            found = subprocess.run(["ip", "netns", "pids", name], capture_output=True, text=True).stdout.split()
            for pid in found:
                try:
                    os.kill(int(pid), signal.SIGKILL)
                except ProcessLookupError:
                    pass
            if not found:
                break
            time.sleep(0.05)
        subprocess.run(["ip", "netns", "del", name], capture_output=True)


def remove_leftovers():
    """Those whose owner is no more."""
    for name in spaces(STEM):
        owner = re.match(STEM + r"(\d+)-", name)
        if owner and not os.path.exists(f"/proc/{owner[1]}"):
            remove([name])


def reason_to_skip():
    """Why there can be no hosts on this machine, in one line; None where there can."""
    if os.geteuid() != 0:
        return "network namespaces need root"
    for command in ("ip", "tc", "unshare"):
        if not shutil.which(command):
            return f"{command} is not installed"
    if not os.path.exists(DELAY):
        return f"{DELAY} is missing: run make tests"
    name = f"{STEM}{os.getpid()}-try"
    try:
        call("ip", "netns", "add", name)
        call("ip", "netns", "exec", name, "unshare", "--uts", "hostname", "try")
        call("ip", "-n", name, "link", "add", "one", "type", "bridge")
        call("ip", "-n", name, "link", "add", "two", "type", "veth", "peer", "name", "three")
        call("ip", "netns", "exec", name, "tc", "qdisc", "add", "dev", "two", "root", *shape(1))
    except Failed as failure:
        return f"namespaces are not allowed here: {failure}"
    finally:
        remove([name])
    return None


def shape(rate):
    return ["tbf", "rate", f"{rate}mbit", "burst", "128k", "latency", "100ms"]


class Network:
    """Hosts 0, 1, ... of the names host0, host1, ..., with a Line each."""

    def __init__(self, lines):
        self.lines = lines
        self.stem = f"{STEM}{os.getpid()}-{next(numbers)}-"
        self.switch = self.stem + "switch"
        self.delays = []
        self.handler = None

    def space(self, host):
        return f"{self.stem}host{host}"

    def __enter__(self):
        remove_leftovers()
        self.handler = signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
        try:
            call("ip", "netns", "add", self.switch)
            call("ip", "-n", self.switch, "link", "add", "bridge", "type", "bridge")
            call("ip", "-n", self.switch, "link", "set", "bridge", "up")
            for host, line in enumerate(self.lines):
                self._add(host, line)
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_):
        remove([self.space(host) for host in range(len(self.lines))] + [self.switch])
        for delay in self.delays:
            delay.wait()
            delay.stdout.close()
        signal.signal(signal.SIGTERM, self.handler)

    def _add(self, host, line):
        space, port = self.space(host), f"port{host}"
        call("ip", "netns", "add", space)
        call("ip", "-n", space, "link", "set", "lo", "up")
        call("ip", "link", "add", "eth0", "netns", space, "type", "veth", "peer", "name", port, "netns", self.switch)
        call("ip", "-n", space, "addr", "add", f"10.77.0.{host + 1}/24", "dev", "eth0")
        if line.delay or line.jitter or line.loss:
            self._delay(host, line)
        else:
            call("ip", "-n", self.switch, "link", "set", port, "master", "bridge")
        call("ip", "-n", self.switch, "link", "set", port, "up")
        call("ip", "-n", space, "link", "set", "eth0", "up")
        if line.rate:
            call("ip", "netns", "exec", space, "tc", "qdisc", "add", "dev", "eth0", "root", *shape(line.rate))
            call("ip", "netns", "exec", self.switch, "tc", "qdisc", "add", "dev", port, "root", *shape(line.rate))

    def _delay(self, host, line):
        """host's eth0 == port =delay= far == near on the bridge"""
        port, far, near = f"port{host}", f"far{host}", f"near{host}"
        call("ip", "-n", self.switch, "link", "add", far, "type", "veth", "peer", "name", near)
        call("ip", "-n", self.switch, "link", "set", near, "master", "bridge")
        for name in (port, far, near):
            call("ip", "-n", self.switch, "link", "set", name, "addrgenmode", "none", "up")
        delay = subprocess.Popen(["ip", "netns", "exec", self.switch, DELAY, port, far, str(line.delay), str(line.jitter),
                                  str(line.loss)], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        self.delays.append(delay)
        said = delay.stdout.readline()
        if said != "ready\n":
            raise Failed(f"the line of host {host}: {said}")

    def cut(self, host):
        """The host's line carries nothing more, in either direction, and nobody is told."""
        call("ip", "-n", self.switch, "link", "set", f"port{host}", "down")

    def mend(self, host):
        call("ip", "-n", self.switch, "link", "set", f"port{host}", "up")

    def inside(self, host):
        """The words before a command that is to run on this host."""
        return ["ip", "netns", "exec", self.space(host), "unshare", "--uts", "/bin/sh", "-c", 'hostname "$0"; exec "$@"',
                f"host{host}"]

    def environment(self):
        return {**os.environ, **MPI_AS_ROOT, "HYSGD_HOSTS": self.stem}

    def mpirun(self, slots=None, options=()):
        """The words before a program, mpirun's -n among them left out; mpirun itself is on host 0. Ranks go to one host after the other,
        in rounds, as long as they have slots left; one each by default."""
        hosts = ",".join(f"host{host}:{count}" for host, count in enumerate(slots or [1] * len(self.lines)))
        settings = {"plm_rsh_agent": os.path.join(FOLDER, "agent"), "oob_tcp_if_include": "eth0", "btl_tcp_if_include": "eth0",
                    "btl": "tcp,vader,self", "mpi_yield_when_idle": "1"}
        words = [word for key, value in settings.items() for word in ("--mca", key, value)]
        return [*self.inside(0), "mpirun.openmpi", *words, "--host", hosts, "--map-by", "node", "--bind-to", "none", *options]
