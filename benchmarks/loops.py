"""Measure pretraining loops against the bare encoder: windows per second of `pretrain`, over those of the encoder alone.

Each line is an objective on an encoder. Bare is the forward and backward pass of the encoder on the same windows, in as many
passes per batch as the objective makes, on batches that were gathered before, with given gradients of its outputs. So the
objective's augmentations, heads and loss, gathering, seeding, the optimiser and reports are the difference. `cpc` draws the
end of the context at random; here it is always the middle, in the loop and in the bare encoder. `primus` has full queues.

Loop and bare encoder alternate, and the best round of each counts. On one thread, time is processor time, which other
programs disturb least; on several threads, it is wall-clock time. Windows have random values, which do not change the time.

Usage: python benchmarks/loops.py [--threads 1] [--rounds 5] [--steps 20] [--precision bf16-mixed] [--only NAME;NAME]
"""

import argparse
import dataclasses
import os
import time
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple
from unittest import mock

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from otolith import encoders
from otolith.data.windows import Windows
from otolith.encoders import Encoder
from otolith.objectives import CPC, GravityAware, Objective, Primus, SimCLR
from otolith.pretraining import Runtime, pretrain

FUTURE = 32  # steps that `cpc` predicts


class Loop(NamedTuple):
    """An objective, its batches, and the encoder's passes per batch: how many there are, and how many views each stacks."""

    build: Callable[[], Objective]
    channels: int
    steps: int
    batch_size: int
    passes: int
    stacked: int = 1
    run: Callable[[Any, Tensor], Tensor] = Encoder.__call__


def middle(encoder: Any, x: Tensor) -> Tensor:
    """Return the context in the middle and the features after it, as `cpc` uses them."""
    z = encoder.features(x)
    start = (z.shape[1] - FUTURE - 1) // 2
    context = encoder.context(z[:, : start + 1])[:, -1]
    return torch.cat([context, z[:, start + 1 : start + 1 + FUTURE].flatten(1)], dim=1)


def primus() -> Objective:
    objective = Primus(encoders.Primus(6))
    for name in ("ssl", "video", "text"):
        queue = objective.get_buffer(f"queue_{name}")
        queue.copy_(F.normalize(torch.randn_like(queue), dim=1))
    objective.queue_written.fill_(objective.queue)  # type: ignore[operator]
    return objective


def gravity_aware(**arguments: Any) -> Objective:
    return GravityAware(encoders.Strided(3, widths=[64, 128, 256]), **arguments)


LOOPS = {
    "simclr, tpn": Loop(lambda: SimCLR(encoders.TPN(3)), 3, 100, 256, 2),
    "simclr, strided": Loop(lambda: SimCLR(encoders.Strided(3)), 3, 100, 256, 2),
    "cpc, cpc": Loop(lambda: CPC(encoders.CPC(3), FUTURE), 3, 100, 256, 1, 1, middle),
    "primus, primus": Loop(primus, 6, 250, 62, 1, 2),
    "gravity_aware, strided": Loop(gravity_aware, 3, 100, 128, 4),
    "the same, two layers, one view": Loop(
        lambda: gravity_aware(decoder_kind="perceptron", one_view=True), 3, 100, 128, 3
    ),
}


def windows_of(loop: Loop, count: int) -> Windows:
    random = np.random.default_rng(0)
    x = random.normal(size=(count, loop.channels, loop.steps)).astype(np.float32)
    names = [f"{sensor}_{axis}" for sensor in ("acc", "gyro")[: loop.channels // 3] for axis in "xyz"]
    windows = Windows.from_arrays(x, rate_hz=50, channels=names)
    paired = {name: F.normalize(torch.randn(count, 512), dim=1) for name in ("video", "text")}
    present = {name: torch.ones(count, dtype=torch.bool) for name in paired}
    return dataclasses.replace(windows, paired=paired, present=present)


def timed(clock: Callable[[], float], loop: Loop, windows: Windows, steps: int, precision: str) -> Iterator[float]:
    """Yield seconds per step of the loop and of the bare encoder, alternately."""
    bare = loop.build().encoder.train()
    x = torch.cat([windows.gather(torch.arange(loop.batch_size))] * loop.stacked)
    gradients = [torch.randn_like(loop.run(bare, x)) for _ in range(loop.passes)]
    runtime = Runtime(precision, accelerator="cpu", report_every=10**6)
    while True:
        records = pretrain(loop.build(), windows, epochs=2, batch_size=loop.batch_size, patience=None, runtime=runtime)
        next(records)  # the first epoch is a warm-up
        started = clock()
        next(records)
        yield (clock() - started) / steps
        for count in (2, steps):
            started = clock()
            for _ in range(count):
                outputs = [loop.run(bare, x) for _ in range(loop.passes)]
                torch.autograd.backward(outputs, gradients)
                bare.zero_grad(set_to_none=True)
        yield (clock() - started) / steps


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--precision", default="32-true", help="of the loop; the bare encoder always has 32-true")
    parser.add_argument("--only", default=";".join(LOOPS), help="names, separated by ;")
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    clock: Callable[[], float] = time.process_time if given.threads == 1 else time.perf_counter
    head = f"{given.threads} threads, best of {given.rounds} rounds, torch {torch.__version__}, {given.precision}"
    print(f"{head}, load {os.getloadavg()[0]:.1f}\n")
    print("| objective, encoder | batch | loop, windows/s | bare, windows/s | ratio |")
    print("|---|---|---|---|---|")
    for name in given.only.split(";"):
        loop = LOOPS[name]
        windows = windows_of(loop, loop.batch_size * given.steps)
        with mock.patch("otolith.objectives.cpc.torch.randint", lambda high, _: torch.tensor((high - 1) // 2)):
            times = timed(clock, loop, windows, given.steps, given.precision)
            rounds = [(next(times), next(times)) for _ in range(given.rounds)]
        best = [min(column) for column in zip(*rounds, strict=True)]
        speeds = [f"{loop.batch_size / seconds:,.0f}" for seconds in best]
        print(f"| {name} | {loop.batch_size} | {' | '.join(speeds)} | {best[1] / best[0]:.2f} |", flush=True)


if __name__ == "__main__":
    main()
