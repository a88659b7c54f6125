"""Gathering batches of 256 windows of 100 x 3 from a memory-mapped store, against a `Dataset` with `__getitem__`.

Both read the same store in the same shuffled order and yield the same tensors (checked); they take turns, and the ratio is
of the medians. Usage: python benchmarks/gather.py
"""

import statistics
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset

from otolith.data.cutting import cut
from otolith.data.prepare import prepare
from otolith.data.sampling import batches
from otolith.datasets import DATASETS

BATCH, ROUNDS = 256, 5


class PerWindow(Dataset):
    """What scripts do: one Python call a window, on a memory-mapped (time, channels) array."""

    def __init__(self, rows: np.memmap, start: list[int], steps: int) -> None:
        self.rows, self.start, self.steps = rows, start, steps

    def __len__(self) -> int:
        return len(self.start)

    def __getitem__(self, index: int) -> torch.Tensor:
        start = self.start[index]
        return torch.tensor(self.rows[start : start + self.steps].T)


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        store = prepare(DATASETS["spar"].read(None), Path(folder) / "spar", dataset="spar")
        windows = cut(store, channels=["acc_x", "acc_y", "acc_z"], overlap=0.9, label=None)
        order = torch.randperm(len(windows), generator=torch.Generator().manual_seed(0))
        steps = windows.contract.steps
        rows = np.memmap(Path(folder) / "rows.f32", dtype="<f4", mode="w+", shape=(len(store.values) // 6, 3))
        rows[:] = np.concatenate([store.signal(entry)[:, :3] for entry in store.entries])
        before = np.cumsum([0] + [entry.steps for entry in store.entries])
        first = np.round(windows.start_s * store.rate_hz).astype(int)
        dataset = PerWindow(rows, (before[windows.recording] + first).tolist(), steps)

        def ours() -> Iterator[torch.Tensor]:
            return (batch.x for batch in batches(windows, order, BATCH, device=torch.device("cpu")))

        def theirs() -> Iterator[torch.Tensor]:
            return iter(DataLoader(dataset, batch_size=BATCH, sampler=order.tolist()))

        assert all(torch.equal(a, b) for a, b in zip(ours(), theirs(), strict=True))
        seconds: dict[str, list[float]] = {"ours": [], "theirs": []}
        for _ in range(ROUNDS):
            for name, run in (("ours", ours), ("theirs", theirs)):
                started = time.perf_counter()
                for _ in run():
                    pass
                seconds[name].append(time.perf_counter() - started)
    count = len(windows)
    mine, other = statistics.median(seconds["ours"]), statistics.median(seconds["theirs"])
    print(
        f"{count:,} windows of {windows.shape[2]} x {windows.shape[1]}, batches of {BATCH}, median of {ROUNDS} rounds"
    )
    print(f"sampling.batches        {mine * 1e3:8.1f} ms  {count / mine:12,.0f} windows/s")
    print(f"Dataset and DataLoader  {other * 1e3:8.1f} ms  {count / other:12,.0f} windows/s")
    print(f"ratio                   {other / mine:8.1f}")


if __name__ == "__main__":
    main()
