"""The stages of a run: functions and generators of records; the command line draws progress from them.

<data>/<dataset>/                      a prepared corpus (data.store)
<data>/.paired/<dataset>/              its paired embeddings (paired)
<data>/.downloads/<dataset>/           its official files, where they were downloaded (datasets.download)
<run>/recipe.toml                      the recipe as it was run
<run>/encoders/<name>-<hash>.safetensors   pretrained encoders, one for each group of training subjects
<run>/logs/<name>-<hash>.csv           records of pretraining
<run>/rows/<fingerprint>.json          result rows
<run>/recalls/<fingerprint>.json       results of retrieval
<run>/rows.csv, report.html, report.md written by `report`, with `--latex` tables.tex, references.bib
<run>/model.safetensors                a classifier for `otolith label`
"""

from __future__ import annotations

import dataclasses
import functools
import inspect
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

from otolith import paired
from otolith.checkpoints import checkpoint
from otolith.checkpoints.shipped import locate
from otolith.classifiers.transfer import TransferClassifier
from otolith.data.cutting import cut
from otolith.data.splits import draw_shots
from otolith.data.windows import Windows
from otolith.evaluation.plan import FoldSeed, PlannedRow, fold_seeds, planned_rows
from otolith.evaluation.protocol import evaluate
from otolith.evaluation.recalls import Recall, recalls
from otolith.evaluation.rows import Row
from otolith.experiments.build import build_encoder, build_objective, given_settings, made_from, pretrain_arguments
from otolith.experiments.corpora import has_pairs, open_corpus, pairs_of
from otolith.experiments.recipe import Recipe
from otolith.experiments.subjects import Pretraining, encoder_label, pretraining_windows
from otolith.objectives import Objective
from otolith.paired.attach import attach
from otolith.pretraining import CSVLogger, Logger, Runtime, Step, TensorBoardLogger, pretrain
from otolith.storage.engines import Workers
from otolith.storage.files import fingerprint, write_text

Log = Literal["csv", "tensorboard", "none"]
"""Where the records of pretraining go."""


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


@dataclasses.dataclass(frozen=True)
class Run:
    """A recipe, applied to prepared corpora, with a folder for the results.

    Args:
        recipe: the experiment.
        folder: for the results.
        data: folder of the prepared corpora.
        shared: folder where several runs keep their encoders and rows, so that none is computed twice; None: `folder`.
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
            store = open_corpus(self.data, corpus)
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
        """Return the data that the encoder for a fold and seed is pretrained on; None: the encoder that sees every subject.

        For the recipe's own corpus, these are the fold's training and validation subjects; for any other, all subjects, a
        fifth of whom validate. An encoder that sees only other corpora serves all folds of a seed.
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
        """The values of `Pretraining.made_from` that were computed so far."""
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
        """Return the path of the encoder for a fold and seed; the file need not exist yet."""
        return self.pretraining(unit).path

    def pretrain(
        self, *, everyone: bool = False, of: Sequence[FoldSeed | None] | None = None, log: Log = "csv"
    ) -> Iterator[PretrainProgress]:
        """Pretrain what is not there yet: an encoder for each group of training subjects, or one on every subject.

        Args:
            everyone: the one on every subject.
            of: the encoders for these folds and seeds only.
            log: where the records go: `csv`, a table `logs/<encoder>.csv`; `tensorboard`, a folder `logs/<encoder>`; `none`.

        Raises:
            ValueError: TensorBoard is not installed.
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
            logger = self._logger(log, path.stem)
            for step in pretrain(objective, job.train, job.validation, seed=job.seed, logger=logger, **arguments):
                history = step.history
                yield PretrainProgress(index + 1, len(wanted), path.stem, step)
            self._save(job, objective, history)
            state.unlink(missing_ok=True)

    def _logger(self, log: Log, name: str) -> Logger | None:
        logs = self.encoders.parent / "logs"
        if log == "csv":
            return CSVLogger(logs / f"{name}.csv")
        return TensorBoardLogger(logs / name) if log == "tensorboard" else None

    def _save(self, job: Pretraining, objective: Objective, history: Sequence[Any]) -> None:
        checkpoint.save(
            job.path,
            objective.encoder,
            job.train.contract,
            about={
                "objective": self.recipe.objective["name"],
                "objective_arguments": objective.arguments(),
                "encoder": self.recipe.encoder["name"],
                "pretrained_on": "+".join(self.recipe.pretrain_on),
                "subjects": job.subjects,
                "windows": len(job.train),
                "settings": given_settings(self.recipe, job.seed),
                "paired": self._paired_by(),
                "made_from": job.made_from,
                "recipe": self.recipe.text,
                "history": history,
                **objective.facts(),
            },
            heads={name: getattr(objective, name) for name in objective.kept},
        )

    def _paired_by(self) -> dict[str, Any]:
        """Return the metadata of each modality's embeddings, from the first corpus that has them."""
        facts: dict[str, Any] = {}
        for corpus in self.recipe.pretrain_on if self._modalities else ():
            store = open_corpus(self.data, corpus)
            for name, embeddings in pairs_of(self.data, corpus, self._modalities, store).items():
                facts.setdefault(name, embeddings.about)
        return facts

    def _require_encoders(self, plan: Sequence[FoldSeed | None], *, allow_others: bool = False) -> None:
        jobs = {job.path: job for job in map(self.pretraining, plan)}
        if missing := {path for path in jobs if not path.exists()}:
            raise FileNotFoundError(
                f"no encoder at '{min(missing)}' ({len(missing)} missing); run first: otolith pretrain with the same "
                "recipe and the same --out"
            )
        for path, job in () if allow_others else jobs.items():
            about = checkpoint.read_about(path)  # the whole file is verified where it is used
            if (about.get("made_from"), about.get("subjects")) != (job.made_from, job.subjects):
                raise ValueError(
                    f"'{path}' holds another encoder than its name says: it was made from other settings, data or people; "
                    "remove it and pretrain again"
                )

    def planned_rows(
        self, windows: Windows, *, allow_seen: bool = False, of: Sequence[FoldSeed] | None = None
    ) -> list[PlannedRow]:
        """Return the planned rows of the protocol, or those for some folds and seeds only.

        Raises:
            FileNotFoundError: an encoder is not pretrained yet.
        """
        plan = self.plan(windows) if of is None else of
        self._require_encoders(plan, allow_others=allow_seen)
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

    def evaluate(self, *, jobs: Workers = 1, allow_seen: bool = False) -> tuple[int, Iterator[Row]]:
        """Return the number of rows of the protocol, and an iterator over the rows as they are computed."""
        windows = self.windows()
        planned = self.planned_rows(windows, allow_seen=allow_seen)
        self._keep_recipe()
        return len(planned), evaluate(windows, planned, folder=self.rows, jobs=jobs, recipe=self.recipe.as_json())

    @property
    def can_retrieve(self) -> bool:
        """Whether the recipe's own corpus has pairs that its encoder was pretrained to find."""
        return any(has_pairs(self.data, self.recipe.dataset, name) for name in self._modalities)

    def retrieve(self, *, allow_seen: bool = False, existing_only: bool = False) -> Iterator[Recall]:
        """Retrieve test subjects' windows across modalities, in both directions, with every encoder of the plan.

        The corpus needs no labels.

        Args:
            allow_seen: also with encoders that saw test subjects; where the folds have none, with the one on every subject.
            existing_only: yield what was computed before; compute nothing.

        Raises:
            FileNotFoundError: an encoder or the pairs of the recipe's corpus are missing.
            ValueError: the objective takes no pairs; and as `evaluation.recalls.recalls`.
        """
        dataset, names = self.recipe.dataset, self._modalities
        if not names:
            raise ValueError(
                f"the recipe's objective '{self.recipe.objective['name']}' is trained on motion alone, so it cannot "
                "retrieve other modalities; choose one that takes pairs (primus) and a section [paired]"
            )
        windows = self.subject_windows()
        store = open_corpus(self.data, dataset)
        embeddings = pairs_of(self.data, dataset, names, store)
        if not embeddings:
            raise FileNotFoundError(
                f"'{paired.folder_of(self.data, dataset)}' holds no embeddings of {', '.join(names)}; run first: "
                f"otolith pair {dataset} --source DIR"
            )
        plan, everyone = self.plan(windows), self.encoder_path(None)
        folds_missing = any(not self.encoder_path(unit).exists() for unit in plan)
        only_everyone = allow_seen and folds_missing and everyone.exists()
        if not existing_only and not only_everyone:
            self._require_encoders(plan, allow_others=allow_seen)
        yield from recalls(
            attach(windows, store, embeddings),
            plan,
            (lambda _: everyone) if only_everyone else self.encoder_path,
            folder=(self.shared or self.folder) / "recalls",
            allow_seen=allow_seen,
            existing_only=existing_only,
        )

    def transfer(
        self,
        *,
        mode: str = "finetune",
        shots: int | None = None,
        fold: int | None = None,
        encoder: str | Path | None = None,
    ) -> Path:
        """Fit a classifier, write `model.safetensors`, and return its path.

        Args:
            mode: of `TransferClassifier`, or an arm of the recipe.
            shots: windows per class; None: all.
            fold: train on this fold's training subjects with its encoder, so that its test subjects stay unseen; None: on
                every subject, with the encoder that saw every subject.
            encoder: a checkpoint, `shipped` or `hub:user/name`, instead of the recipe's encoder.

        Raises:
            FileNotFoundError: the encoder is not pretrained yet.
            ValueError: the recipe has no such fold, or `encoder` saw its test subjects.
        """
        windows = self.windows()
        unit = None if fold is None else next((u for u in self.plan(windows) if u.split.fold == fold), None)
        if fold is not None and unit is None:
            raise ValueError(f"the recipe has no fold {fold}")
        path = self.encoder_path(unit) if encoder is None else locate(encoder)
        if encoder is not None and unit is not None:
            tested = {f"{self.recipe.dataset}:{person}" for person in unit.split.test}
            if seen := tested & set(checkpoint.load(path).about.get("subjects", ())):
                raise ValueError(
                    f"'{encoder}' was pretrained on {', '.join(sorted(seen))}, whom fold {fold} tests; leave out --fold, or "
                    "choose an encoder that did not see them"
                )
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

    def _keep_recipe(self) -> None:
        write_text(self.folder / "recipe.toml", self.recipe.text + "\n")
