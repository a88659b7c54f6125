"""What share of a training step goes into gathering and augmenting, `simclr` + `tpn`, batches of 256.

Gathering and augmentation are timed by themselves, on the same batches as whole steps, in the same run. Gathering runs
ahead in a thread while training, so its true share is smaller still. Usage: python benchmarks/step.py
"""

import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import torch

from otolith.data.augment import augment
from otolith.data.cutting import cut
from otolith.data.prepare import prepare
from otolith.data.sampling import Batch
from otolith.datasets import DATASETS
from otolith.encoders import TPN
from otolith.objectives import SimCLR

BATCH, ROUNDS = 256, 20


def median_ms(run: Callable[[], object]) -> float:
    run()
    times = []
    for _ in range(ROUNDS):
        started = time.perf_counter()
        run()
        times.append(time.perf_counter() - started)
    return statistics.median(times) * 1e3


def main() -> None:
    torch.manual_seed(0)
    with tempfile.TemporaryDirectory() as folder:
        store = prepare(DATASETS["spar"].read(None), Path(folder) / "spar", dataset="spar")
        windows = cut(store, channels=["acc_x", "acc_y", "acc_z"], label=None)
        objective = SimCLR(TPN(3, **windows.statistics())).train()
        optimiser = torch.optim.Adam(objective.parameters())
        rows = torch.randperm(len(windows))[:BATCH]
        subject = torch.zeros(BATCH, dtype=torch.long)

        def step() -> None:
            loss = objective(Batch(windows.gather(rows), subject, {}, {}))["simclr"]
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()

        x = windows.gather(rows)
        whole = median_ms(step)
        gathering = median_ms(lambda: windows.gather(rows))
        views = median_ms(lambda: [augment(x, objective.augmentations) for _ in range(2)])
    print(f"simclr + tpn, batch {BATCH}, {torch.get_num_threads()} threads, median of {ROUNDS} steps")
    print(f"whole step    {whole:8.2f} ms  {BATCH / whole * 1e3:8,.0f} windows/s (two views of each)")
    print(f"gathering     {gathering:8.2f} ms  {100 * gathering / whole:6.2f} %")
    print(f"augmentation  {views:8.2f} ms  {100 * views / whole:6.2f} %")
    print(f"together      {gathering + views:8.2f} ms  {100 * (gathering + views) / whole:6.2f} %")


if __name__ == "__main__":
    main()
