"""Baselines that every encoder must beat: random forest and SVM on simple features; the table of all classical methods."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import sklearn
import torch
from jaxtyping import Float
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.utils.validation import check_is_fitted

from otolith.checkpoints import checkpoint, shipped
from otolith.classifiers import saving
from otolith.classifiers.bouts import Bouts
from otolith.classifiers.features import batch_getter
from otolith.classifiers.fixed import FixedFeaturesClassifier
from otolith.classifiers.heads import LogisticHead
from otolith.classifiers.heads.logistic import AUGMENTATIONS
from otolith.classifiers.hydra import HydraClassifier
from otolith.classifiers.inputs import Examples, accuracy, check_labels, check_windows, shape_of
from otolith.classifiers.minirocket import MiniRocketClassifier
from otolith.classifiers.rejection import Rejection
from otolith.classifiers.transfer import TransferClassifier
from otolith.classifiers.trees import Trees
from otolith.data import features
from otolith.data.conversion import check_number
from otolith.data.sampling import seeded
from otolith.data.windows import SignalSpec, Windows

_BLOCK = 4096  # windows whose features are computed at a time


def simple_features(x: Float[np.ndarray, "windows channels time"]) -> Float[np.ndarray, "windows features"]:
    """Return `features.simple_features` of arrays, computed in float64."""
    return features.simple_features(torch.from_numpy(np.asarray(x, np.float64))).numpy()


def _features_of(windows: Windows | torch.Tensor) -> Float[np.ndarray, "windows features"]:
    get = windows.gather if isinstance(windows, Windows) else windows.__getitem__
    blocks = torch.arange(len(windows)).split(_BLOCK)  # the corpus may be larger than memory
    return np.concatenate([simple_features(get(rows).cpu().numpy()) for rows in blocks])


class ForestClassifier(ClassifierMixin, BaseEstimator):
    """Random forest on `simple_features`, with scikit-learn's defaults but for the number of trees.

    Args:
        trees: in the forest.
        seed: of the forest and the copies.
        n_augmented_copies: augmented copies of each window on which the forest is grown too, with the augmentations of
            `LogisticHead`.

    Attributes:
        classes_: labels in the order of `predict_proba`'s columns.
        signal_: the signal contract, if it was fitted on `Windows`.
        shape_: channels and time steps of a window.
        about_: provenance, if it was loaded.
        rejection_, bouts_: what is unknown to it, and how long activities last; None where nothing taught it.
    """

    uses_unlabelled = False
    rejection_: Rejection | None = None
    bouts_: Bouts | None = None

    def __init__(self, trees: int = 300, seed: int = 0, n_augmented_copies: int = 0) -> None:
        self.trees = trees
        self.seed = seed
        self.n_augmented_copies = n_augmented_copies

    def fit(self, X: Examples, y: Any = None) -> ForestClassifier:
        """Fit on windows (windows, channels, time) in the store's units.

        Raises:
            ValueError: windows or labels are invalid; see `check_windows` and `check_labels`.
        """
        _check_trees(self.trees, self.seed)
        check_number("n_augmented_copies", self.n_augmented_copies, least=0, whole=True)
        self.rejection_ = self.bouts_ = None
        windows = check_windows(X)
        self.signal_: SignalSpec | None = windows.contract if isinstance(windows, Windows) else None
        self.shape_ = shape_of(windows)
        self.about_: dict[str, Any] = {}
        from sklearn.ensemble import RandomForestClassifier  # takes a second, and a saved forest does not need it

        labels, tables = check_labels(windows, y), [_features_of(windows)]
        with seeded(self.seed):
            get_batch = batch_getter(windows, torch.device("cpu"), AUGMENTATIONS)
            tables += [_features_of(get_batch(torch.arange(len(windows)))) for _ in range(self.n_augmented_copies)]
        forest = RandomForestClassifier(self.trees, random_state=self.seed, n_jobs=1)
        forest.fit(np.concatenate(tables), np.tile(labels, len(tables)))
        self.trees_, self.classes_ = Trees.of(forest), forest.classes_
        return self

    def predict_proba(self, X: Examples) -> np.ndarray:
        """Return (windows, classes) probabilities.

        Raises:
            ValueError: the windows are invalid, or have another shape than those of the fit.
        """
        check_is_fitted(self, "trees_")
        return self.trees_.predict(_features_of(check_windows(X, self.shape_)))

    def predict(self, X: Examples) -> np.ndarray:
        """Return the most probable label of each window; errors as `predict_proba`."""
        probabilities = self.predict_proba(X)
        return np.asarray(self.classes_[probabilities.argmax(axis=1)])

    def score(self, X: Examples, y: Any = None, sample_weight: Any = None) -> float:
        """Return the accuracy; `y` is not needed if `X` is `Windows` that carry labels."""
        return accuracy(self, X, y, sample_weight)

    def save(
        self, path: str | Path, *, label_names: Sequence[str] | None = None, about: Mapping[str, Any] = {}
    ) -> None:
        """Write the trees as arrays, for `load` and `otolith label`. The file holds no window that they were grown from.

        scikit-learn could only pickle them, and unpickling executes code from the file.

        Args:
            path: the file, by custom `*.safetensors`.
            label_names: name of each label number, where labels are numbers.
            about: facts in JSON for its provenance.

        Raises:
            ValueError: it was fitted on arrays, so that no signal contract is known; or there are more than 10,000 trees,
                which `load` would refuse.
        """
        check_is_fitted(self, "trees_")
        if self.signal_ is None:
            raise ValueError(
                "this forest was fitted on arrays, whose sampling rate and units are unknown; fit it on Windows"
            )
        _check_trees(self.trees, self.seed)
        names = [str(label) if label_names is None else label_names[int(label)] for label in self.classes_]
        header = {
            "forest": {"trees": self.trees, "seed": self.seed, "labels": names},
            "signal": self.signal_.to_json(),
            "about": {**about, "scikit-learn": sklearn.__version__},
        }
        tensors = self.trees_.tensors()
        for extra, module in saving.extras(self).items():
            tensors |= {f"{extra}.{key}": value for key, value in module.state_dict().items()}
        checkpoint.write_file(path, header, tensors)

    @classmethod
    def load(cls, path: str | Path) -> ForestClassifier:
        """Read a forest; `classes_` are label names. Its predictions are those of the saved one, to the bit.

        Raises:
            FileNotFoundError: there is no file.
            ValueError: it is not a forest's file, or is damaged.
        """
        return cls._from_file(path, *checkpoint.read_file(path))

    @classmethod
    def _from_file(
        cls, path: str | Path, header: dict[str, Any], tensors: Mapping[str, torch.Tensor]
    ) -> ForestClassifier:
        with checkpoint.usable(path):
            if "forest" not in header:
                raise ValueError("it holds an encoder and no forest")
            facts = header["forest"]
            _check_trees(facts["trees"], facts["seed"])
            model = cls(facts["trees"], facts["seed"])
            labels = [str(label) for label in facts["labels"]]
            model.signal_, model.about_ = checkpoint.read_signal(header), dict(header["about"])
            width = features.feature_count(len(model.signal_.channels), model.signal_.steps)
            extras: dict[str, dict[str, torch.Tensor]] = {"rejection": {}, "bouts": {}}
            for name in [name for name in tensors if name.partition(".")[0] in extras]:
                extra, _, key = name.partition(".")
                extras[extra][key] = tensors[name]
            own = {name: value for name, value in tensors.items() if name.partition(".")[0] not in extras}
            if "features" in own:
                raise ValueError("it is of an older version, which kept training windows; make the model again")
            if len(set(labels)) < len(labels) or not labels:
                raise ValueError(f"labels {', '.join(labels)}; expected names that differ")
            model.shape_ = len(model.signal_.channels), model.signal_.steps
            model.trees_ = Trees.restored(own, model.trees, width, len(labels))
            model.classes_ = np.array(labels)
            saving.restore_extras(model, extras)
        return model


def _check_trees(trees: Any, seed: Any) -> None:
    check_number("trees", trees, least=1, most=10_000, whole=True)
    check_number("seed", seed, least=0, most=2**32 - 1, whole=True)


def load_classifier(path: str | Path) -> TransferClassifier | ForestClassifier:
    """Load a classifier of any kind.

    Args:
        path: the file, a folder with `model.safetensors`, `activity` for the model that ships, or `hub:user/name`.

    Raises:
        FileNotFoundError: there is no file.
        ValueError: it is not a classifier's file, or is damaged.
    """
    path = shipped.locate(path)
    header, tensors = checkpoint.read_file(path)
    if "forest" in header:
        return ForestClassifier._from_file(path, header, tensors)
    return TransferClassifier.load(path)


class SVMClassifier(ClassifierMixin, BaseEstimator):
    """Support vector machine on standardised `simple_features`, with a Gaussian kernel of scikit-learn's width.

    Classes are told apart in pairs, which vote; `predict` is that vote, with ties broken by the decision function. A vote is
    no probability, so there is no `predict_proba`.

    Args:
        C: inverse strength of the regularisation. Few windows per class are not enough to choose it by cross-validation, so
            one value serves all numbers of them (`docs/protocol.md` has what others give).
        seed: accepted as by the other baselines; not used.
    """

    uses_unlabelled = False

    def __init__(self, C: float = 10.0, seed: int = 0) -> None:
        self.C = C
        self.seed = seed

    def fit(self, X: Examples, y: Any = None) -> SVMClassifier:
        """Fit on windows (windows, channels, time) in the store's units; errors as `ForestClassifier.fit`."""
        from sklearn.pipeline import make_pipeline
        from sklearn.preprocessing import StandardScaler
        from sklearn.svm import SVC

        windows = check_windows(X)
        self.shape_ = shape_of(windows)
        self.machine_ = make_pipeline(StandardScaler(), SVC(C=self.C, break_ties=True))
        self.machine_.fit(_features_of(windows), check_labels(windows, y))
        self.classes_ = self.machine_.classes_
        return self

    def predict(self, X: Examples) -> np.ndarray:
        """Return (windows,) labels; errors as `ForestClassifier.predict_proba`."""
        check_is_fitted(self, "machine_")
        return np.asarray(self.machine_.predict(_features_of(check_windows(X, self.shape_))))

    def score(self, X: Examples, y: Any = None, sample_weight: Any = None) -> float:
        """Return the accuracy; `y` is not needed if `X` is `Windows` that carry labels."""
        return accuracy(self, X, y, sample_weight)


Classical = ForestClassifier | SVMClassifier | MiniRocketClassifier | HydraClassifier | FixedFeaturesClassifier

CLASSICAL: dict[str, Callable[..., Classical]] = {
    "forest": ForestClassifier,
    "forest-copies": partial(ForestClassifier, n_augmented_copies=8),
    "svm": SVMClassifier,
    "minirocket": MiniRocketClassifier,
    "hydra": HydraClassifier,
    "statistics-head": partial(FixedFeaturesClassifier, features="statistics"),
    "minirocket-head": partial(FixedFeaturesClassifier, features="minirocket"),
    "hydra-head": partial(FixedFeaturesClassifier, features="hydra"),
}
"""Classifiers that need no encoder, by the names of their rows. Those in `-head` are controls of an encoder: the head of few
labels on features that are not learnt. Where `uses_unlabelled` is true, `fit` takes `unlabelled` windows too."""


def classical(arguments: Mapping[str, Any]) -> Classical:
    """Build a classical classifier from its arguments, as rows record them: `mode` and all constructor arguments."""
    given = {name: value for name, value in arguments.items() if name != "mode"}
    if "head" in given:
        given["head"] = LogisticHead(**given["head"])
    return CLASSICAL[arguments["mode"]](**given)
