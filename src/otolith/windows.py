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
from typing import Any, Literal

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from otolith.files import fingerprint
from otolith.paired import Vectors
from otolith.recording import UNITS
from otolith.store import Entry, Store

LATE_S = 0.1
"""How much later a recording may end than a window asked for by its start; the window is moved back by that."""


@dataclasses.dataclass(frozen=True)
class Signal:
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
    def from_json(cls, value: Mapping[str, Any]) -> Signal:
        """The inverse of `to_json`.

        Raises:
            ValueError: the units are not those of this version.
        """
        signal = cls(float(value["rate_hz"]), tuple(value["channels"]), float(value["seconds"]))
        if list(value["units"]) != signal.to_json()["units"]:
            raise ValueError(f"units {value['units']} for {value['channels']}; expected {signal.to_json()['units']}")
        return signal

    def difference(self, other: Signal) -> str:
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
        identity: a hash of the store and of how it was cut; result rows name it.
        variance: (windows,) float32, the sum over channels of each window's variance in the store's units, where the store
            knows it without reading the signal; else None.
        paired: vectors of another modality, (windows, dim) each.
        present: which windows have them, (windows,) each.
        mapped: the stores' memory maps, so that another process can map the files again instead of being sent a copy of
            the corpus; empty where the values were moved.
    """

    values: tuple[Tensor, ...]
    offset: Int[Tensor, "windows channels"]
    contract: Signal
    y: np.ndarray | None
    label_names: tuple[str, ...]
    subject: np.ndarray
    subject_names: tuple[str, ...]
    recording: np.ndarray
    start_s: np.ndarray
    dataset: str
    identity: str
    variance: np.ndarray | None = None
    paired: dict[str, Tensor] = dataclasses.field(default_factory=dict)
    present: dict[str, Tensor] = dataclasses.field(default_factory=dict)
    mapped: tuple[np.memmap, ...] = ()

    def __getstate__(self) -> dict[str, Any]:
        state = {name: value for name, value in self.__dict__.items() if name != "_every"}
        ours = [values.data_ptr() for values in self.values] == [array.ctypes.data for array in self.mapped]
        state["mapped"] = tuple((array.filename, array.shape) for array in self.mapped) if ours else ()
        if ours:
            state["values"] = ()
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        if state["mapped"]:
            arrays = tuple(np.memmap(name, dtype="<f4", mode="c", shape=shape) for name, shape in state["mapped"])
            state = {**state, "mapped": arrays, "values": tuple(map(torch.from_numpy, arrays))}
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
    def content(self) -> str:
        """A hash of exactly these windows and their labels, which may be a part of what was cut."""
        digest = hashlib.sha256(self.identity.encode())
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

    def of(self, subjects: Sequence[str]) -> Windows:
        """The windows of these people."""
        return self[self.rows_of(subjects)]

    def rows_of(self, subjects: Sequence[str]) -> np.ndarray:
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
            mapped=(),
        )

    @functools.cached_property
    def _every(self) -> list[np.ndarray]:
        """(values, time) of each corpus, a view: row i is the stretch that begins at value i. For CPUs, where NumPy
        gathers faster."""
        return [np.lib.stride_tricks.sliding_window_view(v.numpy(), self.contract.steps) for v in self.values]

    def gather(self, index: Int[Tensor, " batch"]) -> Float[Tensor, "batch channels time"]:
        """A batch, in one indexing operation a corpus on the device that holds the values."""
        where = self.offset[index]
        if len(self.values) == 1:
            return self._stretches(0, where)
        x = torch.empty(*where.shape, self.contract.steps, device=self.device)
        first = 0
        for corpus, values in enumerate(self.values):
            mine = (where[:, 0] >= first) & (where[:, 0] < first + len(values))
            x[mine] = self._stretches(corpus, where[mine] - first)
            first += len(values)
        return x

    def _stretches(self, corpus: int, where: Tensor) -> Tensor:
        if self.device.type == "cpu":
            return torch.from_numpy(self._every[corpus][where.numpy()])
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


def cut(
    store: Store,
    *,
    seconds: float = 2.0,
    overlap: float = 0.5,
    channels: Sequence[str] | None = None,
    label: Literal["majority", "last"] | None = "majority",
    labels: Sequence[str] | None = None,
    subjects: Sequence[str] | None = None,
    starts: Mapping[str, Sequence[float]] | None = None,
) -> Windows:
    """Cuts every recording of a store into windows; none crosses from one recording into the next.

    Args:
        store: the prepared corpus.
        seconds: length of a window.
        overlap: share of a window that the next one repeats, 0 up to but not including 1.
        channels: which, in which order; default all.
        label: a window's label is that of most of its time steps (`majority`) or of its last (`last`); windows without
            one are dropped. None keeps every window and no label.
        labels: only windows that have one of these by that rule (by `majority`, if `label` is None); they alone are the
            windows' `label_names` then, in the store's order. None: all.
        subjects: only recordings of these people, for example those on whom settings are chosen. None: all.
        starts: where windows begin, in seconds, by the recording's name, instead of regularly; recordings that are not
            named give none. None: regularly.

    Returns:
        The windows, in order of recording and time.

    Raises:
        ValueError: the arguments do not fit the store, or no recording is as long as a window.
    """
    names = store.channels if channels is None else tuple(channels)
    columns = _columns(store, names)
    contract = Signal(store.rate_hz, names, seconds)
    if not 0.5 < seconds * store.rate_hz < np.inf:
        raise ValueError(f"seconds is {seconds}; expected windows of at least one time step at {store.rate_hz:g} Hz")
    length = contract.steps
    if not 0 <= overlap < 1:
        raise ValueError(f"overlap is {overlap}; expected 0 <= overlap < 1")
    hop = max(1, round(length * (1 - overlap)))
    if (label is not None or labels is not None) and not store.labels:
        raise ValueError(f"'{store.dataset}' has no labels; cut it with label=None")
    wanted = _wanted(store, labels)
    subject_names = store.subjects
    if subjects is not None:
        if unknown := [name for name in subjects if name not in subject_names]:
            raise ValueError(
                f"'{store.dataset}' has no subject {', '.join(unknown)}; it has {', '.join(subject_names)}"
            )
        subject_names = tuple(name for name in subject_names if name in subjects)
    if starts is None:
        firsts = [np.arange(0, entry.steps - length + 1, hop, dtype=np.int64) for entry in store.entries]
    else:
        firsts = _firsts(store, starts, length)
    if subjects is not None:
        firsts = [
            first if entry.subject in subject_names else first[:0]
            for entry, first in zip(store.entries, firsts, strict=True)
        ]
    aligned = hop % store.block_steps == 0 if starts is None else not any((f % store.block_steps).any() for f in firsts)
    in_blocks = length % store.block_steps == 0 and aligned
    offset, y, subject, recording, start, variance = [], [], [], [], [], []
    for number, (entry, first) in enumerate(zip(store.entries, firsts, strict=True)):
        if label is not None or labels is not None:
            target = wanted[_labels(entry.steps, entry.spans, first, length, label or "majority", len(store.labels))]
            first, target = first[target >= 0], target[target >= 0]
            y.append(target)
        if in_blocks:
            mean, squares = store.moments(entry)[:, columns]
            blocks = first // store.block_steps
            variance.append(_variance(mean, squares, blocks, length // store.block_steps, store.block_steps))
        offset.append(entry.start + first[:, None] + columns * entry.steps)
        start.append(first / store.rate_hz)
        recording.append(np.full(len(first), number))
        subject.append(np.full(len(first), subject_names.index(entry.subject) if len(first) else 0))
    if not sum(map(len, offset)):
        if starts is not None and not sum(map(len, firsts)):
            raise ValueError(f"starts holds no second at which a window of '{store.dataset}' could begin")
        longest = max(entry.steps for entry in store.entries) / store.rate_hz
        if starts is not None or (labels is not None and length <= longest * store.rate_hz):
            where = "that starts asks for" if starts is not None else f"of {seconds:g} s"
            which = "a label" if labels is None else f"a label of {', '.join(labels)}"
            raise ValueError(f"no window {where} in '{store.dataset}' has {which}")
        raise ValueError(
            f"no {'labelled ' if label else ''}window of {seconds:g} s fits in '{store.dataset}': its longest "
            f"recording lasts {longest:g} s; choose shorter windows"
        )
    how = {"store": store.hash, "seconds": seconds, "overlap": overlap, "channels": list(names), "label": label}
    if labels is not None:
        how["labels"] = [name for name in store.labels if name in labels]
    if subjects is not None:
        how["subjects"] = list(subject_names)
    if starts is not None:
        how["starts"] = [first.tolist() for first in firsts]
    return Windows(
        values=(torch.from_numpy(store.values),),
        offset=torch.from_numpy(np.concatenate(offset)),
        contract=contract,
        y=np.concatenate(y) if label is not None else None,
        label_names=tuple(name for name in store.labels if labels is None or name in labels),
        subject=np.concatenate(subject),
        subject_names=subject_names,
        recording=np.concatenate(recording),
        start_s=np.concatenate(start),
        dataset=store.dataset,
        identity=fingerprint(how),
        variance=np.concatenate(variance) if in_blocks else None,
        mapped=(store.values,),
    )


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
        identity=fingerprint([part.identity for part in parts]),
        variance=np.concatenate(known) if len(known) == len(parts) else None,
        paired=paired,
        present=present,
        mapped=tuple(array for part in parts for array in part.mapped),
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


def attach(
    windows: Windows, store: Store, vectors: Mapping[str, Vectors], *, fraction: float = 1.0, seed: int = 0
) -> Windows:
    """The same windows, each with its vector of every modality, where it has one.

    Args:
        windows: of one corpus.
        store: what they were cut from.
        vectors: by the name under which objectives ask for them.
        fraction: share of recordings that keep their pairs, each by a draw of its own; all windows of another lose every
            modality. The recordings of a smaller share are among those of a larger one.
        seed: of these draws.

    Returns:
        The windows with `paired` and `present`, which replace earlier ones; `identity` and `content` tell them apart.

    Raises:
        ValueError: windows, store and vectors are not of one corpus and preparation; or `fraction` is no share.
    """
    if not 0 <= fraction <= 1:
        raise ValueError(f"fraction is {fraction}; expected 0 to 1")
    if windows.dataset != store.dataset or len(windows.values) != 1:
        raise ValueError(
            f"the windows are of '{windows.dataset}' and the store of '{store.dataset}'; join after pairing"
        )
    for name, own in vectors.items():
        if own.store != store.hash:
            raise ValueError(
                f"vectors '{name}' were made for another preparation of '{store.dataset}'; run again: "
                f"otolith pair {store.dataset} --source DIR"
            )
    chosen = np.random.default_rng(seed).random(len(store.entries)) < fraction
    seconds = windows.contract.steps / windows.contract.rate_hz
    paired, present = {}, {}
    for name, own in vectors.items():
        values, there = own.of(windows.recording, windows.start_s, seconds)
        there &= chosen[windows.recording]
        values[~there] = 0
        paired[name] = torch.from_numpy(values).to(windows.device)
        present[name] = torch.from_numpy(there).to(windows.device)
    pairs = [[name, own.content] for name, own in vectors.items()]
    return dataclasses.replace(
        windows,
        paired=paired,
        present=present,
        identity=fingerprint({"windows": windows.identity, "pairs": pairs, "fraction": fraction, "seed": seed}),
    )


def _wanted(store: Store, labels: Sequence[str] | None) -> np.ndarray:
    """New number of each label number of the store, -1: dropped; the last entry is that of windows without a label."""
    if labels is None:
        return np.append(np.arange(len(store.labels)), -1)
    if isinstance(labels, str) or not labels or (unknown := [name for name in labels if name not in store.labels]):
        asked = ", ".join(unknown) if labels and not isinstance(labels, str) else repr(labels)
        raise ValueError(f"'{store.dataset}' has no label {asked}; it has {', '.join(store.labels)}")
    kept = np.array([name in labels for name in store.labels] + [False])
    return np.where(kept, np.cumsum(kept) - 1, -1)


def _firsts(store: Store, starts: Mapping[str, Sequence[float]], length: int) -> list[np.ndarray]:
    """(windows,) first time step of each window asked for, ascending, each once, of every recording."""
    if unknown := set(starts) - {entry.name for entry in store.entries}:
        raise ValueError(f"starts names '{min(unknown)}', which is no recording of '{store.dataset}'")
    return [
        _first_steps(store, entry, np.asarray(starts.get(entry.name, ()), float), length) for entry in store.entries
    ]


def _first_steps(store: Store, entry: Entry, start_s: np.ndarray, length: int) -> np.ndarray:
    late = entry.steps - length
    wrong = ~((start_s >= 0) & (start_s * store.rate_hz <= late + max(1.0, LATE_S * store.rate_hz))) | (late < 0)
    if wrong.any():
        raise ValueError(
            f"a window of {length / store.rate_hz:g} s from {start_s[wrong][0]:g} s on does not fit in recording "
            f"'{entry.name}' of {entry.steps / store.rate_hz:g} s; leave it out of starts"
        )
    return np.unique(np.rint(start_s * store.rate_hz).astype(np.int64).clip(max=late))


def _columns(store: Store, names: tuple[str, ...]) -> np.ndarray:
    missing = [name for name in names if name not in store.channels]
    if missing or not names:
        raise ValueError(
            f"'{store.dataset}' has no channel {', '.join(missing) or '(none asked for)'}; "
            f"it has {', '.join(store.channels)}"
        )
    if len(set(names)) != len(names):
        raise ValueError(f"a channel is asked for twice: {', '.join(names)}")
    return np.array([store.channels.index(name) for name in names], dtype=np.int64)


def _variance(mean: np.ndarray, squares: np.ndarray, first: np.ndarray, count: int, steps: int) -> np.ndarray:
    """(windows,) sum over channels of the variance of windows of `count` blocks, from (channels, blocks) moments.

    Chan, Golub and LeVeque 1979: the squares within the blocks, plus those of the blocks' means about the window's. Nothing
    large is subtracted, so gravity costs no digits.
    """
    out = np.empty(len(first), dtype=np.float32)
    size = max(1, (1 << 20) // count)  # windows at a time, to bound the memory
    for at in range(0, len(first), size):
        blocks = first[at : at + size, None] + np.arange(count)
        means = mean[:, blocks].astype(np.float64)
        means -= means.mean(axis=2, keepdims=True)
        total = squares[:, blocks].sum(axis=(0, 2), dtype=np.float64) + steps * np.einsum("cwb,cwb->w", means, means)
        out[at : at + size] = total / (count * steps)
    return out


def _labels(
    steps: int, spans: Sequence[Sequence[int]], first: np.ndarray, length: int, rule: str, classes: int
) -> np.ndarray:
    """(windows,) label number of each window that starts at a row in `first`; -1: none."""
    per_step = np.full(steps, -1, dtype=np.int64)
    for start, stop, number in spans:
        per_step[start:stop] = number
    if rule == "last":
        return np.asarray(per_step[first + length - 1])
    # Running counts of each label (the first column: unlabelled); a window's count is a difference of two of them.
    counts = np.zeros((steps + 1, classes + 1), dtype=np.int32)
    counts[np.arange(1, steps + 1), per_step + 1] = 1
    np.cumsum(counts, axis=0, out=counts)
    inside = counts[first + length] - counts[first]
    return np.asarray(inside.argmax(axis=1) - 1, dtype=np.int64)
