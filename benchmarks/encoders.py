"""Measure size and speed of every encoder: the table of docs/encoders.md.

Windows have 3 channels x 100 time steps, or the least number of steps that an encoder accepts. Speed is windows per
second of processor time on one thread, which other programs on the machine disturb least. The encoders are measured
alternately, and the fastest round counts. Training is forward, backward and a step of Adam on the sum of squares of
the feature vector, without an objective. Usage: python benchmarks/encoders.py
"""

import time
from collections.abc import Callable

import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from otolith.encoders import ENCODERS, Encoder

BATCH, ROUNDS = 128, 5


def multiply_adds(encoder: Encoder, x: torch.Tensor) -> int:
    """Return the multiply-adds of one window. Fused kernels, which the counter cannot count, are disabled."""
    counter = FlopCounterMode(display=False)
    with torch.no_grad(), torch.backends.mkldnn.flags(enabled=False), sdpa_kernel(SDPBackend.MATH), counter:
        encoder(x[:1])
    return counter.get_total_flops() // 2


def seconds(run: Callable[[], object]) -> float:
    started = time.process_time()
    run()
    return time.process_time() - started


def main() -> None:
    torch.set_num_threads(1)
    torch.manual_seed(0)
    built = {name: kind(3) for name, kind in ENCODERS.items()}
    given = {name: torch.randn(BATCH, 3, max(100, encoder.min_steps)) for name, encoder in built.items()}
    optimisers = {name: torch.optim.Adam(encoder.parameters()) for name, encoder in built.items()}

    def use(name: str) -> None:
        with torch.no_grad():
            built[name].eval()(given[name])

    def train(name: str) -> None:
        optimisers[name].zero_grad()
        built[name].train()(given[name]).square().sum().backward()
        optimisers[name].step()

    times: dict[tuple[str, str], list[float]] = {(name, what): [] for name in built for what in ("use", "train")}
    for turn in range(ROUNDS + 1):
        for name in built:
            for what, run in (("use", use), ("train", train)):
                taken = seconds(lambda run=run, name=name: run(name))
                if turn:  # the first round is a warm-up
                    times[name, what].append(taken)
    print(f"one thread, batches of {BATCH}, best of {ROUNDS} rounds, torch {torch.__version__}\n")
    print("| encoder | parameters | multiply-adds | features | least steps | windows/s | windows/s in training |")
    print("|---|---|---|---|---|---|---|")
    for name, encoder in built.items():
        with torch.no_grad():
            _, steps, width = encoder.eval().features(given[name][:1]).shape
        parameters = sum(value.numel() for value in encoder.parameters())
        speeds = [BATCH / min(times[name, what]) for what in ("use", "train")]
        columns = [f"{parameters:,}", f"{multiply_adds(encoder, given[name]) / 1e6:.1f} M", f"{steps} x {width}"]
        columns += [str(encoder.min_steps), *(f"{speed:,.0f}" for speed in speeds)]
        print(f"| `{name}` | {' | '.join(columns)} |")


if __name__ == "__main__":
    main()
