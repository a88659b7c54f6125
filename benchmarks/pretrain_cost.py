"""Measure one pretraining of the few-shot recipe: 1,000 steps of 128 windows on recordings with accelerometer and gyroscope.

The windows are synthetic (30 people, 6 channels of 2.56 s at 50 Hz, as in HAPT), which does not change the time. A part of
the steps is timed after a warm-up and scaled to 1,000.

Usage: python benchmarks/pretrain_cost.py [--threads 2] [--steps 50]
"""

import argparse
import os
import time

import numpy as np
import torch

from otolith.data.features import feature_statistics
from otolith.data.windows import Windows
from otolith.encoders import Strided
from otolith.objectives import GravityAware
from otolith.pretraining import Runtime, pretrain

CHANNELS = ("acc_x", "acc_y", "acc_z", "gyro_x", "gyro_y", "gyro_z")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--steps", type=int, default=50)
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    random = np.random.default_rng(0)
    x = random.normal(size=(10_000, 6, 128)).astype(np.float32)
    windows = Windows.from_arrays(x, rate_hz=50, channels=CHANNELS, subjects=np.arange(10_000) % 30)
    print(f"{given.threads} threads, load {os.getloadavg()[0]:.1f}\n")
    print("| objective | processor, s per 1,000 steps | clock, s per 1,000 steps |")
    print("|---|---|---|")
    for name, kind in (("gravity_aware", "perceptron"), ("the same, convolutional decoder", "convolutions")):
        encoder = Strided(6, **windows.statistics(), widths=[64, 128, 256])
        objective = GravityAware(encoder, 128, decoder_kind=kind, **feature_statistics(windows))  # type: ignore[arg-type]
        runtime = Runtime(accelerator="cpu", report_every=1)
        used, clock = time.process_time(), time.perf_counter()
        for step in pretrain(objective, windows, batch_size=128, patience=None, runtime=runtime):
            if step.index == 5:
                used, clock = time.process_time(), time.perf_counter()
            if step.index == 5 + given.steps:
                break
        factor = 1000 / given.steps
        print(
            f"| {name} | {factor * (time.process_time() - used):.0f} | {factor * (time.perf_counter() - clock):.0f} |"
        )


if __name__ == "__main__":
    main()
