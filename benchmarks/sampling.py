"""Drawing a tenth of seven million windows (Capture-24 at a hop of 2 s) by each way of weighting: time and memory.

Every draw runs in a process of its own, whose peak memory the kernel counted; the first line is one that only imports the
library and makes the weights. Usage: python benchmarks/sampling.py [WINDOWS]
"""

import resource
import subprocess
import sys
import time

import torch

from otolith.data.sampling import draw_windows

PEOPLE, SHARE, ROUNDS = 151, 0.1, 3


def weights(count: int, draw: str) -> torch.Tensor:
    """As `sampling.weights` makes them: people of unequal hours; variances of which a fifth is still, the rest skewed."""
    generator = torch.Generator().manual_seed(0)
    if draw == "uniform":
        return torch.ones(count, dtype=torch.float64)
    if draw == "subject":
        subject = torch.randint(PEOPLE, (count,), generator=generator) * torch.rand(count, generator=generator) // 1
        return 1.0 / torch.bincount(subject.long())[subject.long()].to(torch.float64)
    weight = torch.empty(count, dtype=torch.float64).log_normal_(-4, 3, generator=generator)
    return weight * (torch.rand(count, generator=generator) > 0.2)


def one(count: int, draw: str, how: str) -> None:
    weight = weights(count, draw)
    seconds = []
    for seed in range(ROUNDS if how != "only weights" else 0):
        started = time.perf_counter(), time.process_time()
        drawn = draw_windows(
            weight,
            round(SHARE * count),
            generator=torch.Generator().manual_seed(seed),
            replacement=how == "with replacement",
        )
        seconds.append((time.perf_counter() - started[0], time.process_time() - started[1]))
        assert len(drawn) == round(SHARE * count)
    wall, cpu = min(seconds, default=(0.0, 0.0))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1 << (20 if sys.platform == "darwin" else 10))
    print(f"{draw:10}{how:22}{wall:8.2f} s{cpu:8.2f} s of CPU{peak:10.0f} MiB at most", flush=True)


def main() -> None:
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 7_000_000
    print(
        f"{round(SHARE * count):,} of {count:,} windows, best of {ROUNDS}; {torch.get_num_threads()} threads",
        flush=True,
    )
    for draw in ("uniform", "subject", "variance"):
        for how in ("only weights", "without replacement", "with replacement"):
            subprocess.run([sys.executable, __file__, str(count), draw, how], check=True)


if __name__ == "__main__":
    if len(sys.argv) == 4:
        one(int(sys.argv[1]), sys.argv[2], sys.argv[3])
    else:
        main()
