#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""The peer of bench_step: the same networks, batches and optimizer in PyTorch, the same images in memory.

    pytorch_step.py written|tuned [THREADS]    one process
    pytorch_step.py ddp RANK FILE              one of two processes under DistributedDataParallel, gloo

Answers lines "NETWORK PRECISION STEPS" on standard input with one JSON line each. A step draws the next batch of a
random permutation out of a resident tensor, and does forward, backward, the momentum step and reading the loss.
`written` is what users write. `tuned` adds channels_last memory, foreach optimizers and gradients set to None; the
driver raises the thresholds of malloc for it. bf16 is autocast.
"""
import json
import sys
import time

import torch
from torch import nn

SAMPLES = 4096
BATCHES = {"mlp": 64, "lenet": 64, "cifar-cnn": 128, "resnet20": 128}
WARM_UP = 2


class Block(nn.Module):
    """Two convolutions around which the input is added, projected where the shape changes."""

    def __init__(self, inputs, outputs, stride):
        super().__init__()
        self.branch = nn.Sequential(
            nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False), nn.BatchNorm2d(outputs), nn.ReLU(inplace=True),
            nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False), nn.BatchNorm2d(outputs))
        self.shortcut = nn.Sequential()
        if stride != 1:
            self.shortcut = nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs))
        self.relu = nn.ReLU(inplace=True)

    def forward(self, x):
        return self.relu(self.branch(x) + self.shortcut(x))


def resnet20():
    layers = [nn.Conv2d(3, 16, 3, 1, 1, bias=False), nn.BatchNorm2d(16), nn.ReLU(inplace=True)]
    width = 16
    for units in (16, 32, 64):
        for i in range(3):
            layers.append(Block(width, units, 2 if i == 0 and units != 16 else 1))
            width = units
    return nn.Sequential(*layers, nn.AvgPool2d(8), nn.Flatten(), nn.Linear(64, 10))


def convolutions(channels, side, widths, kernel, pad):
    layers = []
    for width in widths:
        layers += [nn.Conv2d(channels, width, kernel, padding=pad), nn.ReLU(), nn.MaxPool2d(2)]
        channels, side = width, (side + 2 * pad - kernel + 1) // 2
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(channels * side * side, 10))


def build(name):
    if name == "mlp":
        return nn.Sequential(nn.Flatten(), nn.Linear(784, 256), nn.ReLU(), nn.Linear(256, 128), nn.ReLU(),
                             nn.Linear(128, 10))
    if name == "lenet":
        return convolutions(1, 28, (32, 64), 5, 0)
    if name == "cifar-cnn":
        return convolutions(3, 32, (32, 64, 128), 3, 1)
    return resnet20()


class Trial:
    """One network with its data and optimizer; kept from round to round."""

    def __init__(self, name, is_tuned, is_distributed):
        channels, side = (1, 28) if name in ("mlp", "lenet") else (3, 32)
        torch.manual_seed(1)
        self.batch = BATCHES[name]
        self.model = build(name)
        self.is_channels_last = is_tuned and name != "mlp"
        self.images = torch.randn(SAMPLES, channels, side, side)
        if self.is_channels_last:
            self.model = self.model.to(memory_format=torch.channels_last)
            self.images = self.images.permute(0, 2, 3, 1).contiguous()  # a drawn batch is then channels_last at once
        self.labels = torch.randint(10, (SAMPLES,))
        if is_distributed:
            self.model = nn.parallel.DistributedDataParallel(self.model)
        self.loss = nn.CrossEntropyLoss()
        self.is_tuned = is_tuned
        self.optimizer = torch.optim.SGD(self.model.parameters(), lr=0.01, momentum=0.9,
                                         **({"foreach": True} if is_tuned else {}))
        self.order = torch.randperm(SAMPLES)
        self.place = 0

    def draw(self):
        if self.place + self.batch > SAMPLES:
            self.order = torch.randperm(SAMPLES)
            self.place = 0
        chosen = self.order[self.place:self.place + self.batch]
        self.place += self.batch
        images = self.images.index_select(0, chosen)
        return images.permute(0, 3, 1, 2) if self.is_channels_last else images, self.labels.index_select(0, chosen)

    def step(self, precision):
        images, labels = self.draw()
        self.optimizer.zero_grad(set_to_none=self.is_tuned)
        with torch.autocast("cpu", torch.bfloat16, enabled=precision == "bf16"):
            loss = self.loss(self.model(images), labels)
        loss.backward()
        self.optimizer.step()
        return loss.item()

    def rate(self, precision, steps):
        for _ in range(WARM_UP):
            self.step(precision)
        began = time.perf_counter()
        for _ in range(steps):
            self.step(precision)
        return steps * self.batch / (time.perf_counter() - began)


def require_openblas():
    """Debian's PyTorch takes whatever libblas.so.3 is, and the reference BLAS would make it look ten times as slow."""
    torch.randn(64, 64) @ torch.randn(64, 64)
    with open("/proc/self/maps", encoding="ascii", errors="replace") as maps:
        if "openblas" not in maps.read():
            sys.exit("pytorch_step.py: libblas.so.3 is not OpenBLAS: apt-get install libopenblas0-pthread")


def main():
    mode = sys.argv[1]
    is_distributed = mode == "ddp"
    threads = int(sys.argv[2]) if len(sys.argv) > 2 and not is_distributed else 1
    torch.set_num_threads(threads)
    require_openblas()
    if is_distributed:
        torch.distributed.init_process_group("gloo", init_method="file://" + sys.argv[3], rank=int(sys.argv[2]),
                                             world_size=2)
    trials = {}
    for line in sys.stdin:
        name, precision, steps = line.split()
        if name not in trials:
            trials[name] = Trial(name, mode == "tuned", is_distributed)
        print(json.dumps({"rate": trials[name].rate(precision, int(steps))}), flush=True)


main()
