"""A scikit-learn classifier on a frozen, fine-tuned or newly initialised encoder."""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from jaxtyping import Float
from sklearn.base import BaseEstimator, ClassifierMixin, clone
from sklearn.utils.validation import check_is_fitted
from torch import Tensor, nn

from otolith.checkpoints import checkpoint
from otolith.classifiers import saving
from otolith.classifiers.bouts import Bouts
from otolith.classifiers.features import WithStatistics, batch_getter, check_features, in_batches, row_getter
from otolith.classifiers.heads import HEADS, Head, HeadInputs, LogisticHead, MLPHead, TextHead
from otolith.classifiers.inputs import Examples, Shape, accuracy, check_labels, check_windows, shape_of
from otolith.classifiers.rejection import Rejection
from otolith.classifiers.settings import Training, check_choice
from otolith.classifiers.training import Held, Trainer, continued_objective
from otolith.data.sampling import seeded
from otolith.data.windows import SignalSpec, Windows
from otolith.encoders import Encoder

Mode = Literal["frozen", "finetune", "scratch", "random-frozen", "zero-shot"]
_MODES = ("frozen", "finetune", "scratch", "random-frozen", "zero-shot")
_HEAD = LogisticHead()
_TRAINING = Training()


class TransferClassifier(ClassifierMixin, BaseEstimator):
    """Classifies windows with a pretrained encoder and a head that is fitted on few labels.

    The default is the few-shot method: a frozen encoder and `LogisticHead()`. The method of "Don't freeze" (Fortes Rey et
    al. 2023, arXiv 2307.01168) is `head=MLPHead()` in the modes `frozen` and `finetune`, and that of PRIMUS (Das et al.,
    ICASSP 2025) is `head=TextHead()`.

    Args:
        encoder: an encoder, a checkpoint, the path of one, or `shipped` for the encoder that ships in the package.
        head: `LogisticHead`, `MLPHead` or `TextHead`.
        mode: `frozen` fits the head alone: the encoder stays in eval mode and without gradients, so that every parameter and
            buffer keeps its bits, and its features are computed once. `finetune` trains everything, the encoder in train
            mode. `scratch` is the same network with a newly initialised encoder; `random-frozen` freezes that one.
            `zero-shot` trains nothing and needs `TextHead`.
        training: how the network is trained by gradient descent; see `Training`. `LogisticHead` needs none while the encoder
            is frozen.
        first_layer: `pretrained`: the windows must fit the encoder's signal contract. `new`: they may have other channels,
            another rate or length; see `Encoder.adapted_to`. A frozen encoder's new layer stays as it was initialised.
        seed: of initialisation, order, dropout and augmentation. The caller's random states are not changed.
        device: where to train and predict, for example `cuda`.

    Attributes:
        classes_: labels in the order of `predict_proba`'s columns.
        encoder_: the encoder after `fit`.
        head_: the fitted head, a module from features to logits.
        effective_head_: the head with the settings that the windows allowed; see `LogisticHead`.
        signal_: the signal contract, if the encoder or the windows came with one.
        shape_: channels and time steps of a window.
        about_: provenance of the pretrained encoder.
        steps_, history_: optimisation steps done, and the validation loss (or error rate) of each check.
        rejection_, bouts_: what is unknown to it, and how long activities last; None where nothing taught it.
    """

    rejection_: Rejection | None = None
    bouts_: Bouts | None = None

    def __init__(
        self,
        encoder: Encoder | checkpoint.Checkpoint | str | Path | None = None,
        head: Head = _HEAD,
        *,
        mode: Mode = "frozen",
        training: Training = _TRAINING,
        first_layer: Literal["pretrained", "new"] = "pretrained",
        seed: int = 0,
        device: str = "cpu",
    ) -> None:
        self.encoder = encoder
        # Copies of the defaults, so that set_params of one classifier changes no other; scikit-learn's clone passes objects
        # of its own, which must be kept as they are.
        self.head = clone(head) if head is _HEAD else head
        self.mode = mode
        self.training = clone(training) if training is _TRAINING else training
        self.first_layer = first_layer
        self.seed = seed
        self.device = device

    @classmethod
    def from_arguments(
        cls, arguments: Mapping[str, Any], encoder: Encoder | checkpoint.Checkpoint | str | Path | None = None
    ) -> TransferClassifier:
        """Build from (some of) the arguments as `arguments` returns them and a recipe's `[transfer]` writes them.

        Args:
            arguments: such as `{"mode": "finetune", "head": {"name": "mlp", "dropout": 0.1}, "training": {"steps": 400}}`.
            encoder: as the constructor's.

        Raises:
            ValueError: an unknown head.
            TypeError: an unknown argument.
        """
        given = dict(arguments)
        if "head" in given:
            head = dict(given["head"])
            name = head.pop("name", "logistic")
            if name not in HEADS:
                raise ValueError(f"unknown head {name!r}; known: {', '.join(HEADS)}")
            given["head"] = HEADS[name](**head)
        if "training" in given:
            given["training"] = Training.from_arguments(given["training"])
        return cls(encoder, **given)

    def arguments(self) -> dict[str, Any]:
        """Return all arguments but the encoder as JSON-able values, with defaults; `first_layer` only if it is `new`, so
        that rows that were made before it existed can be made again."""
        name = next(name for name, kind in HEADS.items() if type(self.head) is kind)
        new = {} if self.first_layer == "pretrained" else {"first_layer": self.first_layer}
        head, training = {"name": name, **self.head.arguments()}, self.training.arguments()
        return {"mode": self.mode, "head": head, "training": training, **new, "seed": self.seed, "device": self.device}

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
        """Return a zero-shot classifier of any labels; `classes_` are these labels, in their order.

        Args:
            encoder: a checkpoint with a head for text.
            labels: at least two, each once.
            prompts: as of `TextHead`.
            text: as of `TextHead`.
            device: as the constructor's.

        Raises:
            FileNotFoundError: the checkpoint or the file of prompts does not exist.
            ImportError: the text encoder needs a package that is not installed.
            ValueError: the checkpoint has no head for text, labels are missing or repeated, or a label has no prompts.
        """
        if len(labels) < 2 or len(set(labels)) < len(labels):
            raise ValueError(f"the labels are {', '.join(labels) or 'none'}; expected at least two, each once")
        model = cls(encoder, TextHead(prompts, text), mode="zero-shot", device=device)
        model.classes_ = np.array(labels)
        model._build(None)
        model._fit_head(HeadInputs(None, None, labels, model.encoder_.dim, model._embed, trained=False))
        return model

    @property
    def reads_pretrained_features(self) -> bool:
        """Whether `fit` reads features of the encoder as it was pretrained; a caller can compute them once for many fits."""
        return self._reads_features and self.mode in ("frozen", "finetune") and self.first_layer == "pretrained"

    @property
    def _reads_features(self) -> bool:
        frozen = self.mode in ("frozen", "random-frozen")
        return frozen or (self._trains_encoder and (self.head.closed_form or self._probes))

    @property
    def _trains_encoder(self) -> bool:
        return self.mode in ("finetune", "scratch")

    @property
    def _probes(self) -> bool:
        """Whether the head is trained alone before the encoder is trained too."""
        return self._trains_encoder and self.training.finetuning.probe_epochs > 0 and isinstance(self.head, MLPHead)

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
        """Fit the head, and the encoder where the mode says so.

        Args:
            X: training windows.
            y: (windows,) labels; not needed if `X` is `Windows` that carry them.
            validation: labelled windows of other subjects, which decide which weights are kept; classes unknown to `y` are
                left out.
            features: (windows, dim) of `X`, as `embed` computes them, if the caller has computed them with this encoder.
            validation_features: the same of the validation windows.
            unlabelled: windows from which the head learns without labels (`LogisticHead`), and for the pretraining
                objective where it is continued; None: the training windows.
            unlabelled_features: (others, dim) of them, if the caller has computed them.

        Raises:
            ValueError: fewer than 2 windows or classes; windows or labels that are invalid (see `check_windows` and
                `check_labels`) or that do not fit the encoder's signal contract; an invalid setting; or a loss that is not
                finite.
        """
        check_choice("mode", self.mode, _MODES)
        check_choice("first_layer", self.first_layer, ("pretrained", "new"))
        if not isinstance(self.head, Head):
            raise ValueError(f"head is {self.head!r}; expected a head such as LogisticHead() or MLPHead()")
        if self.mode == "zero-shot" and not isinstance(self.head, TextHead):
            raise ValueError(f"the mode is zero-shot and the head {type(self.head).__name__}; zero-shot needs TextHead")
        self.training.check()
        windows = check_windows(X)
        labels = check_labels(windows, y)
        if len(windows) < 2:
            raise ValueError(f"a classifier needs at least 2 windows, got {len(windows)}")
        self.classes_, target = np.unique(labels, return_inverse=True)
        if len(self.classes_) < 2:
            raise ValueError(
                f"a classifier needs at least 2 classes; all {len(labels)} windows are {self.classes_[0]!r}"
            )
        with seeded(self.seed, self.device):
            self._build(windows, unlabelled)
            held = self._validation(validation, validation_features)
            if features is None and self._reads_features:
                features = self._embed(windows)
            inputs = HeadInputs(
                windows,
                torch.from_numpy(target).to(self.device),
                self._names(windows),
                self.encoder_.dim,
                self._embed,
                None if features is None else check_features(features, len(windows)),
                windows if unlabelled is None else unlabelled,
                unlabelled_features,
                trained=self.mode != "zero-shot",
            )
            self._fit_head(inputs)
            if self.mode != "zero-shot":
                self._train(inputs, held)
        return self

    def _names(self, windows: Windows | Tensor) -> list[str]:
        """The classes' names: label numbers of `Windows` stand for their `label_names`."""
        known = dict(enumerate(windows.label_names)) if isinstance(windows, Windows) else {}
        return [known.get(label, str(label)) for label in self.classes_.tolist()]

    def _build(self, X: Windows | Tensor | None, unlabelled: Windows | None = None) -> None:
        """Set `encoder_`, `signal_`, `shape_` and `about_`; the encoder is copied, so that the argument never changes."""
        if self.encoder is None:
            raise ValueError("no encoder given: pass an Encoder, a checkpoint or the path of one")
        self.signal_: SignalSpec | None = None
        self.about_: dict[str, Any] = {}
        self._pretrained_heads: dict[str, dict[str, Tensor]] = {}
        self._pretrained_about: dict[str, Any] = {}  # provenance of the checkpoint, also where its weights are not used
        if isinstance(self.encoder, Encoder):
            encoder = copy.deepcopy(self.encoder)
        else:
            loaded = self.encoder
            if not isinstance(loaded, checkpoint.Checkpoint):
                with torch.random.fork_rng([]):  # a path and the encoder that it leads to give the head the same start
                    loaded = checkpoint.load(Path(loaded))
            encoder, self.signal_, self.about_ = copy.deepcopy(loaded.encoder), loaded.signal, loaded.about
            self._pretrained_heads, self._pretrained_about = loaded.heads, loaded.about
        if self.first_layer == "new" and isinstance(X, Windows):
            encoder, self.signal_ = encoder.adapted_to(X if unlabelled is None else unlabelled), None
        if isinstance(X, Windows):
            if self.signal_ is not None and (difference := self.signal_.difference(X.contract)):
                raise ValueError(
                    f"the windows do not fit the encoder: {difference}; prepare and cut them as it was trained"
                )
            self.signal_ = X.contract
        if X is not None:
            check_windows(X, (encoder.channels, None if self.signal_ is None else self.signal_.steps))
            self.shape_: Shape = shape_of(X)
        elif self.signal_ is not None:
            self.shape_ = len(self.signal_.channels), self.signal_.steps
        if self.mode in ("scratch", "random-frozen"):
            encoder = type(encoder)(**encoder.arguments())
            self.about_, self._pretrained_heads = {}, {}
        self.encoder_ = encoder.to(self.device).eval()

    def _validation(self, validation: tuple[Examples, Any] | Windows | None, features: Tensor | None) -> Held | None:
        """The validation windows whose class is trained, with class numbers and features; None without any."""
        if validation is None:
            return None
        other, labels = (validation, None) if isinstance(validation, Windows) else validation
        windows = check_windows(other, self.shape_)
        labels = check_labels(windows, labels)
        known = np.flatnonzero(np.isin(labels, self.classes_))
        if not len(known):
            return None
        target = torch.from_numpy(np.searchsorted(self.classes_, labels[known])).to(self.device)
        return Held(windows[known], target, None if features is None else row_getter(features, known, self.device))

    def _fit_head(self, inputs: HeadInputs) -> None:
        inputs = dataclasses.replace(inputs, about=self._pretrained_about, pretrained_heads=self._pretrained_heads)
        self.effective_head_ = self.head.suited_to(inputs)
        self.head_: nn.Module = self.effective_head_.fit(inputs).to(self.device).eval()
        self.steps_, self.history_, self.rejection_, self.bouts_ = 0, list[float](), None, None

    def _train(self, inputs: HeadInputs, held: Held | None) -> None:
        """Train by gradient descent what the mode and the head leave to train."""
        settings = self.training
        if self.head.closed_form and not self._trains_encoder:
            return
        assert inputs.target is not None and inputs.windows is not None
        part = self.head.pretrained_part(self.head_)
        trainer = Trainer(self.encoder_, self.head_, part, settings, inputs.target, held, torch.device(self.device))
        if not self._trains_encoder or self._probes:
            assert inputs.features is not None
            budget = (settings.finetuning.probe_epochs, None) if self._probes else (settings.epochs, settings.steps)
            trainer.train_head(inputs.features, self._embed, *budget)
        if self._trains_encoder:
            objective = None
            if settings.finetuning.auxiliary_objective_weight:
                objective = continued_objective(self.encoder_, self.about_, self._pretrained_heads)
                objective.to(self.device).train()
            trainer.train_all(self._body, inputs.windows, inputs.unlabelled, objective)
        self.steps_, self.history_ = trainer.steps, trainer.history

    @property
    def _body(self) -> nn.Module:
        """Windows -> what the head sees."""
        return WithStatistics(self.encoder_) if self.head.use_statistics else self.encoder_

    @torch.no_grad()
    def _embed(self, X: Windows | Tensor, augmentations: Sequence[Mapping[str, Any]] = ()) -> Tensor:
        get_batch = batch_getter(X, torch.device(self.device), augmentations)
        return check_features(in_batches(self._body.eval(), get_batch, len(X)), len(X))

    def transform(self, X: Examples) -> Float[Tensor, "windows dim"]:
        """Return what the head sees of the windows, computed in eval mode by the encoder as it is now.

        Raises:
            ValueError: the windows are invalid or do not fit the model.
        """
        check_is_fitted(self, "encoder_")
        return self._embed(self._checked(X))

    def _checked(self, X: Examples) -> Windows | Tensor:
        if isinstance(X, Windows) and self.signal_ and (difference := self.signal_.difference(X.contract)):
            raise ValueError(f"the windows do not fit the model: {difference}")
        return check_windows(X, self.shape_)

    @torch.no_grad()
    def predict_proba(
        self, X: Examples, *, features: Float[Tensor, "windows dim"] | None = None
    ) -> Float[np.ndarray, "windows classes"]:
        """Return the probability of each class, in the order of `classes_`.

        Args:
            X: windows.
            features: of `X`, if the encoder was frozen and the caller has computed them.

        Raises:
            ValueError: the windows are invalid or do not fit the model.
        """
        check_is_fitted(self, "head_")
        windows = self._checked(X)
        features = self._embed(windows) if features is None else check_features(features, len(windows))
        logits = check_features(self.head_.eval()(features.to(self.device)), len(windows))
        return logits.softmax(dim=1).cpu().numpy()

    def predict(self, X: Examples, *, features: Tensor | None = None) -> np.ndarray:
        """Return the most probable label of each window; arguments and errors as `predict_proba`."""
        probabilities = self.predict_proba(X, features=features)
        return np.asarray(self.classes_[probabilities.argmax(axis=1)])

    def score(self, X: Examples, y: Any = None, sample_weight: Any = None) -> float:
        """Return the accuracy; `y` is not needed if `X` is `Windows` that carry labels."""
        return accuracy(self, X, y, sample_weight)

    def save(
        self, path: str | Path, *, label_names: Sequence[str] | None = None, about: Mapping[str, Any] = {}
    ) -> None:
        """Write the fitted classifier as a checkpoint, for `load` and `otolith label`.

        Args:
            path: the file.
            label_names: name of each label number, where labels are numbers.
            about: further facts for its provenance.

        Raises:
            ValueError: no signal contract is known, because neither the encoder nor the windows came with one.
        """
        saving.save(self, path, label_names, about)

    @classmethod
    def load(cls, path: str | Path, *, device: str = "cpu") -> TransferClassifier:
        """Return a fitted classifier with all arguments of the saved one; `classes_` are label names.

        Raises:
            FileNotFoundError: the file does not exist.
            ValueError: it is not a classifier's checkpoint.
        """
        model: TransferClassifier = saving.load(cls, path, device)
        return model
