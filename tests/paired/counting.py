"""Encoders that count what they are asked, and a corpus of three recordings for them."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from otolith.data.multimodal import MultimodalData, Narration, SensorStream, VideoStream
from otolith.data.recording import ACCELEROMETER, Recording
from otolith.data.store import Store
from otolith.paired import EmbedProgress, ImageEncoder, TextEncoder, embed


def recordings(scale: float = 1.0) -> Iterator[Recording]:
    random = np.random.default_rng(0)
    for name, seconds in (("a", 4.0), ("b", 3.0), ("c", 70.0)):
        signal = scale * random.normal(size=(int(50 * seconds), 3)).astype(np.float32)
        yield Recording(name, signal.astype(np.float32), 50.0, ACCELEROMETER, f"p{name}", "wrist")


class Counting:
    """Encoders whose vectors follow from their input, and which count what they are asked."""

    def __init__(self, sha: str = "w") -> None:
        self.texts: list[str] = []
        self.pictures = 0
        self.asked: list[list[float]] = []

        def words(texts: list[str]) -> torch.Tensor:
            self.texts += texts
            return torch.tensor([[len(text), text.count("a"), 1.0] for text in texts])

        def look(x: torch.Tensor) -> torch.Tensor:
            self.pictures += len(x)
            return x[:, :2, 0, 0]

        self.text = TextEncoder("words", sha, 3, words)
        self.image = ImageEncoder("looks", sha, 2, lambda p: torch.from_numpy(p).permute(2, 0, 1).float(), look)

    def frames(self, times_s: Sequence[float]) -> Iterator[np.ndarray]:
        self.asked.append(list(times_s))
        for time_s in times_s:
            yield np.full((2, 2, 3), [round(time_s * 2) % 256, 7, 0], np.uint8)

    def multimodal_data(self) -> Iterator[MultimodalData]:
        track = SensorStream(np.arange(8) / 2, np.arange(16, dtype=np.float32).reshape(8, 2))
        yield MultimodalData("c", (Narration(2.0, 60.0, "#C C Walks"),), VideoStream("film", 0.5, 80.0, self.frames))
        yield MultimodalData(
            "a",
            (Narration(0.0, 2.0, "walks"), Narration(1.0, 4.0, "Sits."), Narration(3, 3, " ")),
            None,
            {"pose": track},
        )
        yield MultimodalData("b", (), VideoStream("film", -20.0, 2.0, self.frames))


def run(by: Counting, store: Store, folder: Path, **how: Any) -> list[EmbedProgress]:
    return list(embed(by.multimodal_data(), store, folder, text=by.text, image=by.image, **how))
