"""Cut a prepared store into windows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np
import torch

from otolith.data.store import Entry, Store
from otolith.data.units import channel_names
from otolith.data.windows import SignalSpec, Windows
from otolith.storage.files import fingerprint

LATE_S = 0.1
"""How many seconds a window with a given start may end after its recording; it is then moved back."""


def cut(
    store: Store,
    *,
    seconds: float = 2.0,
    overlap: float = 0.5,
    channels: str | Sequence[str] | None = None,
    label: Literal["majority", "last"] | None = "majority",
    labels: Sequence[str] | None = None,
    subjects: Sequence[str] | None = None,
    placements: Sequence[str] | None = None,
    starts: Mapping[str, Sequence[float]] | None = None,
) -> Windows:
    """Cut every recording of a store into windows; no window crosses from one recording into the next.

    Args:
        store: the prepared corpus.
        seconds: length of a window.
        overlap: share of a window that the next one repeats, from 0 up to but not including 1.
        channels: names in order, or groups such as `acc` and `acc+gyro`; None: all channels.
        label: rule for the label of a window: the label of most of its time steps (`majority`) or of its last one (`last`);
            windows without a label are dropped. None: keep every window, without labels. Windows of a store without labels
            have none.
        labels: keep only windows with one of these labels by that rule (by `majority` if `label` is None); the
            `label_names` are then these, in the order of the store. None: keep all.
        subjects: cut only recordings of these subjects, for example those on which settings are selected. None: all.
        placements: cut only recordings of sensors that were worn there, for a store with several placements. None: all.
        starts: seconds at which windows begin, by name of the recording; recordings that are not named give no windows.
            None: windows begin at regular intervals.

    Returns:
        The windows, in order of recording and time.

    Raises:
        ValueError: the arguments do not fit the store, or no recording is as long as a window.
    """
    names = store.channels if channels is None else channel_names(channels)
    columns = _columns(store, names)
    contract = SignalSpec(store.rate_hz, names, seconds)
    hop = _hop(store, contract, overlap)
    if not store.labels and labels is None:
        label = None
    numbering = None if label is None and labels is None else _numbering(store, labels)
    subject_names = _subject_names(store, subjects)
    firsts = _selected(store, _first_steps(store, contract.steps, hop, starts), subject_names, placements)
    in_blocks = contract.steps % store.block_steps == 0 and (
        hop % store.block_steps == 0 if starts is None else not any((f % store.block_steps).any() for f in firsts)
    )
    offset, y, subject, recording, start, variance = [], [], [], [], [], []
    for number, (entry, first) in enumerate(zip(store.entries, firsts, strict=True)):
        if numbering is not None:
            target = numbering[_labels(entry, first, contract.steps, label or "majority", len(store.labels))]
            first, target = first[target >= 0], target[target >= 0]
            y.append(target)
        if in_blocks:
            variance.append(_variance(store, entry, columns, first, contract.steps))
        offset.append(entry.start + first[:, None] + columns * entry.steps)
        start.append(first / store.rate_hz)
        recording.append(np.full(len(first), number))
        subject.append(np.full(len(first), subject_names.index(entry.subject) if len(first) else 0))
    if not sum(map(len, offset)):
        raise ValueError(_no_window(store, contract, label, labels, starts, firsts))
    begun, numbers = None if starts is None else firsts, _joined(recording)
    return Windows(
        values=(torch.from_numpy(store.values),),
        offset=torch.from_numpy(_joined(offset)),
        contract=contract,
        y=_joined(y) if label is not None else None,
        label_names=tuple(name for name in store.labels if labels is None or name in labels),
        subject=_joined(subject),
        subject_names=subject_names,
        recording=numbers,
        start_s=_joined(start),
        dataset=store.dataset,
        cut_hash=_cut_hash(store, contract, overlap, label, labels, subjects and subject_names, placements, begun),
        variance=_joined(variance) if in_blocks else None,
        placement=np.array([entry.placement for entry in store.entries])[numbers],
        memmaps=(store.values,),
    )


def _joined(parts: list[np.ndarray]) -> np.ndarray:
    """Return the parts as one array, and release them: a corpus may have millions of windows."""
    whole = np.concatenate(parts)
    parts.clear()
    return whole


def _cut_hash(
    store: Store,
    contract: SignalSpec,
    overlap: float,
    label: str | None,
    labels: Sequence[str] | None,
    subjects: Sequence[str] | None,
    placements: Sequence[str] | None,
    starts: Sequence[np.ndarray] | None,
) -> str:
    """Return a hash of the store and of how it is cut."""
    made_from: dict[str, Any] = {"store": store.hash, "seconds": contract.seconds, "overlap": overlap}
    made_from |= {"channels": list(contract.channels), "label": label}
    made_from |= {} if labels is None else {"labels": [name for name in store.labels if name in labels]}
    made_from |= {} if subjects is None else {"subjects": list(subjects)}
    made_from |= {} if placements is None else {"placements": sorted(placements)}
    made_from |= {} if starts is None else {"starts": [first.tolist() for first in starts]}
    return fingerprint(made_from)


def _hop(store: Store, contract: SignalSpec, overlap: float) -> int:
    """Return the time steps from one window's start to the next one's."""
    if not 0.5 < contract.seconds * store.rate_hz < np.inf:
        raise ValueError(
            f"seconds is {contract.seconds}; expected windows of at least one time step at {store.rate_hz:g} Hz"
        )
    if not 0 <= overlap < 1:
        raise ValueError(f"overlap is {overlap}; expected 0 <= overlap < 1")
    return max(1, round(contract.steps * (1 - overlap)))


def _subject_names(store: Store, subjects: Sequence[str] | None) -> tuple[str, ...]:
    """Return the subjects to cut, in the store's order."""
    if subjects is None:
        return store.subjects
    if unknown := [name for name in subjects if name not in store.subjects]:
        raise ValueError(f"'{store.dataset}' has no subject {', '.join(unknown)}; it has {', '.join(store.subjects)}")
    return tuple(name for name in store.subjects if name in subjects)


def _no_window(
    store: Store,
    contract: SignalSpec,
    label: str | None,
    labels: Sequence[str] | None,
    starts: Mapping[str, Sequence[float]] | None,
    firsts: Sequence[np.ndarray],
) -> str:
    """Return why no window was found."""
    seconds = contract.seconds
    if starts is not None and not sum(map(len, firsts)):
        return f"starts names no second at which a window of '{store.dataset}' could begin"
    longest = max(entry.steps for entry in store.entries)
    if starts is not None or (labels is not None and contract.steps <= longest):
        where = "that starts asks for" if starts is not None else f"of {seconds:g} s"
        which = "a label" if labels is None else f"a label of {', '.join(labels)}"
        return f"no window {where} in '{store.dataset}' has {which}"
    return (
        f"no {'labelled ' if label else ''}window of {seconds:g} s fits in '{store.dataset}': its longest "
        f"recording lasts {longest / store.rate_hz:g} s; choose shorter windows"
    )


def _numbering(store: Store, labels: Sequence[str] | None) -> np.ndarray:
    """Return the new number of each label number of the store, -1 to drop it; the last entry is for unlabelled windows."""
    if labels is None:
        return np.append(np.arange(len(store.labels)), -1)
    if not store.labels:
        raise ValueError(f"'{store.dataset}' has no labels, so no window has one of those in labels")
    if isinstance(labels, str) or not labels or (unknown := [name for name in labels if name not in store.labels]):
        asked = ", ".join(unknown) if labels and not isinstance(labels, str) else repr(labels)
        raise ValueError(f"'{store.dataset}' has no label {asked}; it has {', '.join(store.labels)}")
    kept = np.array([name in labels for name in store.labels] + [False])
    return np.where(kept, np.cumsum(kept) - 1, -1)


def _first_steps(
    store: Store,
    length: int,
    hop: int,
    starts: Mapping[str, Sequence[float]] | None,
) -> list[np.ndarray]:
    """Return the (windows,) first time step of each window, ascending and different, for every recording of the store."""
    if starts is None:
        return [np.arange(0, entry.steps - length + 1, hop, dtype=np.int64) for entry in store.entries]
    if unknown := set(starts) - {entry.name for entry in store.entries}:
        raise ValueError(f"starts names '{min(unknown)}', which is not a recording of '{store.dataset}'")
    wanted = [np.asarray(starts.get(entry.name, ()), float) for entry in store.entries]
    return [_steps_at(store, e, start_s, length) for e, start_s in zip(store.entries, wanted, strict=True)]


def _selected(
    store: Store, firsts: Sequence[np.ndarray], subjects: tuple[str, ...], placements: Sequence[str] | None
) -> list[np.ndarray]:
    """Return the first time steps without those in recordings of other subjects or placements."""
    there = {entry.placement for entry in store.entries}
    if unknown := [name for name in placements or () if name not in there]:
        raise ValueError(f"'{store.dataset}' has no placement {', '.join(unknown)}; it has {', '.join(sorted(there))}")
    return [
        first if entry.subject in subjects and (placements is None or entry.placement in placements) else first[:0]
        for entry, first in zip(store.entries, firsts, strict=True)
    ]


def _steps_at(store: Store, entry: Entry, start_s: np.ndarray, length: int) -> np.ndarray:
    """Return the time steps nearest to `start_s`; windows that end up to `LATE_S` after the recording are moved back."""
    late = entry.steps - length
    wrong = ~((start_s >= 0) & (start_s * store.rate_hz <= late + max(1.0, LATE_S * store.rate_hz))) | (late < 0)
    if wrong.any():
        raise ValueError(
            f"a window of {length / store.rate_hz:g} s from {start_s[wrong][0]:g} s on does not fit in recording "
            f"'{entry.name}' of {entry.steps / store.rate_hz:g} s; leave it out of starts"
        )
    return np.unique(np.rint(start_s * store.rate_hz).astype(np.int64).clip(max=late))


def _columns(store: Store, names: tuple[str, ...]) -> np.ndarray:
    """Return the column of each channel in the store."""
    missing = [name for name in names if name not in store.channels]
    if missing or not names:
        raise ValueError(
            f"'{store.dataset}' has no channel {', '.join(missing) or '(none is named)'}; "
            f"it has {', '.join(store.channels)}"
        )
    if len(set(names)) != len(names):
        raise ValueError(f"a channel is named twice: {', '.join(names)}")
    return np.array([store.channels.index(name) for name in names], dtype=np.int64)


def _variance(store: Store, entry: Entry, columns: np.ndarray, first: np.ndarray, length: int) -> np.ndarray:
    """Return the (windows,) sum over channels of the variance of windows that consist of whole blocks of the store.

    Chan, Golub and LeVeque 1979: the squared deviations within the blocks, plus those of the blocks' means from the
    window's mean. Nothing large is subtracted, so gravity costs no digits.
    """
    steps, count = store.block_steps, length // store.block_steps
    mean, squares = store.moments(entry)[:, columns]
    first = first // steps
    out = np.empty(len(first), dtype=np.float32)
    size = max(1, (1 << 20) // count)  # windows at a time, to bound the memory
    for at in range(0, len(first), size):
        blocks = first[at : at + size, None] + np.arange(count)
        means = mean[:, blocks].astype(np.float64)
        means -= means.mean(axis=2, keepdims=True)
        total = squares[:, blocks].sum(axis=(0, 2), dtype=np.float64) + steps * np.einsum("cwb,cwb->w", means, means)
        out[at : at + size] = total / length
    return out


def _labels(entry: Entry, first: np.ndarray, length: int, rule: str, classes: int) -> np.ndarray:
    """Return the (windows,) label number of each window that starts at a time step in `first`; -1 for none."""
    per_step = np.full(entry.steps, -1, dtype=np.int64)
    for start, stop, number in entry.spans:
        per_step[start:stop] = number
    if rule == "last":
        return np.asarray(per_step[first + length - 1])
    # Running counts of each label, column 0 for unlabelled time steps; a window's count is a difference of two of them.
    counts = np.zeros((entry.steps + 1, classes + 1), dtype=np.int32)
    counts[np.arange(1, entry.steps + 1), per_step + 1] = 1
    np.cumsum(counts, axis=0, out=counts)
    inside = counts[first + length] - counts[first]
    return np.asarray(inside.argmax(axis=1) - 1, dtype=np.int64)
