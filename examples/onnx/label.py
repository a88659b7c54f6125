"""Label a CSV file with an exported model. It needs numpy and onnxruntime, and neither torch nor otolith."""

from __future__ import annotations

import argparse
import csv
import json
import sys
from pathlib import Path

import numpy as np
import onnxruntime

UNITS = {"g": 1.0, "m/s2": 1 / 9.80665, "mg": 1e-3, "rad/s": 1.0, "deg/s": np.pi / 180}
SECONDS = {"s": 1.0, "ms": 1e-3, "us": 1e-6, "ns": 1e-9}


def read(path: str, columns: list[str]) -> np.ndarray:
    """Return columns of a CSV file with a header, (time, columns); lines in which a value is missing are left out."""
    with Path(path).open(newline="", encoding="utf-8-sig") as file:
        rows = csv.reader(file)
        header = [name.strip() for name in next(rows)]
        missing = [name for name in columns if name not in header]
        if missing:
            sys.exit(f"error: '{path}' has no column {', '.join(missing)}; its columns are {', '.join(header)}")
        places = [header.index(name) for name in columns]
        kept = [[row[at] for at in places] for row in rows if len(row) == len(header)]
    values = np.array([[float(value) for value in row] for row in kept if all(cell.strip() for cell in row)])
    return values.reshape(-1, len(columns))


def resample(time_s: np.ndarray, signal: np.ndarray, rate_hz: float) -> np.ndarray:
    """Return the signal at a model's rate: what is too fast for that rate is filtered out, the rest is interpolated."""
    own_hz = 1 / np.median(np.diff(time_s))
    if own_hz > 1.05 * rate_hz:
        even = np.arange(time_s[0], time_s[-1], 1 / own_hz)
        signal = np.column_stack([np.interp(even, time_s, channel) for channel in signal.T])
        half = int(np.ceil(10 * own_hz / rate_hz))
        taps = np.sinc(0.9 * rate_hz / own_hz * np.arange(-half, half + 1)) * np.hanning(2 * half + 1)
        padded = np.pad(signal, ((half, half), (0, 0)), mode="edge")
        filtered = [np.convolve(channel, taps / taps.sum(), mode="valid") for channel in padded.T]
        time_s, signal = even, np.column_stack(filtered)
    wanted = np.arange(time_s[0], time_s[-1] + 0.5 / rate_hz, 1 / rate_hz)
    return np.column_stack([np.interp(wanted, time_s, channel) for channel in signal.T])


def main() -> None:
    """Print one line for each stretch with the same label."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model", help="file of `otolith export`")
    parser.add_argument("recording", help="CSV file with a header and no gaps")
    parser.add_argument("--time", default="time", help="column of the time (default: time)")
    parser.add_argument("--time-unit", choices=SECONDS, default="s")
    parser.add_argument("--acc", default="x,y,z", help="columns of the accelerometer (default: x,y,z)")
    parser.add_argument("--gyro", default="gx,gy,gz", help="columns of the gyroscope (default: gx,gy,gz)")
    parser.add_argument("--acc-unit", choices=["g", "m/s2", "mg"], default="g")
    parser.add_argument("--gyro-unit", choices=["rad/s", "deg/s"], default="rad/s")
    given = parser.parse_args()

    session = onnxruntime.InferenceSession(given.model, providers=["CPUExecutionProvider"])
    facts = session.get_modelmeta().custom_metadata_map
    classes, channels = json.loads(facts["classes"]), json.loads(facts["channels"])
    rate_hz, steps = float(facts["rate_hz"]), int(facts["steps"])
    if not classes:
        sys.exit(f"error: '{given.model}' is an encoder and knows no labels; export a classifier")

    columns = dict(zip(("acc_x", "acc_y", "acc_z"), given.acc.split(","), strict=True))
    columns |= dict(zip(("gyro_x", "gyro_y", "gyro_z"), given.gyro.split(","), strict=True))
    table = read(given.recording, [given.time, *(columns[name] for name in channels)])
    if len(table) < 2 or not (np.diff(table[:, 0]) > 0).all():
        sys.exit(f"error: the times in column {given.time} do not increase")
    scale = [UNITS[given.acc_unit if name.startswith("acc") else given.gyro_unit] for name in channels]
    signal = resample(table[:, 0] * SECONDS[given.time_unit], table[:, 1:] * scale, rate_hz)
    starts = np.arange(0, len(signal) - steps + 1, steps)
    if not len(starts):
        sys.exit(f"error: the recording lasts {len(signal) / rate_hz:.1f} s; a window lasts {steps / rate_hz:g} s")
    windows = np.stack([signal[at : at + steps].T for at in starts]).astype(np.float32)

    (probabilities,) = session.run(["probabilities"], {"windows": windows})
    best = probabilities.argmax(axis=1)
    if "most_distance" in facts:  # the model knows what it does not know
        (distances,) = session.run(["distances"], {"windows": windows})
        unknown = (distances > json.loads(facts["most_distance"])).any(axis=1)
        unknown |= probabilities.max(axis=1) < float(facts["least_probability"])
        best[unknown] = len(classes)
        classes, probabilities = [*classes, "unknown"], np.column_stack([probabilities, probabilities.max(axis=1)])
    first = np.flatnonzero(np.append(True, best[1:] != best[:-1]))
    last = np.append(first[1:], len(best))
    print("start_s,end_s,label,probability")
    for a, b in zip(first, last, strict=True):
        likely = probabilities[a:b, best[a]].mean()
        print(f"{starts[a] / rate_hz:.2f},{(starts[b - 1] + steps) / rate_hz:.2f},{classes[best[a]]},{likely:.3f}")


if __name__ == "__main__":
    main()
