"""A pulse (PPG) next to motion, on made recordings: from the sensor's values to the loss of PRIMUS."""

from pathlib import Path

import numpy as np
import torch

from otolith.data.cutting import cut
from otolith.data.multimodal import MultimodalData, SensorStream
from otolith.data.sampling import Batch
from otolith.data.store import Store
from otolith.encoders import Strided
from otolith.objectives import Primus
from otolith.paired import embed, load
from otolith.paired.attach import attach

RATE_HZ, FRAME = 64, 128  # frames of 2 s, in which a pulse repeats
BEATS_HZ = {"a": (1.0, 1.0), "c": (1.0, 3.0)}  # in the first and in the second half; b wears no such sensor


def pulse(beats_hz: tuple[float, float], seconds: float) -> SensorStream:
    """The spectrum of each frame, in the half of the recording in which it lies: a mean over time would hold no pulse."""
    time_s = np.arange(int(seconds * RATE_HZ)) / RATE_HZ
    signal = np.sin(2 * np.pi * np.where(time_s < seconds / 2, *beats_hz) * time_s)
    frames = signal[: len(signal) // FRAME * FRAME].reshape(-1, FRAME)
    power = np.abs(np.fft.rfft(frames, axis=1))[:, 1:11]
    return SensorStream((np.arange(len(frames)) + 0.5) * FRAME / RATE_HZ, power.astype(np.float32))


def test_a_pulse_pairs_with_motion_as_any_other_sensor_does(three: Store, tmp_path: Path) -> None:
    seconds = {entry.name: entry.steps / three.rate_hz for entry in three.entries}
    found = [
        MultimodalData(name, sensor_streams={"ppg": pulse(beats, seconds[name])}) for name, beats in BEATS_HZ.items()
    ]
    list(embed(found, three, tmp_path, text=None, image=None))
    windows = attach(cut(three, seconds=2.0, overlap=0.0), three, {"ppg": load(tmp_path, "ppg", three)})
    names = np.array([three.entries[number].name for number in windows.recording])
    assert windows.present["ppg"].tolist() == (names != "b").tolist()
    rate = 0.5 * (1 + windows.paired["ppg"].argmax(dim=1).numpy())  # bins of half a beat per second
    late = (names == "c") & (windows.start_s >= 36)
    assert set(rate[names == "a"]) == set(rate[(names == "c") & (windows.start_s < 34)]) == {1.0}
    assert set(rate[late]) == {3.0}

    torch.manual_seed(0)
    objective = Primus(Strided(3, widths=[8, 8, 8]), paired={"ppg": 10}, heads="own", queue=16)
    whole = Batch(windows.array(), torch.from_numpy(windows.subject), windows.paired, windows.present)
    objective(whole)
    assert len(objective.queued("ppg")) == 16  # only windows with a pulse are queued
    losses = objective(whole)
    assert set(losses) == {"ssl", "mm_ppg", "nn_ssl", "nn_ppg"}
    sum(losses.values()).backward()
    assert objective.mmcl_head["ppg"].weight.grad.abs().sum() > 0
    alone = Batch(whole.x, whole.subject, {}, {})
    assert objective.eval()(alone)["mm_ppg"].item() == 0
