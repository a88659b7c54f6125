"""The activity model that ships: where a sensor may be worn, and what the labels are worth there."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

LEAST_F1 = 0.6
"""Macro F1 on corpora that the model never saw, below which a placement is refused unless the caller accepts it."""


LYING = 'The activity model takes any mounting, in which lying is like sitting: it labels both "sitting or standing".'
"""What a user must know of the classes; docs/activity-model.md has the figures."""


def check_placement(about: Mapping[str, Any], placement: str | None, *, accept: bool = False) -> list[str]:
    """Return what the labels of a recording are worth, a sentence each.

    Args:
        about: provenance of the model; its `judged` has, by placement, `macro_f1` and `corpora`, macro F1 by corpus.
        placement: where the sensor was worn; None: not said. A model cannot tell it from a recording.
        accept: whether a placement below `LEAST_F1` is accepted.

    Raises:
        ValueError: the placement is not one that was judged, is below `LEAST_F1`, or was not said while one is below it.
    """
    judged: Mapping[str, Any] = about["judged"]
    if placement is not None and placement not in judged:
        raise ValueError(f"--placement is {placement}; the activity model was judged on {', '.join(judged)}")
    listed = ", ".join(f"{name} {found['macro_f1']:.2f}" for name, found in judged.items())
    poor = [name for name in judged if placement in (None, name) and judged[name]["macro_f1"] < LEAST_F1]
    if poor and not accept:
        worn = f"a sensor at the {placement}" if placement else f"a sensor worn at the {' or '.join(poor)}"
        place = "" if placement else " Say where it was worn with --placement, or"
        raise ValueError(
            f"the activity model reaches macro F1 {listed} on corpora that it never saw, and {worn} is below {LEAST_F1:g}."
            f"{place} {'use' if place else 'Use'} --accept-low-accuracy, or make a model of your own labels: otolith adapt"
        )
    if placement is None:
        return [
            "model: activity, which ships. It cannot tell where the sensor was worn; the labels are worth (macro F1 on "
            f"corpora that it never saw): {listed}",
            LYING,
        ]
    corpora = ", ".join(f"{name} {score:.2f}" for name, score in judged[placement]["corpora"].items())
    return [
        f"model: activity, which ships. Assumed placement: {placement}, as given; it cannot be told from the recording. "
        f"Macro F1 there on corpora that it never saw: {corpora}",
        LYING,
    ]
