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
from otolith.data.joining import join
from otolith.data.splits import by_subject, draw_shots
from otolith.data.store import Store, open_store
from otolith.data.windows import Windows
from otolith.datasets import DATASETS
from otolith.evaluation.plan import FoldSeed, PlannedRow, fold_seeds, planned_rows
from otolith.evaluation.protocol import collect_rows, evaluate
from otolith.evaluation.recalls import Recall, recalls
from otolith.evaluation.rows import Row
from otolith.experiments.recipe import Recipe
from otolith.paired.attach import attach
from otolith.pretrain import Step, pretrain
from otolith.reports import figures, findings, page
from otolith.storage.files import fingerprint, write_text


class Encoding(NamedTuple):
    """One pretraining of a run: number `number` of `of`, and its latest step."""

    number: int
    of: int
    name: str
    step: Step


class Pretraining(NamedTuple):
    """One encoder to be: where it will lie, what it learns from and what stops it, its seed, and a hash of all that."""

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
        """The labelled windows of the recipe's corpus."""
        return cut(open_store(self.data / self.recipe.dataset), **self.recipe.windows)

    @functools.cached_property
    def unlabelled(self) -> dict[str, Windows]:
        """The windows that pretraining draws from, by corpus, with their pairs where the objective takes any.

        Raises:
            FileNotFoundError: a corpus is not prepared, or no corpus has vectors of a modality that the recipe names.
        """
        found = {}
        for corpus in self.recipe.pretrain_on:
            store = open_store(self.data / corpus, verify=False)
            windows = cut(store, **self.recipe.unlabelled)
            if vectors := self._vectors(store, corpus):
                options = {key: value for key, value in self.recipe.paired.items() if key != "modalities"}
                windows = attach(windows, store, vectors, seed=self.recipe.seed, **options)
            found[corpus] = windows
        return found

    def pairs_of(self, corpus: str) -> Path:
        """The folder of a corpus's paired vectors."""
        return paired.folder_of(self.data, corpus)

    def _vectors(self, store: Store, corpus: str) -> dict[str, paired.PairedEmbeddings]:
        """A corpus's paired vectors by modality, in the recipe's order; empty where the objective takes none.

        Corpora without pairs go along as windows of motion alone, as long as one corpus has each modality.
        """
        wanted = self.recipe.paired.get("modalities", ()) if self.recipe.pairs else ()
        for name in wanted:
            if not any((self.pairs_of(each) / f"{name}.safetensors").is_file() for each in self.recipe.pretrain_on):
                place = self.pairs_of(self.recipe.pretrain_on[0]) / f"{name}.safetensors"
                raise FileNotFoundError(
                    f"no paired vectors at '{place}'; run first: otolith pair {self.recipe.pretrain_on[0]} --source DIR, or "
                    f"leave {name} out of the recipe's [paired] modalities"
                )
        there = [name for name in wanted if (self.pairs_of(corpus) / f"{name}.safetensors").is_file()]
        return {name: paired.load(self.pairs_of(corpus), name, store) for name in there}

    def plan(self, windows: Windows) -> list[FoldSeed]:
        """Folds and seeds; the recipe's one seed moves all of them."""
        names = inspect.signature(fold_seeds).parameters
        settings = {key: value for key, value in self.recipe.protocol.items() if key in names}
        if "seeds" in settings:
            settings["seeds"] = [self.recipe.seed + seed for seed in settings["seeds"]]
        if settings.get("fold_seed") is not None:
            settings["fold_seed"] += self.recipe.seed
        return fold_seeds(windows, **settings)

    def pretraining(self, unit: FoldSeed | None) -> Pretraining:
        """What the encoder for a unit is pretrained on; None: the one that sees everybody.

        Of the recipe's own corpus, a fold's training and validation people; of any other, all people, a fifth of whom
        validate. An encoder that sees other corpora alone serves all folds of a seed.
        """
        own = self.recipe.dataset in self.recipe.pretrain_on
        if unit is None:
            name, seed = "everyone", self.recipe.seed
        elif own:
            name, seed = f"folds{unit.fold_seed}-fold{unit.split.fold}", unit.fold_seed
        else:
            name, seed = f"seed{unit.seed}", unit.seed
        train, held = [], []
        for corpus, windows in self.unlabelled.items():
            sides: tuple[Sequence[str], Sequence[str]] = windows.subject_names, ()
            if unit is not None and corpus == self.recipe.dataset:
                sides = unit.split.train, unit.split.validation
            elif unit is not None and len(windows.subject_names) > 1:
                people = windows.subject_names
                split = by_subject(people, folds=min(5, len(people)), validation=0.0, seed=seed)[0]
                sides = split.train, split.test
            train.append(windows.for_subjects(sides[0]))
            held.append(windows.for_subjects(sides[1]))
        validation = join([windows for windows in held if len(windows)]) if any(map(len, held)) else None
        recipe = self.recipe
        made_from = fingerprint(
            [
                [windows.unlabelled().content_hash for windows in (*train, *held)],
                [recipe.encoder, recipe.objective, recipe.pretrain, seed],
                *([recipe.paired] if recipe.pairs else ()),
            ]
        )
        path = self.encoders / f"{recipe.objective['name']}-{name}-{made_from[:12]}.safetensors"
        return Pretraining(path, join(train), validation, seed, made_from)

    @property
    def encoders(self) -> Path:
        """The folder of pretrained encoders."""
        return (self.shared or self.folder) / "encoders"

    @property
    def rows(self) -> Path:
        """The folder of result rows."""
        return (self.shared or self.folder) / "rows"

    def encoder_path(self, unit: FoldSeed | None) -> Path:
        """Where the encoder for a unit lies."""
        return self.pretraining(unit).path

    def pretrain(self, *, everyone: bool = False, of: Sequence[FoldSeed | None] | None = None) -> Iterator[Encoding]:
        """Pretrains what is not there yet: an encoder for each group of training people, or one on everybody.

        Args:
            everyone: the one on everybody.
            of: the encoders for these units alone.
        """
        if of is None:
            of = [None] if everyone else self.plan(self.windows())
        wanted = {job.path: job for job in map(self.pretraining, of)}
        self._keep_recipe()
        for index, (path, job) in enumerate(wanted.items()):
            if path.exists():
                continue
            encoder = self.recipe.build_encoder(job.train, job.seed)
            objective = self.recipe.build_objective(encoder, job.train, job.seed)
            state = path.with_suffix(".state")
            history: Sequence[Any] = ()
            for step in pretrain(
                objective, job.train, job.validation, seed=job.seed, resume=state, **self.recipe.pretrain
            ):
                history = step.history
                yield Encoding(index + 1, len(wanted), path.stem, step)
            held = [] if job.validation is None else job.validation.people
            checkpoint.save(
                path,
                encoder,
                job.train.contract,
                about={
                    "objective": self.recipe.objective["name"],
                    "objective_arguments": objective.arguments(),
                    "encoder": self.recipe.encoder["name"],
                    "pretrained_on": "+".join(self.recipe.pretrain_on),
                    "subjects": sorted(job.train.people + held),
                    "windows": len(job.train),
                    "settings": {
                        "encoder": self.recipe.encoder,
                        "objective": self.recipe.objective,
                        "pretrain": self.recipe.pretrain,
                        "seed": job.seed,
                        **({"paired": self.recipe.paired} if self.recipe.pairs else {}),
                    },
                    "paired": self._paired_by(),
                    "made_from": job.made_from,
                    "recipe": self.recipe.text,
                    "history": history,
                },
                heads={name: getattr(objective, name) for name in objective.kept},
            )
            state.unlink(missing_ok=True)

    def _paired_by(self) -> dict[str, Any]:
        """What made the vectors of each modality, as their files say: of the first corpus that has them."""
        facts: dict[str, Any] = {}
        for corpus in self.recipe.pretrain_on:
            for name, vectors in self._vectors(open_store(self.data / corpus, verify=False), corpus).items():
                facts.setdefault(name, vectors.about)
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
    def searchable(self) -> bool:
        """Whether the recipe's own corpus has pairs that its encoder was pretrained to find."""
        return self.recipe.pairs and any(
            (self.pairs_of(self.recipe.dataset) / f"{name}.safetensors").is_file()
            for name in self.recipe.paired.get("modalities", ())
        )

    def retrieve(self, *, allow_seen: bool = False, only_there: bool = False) -> Iterator[Recall]:
        """Searches test people's windows in the other modalities and back, with every encoder of the plan.

        Args:
            allow_seen: also with encoders that saw test people.
            only_there: compute nothing.

        Raises:
            FileNotFoundError: an encoder or the pairs of the recipe's corpus are missing.
            ValueError: the objective takes no pairs; further as `evaluate.recalls`.
        """
        if not self.recipe.pairs or not self.recipe.paired:
            raise ValueError(
                f"the recipe's objective '{self.recipe.objective['name']}' is trained on motion alone, so it finds nothing "
                "in other modalities; choose one that takes pairs (primus) and a section [paired]"
            )
        windows = self.windows()
        store = open_store(self.data / self.recipe.dataset, verify=False)
        folder, names = self.pairs_of(self.recipe.dataset), self.recipe.paired["modalities"]
        vectors = {
            name: paired.load(folder, name, store) for name in names if (folder / f"{name}.safetensors").is_file()
        }
        if not vectors:
            raise FileNotFoundError(
                f"'{folder}' holds no vectors of {', '.join(names)}; run first: otolith pair {self.recipe.dataset} "
                "--source DIR"
            )
        plan = self.plan(windows)
        if not only_there:
            self._require_encoders(plan)
        yield from recalls(
            attach(windows, store, vectors),
            plan,
            self.encoder_path,
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
        """Gathers the rows into `rows.csv` and writes `report.html` and `report.md`; the page's path and the rows."""
        windows = self.windows()
        rows = collect_rows(self.rows, self.planned_rows(windows, allow_seen=True))
        write_text(self.folder / "rows.csv", rows.to_csv(index=False, lineterminator="\n"))
        write_text(self.folder / "report.md", findings.markdown(rows))
        unit = self.plan(windows)[0]
        loaded = checkpoint.load(self.encoder_path(unit))
        unseen = windows.for_subjects(unit.split.test)
        out = self.folder / "report.html"
        page.write(
            out,
            rows,
            title=f"{DATASETS[self.recipe.dataset].title}: {self.recipe.name}",
            card=DATASETS[self.recipe.dataset],
            recipe=self.recipe.text,
            embedding=figures.Embedding.of(embed(loaded.encoder, unseen), unseen),
            history=loaded.about.get("history", ()),
            picture=picture,
        )
        return out, rows

    def _keep_recipe(self) -> None:
        write_text(self.folder / "recipe.toml", self.recipe.text + "\n")
