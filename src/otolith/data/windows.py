"""Windows: fixed slices of a store's recordings that remember person, recording and start. Views, never copies.

A window is where each of its channels begins among the store's values. `Windows.gather` turns any number of them into
one (batch, channels, time) tensor with one indexing operation, wherever the values lie: memory-mapped, in memory, or
on a GPU. Values stay in the store's units; an encoder standardises what it is fed (see `encoders`).
"""

from __future__ import annotations

import dataclasses
import functools
import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from otolith.data.recording import UNITS
from otolith.storage.files import fingerprint


@dataclasses.dataclass(frozen=True)
class SignalSpec:
    """The signal contract: what an encoder was trained on, and the only thing it may be fed.

    Args:
        rate_hz: time steps per second.
        channels: names in order; units follow from `recording.UNITS`.
        seconds: length of a window.
    """

    rate_hz: float
    channels: tuple[str, ...]
    seconds: float

    @property
    def steps(self) -> int:
        """Time steps of a window."""
        return round(self.rate_hz * self.seconds)

    def to_json(self) -> dict[str, Any]:
        """The contract with its units spelt out."""
        units = [UNITS[channel.split("_")[0]] for channel in self.channels]
        return {"rate_hz": self.rate_hz, "channels": list(self.channels), "units": units, "seconds": self.seconds}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> SignalSpec:
        """The inverse of `to_json`.

        Raises:
            ValueError: the units are not those of this version.
        """
        signal = cls(float(value["rate_hz"]), tuple(value["channels"]), float(value["seconds"]))
        if list(value["units"]) != signal.to_json()["units"]:
            raise ValueError(f"units {value['units']} for {value['channels']}; expected {signal.to_json()['units']}")
        return signal

    def difference(self, other: SignalSpec) -> str:
        """In words, how `other` differs from this contract; empty if it does not."""
        parts = []
        if abs(self.rate_hz - other.rate_hz) > 1e-6:
            parts.append(f"rate {other.rate_hz:g} Hz instead of {self.rate_hz:g} Hz")
        if self.channels != other.channels:
            parts.append(f"channels {', '.join(other.channels)} instead of {', '.join(self.channels)}")
        if self.steps != round(self.rate_hz * other.seconds):
            parts.append(f"windows of {other.seconds:g} s instead of {self.seconds:g} s")
        return "; ".join(parts)


@dataclasses.dataclass(frozen=True, eq=False)
class Windows:
    """Windows of one corpus, or of several joined. Index with an array of numbers or a mask to get fewer of them; no
    signal is copied.

    Attributes:
        values: of each corpus (values,) float32, the store's.
        offset: (windows, channels) int64, where each channel of each window begins, counted through all corpora's values;
            on the values' device.
        contract: rate, channels and seconds.
        y: (windows,) int64 label numbers, or None: windows without labels.
        label_names: name of each label number.
        subject: (windows,) number of the person in `subject_names`.
        subject_names: people; of joined corpora, `corpus:person`.
        recording: (windows,) number of the recording in the store.
        start_s: (windows,) seconds from the recording's first time step.
        dataset: the corpus's name.
        cut_hash: a hash of the store and of how it was cut; result rows name it.
        variance: (windows,) float32, the sum over channels of each window's variance in the store's units, where the store
            knows it without reading the signal; else None.
        paired: vectors of another modality, (windows, dim) each.
        present: which windows have them, (windows,) each.
        mapped: the stores' memory maps, so that another process can map the files again instead of being sent a copy of
            the corpus; empty where the values were moved.
    """

    values: tuple[Tensor, ...]
    offset: Int[Tensor, "windows channels"]
    contract: SignalSpec
    y: np.ndarray | None
    label_names: tuple[str, ...]
    subject: np.ndarray
    subject_names: tuple[str, ...]
    recording: np.ndarray
    start_s: np.ndarray
    dataset: str
    cut_hash: str
    variance: np.ndarray | None = None
    paired: dict[str, Tensor] = dataclasses.field(default_factory=dict)
    present: dict[str, Tensor] = dataclasses.field(default_factory=dict)
    memmaps: tuple[np.memmap, ...] = ()

    def __getstate__(self) -> dict[str, Any]:
        state = {name: value for name, value in self.__dict__.items() if name != "_every"}
        ours = [values.data_ptr() for values in self.values] == [array.ctypes.data for array in self.memmaps]
        state["memmaps"] = tuple((array.filename, array.shape) for array in self.memmaps) if ours else ()
        if ours:
            state["values"] = ()
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        if state["memmaps"]:
            arrays = tuple(np.memmap(name, dtype="<f4", mode="c", shape=shape) for name, shape in state["memmaps"])
            state = {**state, "memmaps": arrays, "values": tuple(map(torch.from_numpy, arrays))}
        self.__dict__.update(state)

    def __len__(self) -> int:
        return len(self.offset)

    @property
    def shape(self) -> tuple[int, int, int]:
        """(windows, channels, time)."""
        return len(self.offset), self.offset.shape[1], self.contract.steps

    @property
    def device(self) -> torch.device:
        """Where the values lie, and where batches are gathered."""
        return self.offset.device

    @property
    def nbytes(self) -> int:
        """Size of all values."""
        return sum(values.nbytes for values in self.values)

    def __getitem__(self, index: np.ndarray | Sequence[int] | slice) -> Windows:
        if not isinstance(index, slice):
            index = np.asarray(index) if len(index) else np.arange(0)
        rows = np.arange(len(self))[index]
        where = torch.from_numpy(rows).to(self.offset.device)
        return dataclasses.replace(
            self,
            offset=self.offset[where],
            y=None if self.y is None else self.y[rows],
            subject=self.subject[rows],
            recording=self.recording[rows],
            start_s=self.start_s[rows],
            variance=None if self.variance is None else self.variance[rows],
            paired={name: vectors[where] for name, vectors in self.paired.items()},
            present={name: mask[where] for name, mask in self.present.items()},
        )

    @functools.cached_property
    def content_hash(self) -> str:
        """A hash of exactly these windows and their labels, which may be a part of what was cut."""
        digest = hashlib.sha256(self.cut_hash.encode())
        digest.update(self.offset.cpu().numpy().tobytes())
        if self.y is not None:
            digest.update(np.ascontiguousarray(self.y).tobytes())
        return digest.hexdigest()

    @property
    def people(self) -> list[str]:
        """Everybody who has windows here, as `corpus:person`, sorted: how checkpoints name the people they have seen."""
        names = self.qualified_names
        return sorted(names[number] for number in set(self.subject.tolist()))

    @property
    def qualified_names(self) -> tuple[str, ...]:
        """`subject_names` as `corpus:person`; no person's own name holds a colon."""
        return tuple(name if ":" in name else f"{self.dataset}:{name}" for name in self.subject_names)

    def for_subjects(self, subjects: Sequence[str]) -> Windows:
        """The windows of these people."""
        return self[self.rows_for_subjects(subjects)]

    def rows_for_subjects(self, subjects: Sequence[str]) -> np.ndarray:
        """Row numbers of these people's windows, ascending.

        Raises:
            ValueError: one of them is not in the corpus.
        """
        if unknown := [subject for subject in subjects if subject not in self.subject_names]:
            raise ValueError(
                f"'{self.dataset}' has no subject {', '.join(unknown)}; it has {', '.join(self.subject_names)}"
            )
        numbers = [self.subject_names.index(subject) for subject in subjects]
        return np.flatnonzero(np.isin(self.subject, numbers))

    def unlabelled(self) -> Windows:
        """The same windows without their labels: what pretraining is given."""
        return dataclasses.replace(self, y=None)

    def to(self, device: torch.device | str) -> Windows:
        """The same windows with the store's values on `device`: every later batch is gathered there."""
        return dataclasses.replace(
            self,
            values=tuple(values.to(device) for values in self.values),
            offset=self.offset.to(device),
            paired={name: vectors.to(device) for name, vectors in self.paired.items()},
            present={name: mask.to(device) for name, mask in self.present.items()},
            memmaps=(),
        )

    @functools.cached_property
    def _strided_views(self) -> list[np.ndarray]:
        """(values, time) of each corpus, a view: row i is the stretch that begins at value i. For CPUs, where NumPy
        gathers faster."""
        return [np.lib.stride_tricks.sliding_window_view(v.numpy(), self.contract.steps) for v in self.values]

    def gather(self, index: Int[Tensor, " batch"]) -> Float[Tensor, "batch channels time"]:
        """A batch, in one indexing operation a corpus on the device that holds the values."""
        where = self.offset[index]
        if len(self.values) == 1:
            return self._slices(0, where)
        x = torch.empty(*where.shape, self.contract.steps, device=self.device)
        first = 0
        for corpus, values in enumerate(self.values):
            mine = (where[:, 0] >= first) & (where[:, 0] < first + len(values))
            x[mine] = self._slices(corpus, where[mine] - first)
            first += len(values)
        return x

    def _slices(self, corpus: int, where: Tensor) -> Tensor:
        if self.device.type == "cpu":
            return torch.from_numpy(self._strided_views[corpus][where.numpy()])
        return self.values[corpus].unfold(0, self.contract.steps, 1)[where]

    def array(self) -> Float[Tensor, "windows channels time"]:
        """All windows at once; for sets that fit in memory."""
        return self.gather(torch.arange(len(self), device=self.offset.device))

    def statistics(self) -> dict[str, list[float]]:
        """Mean and standard deviation per channel over these windows, as an encoder's `mean` and `std` arguments.

        Gathered in blocks and summed in float64, so the corpus may be larger than memory.
        """
        if not len(self):
            raise ValueError(f"no windows of '{self.dataset}' to take statistics of")
        total = torch.zeros(self.shape[1], dtype=torch.float64)
        square = torch.zeros_like(total)
        for index in torch.arange(len(self), device=self.offset.device).split(4096):
            x = self.gather(index).to(torch.float64)
            total += x.sum(dim=(0, 2)).cpu()
            square += (x * x).sum(dim=(0, 2)).cpu()
        count = len(self) * self.contract.steps
        mean = total / count
        std = (square / count - mean**2).clamp_min(0).sqrt()
        if (std < 1e-6).any():
            flat = ", ".join(name for name, s in zip(self.contract.channels, std.tolist(), strict=True) if s < 1e-6)
            raise ValueError(f"channel {flat} never changes in these {len(self):,} windows: the sensor was off")
        return {"mean": mean.tolist(), "std": std.tolist()}


def join(parts: Sequence[Windows]) -> Windows:
    """The windows of several corpora as one, without labels, for pretraining on all of them; no signal is copied.

    A modality that one of them lacks is absent from its windows.

    Raises:
        ValueError: none, one corpus twice, corpora cut under different contracts, or a modality with different numbers of
            numbers.
    """
    if not parts:
        raise ValueError("no windows to join")
    if len(parts) == 1:
        return parts[0].unlabelled()
    names = [part.dataset for part in parts]
    if len(set(names)) < len(names):
        raise ValueError(f"a corpus is joined twice: {', '.join(names)}")
    for part in parts[1:]:
        if difference := parts[0].contract.difference(part.contract):
            raise ValueError(f"'{part.dataset}' does not go with '{parts[0].dataset}': {difference}")
    before = np.cumsum([0] + [sum(len(values) for values in part.values) for part in parts]).tolist()
    people = np.cumsum([0] + [len(part.subject_names) for part in parts]).tolist()
    recordings = np.cumsum([0] + [int(part.recording.max(initial=-1)) + 1 for part in parts]).tolist()
    known = [part.variance for part in parts if part.variance is not None]
    paired, present = _joined_pairs(parts)
    return Windows(
        values=tuple(values for part in parts for values in part.values),
        offset=torch.cat([part.offset + first for part, first in zip(parts, before, strict=False)]),
        contract=parts[0].contract,
        y=None,
        label_names=(),
        subject=np.concatenate([part.subject + first for part, first in zip(parts, people, strict=False)]),
        subject_names=tuple(name for part in parts for name in part.qualified_names),
        recording=np.concatenate([part.recording + first for part, first in zip(parts, recordings, strict=False)]),
        start_s=np.concatenate([part.start_s for part in parts]),
        dataset="+".join(names),
        cut_hash=fingerprint([part.cut_hash for part in parts]),
        variance=np.concatenate(known) if len(known) == len(parts) else None,
        paired=paired,
        present=present,
        memmaps=tuple(array for part in parts for array in part.memmaps),
    )


def _joined_pairs(parts: Sequence[Windows]) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    paired: dict[str, Tensor] = {}
    present: dict[str, Tensor] = {}
    for name in dict.fromkeys(name for part in parts for name in part.paired):
        dims = {part.dataset: part.paired[name].shape[1] for part in parts if name in part.paired}
        if len(set(dims.values())) > 1:
            said = ", ".join(f"{dim} in '{corpus}'" for corpus, dim in dims.items())
            raise ValueError(f"'{name}' has different numbers of numbers: {said}; pair them by the same encoder")
        dim = next(iter(dims.values()))
        absent = [torch.zeros(len(part), dim, device=part.device) for part in parts]
        paired[name] = torch.cat([part.paired.get(name, none) for part, none in zip(parts, absent, strict=True)])
        present[name] = torch.cat(
            [part.present.get(name, none[:, 0] > 0) for part, none in zip(parts, absent, strict=True)]
        )
    return paired, present
