"""Makers of recordings for tests: motion with gravity, and the tables that apps and devices write of it."""

from pathlib import Path

import numpy as np
import pandas as pd

G = 9.80665


def motion(seconds: float = 40.0, rate: float = 50.0, seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Time in s, acceleration in g and angular rate in rad/s of a forearm that swings; gravity turns with it."""
    rng = np.random.default_rng(seed)
    time = np.arange(round(seconds * rate)) / rate
    angle = 0.6 * np.sin(2 * np.pi * 0.9 * time) + 0.2 * np.sin(2 * np.pi * 0.23 * time + seed)
    speed = 0.6 * 2 * np.pi * 0.9 * np.cos(2 * np.pi * 0.9 * time) + 0.2 * 2 * np.pi * 0.23 * np.cos(
        2 * np.pi * 0.23 * time + seed
    )
    acc = np.column_stack([np.sin(angle), np.cos(angle), np.full(len(time), 0.1)])
    gyro = np.column_stack([np.zeros(len(time)), np.zeros(len(time)), speed])
    acc[:, 2] += 0.15 * np.sin(2 * np.pi * 1.8 * time)
    return time, acc + rng.normal(0, 0.01, acc.shape), gyro + rng.normal(0, 0.02, gyro.shape)


def table(
    time: object, acc: np.ndarray, gyro: np.ndarray | None = None, names: str = "time,x,y,z,gx,gy,gz"
) -> pd.DataFrame:
    """A table of motion; names of the time, the acceleration and the angular rate."""
    said = names.split(",")
    columns = {said[0]: time} | {said[1 + k]: acc[:, k] for k in range(3)}
    if gyro is not None:
        columns |= {said[4 + k]: gyro[:, k] for k in range(3)}
    return pd.DataFrame(columns)


def stamps(time: np.ndarray, form: str, start: str = "2024-05-14 10:00:00") -> list[str]:
    """Dates of seconds, written as `strftime` does; %3f are milliseconds."""
    when = pd.Timestamp(start) + pd.to_timedelta(np.round(time * 1000), unit="ms")
    if "%3f" in form:
        return [w.strftime(form.replace("%3f", f"{w.microsecond // 1000:03d}")) for w in when]
    return list(when.strftime(form))


def save(path: Path, frame: pd.DataFrame, before: str = "", **options: object) -> Path:
    """Write a table as text, with lines before it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    text = frame.to_csv(index=False, **options)
    path.write_text(before + text, encoding="utf-8")
    return path
