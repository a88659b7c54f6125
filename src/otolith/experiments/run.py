"""The stages of a run, each a function or a generator of what happens: the CLI draws bars of it, Python code need not.

<data>/<dataset>/                      a prepared corpus (store.py)
<data>/.paired/<dataset>/              vectors of what lies beside its recordings (paired)
<data>/.downloads/<dataset>/           official files that were downloaded (download.py)
<run>/recipe.toml                      the recipe as it was run
<run>/encoders/<hash>.safetensors      pretrained encoders, one for each group of training people
<run>/rows/<fingerprint>.json          result rows
<run>/recalls/<fingerprint>.json       recalls of searches in other modalities
<run>/rows.csv, report.html, report.md what `report` makes of them
<run>/model.safetensors                a classifier for `otolith label`
<out>/estimate.csv, estimate.png       what `adapt` found with people left out; its model.safetensors lies beside them
"""

from __future__ import annotations

import dataclasses
import functools
import inspect
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd

from otolith import paired
from otolith.checkpoints import checkpoint
from otolith.classifiers.features import embed
from otolith.classifiers.transfer import TransferClassifier
from otolith.data.cutting import cut
from otolith.data.splits import draw_shots
from otolith.data.windows import Windows
from otolith.evaluation.plan import FoldSeed, PlannedRow, fold_seeds, planned_rows
from otolith.evaluation.protocol import collect_rows, evaluate
from otolith.evaluation.recalls import Recall, recalls
from otolith.evaluation.rows import Row
from otolith.experiments.build import build_encoder, build_objective, given_settings, made_from, pretrain_arguments
from otolith.experiments.corpora import card, has_pairs, open_corpus, pairs_of
from otolith.experiments.recipe import Recipe
from otolith.experiments.subjects import encoder_label, pretraining_windows
from otolith.objectives import Objective
from otolith.paired.attach import attach
from otolith.pretraining import Runtime, Step, pretrain
from otolith.reports import figures, findings, page
from otolith.storage.files import fingerprint, write_text


class PretrainProgress(NamedTuple):
    """One pretraining of a run.

    Attributes:
        number: of the encoder, from 1.
        of: number of encoders.
        name: of the encoder's file, without its suffix.
        step: the latest record.
    """

    number: int
    of: int
    name: str
    step: Step


class Pretraining(NamedTuple):
    """What an encoder is pretrained on.

    Attributes:
        path: where the encoder lies, or will.
        train: windows to learn from.
        validation: windows that stop training, or None.
        seed: of initial weights and training.
        made_from: a hash of all that decides the encoder's weights; the file's name ends in it.
    """

    path: Path
    train: Windows
    validation: Windows | None
    seed: int
    made_from: str


@dataclasses.dataclass(frozen=True)
class Run:
    """A recipe, applied to a prepared corpus, with a folder for what comes of it.

    Args:
        recipe: the experiment.
        folder: of the run.
        data: folder of the prepared corpora.
        shared: where several runs keep their encoders and rows together, so that none is made twice; None: in `folder`.
    """

    recipe: Recipe
    folder: Path
    data: Path
    shared: Path | None = None

    def windows(self) -> Windows:
        """Return the labelled windows of the recipe's corpus.

        Raises:
            FileNotFoundError: the corpus is not prepared.
            ValueError: the corpus has no labels, or cannot be cut as the recipe says.
        """
        store = open_corpus(self.data, self.recipe.dataset)
        if not store.labels:
            raise ValueError(
                f"'{self.recipe.dataset}' has no labels, so nothing can be fitted or scored on it; prepare it with labels. "
                "Without them, otolith pretrain and otolith retrieve work"
            )
        return cut(store, **self.recipe.windows)

    def subject_windows(self) -> Windows:
        """Return the windows whose subjects are divided into folds: `windows`, or all of a corpus without labels.

        Raises:
            FileNotFoundError: the corpus is not prepared.
        """
        store = open_corpus(self.data, self.recipe.dataset)
        return self.windows() if store.labels else cut(store, **{**self.recipe.windows, "label": None})

    @functools.cached_property
    def unlabelled(self) -> dict[str, Windows]:
        """The windows that pretraining draws from, by corpus, with their pairs where the objective takes any.

        Corpora without pairs contribute windows of motion alone.

        Raises:
            FileNotFoundError: a corpus is not prepared, or no corpus has embeddings of a modality that the recipe names.
        """
        for name in self._modalities:
            if not any(has_pairs(self.data, corpus, name) for corpus in self.recipe.pretrain_on):
                first = self.recipe.pretrain_on[0]
                raise FileNotFoundError(
                    f"no paired embeddings at '{paired.folder_of(self.data, first) / name}.safetensors'; run first: "
                    f"otolith pair {first} --source DIR, or leave {name} out of the recipe's [paired] modalities"
                )
        found = {}
        for corpus in self.recipe.pretrain_on:
            store = open_corpus(self.data, corpus, verify=False)
            windows = cut(store, **self.recipe.unlabelled)
            if embeddings := pairs_of(self.data, corpus, self._modalities, store):
                options = {key: value for key, value in self.recipe.paired.items() if key != "modalities"}
                windows = attach(windows, store, embeddings, seed=self.recipe.seed, **options)
            found[corpus] = windows
        return found

    @property
    def _modalities(self) -> tuple[str, ...]:
        """The modalities that pretraining is given."""
        return tuple(self.recipe.paired.get("modalities", ())) if self.recipe.takes_pairs else ()

    def plan(self, windows: Windows) -> list[FoldSeed]:
        """Return the folds and seeds; the recipe's one seed moves all of them."""
        names = inspect.signature(fold_seeds).parameters
        settings = {key: value for key, value in self.recipe.protocol.items() if key in names}
        if "seeds" in settings:
            settings["seeds"] = [self.recipe.seed + seed for seed in settings["seeds"]]
        if settings.get("fold_seed") is not None:
            settings["fold_seed"] += self.recipe.seed
        return fold_seeds(windows, **settings)

    def pretraining(self, unit: FoldSeed | None) -> Pretraining:
        """Return what the encoder for a fold and seed is pretrained on; None: the one that sees every subject.

        Of the recipe's own corpus, these are the fold's training and validation subjects; of any other, all subjects, a
        fifth of whom validate. An encoder that sees other corpora alone serves all folds of a seed.
        """
        label, seed = encoder_label(self.recipe, unit)
        train, validation = self.pretraining_windows(unit)
        key = (label, None if unit is None else unit.split)
        if key not in self._hashes:
            self._hashes[key] = fingerprint(made_from(self.recipe, train, validation, seed))
        path = self.encoders / f"{self.recipe.objective['name']}-{label}-{self._hashes[key][:12]}.safetensors"
        return Pretraining(path, train, validation, seed, self._hashes[key])

    def pretraining_windows(self, unit: FoldSeed | None) -> tuple[Windows, Windows | None]:
        """Return the windows that the encoder for a fold and seed learns from, and those that stop its training or None."""
        _, seed = encoder_label(self.recipe, unit)
        return pretraining_windows(self.unlabelled, self.recipe.dataset, unit, seed)

    @functools.cached_property
    def _hashes(self) -> dict[Any, str]:
        """`Pretraining.made_from` of those that were asked for."""
        return {}

    @property
    def encoders(self) -> Path:
        """The folder of pretrained encoders."""
        return (self.shared or self.folder) / "encoders"

    @property
    def rows(self) -> Path:
        """The folder of result rows."""
        return (self.shared or self.folder) / "rows"

    def encoder_path(self, unit: FoldSeed | None) -> Path:
        """Return where the encoder for a fold and seed lies, or will."""
        return self.pretraining(unit).path

    def pretrain(
        self, *, everyone: bool = False, of: Sequence[FoldSeed | None] | None = None
    ) -> Iterator[PretrainProgress]:
        """Pretrain what is not there yet: an encoder for each group of training subjects, or one on every subject.

        Args:
            everyone: the one on every subject.
            of: the encoders for these folds and seeds only.
        """
        if of is None:
            of = [None] if everyone else self.plan(self.subject_windows())
        wanted = {job.path: job for job in map(self.pretraining, of)}
        self._keep_recipe()
        for index, (path, job) in enumerate(wanted.items()):
            if path.exists():
                continue
            encoder = build_encoder(self.recipe, job.train, job.seed)
            objective = build_objective(self.recipe, encoder, job.train, job.seed)
            arguments = pretrain_arguments(self.recipe)
            state = path.with_suffix(".state")
            arguments["runtime"] = dataclasses.replace(arguments.get("runtime", Runtime()), resume=state)
            history: Sequence[Any] = ()
            for step in pretrain(objective, job.train, job.validation, seed=job.seed, **arguments):
                history = step.history
                yield PretrainProgress(index + 1, len(wanted), path.stem, step)
            self._save(job, objective, history)
            state.unlink(missing_ok=True)

    def _save(self, job: Pretraining, objective: Objective, history: Sequence[Any]) -> None:
        held_out = [] if job.validation is None else job.validation.people
        checkpoint.save(
            job.path,
            objective.encoder,
            job.train.contract,
            about={
                "objective": self.recipe.objective["name"],
                "objective_arguments": objective.arguments(),
                "encoder": self.recipe.encoder["name"],
                "pretrained_on": "+".join(self.recipe.pretrain_on),
                "subjects": sorted(job.train.people + held_out),
                "windows": len(job.train),
                "settings": given_settings(self.recipe, job.seed),
                "paired": self._paired_by(),
                "made_from": job.made_from,
                "recipe": self.recipe.text,
                "history": history,
            },
            heads={name: getattr(objective, name) for name in objective.kept},
        )

    def _paired_by(self) -> dict[str, Any]:
        """What made the embeddings of each modality, as their files say: of the first corpus that has them."""
        facts: dict[str, Any] = {}
        for corpus in self.recipe.pretrain_on if self._modalities else ():
            store = open_corpus(self.data, corpus, verify=False)
            for name, embeddings in pairs_of(self.data, corpus, self._modalities, store).items():
                facts.setdefault(name, embeddings.about)
        return facts

    def _require_encoders(self, plan: Sequence[FoldSeed]) -> None:
        missing = {path for unit in plan if not (path := self.encoder_path(unit)).exists()}
        if missing:
            raise FileNotFoundError(
                f"no encoder at '{min(missing)}' ({len(missing)} missing); run first: otolith pretrain with the same "
                "recipe and the same --out"
            )

    def planned_rows(self, windows: Windows, *, allow_seen: bool = False) -> list[PlannedRow]:
        """The rows of the protocol, planned.

        Raises:
            FileNotFoundError: an encoder is not pretrained yet.
        """
        plan = self.plan(windows)
        self._require_encoders(plan)
        names = inspect.signature(planned_rows).parameters
        settings = {key: value for key, value in self.recipe.protocol.items() if key in names}
        return planned_rows(
            windows,
            plan,
            self.encoder_path,
            transfer=self.recipe.transfer,
            overrides=self.recipe.overrides,
            prompts=self.recipe.prompts,
            allow_seen=allow_seen,
            **settings,
        )

    def evaluate(self, *, jobs: int = 1, allow_seen: bool = False) -> tuple[int, Iterator[Row]]:
        """The number of rows of the protocol, and the rows as they get ready."""
        windows = self.windows()
        planned = self.planned_rows(windows, allow_seen=allow_seen)
        self._keep_recipe()
        return len(planned), evaluate(windows, planned, folder=self.rows, jobs=jobs)

    @property
    def can_retrieve(self) -> bool:
        """Whether the recipe's own corpus has pairs that its encoder was pretrained to find."""
        return any(has_pairs(self.data, self.recipe.dataset, name) for name in self._modalities)

    def retrieve(self, *, allow_seen: bool = False, only_there: bool = False) -> Iterator[Recall]:
        """Find test subjects' windows in the other modalities and back, with every encoder of the plan.

        The corpus needs no labels.

        Args:
            allow_seen: also with encoders that saw test subjects; where the folds have none, with the one on every subject.
            only_there: yield what was computed before; compute nothing.

        Raises:
            FileNotFoundError: an encoder or the pairs of the recipe's corpus are missing.
            ValueError: the objective takes no pairs; and as `evaluation.recalls.recalls`.
        """
        dataset, names = self.recipe.dataset, self._modalities
        if not names:
            raise ValueError(
                f"the recipe's objective '{self.recipe.objective['name']}' is trained on motion alone, so it finds nothing "
                "in other modalities; choose one that takes pairs (primus) and a section [paired]"
            )
        windows = self.subject_windows()
        store = open_corpus(self.data, dataset, verify=False)
        embeddings = pairs_of(self.data, dataset, names, store)
        if not embeddings:
            raise FileNotFoundError(
                f"'{paired.folder_of(self.data, dataset)}' holds no embeddings of {', '.join(names)}; run first: "
                f"otolith pair {dataset} --source DIR"
            )
        plan, everyone = self.plan(windows), self.encoder_path(None)
        folds_missing = any(not self.encoder_path(unit).exists() for unit in plan)
        only_everyone = allow_seen and folds_missing and everyone.exists()
        if not only_there and not only_everyone:
            self._require_encoders(plan)
        yield from recalls(
            attach(windows, store, embeddings),
            plan,
            (lambda _: everyone) if only_everyone else self.encoder_path,
            folder=(self.shared or self.folder) / "recalls",
            allow_seen=allow_seen,
            existing_only=only_there,
        )

    def transfer(self, *, mode: str = "finetune", shots: int | None = None, fold: int | None = None) -> Path:
        """Fits a classifier and writes `model.safetensors`.

        Args:
            mode: of `TransferClassifier`, or an arm of the recipe.
            shots: windows a class; None: all.
            fold: train on this fold's training people with its encoder, so that its test people stay unseen; None: on
                everybody, with the encoder that saw everybody.
        """
        windows = self.windows()
        unit = None if fold is None else next((u for u in self.plan(windows) if u.split.fold == fold), None)
        if fold is not None and unit is None:
            raise ValueError(f"the recipe has no fold {fold}")
        path = self.encoder_path(unit)
        if not path.exists():
            hint = "otolith pretrain RECIPE" + (" --everyone" if unit is None else "")
            raise FileNotFoundError(f"no encoder at '{path}'; run first: {hint}")
        train = windows if unit is None else windows.for_subjects(unit.split.train)
        held = None if unit is None else windows.for_subjects(unit.split.validation)
        assert train.y is not None
        arguments = {**self.recipe.classifier_arguments(mode), "seed": self.recipe.seed}
        rows = draw_shots(train.y, shots, seed=self.recipe.seed)
        model = TransferClassifier.from_arguments(arguments, path)
        model.fit(train[rows], validation=held, unlabelled=train.unlabelled())
        out = self.folder / "model.safetensors"
        model.save(
            out, label_names=train.label_names, about={"labelled_subjects": train.people, "labelled_windows": len(rows)}
        )
        return out

    def report(self, *, picture: bytes | None = None) -> tuple[Path, pd.DataFrame]:
        """Collect the rows into `rows.csv`; write `report.html` and `report.md`; return the page's path and the rows.

        Args:
            picture: SVG of a labelled recording, for the page.
        """
        windows = self.windows()
        rows = collect_rows(self.rows, self.planned_rows(windows, allow_seen=True))
        write_text(self.folder / "rows.csv", rows.to_csv(index=False, lineterminator="\n"))
        write_text(self.folder / "report.md", findings.markdown(rows))
        unit = self.plan(windows)[0]
        loaded = checkpoint.load(self.encoder_path(unit))
        unseen = windows.for_subjects(unit.split.test)
        facts = card(self.recipe.dataset, open_corpus(self.data, self.recipe.dataset, verify=False))
        out = self.folder / "report.html"
        page.write(
            out,
            rows,
            title=f"{facts.title}: {self.recipe.name}",
            card=facts,
            recipe=self.recipe.text,
            embedding=figures.Embedding.of(embed(loaded.encoder, unseen), unseen),
            history=loaded.about.get("history", ()),
            picture=picture,
        )
        return out, rows

    def _keep_recipe(self) -> None:
        write_text(self.folder / "recipe.toml", self.recipe.text + "\n")
