"""The card of a model, from the header of its file: data, people, licence, protocol, scores, intended use, input."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import pandas as pd

from otolith.checkpoints.checkpoint import read_signal
from otolith.data.windows import SignalSpec
from otolith.datasets import DATASETS
from otolith.evaluation.statistics import summary
from otolith.reports import references
from otolith.reports.html import render
from otolith.reports.study_tables import score_text
from otolith.reports.style import arms_in_order, by_shots, markdown_table, mode_title, shots_text

CANDIDATES = {"encoder": "adapted encoder", "forest": "random forest"}


def card_of(header: Mapping[str, Any], name: str, *, licence: str = "", rows: pd.DataFrame | None = None) -> str:
    """Return the card in Markdown, with the hub's metadata as YAML at its beginning.

    Args:
        header: of the model's file.
        name: `user/name` on the hub.
        licence: of the weights; empty: that of the header.
        rows: result rows of the model, for its scores.

    Raises:
        ValueError: no licence is known, or the extra is missing.
    """
    about, signal = header["about"], read_signal(header)
    licence = licence or str(about.get("licence", ""))
    if not licence:
        raise ValueError(
            "the model's file names no licence; say under which one others may use it: --licence apache-2.0"
        )
    classes = list((header.get("forest") or about.get("classifier") or {}).get("labels", ()))
    used = _corpora(about)
    scores = _scores(about, rows)
    names = [name for name in (*used, about.get("encoder"), about.get("objective")) if name in references.KEYS]
    return render(
        "card.md",
        metadata=_metadata(name, licence, classes, scores),
        name=name,
        kind=_kind(header, classes),
        classes=classes,
        signal=signal,
        contract=markdown_table(_contract(signal)),
        data=markdown_table(_data(used, about)),
        people=_people(about),
        licence=licence,
        pretraining=_pretraining(about),
        scores=[(title, markdown_table(table)) for title, table, _ in scores],
        about=about,
        bibtex=references.bibtex(names),
    )


_Scores = list[tuple[str, pd.DataFrame, dict[tuple[str, str], float]]]
"""Tables of scores: protocol in words, text, and the values by (corpus, what) for the metadata."""


def _metadata(name: str, licence: str, classes: list[str], scores: _Scores) -> str:
    try:
        from huggingface_hub import EvalResult, ModelCardData
    except ImportError as error:
        raise ValueError("cards need huggingface_hub: pip install 'otolith[hub]'") from error
    found = [
        EvalResult(
            task_type="time-series-classification",
            task_name=what,
            dataset_type=corpus,
            dataset_name=DATASETS[corpus].title if corpus in DATASETS else corpus,
            metric_type="f1",
            metric_name="macro F1",
            metric_value=round(value, 4),
        )
        for _, _, values in scores
        for (corpus, what), value in values.items()
    ]
    tags = ["human-activity-recognition", "wearables", "accelerometer", "imu"]
    known = re.split(r"[, ]", licence.strip())[0].lower()
    data = ModelCardData(
        license=known if re.fullmatch(r"(apache|mit|bsd|cc|gpl|lgpl|agpl|openrail)[\w.-]*", known) else "other",
        library_name="otolith",
        tags=[*tags, "classifier" if classes else "encoder"],
        model_name=name.partition("/")[2],
        eval_results=found or None,
    )
    return str(data.to_yaml()).strip()


def _kind(header: Mapping[str, Any], classes: list[str]) -> str:
    if "forest" in header:
        return f"A random forest that labels windows of motion with one of {len(classes)} classes."
    encoder = f"`{header['encoder']['name']}`"
    if classes:
        return (
            f"A classifier that labels windows of motion with one of {len(classes)} classes, on the encoder {encoder}."
        )
    return f"An encoder, {encoder}, that was pretrained without labels: windows of motion become feature vectors."


def _contract(signal: SignalSpec) -> pd.DataFrame:
    units = ", ".join(
        f"{channel} ({unit})" for channel, unit in zip(signal.channels, signal.to_json()["units"], strict=True)
    )
    return pd.DataFrame(
        {
            "value": {
                "channels, in this order": units,
                "units": "g is standard gravity, 9.80665 m/s^2, and acceleration includes gravity; rad/s",
                "rate": f"{signal.rate_hz:g} Hz; readers of Otolith resample recordings of other rates",
                "window": f"{signal.seconds:g} s, {signal.steps} time steps",
                "array": f"(batch, {len(signal.channels)}, {signal.steps}) float32; the model standardises by itself",
            }
        }
    )


def _corpora(about: Mapping[str, Any]) -> list[str]:
    """Return the corpora that a model saw, by the people in its header."""
    people = [*about.get("subjects", ()), *about.get("labelled_subjects", ())]
    return list(dict.fromkeys(str(person).partition(":")[0] for person in people))


def _data(corpora: list[str], about: Mapping[str, Any]) -> pd.DataFrame:
    people = {name: set[str]() for name in corpora}
    for person in [*about.get("subjects", ()), *about.get("labelled_subjects", ())]:
        people[str(person).partition(":")[0]].add(str(person))
    lines = {}
    for name in corpora:
        card = DATASETS.get(name)
        public = card is not None and card.cite != "-"
        lines[card.title if card is not None and public else "own recordings"] = {
            "people": str(len(people[name])),
            "licence": card.licence if card is not None and public else "not published",
            "cite": card.cite if card is not None and public else "-",
        }
    return pd.DataFrame.from_dict(lines, orient="index", columns=["people", "licence", "cite"])


def _people(about: Mapping[str, Any]) -> str:
    seen, labelled = len(about.get("subjects", ())), len(about.get("labelled_subjects", ()))
    parts = [f"{seen} people's recordings were seen in pretraining, without labels"] if seen else []
    if labelled:
        parts.append(
            f"{about.get('labelled_windows', 0):,} labelled windows of {labelled} people trained the classifier"
        )
    return "; ".join(parts) + ("." if parts else "")


def _pretraining(about: Mapping[str, Any]) -> str:
    if "objective" not in about:
        return ""
    made = about.get("made_by", {})
    return (
        f"Pretrained with the objective `{about['objective']}` on {about.get('windows', 0):,} windows; otolith "
        f"{made.get('otolith')}, code {made.get('code')}, commit {made.get('commit')}, torch {made.get('torch')}."
    )


def _scores(about: Mapping[str, Any], rows: pd.DataFrame | None) -> _Scores:
    """Return what is known of a model's scores: of its header, and of rows."""
    found: _Scores = []
    if estimate := about.get("estimate"):
        ends = about.get("estimate_intervals", {})
        cells = {
            CANDIDATES.get(name, name): {
                "macro F1": f"{value:.3f}" + (f" [{ends[name][0]:.2f}, {ends[name][1]:.2f}]" if ends.get(name) else "")
            }
            for name, value in estimate.items()
        }
        words = (
            "Every labelled window was classified once, by a model fitted on other people alone. In brackets: 95 % interval "
            "over people, where there are at least 5. The better candidate became the model, so its estimate is slightly "
            "optimistic."
        )
        values = {("own", CANDIDATES.get(name, name)): value for name, value in estimate.items()}
        found.append((words, pd.DataFrame.from_dict(cells, orient="index"), values))
    if judged := about.get("judged"):
        lines = {
            place: {"macro F1": f"{each['macro_f1']:.3f}"} | {k: f"{v:.3f}" for k, v in each["corpora"].items()}
            for place, each in judged.items()
        }
        words = "By placement, each corpus tested by a model that never saw the corpus."
        values = {(corpus, place): v for place, each in judged.items() for corpus, v in each["corpora"].items()}
        found.append((words, pd.DataFrame.from_dict(lines, orient="index").fillna("-"), values))
    if rows is not None:
        for corpus, here in rows.groupby("dataset", sort=False):
            lines, values = {}, {}
            for line in summary(here).sort_values("shots", key=lambda column: column.map(by_shots)).itertuples():
                lines.setdefault(mode_title(str(line.mode)), {})[shots_text(line.shots)] = score_text(line)
                values[str(corpus), f"{mode_title(str(line.mode))}, {shots_text(line.shots)} windows per class"] = (
                    float(line.macro_f1)
                )
            order = [mode_title(mode) for mode in arms_in_order(here)]
            words = (
                f"Macro F1 on held-out subjects of {corpus}, by labelled windows per class; {here['fold'].nunique()} folds "
                f"by subject, {here['seed'].nunique()} seeds; in brackets: 95 % interval over groups of test subjects, if "
                "there are at least 5."
            )
            found.append((words, pd.DataFrame.from_dict(lines, orient="index").reindex(order).fillna("-"), values))
    return found
