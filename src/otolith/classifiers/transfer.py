"""Transfer: a scikit-learn classifier on a frozen, fine-tuned or untrained encoder."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.utils.validation import check_is_fitted
from torch import Tensor, nn

from otolith.checkpoints import checkpoint
from otolith.classifiers import logistic
from otolith.classifiers import prompts as zeroshot
from otolith.classifiers.heads import _Beside, _mlp
from otolith.classifiers.training import Examples, _batched, _in_parts, _labels, _loss, _pretext, _taker
from otolith.data.augment import check_transforms
from otolith.data.features import feature_count
from otolith.data.sampling import seeded
from otolith.data.windows import SignalSpec, Windows
from otolith.encoders import Encoder
from otolith.objectives import OBJECTIVES, Objective
from otolith.pretraining import warmup_cosine

Mode = Literal["frozen", "finetune", "scratch", "random-frozen", "zero-shot"]
_CHOICES = {
    "mode": ("frozen", "finetune", "scratch", "random-frozen", "zero-shot"),
    "head": ("mlp", "logistic", "text"),
    "precision": ("32-true", "bf16-mixed"),
    "optimiser": ("adam", "adamw"),
    "schedule": ("constant", "warmup-cosine"),
    "keep": ("loss", "accuracy"),
}


class TransferClassifier(ClassifierMixin, BaseEstimator):
    """Classifies windows with a pretrained encoder and a head, trained on few labels.

    Modes: `frozen` trains the head alone: the encoder stays in eval mode and without gradients, so every parameter and
    buffer keeps its bits, and its features are computed once. `finetune` trains everything, the encoder in train mode.
    `scratch` is the same network with a newly initialised encoder; `random-frozen` freezes that one. `zero-shot` trains
    nothing: the head `text` as it sets out; of the labels only their names are used.

    Between the poles: `probe_epochs` trains the head alone before everything trains (linear probe, then fine-tune: Kumar
    et al., ICLR 2022, where the head is linear); `last_blocks` trains only the encoder's last blocks; `layer_decay` gives
    each block a smaller learning rate than the next (Howard and Ruder, ACL 2018). `keep_objective` keeps the pretext's loss
    on while the classifier trains, an open question of the paper.

    The defaults are the paper's: hidden widths 256, 128, 128, each Linear - BatchNorm - ReLU - dropout 0.2; Adam,
    cross-entropy, batch 256, 50 epochs, best validation weights. Two arguments go beyond it, since 50 epochs of 14 windows
    are only 50 steps: `steps` sets a budget in optimisation steps, and `head="logistic"` starts from a regularised logistic
    regression on standardised features (then frozen mode is done, and fine-tuning sets out from there).

    The head `text` is that of PRIMUS (Das et al., ICASSP 2025, and its published code): the checkpoint's head into the space
    of words, unit length, and a Linear that starts from the text vectors of the classes (the mean over `prompts`, bias 0).
    `frozen` freezes the encoder and that projection; `finetune` trains everything. A checkpoint without a head for text gets
    one with new weights, and so do `scratch` and `random-frozen`: the published arms without words. As published, it goes
    with `optimiser="adamw"`, `schedule="warmup-cosine"`, `keep="accuracy"`, lr and weight decay 1e-4, batch 256.

    Source: Fortes Rey et al. 2023 (arXiv 2307.01168), section on transfer. Their patience was not published; here the budget
    is spent and the best validation weights are kept, because the running averages of batch normalisation need some
    tens of steps, and stopping before that judges them and not the head (`docs/evidence/experiments.md`).

    Args:
        encoder: an encoder, a checkpoint, or the path of one.
        mode: see above.
        head: `mlp`; `logistic`: one Linear, fitted before anything else is trained; or `text`, see above.
        prompts: sentences by label, or the TOML file that holds them, for the head `text`; None: the labels' own words.
        text: name or folder of the text encoder; None: the one the checkpoint was pretrained with, else the default.
        hidden: widths of the head `mlp`.
        dropout: in the head `mlp`.
        penalty: inverse strength C of the logistic head's regularisation.
        whiten: the logistic head sees features whitened by what changes between neighbouring windows of the unlabelled
            recordings, which mostly show one activity and differ in what does not matter: phase, noise. The number is the
            ridge on that covariance, as a share of its mean variance; None: standardised features alone. Between relevant
            component analysis (Shental et al., ECCV 2002), whose chunklets are known to share a class, and slow feature
            analysis; ours, from neither paper.
        whiten_people: whitens also by what differs between people, with this weight beside neighbours: the covariance of the
            means of each person's unlabelled windows, which is what does not matter where everybody does much the same. As
            speaker recognition takes away what differs within a speaker (Hatch, Kajarekar and Stolcke, Interspeech 2006).
        self_training: rounds in which the head goes on learning from unlabelled windows that it is sure of (Lee 2013,
            pseudo-labels), whitened by what differs between people within the classes it gives them. Ours in this
            combination.
        statistics: the logistic head sees the window's `log_features` beside the encoder's features, each of the two
            groups with the same sum of variances. Ours.
        copies: the logistic head is fitted on so many augmented copies of each training window beside it. Ours.
        lr: of Adam, at its highest where a schedule changes it.
        encoder_lr: of the encoder when it is fine-tuned, and of the projection of the head `text`; None: as `lr`.
        layer_decay: factor on the encoder's learning rate from each of its blocks to the one before.
        last_blocks: train only so many of the encoder's blocks, from the output; None: all.
        probe_epochs: epochs for the head `mlp` alone, on features of the encoder as it came, before all trains.
        keep_objective: weight of the pretext's loss; 0: none. Needs a checkpoint, whose objective is taken up with its
            heads, and draws a batch of `unlabelled` windows a step.
        weight_decay: of Adam (added to the gradient) or AdamW (taken from the weights).
        optimiser: `adam` or `adamw`.
        schedule: of the learning rate: `constant`, or `warmup-cosine`: linear over the first max(T / 100, 10) of T steps,
            then a cosine down to 0.
        keep: which weights are kept: those with the lowest validation `loss`, or with the highest validation `accuracy`
            (of equals, the earliest).
        epochs: budget, where `steps` is None.
        steps: budget in optimisation steps; batches are drawn anew whenever the windows run out.
        batch_size: windows a step.
        patience: early stopping: checks without a better validation loss (or accuracy); None: never. Checks come after every
            epoch, or 20 times within a budget of steps. Without validation windows the last weights are kept.
        augmentations: applied to training windows when the encoder trains, and to copies; see `augment.augment`.
        precision: of training, as Fabric calls it; `bf16-mixed` is faster on most GPUs and on CPUs that know bfloat16.
            Predictions and frozen features are always in 32 bits.
        seed: of initialisation, order, dropout and augmentation. Random states of the caller are left alone.
        device: where to train and predict, for example `cuda`.

    Attributes:
        classes_: labels in the order of `predict_proba`'s columns.
        encoder_: the encoder as it is after `fit`.
        head_: the head.
        signal_: the signal contract, where the encoder came with one or the windows did.
        about_: provenance of the pretrained encoder.
        steps_: optimisation steps done.
    """

    def __init__(
        self,
        encoder: Encoder | checkpoint.Checkpoint | str | Path | None = None,
        *,
        mode: Mode = "finetune",
        head: Literal["mlp", "logistic", "text"] = "mlp",
        prompts: Mapping[str, Sequence[str]] | str | Path | None = None,
        text: str | None = None,
        hidden: Sequence[int] = (256, 128, 128),
        dropout: float = 0.2,
        penalty: float = 1.0,
        whiten: float | None = None,
        whiten_people: float = 0.0,
        self_training: int = 0,
        statistics: bool = False,
        copies: int = 0,
        lr: float = 1e-3,
        encoder_lr: float | None = None,
        layer_decay: float = 1.0,
        last_blocks: int | None = None,
        probe_epochs: int = 0,
        keep_objective: float = 0.0,
        weight_decay: float = 0.0,
        optimiser: Literal["adam", "adamw"] = "adam",
        schedule: Literal["constant", "warmup-cosine"] = "constant",
        keep: Literal["loss", "accuracy"] = "loss",
        epochs: int = 50,
        steps: int | None = None,
        batch_size: int = 256,
        patience: int | None = None,
        augmentations: Sequence[Mapping[str, Any]] = (),
        precision: Literal["32-true", "bf16-mixed"] = "32-true",
        seed: int = 0,
        device: str = "cpu",
    ) -> None:
        self.encoder = encoder
        self.mode = mode
        self.head = head
        self.prompts = prompts
        self.text = text
        self.hidden = hidden
        self.dropout = dropout
        self.penalty = penalty
        self.whiten = whiten
        self.whiten_people = whiten_people
        self.self_training = self_training
        self.statistics = statistics
        self.copies = copies
        self.lr = lr
        self.encoder_lr = encoder_lr
        self.layer_decay = layer_decay
        self.last_blocks = last_blocks
        self.probe_epochs = probe_epochs
        self.keep_objective = keep_objective
        self.weight_decay = weight_decay
        self.optimiser = optimiser
        self.schedule = schedule
        self.keep = keep
        self.epochs = epochs
        self.steps = steps
        self.batch_size = batch_size
        self.patience = patience
        self.augmentations = augmentations
        self.precision = precision
        self.seed = seed
        self.device = device

    def fit(
        self,
        X: Examples,
        y: Any = None,
        *,
        validation: tuple[Examples, Any] | Windows | None = None,
        features: Float[Tensor, "windows dim"] | None = None,
        validation_features: Float[Tensor, "held dim"] | None = None,
        unlabelled: Windows | None = None,
        unlabelled_features: Float[Tensor, "others dim"] | None = None,
    ) -> TransferClassifier:
        """Fits the head, and the encoder where the mode says so.

        Args:
            X: training windows.
            y: (windows,) labels; not needed if `X` is `Windows` that carry them.
            validation: windows of other people for early stopping, with labels; classes unknown to `y` are left out.
            features: (windows, dim) of `X`, as `embed` gives them, where the caller has already computed them with this very
                encoder.
            validation_features: the same of the validation windows.
            unlabelled: windows for the pretext's loss, with `keep_objective`, and for `whiten` and what goes with it; None:
                the training windows.
            unlabelled_features: (others, dim) of them, where the caller has already computed them.

        Raises:
            ValueError: fewer than 2 windows or classes, labels that do not match, windows that the encoder's signal
                contract does not allow, a loss that is not finite, or nothing to whiten by.
        """
        for name, choices in _CHOICES.items():
            if getattr(self, name) not in choices:
                most = ", ".join(choices[:-1])
                raise ValueError(f"{name} is {getattr(self, name)!r}; expected {most} or {choices[-1]}")
        check_transforms(self.augmentations)
        if not 0 < self.layer_decay <= 1:
            raise ValueError(f"layer_decay is {self.layer_decay}; expected 0 < layer_decay <= 1")
        if self.whiten is not None and not (self.head == "logistic" and 0 < self.whiten < math.inf):
            raise ValueError(
                f"whiten is {self.whiten} with the head {self.head}; expected a positive number with logistic"
            )
        if not (0 <= self.whiten_people < math.inf and self.self_training >= 0):
            raise ValueError(
                f"whiten_people is {self.whiten_people} and self_training {self.self_training}; expected at least 0"
            )
        if (self.whiten_people or self.self_training) and self.whiten is None:
            raise ValueError("whiten_people and self_training go with whiten, which is none")
        if (self.statistics or self.copies) and self.head != "logistic":
            raise ValueError(f"statistics and copies are for the logistic head, and the head is {self.head}")
        if self.copies < 0 or (self.copies and not self.augmentations):
            raise ValueError(f"copies is {self.copies}; expected 0, or more with augmentations to make them by")
        if self.last_blocks is not None and self.last_blocks < 1:
            raise ValueError(f"last_blocks is {self.last_blocks}; expected at least 1 (mode frozen trains none)")
        if self.batch_size < 2:
            raise ValueError(f"batch_size is {self.batch_size}; expected at least 2, as batch normalisation needs them")
        y = _labels(X, y)
        if len(X) < 2:
            raise ValueError(f"a classifier needs at least 2 windows, got {len(X)}")
        if len(X) != len(y):
            raise ValueError(f"{len(X)} windows but {len(y)} labels")
        self.classes_, target = np.unique(y, return_inverse=True)
        if len(self.classes_) < 2:
            raise ValueError(f"a classifier needs at least 2 classes; all {len(y)} windows are {self.classes_[0]!r}")
        held: tuple[Examples, np.ndarray, Tensor | None] | None = None
        if validation is not None:
            other, labels = (validation, None) if isinstance(validation, Windows) else validation
            labels = _labels(other, labels)
            known = np.flatnonzero(np.isin(labels, self.classes_))
            if len(known):
                table = None if validation_features is None else validation_features[known]
                held = other[known], np.searchsorted(self.classes_, labels[known]), table
        names = [
            str(k) if not isinstance(X, Windows) or isinstance(k, str) else X.label_names[k] for k in self.classes_
        ]
        with seeded(self.seed, self.device):
            self._build(X)
            self._fit(X, torch.from_numpy(target), held, features, unlabelled, unlabelled_features, names)
        return self

    @classmethod
    def from_words(
        cls,
        encoder: checkpoint.Checkpoint | str | Path,
        labels: Sequence[str],
        *,
        prompts: Mapping[str, Sequence[str]] | str | Path | None = None,
        text: str | None = None,
        device: str = "cpu",
    ) -> TransferClassifier:
        """A classifier of any labels in words, which no label has trained; `classes_` are these labels, in their order.

        Args:
            encoder: a checkpoint with a head for text.
            labels: at least two, each once.
            prompts: as the constructor's.
            text: as the constructor's.
            device: as the constructor's.

        Raises:
            FileNotFoundError: there is no checkpoint, or no file of prompts.
            ImportError: the text encoder needs a package that is not installed.
            ValueError: the checkpoint has no head for text, labels are missing or repeated, or a label has no prompts.
        """
        if len(labels) < 2 or len(set(labels)) < len(labels):
            raise ValueError(f"the labels are {', '.join(labels) or 'none'}; expected at least two, each once")
        model = cls(encoder, mode="zero-shot", head="text", prompts=prompts, text=text, device=device)
        model.classes_ = np.array(labels)
        model._build(None)
        model.head_, model.steps_ = model._word_head(labels).to(device).eval(), 0
        return model

    @property
    def _words(self) -> bool:
        """Whether the head is made of words."""
        return self.head == "text" or self.mode == "zero-shot"

    def _word_head(self, labels: Sequence[str]) -> zeroshot.WordHead:
        """The head `text` as it sets out."""
        prompts = self.prompts
        if isinstance(prompts, str | Path):
            prompts = zeroshot.read_prompts(Path(prompts))
        vectors = zeroshot.vectors_for(self._before, labels, prompts, self.text)
        known = zeroshot.projection(self._heads, "text") if self.mode not in ("scratch", "random-frozen") else None
        if known is None and self.mode == "zero-shot":
            raise ValueError(
                "this checkpoint has no head for text, so it knows no words: pretrain with pairs of text (a recipe's "
                "section [paired]), import published weights, or train on labels (mode frozen or finetune)"
            )
        head = zeroshot.WordHead(self.encoder_.dim, vectors.shape[1], len(labels))
        if known is not None:
            if len(known["weight"]) != vectors.shape[1]:
                raise ValueError(
                    f"the head for text gives {len(known['weight'])} numbers and the text encoder "
                    f"'{zeroshot.words_of(self._before, self.text)}' {vectors.shape[1]}; pass the text encoder that the "
                    "checkpoint was pretrained with"
                )
            checkpoint.check_fit(head.projection, known, what="the head for text")
            head.projection.load_state_dict(known)
        sharpness = 1.0
        if (
            self.mode == "zero-shot"
        ):  # probabilities as sharp as pretraining's; which class is the nearest stays the same
            sharpness = 1 / float(self._before.get("objective_arguments", {}).get("temperature", 0.1))
        with torch.no_grad():
            head.classes.weight.copy_(vectors * sharpness)
            head.classes.bias.zero_()
        return head

    def _build(self, X: Examples | None) -> None:
        """Sets `encoder_`, `signal_` and `about_`: a copy, so that the argument is never changed."""
        if self.encoder is None:
            raise ValueError("no encoder given: pass an Encoder or the path of a checkpoint")
        self.signal_: SignalSpec | None = None
        self.about_: dict[str, Any] = {}
        self._heads: dict[str, dict[str, Tensor]] = {}
        self._before: dict[str, Any] = {}  # provenance of the checkpoint, also where its weights are not used
        if isinstance(self.encoder, Encoder):
            encoder = copy.deepcopy(self.encoder)
        else:
            loaded = self.encoder
            if not isinstance(loaded, checkpoint.Checkpoint):
                with torch.random.fork_rng([]):  # a path and the encoder it leads to start the head alike
                    loaded = checkpoint.load(Path(loaded))
            encoder, self.signal_, self.about_ = copy.deepcopy(loaded.encoder), loaded.signal, loaded.about
            self._heads, self._before = loaded.heads, loaded.about
        if isinstance(X, Windows):
            if self.signal_ is not None and (difference := self.signal_.difference(X.contract)):
                raise ValueError(
                    f"the windows do not fit the encoder: {difference}; prepare and cut them as it was trained"
                )
            self.signal_ = X.contract
        if self.mode in ("scratch", "random-frozen"):
            encoder = type(encoder)(**encoder.arguments())
            self.about_ = {}
        self.encoder_ = encoder.to(self.device).eval()

    def _fit(
        self,
        X: Examples,
        target: Tensor,
        held: tuple[Examples, np.ndarray, Tensor | None] | None,
        features: Tensor | None,
        unlabelled: Windows | None,
        unlabelled_features: Tensor | None,
        names: Sequence[str],
    ) -> None:
        device = torch.device(self.device)
        target = target.to(device)
        self.head_: nn.Module
        if self.mode == "zero-shot":
            self.head_, self.steps_ = self._word_head(names).to(device).eval(), 0
            return
        trains_encoder = self.mode in ("finetune", "scratch")
        probes = self.head == "mlp" and self.probe_epochs > 0
        if features is None and (not trains_encoder or self.head == "logistic" or probes):
            features = self.transform(X)
        if self.head == "text":
            words = self._word_head(names).to(device)
            words.projection.requires_grad_(trains_encoder)
            self.head_ = words
        elif self.head == "logistic":
            assert features is not None
            share, surroundings = logistic.shares(features.shape[1], self.encoder_.dim), None
            if self.whiten is not None:
                around = X if unlabelled is None else unlabelled
                if not isinstance(around, Windows):
                    raise ValueError("whiten needs windows that know their recordings (Windows), as X or as unlabelled")
                table = self.transform(around) if unlabelled_features is None else unlabelled_features
                surroundings = logistic.Whitener(table, around, self.whiten, share)
            answers = target
            if self.copies:
                features = torch.cat([features.to(device), *self._copied(X)])
                answers = target.repeat(1 + self.copies)
            self.head_ = logistic.fit(
                features,
                answers,
                self.penalty,
                share,
                surroundings,
                people=self.whiten_people,
                rounds=self.self_training,
            ).to(device)
        else:
            self.head_ = _mlp(self.encoder_.dim, self.hidden, len(self.classes_), self.dropout).to(device)
        self.steps_ = 0
        if self.head == "logistic" and not trains_encoder:
            self.head_.eval()
            return
        own = self.head_.classes if isinstance(self.head_, zeroshot.WordHead) else self.head_
        heads = {"params": own.parameters(), "lr": self.lr}
        answer = None if held is None else torch.from_numpy(held[1]).to(device)
        check: Callable[[], float] | None = None
        if not trains_encoder or probes:
            assert features is not None
            if held is not None and answer is not None:
                table = self.transform(held[0]) if held[2] is None else held[2].to(device)
                check = partial(_loss, self.head_, table.__getitem__, answer, self.keep)
            epochs, steps = (self.probe_epochs, None) if probes else (self.epochs, self.steps)
            self._train(self.head_, [heads], features.to(device).__getitem__, target, check, epochs, steps)
        if trains_encoder:
            model = nn.Sequential(self._body, self.head_)
            if held is not None and answer is not None:
                check = partial(_loss, model, _taker(held[0], device), answer, self.keep)
            blocks = self.encoder_.blocks()
            still = [] if self.last_blocks is None else blocks[: -self.last_blocks]
            rate = self.lr if self.encoder_lr is None else self.encoder_lr
            groups = [
                {"params": block.parameters(), "lr": rate * self.layer_decay**above}
                for above, block in enumerate(reversed(blocks[len(still) :]))
            ]
            if isinstance(
                self.head_, zeroshot.WordHead
            ):  # pretrained with the encoder, so it goes at the encoder's rate
                groups.append({"params": self.head_.projection.parameters(), "lr": rate})
            groups.append(heads)
            extra = None
            if self.keep_objective:
                objective = self._objective()
                mine = [weight for name, weight in objective.named_parameters() if not name.startswith("encoder.")]
                groups.append({"params": mine, "lr": self.lr})
                extra = _pretext(objective, X if unlabelled is None else unlabelled, self.batch_size, device)
            for block in still:
                block.requires_grad_(False)
            take = _taker(X, device, self.augmentations)
            self._train(model, groups, take, target, check, self.epochs, self.steps, still, extra)
            self.encoder_.requires_grad_(True)
        self.head_.requires_grad_(True)

    def _objective(self) -> Objective:
        """The checkpoint's objective, on this encoder and with its own heads."""
        name, arguments = self.about_.get("objective"), self.about_.get("objective_arguments")
        if name not in OBJECTIVES or arguments is None:
            raise ValueError(
                "keep_objective needs a pretrained checkpoint, whose objective goes on; an encoder by itself has none"
            )
        objective = OBJECTIVES[name](self.encoder_, **arguments)
        for head in objective.kept:
            module, state = getattr(objective, head), self._heads.get(head, {})
            checkpoint.check_fit(module, state, what=f"'{head}' of the objective {name}")
            module.load_state_dict(state)
        return objective.to(self.device).train()

    def _train(
        self,
        model: nn.Module,
        groups: list[dict[str, Any]],
        take: Callable[[Tensor], Tensor],
        target: Tensor,
        check: Callable[[], float] | None,
        epochs: int,
        steps: int | None,
        still: Sequence[nn.Module] = (),
        extra: Callable[[], Tensor] | None = None,
    ) -> None:
        """The one training loop of all modes: `model` over `take(rows)`, which is either windows or features.

        `check` gives the validation loss, or errors; modules in `still` stay in eval mode; `extra` is a loss to add.
        """
        kind = torch.optim.AdamW if self.optimiser == "adamw" else torch.optim.Adam
        optimiser = kind(groups, weight_decay=self.weight_decay)
        per_epoch = math.ceil((len(target) - 1) / self.batch_size)  # a last window alone joins the batch before it
        budget = epochs * per_epoch if steps is None else steps
        every = per_epoch if steps is None else max(1, steps // 20)
        rates = None
        if self.schedule == "warmup-cosine":
            rates = torch.optim.lr_scheduler.LambdaLR(optimiser, partial(warmup_cosine, of=budget))
        best, best_loss, worse, loss, done = None, math.inf, 0, torch.zeros(()), 0
        order = torch.empty(0, dtype=torch.long)
        while done < budget:
            if len(order) == 0:
                order = torch.randperm(len(target))
            rows, order = order[: self.batch_size], order[self.batch_size :]
            if len(order) == 1:  # batch normalisation cannot train on one window: let it join this batch
                rows, order = torch.cat([rows, order]), order[1:]
            rows = rows.to(target.device)
            model.train()
            for module in still:
                module.eval()
            with torch.autocast(target.device.type, torch.bfloat16, enabled=self.precision == "bf16-mixed"):
                loss = F.cross_entropy(model(take(rows)), target[rows])
                if extra is not None:
                    loss = loss + self.keep_objective * extra()
            optimiser.zero_grad(set_to_none=True)
            loss.backward()
            optimiser.step()
            if rates is not None:
                rates.step()
            done += 1
            if check is None or (done % every and done < budget):
                continue
            model.eval()
            with torch.autocast(target.device.type, torch.bfloat16, enabled=self.precision == "bf16-mixed"):
                value = check()
            if value < best_loss:
                best_loss, worse = value, 0
                best = {name: tensor.detach().clone() for name, tensor in model.state_dict().items()}
            else:
                worse += 1
                if self.patience is not None and worse >= self.patience:
                    break
        if best is not None:
            model.load_state_dict(best)
        elif not math.isfinite(float(loss.detach())):
            raise ValueError(
                f"the loss is not finite after {done} steps: training broke down; lower lr (now {self.lr:g}) or "
                "look for absurd values in the recordings"
            )
        self.steps_ += done
        model.eval()

    @torch.no_grad()
    def transform(self, X: Examples) -> Float[Tensor, "windows dim"]:
        """What the head sees, by the encoder as it is now, in eval mode; no gradients and no changes."""
        return _batched(self._body.eval(), X, torch.device(self.device))

    @torch.no_grad()
    def _copied(self, X: Examples) -> Iterator[Float[Tensor, "windows dim"]]:
        """What the head sees of augmented copies of the windows, copy by copy."""
        device = torch.device(self.device)
        body, take = self._body.eval(), _taker(X, device, self.augmentations)
        for _ in range(self.copies):
            yield _in_parts(body, take, len(X))

    @property
    def _body(self) -> nn.Module:
        """Windows -> what the head sees."""
        return _Beside(self.encoder_) if self.statistics else self.encoder_

    @torch.no_grad()
    def predict_proba(
        self,
        X: Examples,
        *,
        features: Float[Tensor, "windows dim"] | None = None,
    ) -> Float[np.ndarray, "windows classes"]:
        """Probability of each class, in the order of `classes_`.

        Args:
            X: windows.
            features: of `X`, where the encoder was frozen and the caller has already computed them.

        Raises:
            ValueError: the windows do not fit the model's signal contract.
        """
        check_is_fitted(self, "head_")
        if isinstance(X, Windows) and self.signal_ and (difference := self.signal_.difference(X.contract)):
            raise ValueError(f"the windows do not fit the model: {difference}")
        if features is None:
            features = self.transform(X)
        logits = self.head_.eval()(features.to(self.device))
        return logits.softmax(dim=1).cpu().numpy()  # type: ignore[no-any-return]

    def predict(self, X: Examples, *, features: Tensor | None = None) -> np.ndarray:
        """The most probable label of each window; arguments as `predict_proba`."""
        probabilities = self.predict_proba(X, features=features)
        return np.asarray(self.classes_[probabilities.argmax(axis=1)])

    def save(self, path: Path, *, label_names: Sequence[str] | None = None, about: Mapping[str, Any] = {}) -> None:
        """Writes the fitted classifier as a checkpoint, for `load` and `otolith label`.

        Args:
            path: the file.
            label_names: name of each label number, where labels are numbers.
            about: further facts for its provenance.

        Raises:
            ValueError: no signal contract is known, because neither the encoder nor the windows came with one.
        """
        check_is_fitted(self, "head_")
        if self.signal_ is None:
            raise ValueError(
                "this classifier was fitted on bare arrays, so nobody knows their rate and units; fit it on Windows"
            )
        names = [str(label) if label_names is None else label_names[int(label)] for label in self.classes_]
        dim = self.head_.projection.out_features if isinstance(self.head_, zeroshot.WordHead) else None
        facts = {
            **self.about_,
            **about,
            "classifier": {
                "labels": names,
                "mode": self.mode,
                "head": "text" if self._words else self.head,
                "hidden": list(self.hidden),
                "dropout": self.dropout,
                "dim": dim,
                "statistics": self.statistics,
            },
        }
        checkpoint.save(path, self.encoder_, self.signal_, about=facts, heads={"classifier": self.head_})

    @classmethod
    def load(cls, path: Path, *, device: str = "cpu") -> TransferClassifier:
        """A fitted classifier; `classes_` are label names.

        Raises:
            FileNotFoundError: there is no file.
            ValueError: it is not a classifier's checkpoint.
        """
        loaded = checkpoint.load(path)
        facts = loaded.about.get("classifier")
        if facts is None:
            raise ValueError(
                f"'{path}' holds an encoder without a classifier; train one with labels first: otolith transfer"
            )
        width = loaded.encoder.dim
        try:
            model = cls(mode=facts["mode"], head=facts["head"], hidden=tuple(facts["hidden"]), dropout=facts["dropout"])
            model.statistics = bool(facts.get("statistics", False))  # older files do not know the word
            if model.statistics:
                width += feature_count(len(loaded.signal.channels), loaded.signal.steps)
            model.device = device
            model.classes_ = np.array([str(label) for label in facts["labels"]])
            with torch.device("meta"):  # takes no memory: sizes may be absurd until they are compared with the weights
                count = len(model.classes_)
                head: nn.Module
                if model.head == "text":
                    head = zeroshot.WordHead(width, facts["dim"], count)
                elif model.head == "logistic":
                    head = nn.Linear(width, count)
                else:
                    head = _mlp(width, model.hidden, count, model.dropout)
        except (KeyError, TypeError, ValueError, OverflowError, RuntimeError) as error:
            raise ValueError(f"the classifier in '{path}' cannot be used: {error}") from error
        weights = loaded.heads.get("classifier", {})
        checkpoint.check_fit(head, weights, what=f"the classifier in '{path}'")
        head.to_empty(device="cpu").load_state_dict(weights)
        model.encoder_, model.head_ = loaded.encoder.to(device), head.to(device).eval()
        model.signal_, model.about_ = loaded.signal, loaded.about
        return model
