"""Windows: fixed slices of recordings with their subject, recording and start time; views, not copies.

A window is stored as the places where its channels begin among the values of a corpus. `Windows.gather` turns any number
of them into one (batch, channels, time) tensor with one indexing operation, whether the values are memory-mapped, in
memory or on a GPU. Values are in g and rad/s; encoders standardise their input (see `encoders`).
"""

from __future__ import annotations

import dataclasses
import functools
import hashlib
from collections.abc import Mapping, Sequence
from typing import Any, SupportsFloat

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from otolith.data import arrays
from otolith.data.conversion import rate_of, text_of
from otolith.data.splits import by_subject, draw_shots
from otolith.data.store import local_file
from otolith.data.units import UNITS, channel_names, check_channels
from otolith.storage.files import fingerprint
from otolith.storage.remote import origin_of


@dataclasses.dataclass(frozen=True)
class SignalSpec:
    """The signal contract: the input on which an encoder was trained, and the only input that it accepts.

    Args:
        rate_hz: time steps per second.
        channels: names in order; `units.UNITS` gives their units.
        seconds: length of a window.
    """

    rate_hz: float
    channels: tuple[str, ...]
    seconds: float

    @property
    def steps(self) -> int:
        """Return the number of time steps of a window."""
        return round(self.rate_hz * self.seconds)

    def to_json(self) -> dict[str, Any]:
        """Return the contract with its units as a JSON object."""
        units = [UNITS[channel.split("_")[0]] for channel in self.channels]
        return {"rate_hz": self.rate_hz, "channels": list(self.channels), "units": units, "seconds": self.seconds}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> SignalSpec:
        """Return the contract that `to_json` wrote.

        Raises:
            ValueError: the units are not those of this version.
        """
        signal = cls(float(value["rate_hz"]), tuple(value["channels"]), float(value["seconds"]))
        if list(value["units"]) != signal.to_json()["units"]:
            raise ValueError(f"units {value['units']} for {value['channels']}; expected {signal.to_json()['units']}")
        return signal

    def difference(self, other: SignalSpec) -> str:
        """Describe how `other` differs from this contract; return an empty text if it does not."""
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
    """Windows of one corpus or of several joined corpora.

    Index them with row numbers, a mask or a slice to select windows; no signal is copied.

    Attributes:
        values: one (values,) float32 tensor per corpus.
        offset: (windows, channels) int64, where each channel of each window begins, counted through the values of all
            corpora; on the device of the values.
        contract: rate, channels and seconds.
        y: (windows,) int64 label numbers; None for windows without labels.
        label_names: name of each label number.
        subject: (windows,) number of the subject in `subject_names`.
        subject_names: names of the subjects; `corpus:subject` if corpora were joined.
        recording: (windows,) number of the recording in the store.
        start_s: (windows,) seconds from the recording's first time step.
        dataset: name of the corpus.
        cut_hash: hash of the store and of how it was cut; result rows name it.
        variance: (windows,) float32, sum over channels of the variance of each window, if the store knows it without
            reading the signal; else None.
        placement: (windows,) where the sensor was worn, if the store says; else None.
        paired: embeddings of other modalities by name, each (windows, dim).
        present: by the same names, which windows have an embedding, each (windows,).
        memmaps: memory maps of the values, so that another process can map the files again instead of being sent a copy of
            the corpus; empty if the values are elsewhere.
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
    placement: np.ndarray | None = None
    paired: dict[str, Tensor] = dataclasses.field(default_factory=dict)
    present: dict[str, Tensor] = dataclasses.field(default_factory=dict)
    memmaps: tuple[np.memmap, ...] = ()

    @classmethod
    def from_arrays(
        cls,
        x: Any,
        *,
        rate_hz: SupportsFloat | str,
        channels: str | Sequence[str],
        subjects: Any = None,
        y: Any = None,
        label_names: Sequence[str] | None = None,
        recordings: Any = None,
        start_s: Any = None,
        layout: arrays.Layout = "channels_first",
        units: Mapping[str, str] | None = None,
        dataset: str = "arrays",
    ) -> Windows:
        """Make windows of arrays, for example of `X.npy`, `y.npy` and `subject.npy`; each may be given as a path.

        A float32 array in C order is used as it is. If it is memory-mapped, it stays so, and other processes map its file
        again. Anything else is converted, which takes memory for one copy.

        Args:
            x: (windows, channels, time) in g and rad/s, finite.
            rate_hz: time steps per second.
            channels: names in order such as `acc_x`, or groups: `acc`, `acc+gyro`.
            subjects: subject of each window, text or whole numbers. None: all windows are of one subject, `0`, and cannot
                be split by subject.
            y: label of each window, text or whole numbers; None: windows without labels.
            label_names: names of the labels in the order of their numbers; by default the sorted different labels.
            recordings: recording of each window; goes with `start_s`. None: it is unknown which windows are consecutive, so
                methods that compare consecutive windows have none.
            start_s: seconds from the start of the recording to that of the window.
            layout: `channels_last` if x is (windows, time, channels).
            units: units to convert from, for example `{"acc": "m/s2", "gyro": "deg/s"}`.
            dataset: name of the corpus; result rows and checkpoints name subjects as `dataset:subject`.

        Raises:
            ValueError: shapes do not fit each other or the channels, axes look swapped, a value is not finite, a label is
                missing, or the acceleration is clearly not in g.
        """
        names, rate = channel_names(channels), rate_of(rate_hz, "windows")
        check_channels(names, "windows")
        if ":" in text_of(dataset, "dataset"):
            raise ValueError(f"dataset '{dataset}' must not contain ':' (it separates corpus and subject)")
        if (recordings is None) != (start_s is None):
            raise ValueError("recordings and start_s go together: give both, or neither")
        array = arrays.window_array(arrays.loaded(x, "x"), rate, names, layout, units)
        count, _, steps = array.shape
        subject, subject_names = arrays.group_numbers(
            np.zeros(count, int) if subjects is None else arrays.loaded(subjects, "subjects"), count, "subjects"
        )
        target, targets = None, tuple[str, ...]()
        if y is not None:
            target, targets = arrays.label_numbers(arrays.loaded(y, "y"), count, label_names)
        recording, start = np.arange(count), np.zeros(count)
        if recordings is not None:
            recording, _ = arrays.group_numbers(arrays.loaded(recordings, "recordings"), count, "recordings")
            start = arrays.start_seconds(arrays.loaded(start_s, "start_s"), count)
        content = [arrays.checked_hash(array, names), list(array.shape), rate, list(names), list(targets)]
        labels = None if target is None else target.tolist()
        content += [labels, list(subject_names), subject.tolist(), recording.tolist(), start.tolist()]
        mapped = arrays.file_map(array)
        values = array.reshape(-1) if mapped is None else mapped
        first = np.arange(array.size // steps, dtype=np.int64).reshape(count, -1) * steps
        return cls(
            values=(torch.from_numpy(values if values.flags.writeable else values.copy()),),
            offset=torch.from_numpy(first),
            contract=SignalSpec(rate, names, steps / rate),
            y=target,
            label_names=targets,
            subject=subject,
            subject_names=subject_names,
            recording=recording,
            start_s=start,
            dataset=dataset,
            cut_hash=fingerprint(content),
            memmaps=() if mapped is None else (mapped,),
        )

    def __getstate__(self) -> dict[str, Any]:
        state = {name: value for name, value in self.__dict__.items() if name != "_strided_views"}
        ours = [values.data_ptr() for values in self.values] == [array.ctypes.data for array in self.memmaps]
        state["memmaps"] = (
            tuple((origin_of(str(array.filename)), array.offset, array.shape) for array in self.memmaps) if ours else ()
        )
        if ours:
            state["values"] = ()
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        if state["memmaps"]:
            maps = tuple(
                np.memmap(local_file(name), "<f4", "c", offset, shape) for name, offset, shape in state["memmaps"]
            )
            state = {**state, "memmaps": maps, "values": tuple(map(torch.from_numpy, maps))}
        self.__dict__.update(state)

    def __len__(self) -> int:
        return len(self.offset)

    @property
    def shape(self) -> tuple[int, int, int]:
        """Return (windows, channels, time)."""
        return len(self.offset), self.offset.shape[1], self.contract.steps

    @property
    def device(self) -> torch.device:
        """Return the device of the values, on which batches are gathered."""
        return self.offset.device

    @property
    def nbytes(self) -> int:
        """Return the size of all values in bytes."""
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
            placement=None if self.placement is None else self.placement[rows],
            paired={name: vectors[where] for name, vectors in self.paired.items()},
            present={name: mask[where] for name, mask in self.present.items()},
        )

    @functools.cached_property
    def content_hash(self) -> str:
        """Return a hash of exactly these windows and their labels, which may be a selection of what was cut."""
        digest = hashlib.sha256(self.cut_hash.encode())
        digest.update(np.ascontiguousarray(self.offset.cpu().numpy()).data)  # without a copy, as they may be millions
        if self.y is not None:
            digest.update(np.ascontiguousarray(self.y).data)
        return digest.hexdigest()

    @property
    def people(self) -> list[str]:
        """Return the subjects that have windows here as sorted `corpus:subject`, which is how checkpoints name subjects."""
        names = self.qualified_names
        return sorted(names[number] for number in set(self.subject.tolist()))

    @property
    def qualified_names(self) -> tuple[str, ...]:
        """Return `subject_names` as `corpus:subject`; a subject's own name has no colon."""
        return tuple(name if ":" in name else f"{self.dataset}:{name}" for name in self.subject_names)

    def for_subjects(self, subjects: Sequence[str]) -> Windows:
        """Return the windows of these subjects."""
        return self[self.rows_for_subjects(subjects)]

    def rows_for_subjects(self, subjects: Sequence[str]) -> np.ndarray:
        """Return the row numbers of the windows of these subjects, ascending.

        Raises:
            ValueError: a subject is not in the corpus.
        """
        if unknown := [subject for subject in subjects if subject not in self.subject_names]:
            raise ValueError(
                f"'{self.dataset}' has no subject {', '.join(unknown)}; it has {', '.join(self.subject_names)}"
            )
        numbers = [self.subject_names.index(subject) for subject in subjects]
        return np.flatnonzero(np.isin(self.subject, numbers))

    def split_by_subject(
        self, *, folds: int = 5, validation: float = 0.2, seed: int = 0
    ) -> list[tuple[Windows, Windows, Windows]]:
        """Return training, validation and test windows of each fold; every subject is tested in exactly one fold.

        The folds are those of `splits.by_subject` over the subjects that have windows here.

        Args:
            folds: number of folds.
            validation: share of the subjects not tested that validate; with 0 the validation windows are empty.
            seed: of the random assignment of subjects to folds.

        Raises:
            ValueError: too few subjects.
        """
        subjects = [self.subject_names[number] for number in np.unique(self.subject)]
        splits = by_subject(subjects, folds=folds, validation=validation, seed=seed)
        return [
            (self.for_subjects(split.train), self.for_subjects(split.validation), self.for_subjects(split.test))
            for split in splits
        ]

    def few_shot(self, shots: int | None, *, seed: int = 0) -> Windows:
        """Return `shots` random windows per class; all windows for None.

        A class with fewer windows gives all it has. A larger draw with the same seed contains the smaller ones.

        Raises:
            ValueError: the windows have no labels, or `shots` is less than 1.
        """
        if self.y is None:
            raise ValueError(f"the windows of '{self.dataset}' have no labels; few_shot draws windows per class")
        return self[draw_shots(self.y, shots, seed=seed)]

    def unlabelled(self) -> Windows:
        """Return the same windows without labels, as pretraining takes them."""
        return dataclasses.replace(self, y=None)

    def to(self, device: torch.device | str) -> Windows:
        """Return the same windows with the values on `device`, where batches are then gathered."""
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
        """Return a (values, time) view per corpus whose row i begins at value i; on CPUs NumPy gathers faster than torch."""
        return [np.lib.stride_tricks.sliding_window_view(v.numpy(), self.contract.steps) for v in self.values]

    def gather(self, index: Int[Tensor, " batch"]) -> Float[Tensor, "batch channels time"]:
        """Return the windows at these rows, gathered by one indexing operation per corpus on the device of the values."""
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
        """Return all windows; for sets that fit in memory."""
        return self.gather(torch.arange(len(self), device=self.offset.device))

    def statistics(self) -> dict[str, list[float]]:
        """Return mean and standard deviation per channel over these windows, as the arguments `mean` and `std` of encoders.

        Windows are gathered in blocks and summed in float64, so the corpus may be larger than memory.

        Raises:
            ValueError: there are no windows, or a channel is constant.
        """
        if not len(self):
            raise ValueError(f"there are no windows of '{self.dataset}' to compute statistics of")
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
            raise ValueError(
                f"channel {flat} is constant in these {len(self):,} windows: the sensor was off; leave the channel out"
            )
        return {"mean": mean.tolist(), "std": std.tolist()}
