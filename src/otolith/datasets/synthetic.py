"""Synthetic: rhythmic movements of simulated people, for unit tests only. No result is ever reported on it.

Card
    people 6, recordings 18; classes slow, medium, fast: sinusoids at 0.6, 1.4 and 2.6 Hz on top of gravity, each person
    with a different orientation and amplitude
    channels acceleration in g, angular rate in rad/s; rate 50 Hz; placement wrist
    licence Apache-2.0; source none (it is computed)
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from otolith.data.recording import ACCELEROMETER, GYROSCOPE, Part, Recording, Span
from otolith.datasets.card import Dataset

RATE_HZ = 50.0
CLASSES = {"slow": 0.6, "medium": 1.4, "fast": 2.6}


def parts(source: Path | None, placement: str, subset: str) -> list[Part]:
    """Return one part with the defaults of `made`; no file is read."""
    del source, placement, subset
    return [Part("made", made)]


def made(*, subjects: int = 6, seconds: float = 20.0, seed: int = 0) -> Iterator[Recording]:
    """Yield one recording per person and class; the same `seed` gives the same numbers."""
    random = np.random.default_rng(seed)
    time_s = np.arange(int(seconds * RATE_HZ)) / RATE_HZ
    for subject in range(1, subjects + 1):
        gravity = random.normal(size=3)
        gravity /= np.linalg.norm(gravity)
        swing, turn = random.normal(size=(2, 3)) * random.uniform(0.3, 0.7)
        for label, rate in CLASSES.items():
            wave = np.sin(2 * np.pi * rate * time_s + random.uniform(0, 2 * np.pi))[:, None]
            acc = gravity + wave * swing + random.normal(scale=0.05, size=(len(time_s), 3))
            gyro = np.gradient(wave, axis=0) * turn * RATE_HZ / 10 + random.normal(scale=0.05, size=(len(time_s), 3))
            yield Recording(
                name=f"{subject}-{label}",
                signal=np.concatenate([acc, gyro], axis=1).astype(np.float32),
                rate_hz=RATE_HZ,
                channels=ACCELEROMETER + GYROSCOPE,
                subject=str(subject),
                placement="wrist",
                spans=(Span(0.0, len(time_s) / RATE_HZ, label),),
            )


DATASET = Dataset(
    name="synthetic",
    title="Synthetic (unit tests only)",
    subjects=6,
    classes=tuple(CLASSES),
    rate_hz=RATE_HZ,
    channels=ACCELEROMETER + GYROSCOPE,
    placements=("wrist",),
    licence="Apache-2.0",
    origin="computed",
    cite="-",
    expects="nothing",
    parts=parts,
)
