"""Measure the speed of PRIMUS: windows per second by batch size, the parts of a step, and the nearest-neighbour look-up.

A row of the table is a batch size. Windows have 6 channels x 250 time steps, text and video 512 dimensions, and the
queue is full with 8,192 rows. Four measurements alternate in one run, and the best round of each counts:

    step        a training step: augment, encode two views, all terms, backward, Adam
    outside     a step without forward and backward of the encoder: augment, heads, look-up, terms, their backward, Adam
    broadcast   a step whose look-up is `cosine_similarity` of (batch, 1, 512) and (1, 8192, 512); up to batch 256
    bf16        a step in mixed precision: `precision = "bf16-mixed"` of a recipe's `[pretrain.runtime]`

On one thread, time is processor time, which other programs on the machine disturb least; on several threads, it is
wall-clock time. Usage: python benchmarks/primus.py [THREADS] [ROUNDS]
"""

import os
import sys
import time
from collections.abc import Callable
from unittest import mock

import torch
import torch.nn.functional as F
from torch import Tensor

from otolith import encoders
from otolith.data.augment import augment
from otolith.data.sampling import Batch
from otolith.objectives import Primus

THREADS = int(sys.argv[1]) if len(sys.argv) > 1 else 1
ROUNDS = int(sys.argv[2]) if len(sys.argv) > 2 else 3
BATCHES = (16, 62, 256)
QUEUE, DIM = 8192, 512


def seconds(run: Callable[[], object]) -> float:
    clock = time.process_time if THREADS == 1 else time.perf_counter
    started = clock()
    run()
    return clock() - started


def drawn(count: int) -> Batch:
    paired = {name: F.normalize(torch.randn(count, DIM), dim=1) for name in ("video", "text")}
    present = {name: torch.ones(count, dtype=torch.bool) for name in paired}
    return Batch(torch.randn(count, 6, 250), torch.zeros(count, dtype=torch.long), paired, present)


def built() -> Primus:
    torch.manual_seed(0)
    objective = Primus(encoders.Primus(6))
    for name in ("ssl", "video", "text"):
        objective.get_buffer(f"queue_{name}").copy_(F.normalize(torch.randn(QUEUE, DIM), dim=1))
    objective.queue_written.fill_(QUEUE)
    return objective


def broadcast(query: Tensor, queue: Tensor) -> Tensor:
    """Return the nearest row of each query. A query needs 16 MB, so that eight are computed at a time."""
    parts = [F.cosine_similarity(part[:, None], queue[None], dim=2).max(dim=1).indices for part in query.split(8)]
    return torch.cat(parts)


def look_up_by_broadcast(self: Primus, _: Tensor, vectors: dict[str, Tensor], __: object) -> tuple[Tensor, Tensor]:
    """Return the result of `Primus.look_up`, computed by broadcast."""
    place = broadcast(vectors["video"], self.queued("video"))[:, None]
    return place, torch.ones(place.shape)


def main() -> None:
    torch.set_num_threads(THREADS)
    print(f"{THREADS} threads, best of {ROUNDS} rounds, torch {torch.__version__}, load {os.getloadavg()[0]:.1f}\n")
    print(
        "| batch | windows/s | ms per step | outside the encoder | by broadcast | ratio | windows/s in bf16 | ratio |"
    )
    print("|---|---|---|---|---|---|---|---|")
    for count in BATCHES:
        objective, batch = built(), drawn(count)
        optimiser = torch.optim.Adam(objective.parameters(), lr=2e-4, fused=True)  # as in pretraining
        embedded = torch.randn(2, count, DIM, requires_grad=True)

        def step(
            objective: Primus = objective, batch: Batch = batch, optimiser: torch.optim.Optimizer = optimiser
        ) -> None:
            losses = objective(batch)
            optimiser.zero_grad(set_to_none=True)
            torch.stack(list(losses.values())).sum().backward()
            optimiser.step()

        def outside(
            objective: Primus = objective,
            batch: Batch = batch,
            optimiser: torch.optim.Optimizer = optimiser,
            embedded: Tensor = embedded,
        ) -> None:
            augment(batch.x, objective.augmentations)
            losses = objective.losses(*embedded, batch.paired, batch.present)
            torch.stack(list(losses.values())).sum().backward()
            optimiser.step()  # updates the encoder too, with the gradients of the step before

        def bf16(step: Callable[[], object] = step) -> None:
            with torch.autocast("cpu", torch.bfloat16):
                step()

        times: dict[str, list[float]] = {"step": [], "outside": [], "bf16": [], "broadcast": []}
        for turn in range(ROUNDS + 1):
            for name, run in (("step", step), ("outside", outside), ("bf16", bf16)):
                times[name].append(seconds(run))
            if count <= 256:
                with mock.patch.object(Primus, "look_up", look_up_by_broadcast):
                    times["broadcast"].append(seconds(step))
            if not turn:  # the first round is a warm-up
                times = {name: [] for name in times}
        best = {name: min(values) for name, values in times.items() if values}
        columns = [f"{count:,}", f"{count / best['step']:,.0f}", f"{1e3 * best['step']:,.0f}"]
        columns += [f"{100 * best['outside'] / best['step']:.1f} %"]
        if slow := best.get("broadcast"):
            columns += [f"{count / slow:,.0f}", f"{slow / best['step']:.1f}"]
            columns += [f"{count / best['bf16']:,.0f}", f"{slow / best['bf16']:.1f}"]
        print(f"| {' | '.join(columns)} |", flush=True)

    objective, query = built(), F.normalize(torch.randn(256, DIM), dim=1)
    queue, rows = objective.queued("video"), torch.ones(256, dtype=torch.bool)
    vectors, present = {"video": query, "text": query}, {"video": rows, "text": rows}
    product = torch.empty(256, QUEUE)
    times = {"look-up": [], "its matrix product alone": [], "broadcast": []}
    for _ in range(5 * ROUNDS):
        times["look-up"].append(seconds(lambda: objective.look_up(query, vectors, present)))
        times["its matrix product alone"].append(seconds(lambda: torch.mm(query, queue.T, out=product)))
    times["broadcast"] = [seconds(lambda: broadcast(query, queue)) for _ in range(2)]
    print("\n256 queries in a queue of 8,192 x 512 (2.1 GFLOP):")
    for name, values in times.items():
        print(f"{name:26s} {1e3 * min(values):8.1f} ms")


if __name__ == "__main__":
    main()
