"""The trees of a random forest as plain arrays, which can be stored and applied without scikit-learn."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

_BATCH = 1024  # windows whose nodes are followed at once


@dataclasses.dataclass(frozen=True, eq=False)
class Trees:
    """The nodes of all trees, one tree after another; a parent comes before its children.

    Attributes:
        root: (trees,) number of each tree's first node.
        left: (nodes,) where a window goes whose feature is at most the threshold; a leaf's is its own number.
        right: (nodes,) where the others go; likewise.
        feature: (nodes,) number of the feature; 0 in a leaf.
        threshold: (nodes,) 0 in a leaf.
        share: (nodes, classes) shares of the classes; 0 where a node is no leaf.
    """

    root: Int[np.ndarray, " trees"]
    left: Int[np.ndarray, " nodes"]
    right: Int[np.ndarray, " nodes"]
    feature: Int[np.ndarray, " nodes"]
    threshold: Float[np.ndarray, " nodes"]
    share: Float[np.ndarray, "nodes classes"]

    @classmethod
    def of(cls, forest: Any) -> Trees:
        """Return the trees of a fitted `sklearn.ensemble.RandomForestClassifier`."""
        found = [each.tree_ for each in forest.estimators_]
        root = np.cumsum([0, *(tree.node_count for tree in found[:-1])]).astype(np.int64)
        parts: dict[str, list[np.ndarray]] = {}
        for start, tree in zip(root, found, strict=True):
            leaf, own = tree.children_left < 0, start + np.arange(tree.node_count)
            values = {
                "left": np.where(leaf, own, start + tree.children_left),
                "right": np.where(leaf, own, start + tree.children_right),
                "feature": np.where(leaf, 0, tree.feature),
                "threshold": np.where(leaf, 0.0, tree.threshold),
                "share": np.where(leaf[:, None], tree.value[:, 0], 0.0),
            }
            for name, value in values.items():
                parts.setdefault(name, []).append(value)
        kinds = {"threshold": np.float64, "share": np.float64}
        return cls(
            root, **{name: np.concatenate(values).astype(kinds.get(name, np.int64)) for name, values in parts.items()}
        )

    @property
    def leaf(self) -> np.ndarray:
        """(nodes,) whether a node is a leaf."""
        return np.asarray(self.left == np.arange(len(self.left)))

    def predict(self, table: Float[np.ndarray, "windows features"]) -> Float[np.ndarray, "windows classes"]:
        """Return the mean share of each class over the trees, to the bit as scikit-learn's forest gives it."""
        x = table.astype(np.float32)  # as scikit-learn does
        found = np.zeros((len(x), self.share.shape[1]))
        for first in range(0, len(x), _BATCH):
            rows = x[first : first + _BATCH]
            at = np.broadcast_to(self.root, (len(rows), len(self.root)))
            lines = np.arange(len(rows))[:, None]
            while True:
                below = np.where(rows[lines, self.feature[at]] <= self.threshold[at], self.left[at], self.right[at])
                if np.array_equal(below, at):
                    break
                at = below
            for tree in at.T:  # in this order, as sums depend on it
                found[first : first + _BATCH] += self.share[tree]
        return found / len(self.root)

    def tensors(self) -> dict[str, Tensor]:
        """Return the arrays for a file: shares of the leaves alone, and 32-bit numbers."""
        wide = {"root": self.root, "left": self.left, "right": self.right, "feature": self.feature}
        found = {f"tree.{name}": torch.from_numpy(value.astype(np.int32)) for name, value in wide.items()}
        found["tree.threshold"] = torch.from_numpy(self.threshold)
        found["tree.share"] = torch.from_numpy(self.share[self.leaf])
        return found

    @classmethod
    def restored(cls, tensors: Mapping[str, Tensor], trees: int, features: int, classes: int) -> Trees:
        """Return the trees of `tensors`.

        Args:
            tensors: from a file.
            trees: number of trees.
            features: number of features of a window.
            classes: number of classes.

        Raises:
            ValueError: they are not the arrays of such a forest.
        """
        nodes, leaves = (len(tensors[name]) if name in tensors else 0 for name in ("tree.left", "tree.share"))
        shapes = {name: (value.dtype, tuple(value.shape)) for name, value in tensors.items()}
        whole = torch.int32
        expected: dict[str, Any] = {"tree.root": (whole, (trees,)), "tree.threshold": (torch.float64, (nodes,))}
        expected |= dict.fromkeys(("tree.left", "tree.right", "tree.feature"), (whole, (nodes,)))
        expected |= {"tree.share": (torch.float64, (leaves, classes))}
        if shapes != expected:
            raise ValueError(f"it holds {shapes}; expected {expected}")
        values = {name.removeprefix("tree."): value.numpy() for name, value in tensors.items()}
        root, left, right, feature = (values[name].astype(np.int64) for name in ("root", "left", "right", "feature"))
        own = np.arange(nodes)
        leaf = left == own
        ends = np.append(root[1:], nodes)
        end = np.repeat(ends, np.maximum(ends - root, 0)) if root[0] == 0 and (ends > root).all() else np.zeros(0)
        inner = ~leaf
        fine = (
            len(end) == nodes
            and (right[leaf] == own[leaf]).all()
            and all(((child > own) & (child < end))[inner].all() for child in (left, right))  # so that every path ends
            and ((feature >= 0) & (feature < features)).all()
            and leaf.sum() == leaves
            and bool(((values["share"] >= 0) & (values["share"] <= 1)).all())
        )
        if not fine:
            raise ValueError("its trees lead nowhere")
        share = np.zeros((nodes, classes))
        share[leaf] = values["share"]
        return cls(root, left, right, feature, values["threshold"], share)
