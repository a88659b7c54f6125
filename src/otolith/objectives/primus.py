"""PRIMUS: contrast a window with its augmented view, its paired embeddings, and those of its nearest neighbour."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from otolith.data.augment import augment, check_transforms
from otolith.data.sampling import Batch
from otolith.encoders import Encoder
from otolith.objectives.contract import Objective
from otolith.objectives.contrast import gather_joint, symmetric_info_nce

PUBLISHED: tuple[Mapping[str, Any], ...] = ({"name": "scaling", "sd": 0.25}, {"name": "permutation", "pieces": 5})
PAIRED: Mapping[str, int] = {"video": 512, "text": 512}

_LEAST_TEMPERATURE = 0.01  # as in CLIP: training diverges below it


class Primus(Objective):
    """Three kinds of terms, each a symmetric InfoNCE (`contrast.symmetric_info_nce`) over the batch of all devices:

        ssl       alpha x NCE(g_ss f(x), g_ss f(h(x)))            x: the original window, h: augmentations
        mm_NAME   (1 - alpha) x NCE(g_mm f(x), embedding)         for each paired modality NAME
        nn_ssl    nearest x alpha x NCE(g_ss f(x), neighbour's g_ss f)
        nn_NAME   nearest x (1 - alpha) x NCE(g_mm f(x), neighbour's embedding)

    Neighbours come from queues of past windows: one queue per modality and one of `g_ss f(x)`. Their rows are aligned: row
    i of every queue is the same window. The queues start empty. In train mode, windows that have every modality are
    enqueued after the look-up. The nearest neighbours of a window are found by cosine similarity in the first modality of
    `lookup["order"]` that the window has, or in `g_ss f(x)` if it has none or `alpha` is 1. All queues then give the
    embeddings of these neighbours. The mean of `mm_NAME` is over the windows that have the modality, and that of `nn_NAME`
    over those that have a neighbour. A term without any window is 0.

    The temperatures divide the cosines and are learned: one for `ssl` and `nn_ssl`, one for the other terms. They are
    clamped at 0.01. Validation (eval mode) reads the queues and does not change them.

    If a corpus is smaller than the queue, the nearest neighbour of a window is the window itself from the second epoch on.
    `max_similarity` or a smaller queue prevents this.

    Source: Das, Tang, Kawsar, Malekzadeh, ICASSP 2025 (arXiv 2411.15127). Its settings are the defaults, with augmentations
    as the paper describes them. Additions to the source: modalities other than `video` and `text`, one head per modality,
    several neighbours, limits of similarity, and modalities that only some windows have. Difference: a missing embedding is
    not a negative.

    Args:
        encoder: the encoder to pretrain.
        paired: dimension of the embeddings of each modality, by name.
        alpha: weight of the self-supervised term; the multimodal terms have weight 1 - alpha. 1 uses no modality.
        nearest: weight of the nearest-neighbour terms; 0 disables them.
        augmentations: transforms h, applied in order; see `augment.augment`.
        width: output dimension of `g_ss`, and of `g_mm` if the modalities share it.
        temperature: initial value of both temperatures.
        learn_temperature: whether the temperatures are learned.
        neighbours: number of neighbours k; each is the positive of a separate task, and the loss is the mean over tasks.
        queue: size of each queue in windows.
        heads: "shared": one linear `g_mm` for all modalities, as published; "own": one per modality, for embeddings of
            different dimensions.
        lookup: how neighbours are found: a table with the keys `order` (names of modalities; default `video`, `text`, then
            the others of `paired`), `min_similarity` (neighbours with a lower cosine are not used; default None: no limit)
            and `max_similarity` (windows in the queue with at least this cosine, such as 0.9999, are ignored; default None:
            no limit). A key that is missing has its default.

    Raises:
        ValueError: an argument is out of range or contradicts another.
    """

    kept = ("ssl_head", "mmcl_head")

    def __init__(
        self,
        encoder: Encoder,
        paired: Mapping[str, int] = PAIRED,
        alpha: float = 0.5,
        nearest: float = 1.0,
        augmentations: Sequence[Mapping[str, Any]] = PUBLISHED,
        width: int = 512,
        temperature: float = 0.1,
        learn_temperature: bool = True,
        neighbours: int = 1,
        queue: int = 8192,
        heads: Literal["shared", "own"] = "shared",
        lookup: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(encoder)
        self.paired = dict(paired)
        _check(self.paired, alpha, nearest, width, temperature, neighbours, queue, heads)
        self.lookup = _lookup(lookup or {}, self.paired)
        self.alpha, self.nearest, self.augmentations = alpha, nearest, check_transforms(augmentations)
        self.width, self.temperature, self.learn_temperature = width, temperature, learn_temperature
        self.neighbours, self.queue, self.heads = neighbours, queue, heads
        self.ssl_head = nn.Linear(encoder.dim, width)
        self.mmcl_head: nn.Module
        if heads == "shared":
            self.mmcl_head = nn.Linear(encoder.dim, width)
        else:
            self.mmcl_head = nn.ModuleDict({name: nn.Linear(encoder.dim, dim) for name, dim in self.paired.items()})
        self.ssl_temperature = nn.Parameter(torch.tensor(float(temperature)))
        self.mmcl_temperature = nn.Parameter(torch.tensor(float(temperature)))
        # Parameters that no loss depends on are not trained: distributed training would wait for their gradients.
        for parameter in (
            self.ssl_head if alpha == 0 else self.mmcl_head if alpha == 1 else nn.Identity()
        ).parameters():
            parameter.requires_grad_(False)
        self.ssl_temperature.requires_grad_(learn_temperature and alpha > 0)
        self.mmcl_temperature.requires_grad_(learn_temperature and alpha < 1)
        self.modalities = tuple(self.paired) if alpha < 1 else ()
        if nearest > 0:
            for name, dim in self._queue_sizes():
                self.register_buffer(f"queue_{name}", torch.zeros(queue, dim))
            self.register_buffer("queue_written", torch.zeros((), dtype=torch.long))
            self.register_buffer("queue_next", torch.zeros((), dtype=torch.long))

    def facts(self) -> dict[str, Any]:
        """Return the learned temperatures."""
        return {"temperatures": {"ssl": self.ssl_temperature.item(), "mmcl": self.mmcl_temperature.item()}}

    def _queue_sizes(self) -> list[tuple[str, int]]:
        return [("ssl", self.width), *((name, self.paired[name]) for name in self.modalities)]

    def queued(self, name: str) -> Float[Tensor, "written width"]:
        """Return the rows in the queue of a modality, or of `ssl`, L2-normalised.

        The oldest row is first until the queue is full; then new rows replace the oldest in place.
        """
        return self.get_buffer(f"queue_{name}")[: int(self.get_buffer("queue_written"))]

    def forward(self, batch: Batch) -> dict[str, Float[Tensor, ""]]:
        """Return the terms whose weight is positive, by their names in the description of the class.

        Raises:
            ValueError: embeddings have another dimension than in `paired`, or there are fewer than 2 windows.
        """
        embeddings, present = self._embeddings(batch)
        x = batch.x
        if self.alpha > 0:  # one call for both views is faster for recurrent layers
            embedded, again = self.encoder(torch.cat([x, augment(x, self.augmentations)])).chunk(2)
        else:
            embedded = again = self.encoder(x)
        # Similarities in bfloat16 are too coarse for a temperature of 0.1.
        with torch.autocast(x.device.type, enabled=False):
            return self.losses(embedded.float(), again.float(), embeddings, present)

    def losses(
        self,
        embedded: Float[Tensor, "batch dim"],
        again: Float[Tensor, "batch dim"],
        embeddings: dict[str, Tensor],
        present: dict[str, Tensor],
    ) -> dict[str, Float[Tensor, ""]]:
        """Return the terms of `forward` from the encoder's outputs, and update the queues in train mode.

        Args:
            embedded: features of the windows.
            again: features of their augmented views.
            embeddings: embeddings of every modality of `modalities`, (batch, dim) each.
            present: which rows have such an embedding, (batch,) each.

        Raises:
            ValueError: there are fewer than 2 windows.
        """
        names = self.modalities
        ssl = self.ssl_head(embedded)
        queries: dict[str, Tensor] = {"ssl": ssl}
        if isinstance(self.mmcl_head, nn.ModuleDict):
            queries |= {name: self.mmcl_head[name](embedded) for name in names}
        elif names:
            queries |= dict.fromkeys(names, self.mmcl_head(embedded))
        keys = {"ssl": self.ssl_head(again), **embeddings}
        exists = {"ssl": torch.ones(len(ssl), dtype=torch.bool, device=ssl.device), **present}
        if self.nearest > 0:
            place, similarity = self.look_up(ssl.detach(), embeddings, present)
            limit = self.lookup["min_similarity"]
            used = similarity > -2 if limit is None else similarity >= limit
            near = {name: self.get_buffer(f"queue_{name}")[place] for name in keys}  # (batch, neighbours, dim) each
        # One exchange between devices for all tensors; queries that modalities share are sent once.
        sent: dict[int, Tensor] = {id(query): query for query in queries.values()}
        columns = [*sent.values(), *keys.values(), torch.stack(list(exists.values()), dim=1).float()]
        if self.nearest > 0:
            columns += [*(rows.flatten(1) for rows in near.values()), used.float()]
        joint = iter(gather_joint(*columns))
        whole = {key: next(joint) for key in sent}
        queries = {name: whole[id(query)] for name, query in queries.items()}
        keys = {name: next(joint) for name in keys}
        exists = dict(zip(exists, next(joint).bool().unbind(dim=1), strict=True))
        weights = {"ssl": self.alpha, **dict.fromkeys(names, 1 - self.alpha)}
        own, common = (value.clamp_min(_LEAST_TEMPERATURE) for value in (self.ssl_temperature, self.mmcl_temperature))
        temperatures = {"ssl": own, **dict.fromkeys(names, common)}
        losses: dict[str, Tensor] = {}
        for name, query in queries.items():
            if weights[name]:
                term = symmetric_info_nce(query, keys[name], temperatures[name], exists[name], exists[name])
                losses["ssl" if name == "ssl" else f"mm_{name}"] = weights[name] * term
        if self.nearest > 0:
            near = {name: next(joint).unflatten(1, (self.neighbours, -1)).transpose(0, 1) for name in near}
            used = next(joint).bool().T
            for name, query in queries.items():
                if weights[name]:
                    term = symmetric_info_nce(query, near[name], temperatures[name], used, used)
                    losses[f"nn_{name}"] = self.nearest * weights[name] * term
            if self.training:
                rows = {"ssl": queries["ssl"].detach(), **{name: keys[name] for name in names}}
                self._enqueue(rows, torch.stack([exists[name] for name in rows]).all(dim=0))
        return losses

    def _embeddings(self, batch: Batch) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """Return each modality's embeddings (batch, dim) and which rows have one (batch,); zeros if the batch has none."""
        embeddings, present = {}, {}
        for name in self.modalities:
            dim = self.paired[name]
            if name not in batch.paired:
                embeddings[name] = batch.x.new_zeros(len(batch.x), dim)
                present[name] = torch.zeros(len(batch.x), dtype=torch.bool, device=batch.x.device)
                continue
            given = batch.paired[name]
            if given.shape != (len(batch.x), dim):
                raise ValueError(
                    f"embeddings of '{name}' have the shape {tuple(given.shape)} in a batch of {len(batch.x)}; expected "
                    f"({len(batch.x)}, {dim}), by the objective's argument paired"
                )
            embeddings[name], present[name] = given.float(), batch.present[name]
        return embeddings, present

    @torch.no_grad()
    def look_up(
        self, ssl: Float[Tensor, "batch width"], embeddings: dict[str, Tensor], present: dict[str, Tensor]
    ) -> tuple[Int[Tensor, "batch neighbours"], Float[Tensor, "batch neighbours"]]:
        """Return the places in the queues of each row's neighbours, the nearest first, and their cosines; -2 means none.

        Args:
            ssl: projections `g_ss f(x)` of the windows.
            embeddings: embeddings of every modality of `modalities`, (batch, dim) each.
            present: which rows have such an embedding, (batch,) each.
        """
        shape = (len(ssl), self.neighbours)
        place = torch.zeros(shape, dtype=torch.long, device=ssl.device)
        similarity = ssl.new_full(shape, -2.0)
        count = min(self.neighbours, int(self.get_buffer("queue_written")))
        if count == 0:
            return place, similarity
        left = torch.ones(len(ssl), dtype=torch.bool, device=ssl.device)
        spaces = [(name, embeddings[name], present[name]) for name in self.lookup["order"] if name in self.modalities]
        for name, given, has in [*spaces, ("ssl", ssl, left)]:
            rows = (left & has).nonzero()[:, 0]
            left = left & ~has
            if len(rows):
                cosines = F.normalize(given[rows], dim=1) @ self.queued(name).T
                if self.lookup["max_similarity"] is not None:
                    cosines.masked_fill_(cosines >= self.lookup["max_similarity"], -2.0)
                similarity[rows, :count], place[rows, :count] = cosines.topk(count, dim=1)
        return place, similarity

    @torch.no_grad()
    def _enqueue(self, rows: Mapping[str, Tensor], complete: Bool[Tensor, " joint"]) -> None:
        """Replace the oldest rows of each queue by the complete rows."""
        chosen = complete.nonzero()[-self.queue :, 0]
        following, written = self.get_buffer("queue_next"), self.get_buffer("queue_written")
        places = (following + torch.arange(len(chosen), device=chosen.device)) % self.queue
        for name, values in rows.items():
            self.get_buffer(f"queue_{name}")[places] = F.normalize(values[chosen].float(), dim=1)
        following.copy_((following + len(chosen)) % self.queue)
        written.copy_((written + len(chosen)).clamp_max(self.queue))


def _lookup(given: Mapping[str, Any], paired: Mapping[str, int]) -> dict[str, Any]:
    """Return the table of the look-up with its defaults filled in, checked."""
    first = [name for name in ("video", "text") if name in paired]
    defaults = {
        "order": first + [name for name in paired if name not in first],
        "min_similarity": None,
        "max_similarity": None,
    }
    if unknown := given.keys() - defaults.keys():
        raise ValueError(f"lookup has no '{min(unknown)}'; expected some of {', '.join(defaults)}")
    lookup = {**defaults, **given}
    for name in ("min_similarity", "max_similarity"):
        if lookup[name] is not None and not -1 <= lookup[name] <= 1:
            raise ValueError(f"{name} is {lookup[name]}; expected a cosine in -1 .. 1")
    order = lookup["order"] = list(lookup["order"])
    if set(order) - set(paired) or len(set(order)) < len(order):
        raise ValueError(
            f"the order of lookup is {order}; expected names of {', '.join(paired) or 'none'}, each at most once"
        )
    return lookup


def _check(
    paired: Mapping[str, int],
    alpha: float,
    nearest: float,
    width: int,
    temperature: float,
    neighbours: int,
    queue: int,
    heads: str,
) -> None:
    expected: Iterable[tuple[bool, str]] = [
        (0 <= alpha <= 1, f"alpha is {alpha}; expected 0 .. 1"),
        (nearest >= 0, f"nearest is {nearest}; expected a weight of at least 0"),
        (width >= 1, f"width is {width}; expected at least 1"),
        (
            temperature >= _LEAST_TEMPERATURE,
            f"temperature is {temperature}; expected at least {_LEAST_TEMPERATURE}, below which training diverges",
        ),
        (1 <= neighbours <= queue, f"neighbours is {neighbours}; expected 1 .. {queue}, the size of the queue"),
        (heads in ("shared", "own"), f"heads is '{heads}'; expected 'shared' or 'own'"),
        (
            bool(paired) or alpha == 1,
            f"alpha is {alpha}, but no modality is paired; run otolith pair and name modalities in section [paired], or set "
            "alpha to 1 to use the IMU only",
        ),
    ]
    for holds, message in expected:
        if not holds:
            raise ValueError(message)
    for name, dim in paired.items():
        if name == "ssl" or not re.fullmatch(r"\w+", name) or dim < 1:
            raise ValueError(
                f"paired has '{name}' with dimension {dim}; expected a name of letters, digits and _ other than ssl, and a "
                "dimension of at least 1"
            )
    if heads == "shared" and any(dim != width for dim in paired.values()):
        sizes = ", ".join(f"{name} {dim}" for name, dim in paired.items())
        raise ValueError(
            f"a shared head with {width} outputs does not fit the paired embeddings ({sizes}); set heads to own, or width "
            "to their common dimension"
        )
