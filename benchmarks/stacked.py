"""Measure ways to fine-tune several small classifiers of one shape: one after the other, stacked, compiled, in bf16.

K copies of an encoder with a linear head are trained on batches of 32 windows. Times are of one step of all copies:

    one by one      a loop over the copies, as `evaluate` does it (each process has its own rows)
    stacked         `torch.func.vmap` of `grad` over stacked parameters
    compiled        one by one, `torch.compile` of the model; the time to compile is stated
    bf16            one by one, autocast to bfloat16

Processor time on one thread, the best of several rounds. Usage: python benchmarks/stacked.py [--copies 8] [--rounds 8]
"""

import argparse
import copy
import os
import time

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.func import functional_call, grad, stack_module_state, vmap

from otolith.encoders import TPN, Encoder, Strided
from timing import seconds

BATCH, CLASSES = 32, 6


def measured(encoder: Encoder, copies: int, rounds: int) -> list[str]:
    model = nn.Sequential(encoder, nn.Linear(encoder.dim, CLASSES))
    models = [copy.deepcopy(model) for _ in range(copies)]
    x, y = torch.randn(copies, BATCH, 3, 100), torch.randint(CLASSES, (copies, BATCH))

    def one_by_one(bf16: bool = False) -> None:
        for number, each in enumerate(models):
            with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
                loss = F.cross_entropy(each(x[number]), y[number])
            loss.backward()  # type: ignore[no-untyped-call]
            each.zero_grad()

    parameters, buffers = stack_module_state(models)  # type: ignore[arg-type]
    base = copy.deepcopy(model).to("meta")

    def loss(weights: dict[str, Tensor], others: dict[str, Tensor], some: Tensor, target: Tensor) -> Tensor:
        return F.cross_entropy(functional_call(base, (weights, others), (some,)), target)

    found = {"one by one": seconds(one_by_one, rounds)}
    found["stacked"] = seconds(lambda: vmap(grad(loss))(parameters, buffers, x, y), rounds)
    found["bf16"] = seconds(lambda: one_by_one(bf16=True), rounds)
    try:
        compiled = torch.compile(models[0])
        started = time.process_time()
        compiled(x[0]).sum().backward()
        compiling = time.process_time() - started
        first = seconds(lambda: F.cross_entropy(compiled(x[0]), y[0]).backward(), rounds)
        text = f"{1e3 * copies * first:.1f} (compiled in {compiling:.0f} s)"
    except Exception as error:  # no compiler on this machine
        text = f"no ({type(error).__name__})"
    best = found["one by one"]
    columns = [f"{type(encoder).__name__}, {sum(p.numel() for p in encoder.parameters()):,}", f"{1e3 * best:.1f}"]
    return [*columns, *(f"{1e3 * found[k]:.1f} ({best / found[k]:.2f})" for k in ("stacked", "bf16")), text]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--copies", type=int, default=8)
    parser.add_argument("--rounds", type=int, default=8)
    given = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    print(f"{given.copies} copies, batches of {BATCH}, torch {torch.__version__}, load {os.getloadavg()[0]:.1f}\n")
    print("| encoder, weights | one by one, ms | stacked, ms (speed) | bf16, ms (speed) | compiled, ms |")
    print("|---|---|---|---|---|")
    for encoder in (Strided(3), Strided(3, widths=[16, 32, 32]), TPN(3, dropout=0.0)):
        print(f"| {' | '.join(measured(encoder, given.copies, given.rounds))} |", flush=True)


if __name__ == "__main__":
    main()
