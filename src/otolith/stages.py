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

import numpy as np
import pandas as pd

from otolith import adapt, checkpoint, paired, predict, report
from otolith.baseline import load_classifier
from otolith.datasets import DATASETS
from otolith.evaluate import Cell, Recall, Row, Unit, cells, evaluate, gather, recalls, units
from otolith.files import fingerprint, listing, replacing, unnested, write_text
from otolith.pretrain import Step, pretrain
from otolith.recipe import Recipe, load, variants
from otolith.recording import ACCELEROMETER, STANDARD_GRAVITY
from otolith.splits import by_subject, draw_shots
from otolith.store import Prepared, Store, open_store, preparing
from otolith.transfer import TransferClassifier, embed
from otolith.windows import Windows, attach, cut, join


def prepare_dataset(
    name: str,
    source: Path | None,
    data: Path,
    *,
    rate_hz: float = 50.0,
    placement: str | None = None,
    subset: str | None = None,
    channels: Sequence[str] | None = None,
    jobs: int = 1,
) -> Iterator[Prepared]:
    """Official files -> a prepared store in `data/name`, part by part; when the generator is exhausted, it is there.

    Interrupted, it goes on where it stopped if the official files, by names, sizes and times, are still the same. Arguments
    and errors as `Dataset.listed` and `store.prepare`.
    """
    dataset = DATASETS[name]
    placement, subset = placement or dataset.placements[0], subset or dataset.subsets[0]
    about = {"title": dataset.title, "licence": dataset.licence, "origin": dataset.origin, "cite": dataset.cite}
    usual = (placement, subset) == (dataset.placements[0], dataset.subsets[0])
    read = [placement, subset, list(channels or dataset.channels), [] if source is None else listing(source)]
    source, data = source and source.resolve(), data.resolve()  # worker processes may have another working directory
    with unnested(source, data / name) as files:
        yield from preparing(
            dataset.listed(files, placement=placement, subset=subset, channels=channels),
            data / name,
            dataset=name,
            labels=dataset.classes if usual else (),  # others have fewer or further classes: those that are met
            rate_hz=rate_hz,
            about=about | {"subset": subset},
            source_key=fingerprint(read),
            jobs=jobs,
        )


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

    def _vectors(self, store: Store, corpus: str) -> dict[str, paired.Vectors]:
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

    def plan(self, windows: Windows) -> list[Unit]:
        """Folds and seeds; the recipe's one seed moves all of them."""
        names = inspect.signature(units).parameters
        settings = {key: value for key, value in self.recipe.protocol.items() if key in names}
        if "seeds" in settings:
            settings["seeds"] = [self.recipe.seed + seed for seed in settings["seeds"]]
        if settings.get("fold_seed") is not None:
            settings["fold_seed"] += self.recipe.seed
        return units(windows, **settings)

    def pretraining(self, unit: Unit | None) -> Pretraining:
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
            train.append(windows.of(sides[0]))
            held.append(windows.of(sides[1]))
        validation = join([windows for windows in held if len(windows)]) if any(map(len, held)) else None
        recipe = self.recipe
        made_from = fingerprint(
            [
                [windows.unlabelled().content for windows in (*train, *held)],
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

    def encoder_path(self, unit: Unit | None) -> Path:
        """Where the encoder for a unit lies."""
        return self.pretraining(unit).path

    def pretrain(self, *, everyone: bool = False, of: Sequence[Unit | None] | None = None) -> Iterator[Encoding]:
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

    def _require_encoders(self, plan: Sequence[Unit]) -> None:
        missing = {path for unit in plan if not (path := self.encoder_path(unit)).exists()}
        if missing:
            raise FileNotFoundError(
                f"no encoder at '{min(missing)}' ({len(missing)} missing); run first: otolith pretrain with the same "
                "recipe and the same --out"
            )

    def cells(self, windows: Windows, *, allow_seen: bool = False) -> list[Cell]:
        """The rows of the protocol, planned.

        Raises:
            FileNotFoundError: an encoder is not pretrained yet.
        """
        plan = self.plan(windows)
        self._require_encoders(plan)
        names = inspect.signature(cells).parameters
        settings = {key: value for key, value in self.recipe.protocol.items() if key in names}
        return cells(
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
        planned = self.cells(windows, allow_seen=allow_seen)
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
            only_there=only_there,
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
        train = windows if unit is None else windows.of(unit.split.train)
        held = None if unit is None else windows.of(unit.split.validation)
        assert train.y is not None
        arguments = {"mode": mode, **self.recipe.transfer, **self.recipe.overrides.get(mode, {})}
        if arguments.get("head") == "text" or arguments["mode"] == "zero-shot":
            arguments["prompts"] = self.recipe.prompts
        rows = draw_shots(train.y, shots, seed=self.recipe.seed)
        model = TransferClassifier(path, seed=self.recipe.seed, **arguments)
        model.fit(train[rows], validation=held, unlabelled=train.unlabelled())
        out = self.folder / "model.safetensors"
        model.save(
            out, label_names=train.label_names, about={"labelled_subjects": train.people, "labelled_windows": len(rows)}
        )
        return out

    def report(self, *, picture: bytes | None = None) -> tuple[Path, pd.DataFrame]:
        """Gathers the rows into `rows.csv` and writes `report.html` and `report.md`; the page's path and the rows."""
        windows = self.windows()
        rows = gather(self.rows, self.cells(windows, allow_seen=True))
        write_text(self.folder / "rows.csv", rows.to_csv(index=False, lineterminator="\n"))
        write_text(self.folder / "report.md", report.markdown(rows))
        unit = self.plan(windows)[0]
        loaded = checkpoint.load(self.encoder_path(unit))
        unseen = windows.of(unit.split.test)
        out = self.folder / "report.html"
        report.write(
            out,
            rows,
            title=f"{DATASETS[self.recipe.dataset].title}: {self.recipe.name}",
            card=DATASETS[self.recipe.dataset],
            recipe=self.recipe.text,
            embedding=report.Embedding.of(embed(loaded.encoder, unseen), unseen),
            history=loaded.about.get("history", ()),
            picture=picture,
        )
        return out, rows

    def _keep_recipe(self) -> None:
        write_text(self.folder / "recipe.toml", self.recipe.text + "\n")


def study(recipes: Sequence[Path], folder: Path, data: Path, changes: Sequence[str] = ()) -> list[Run]:
    """A run for every variant of these recipes, or for the recipe itself where it has none; they share encoders and rows."""
    runs = []
    for path in recipes:
        names: list[str | None] = [*variants(path)]
        for variant in names or [None]:
            loaded = load(path, changes, variant=variant)
            runs.append(Run(loaded, folder / f"{loaded.setting}-{variant or loaded.name}", data, shared=folder))
    return runs


def study_rows(runs: Sequence[Run]) -> tuple[pd.DataFrame, dict[tuple[str, str], int]]:
    """The rows of a study that are there, of the whole plan or of a part of it; and how many are planned, by corpus and
    variant. A recipe's `setting` stands for the corpus, as one corpus may be asked several questions.

    Raises:
        FileNotFoundError: there are none.
    """
    parts, counts = [], {}
    for run in runs:
        setting = run.recipe.setting
        variant = run.folder.name.removeprefix(f"{setting}-")
        try:
            planned = run.cells(run.windows(), allow_seen=True)
        except FileNotFoundError:
            planned = []  # not pretrained yet
        there = [cell for cell in planned if (run.rows / f"{cell.fingerprint}.json").exists()]
        protocol = {name: value.default for name, value in inspect.signature(cells).parameters.items()}
        protocol |= {name: value.default for name, value in inspect.signature(units).parameters.items()}
        protocol |= run.recipe.protocol
        folds = protocol["folds"] if protocol["test"] is None else 1
        kinds = [run.recipe.overrides.get(mode, {}).get("mode", mode) for mode in protocol["modes"]]
        zero = kinds.count("zero-shot")  # one row whatever the shots
        rows = folds * len(protocol["seeds"]) * (len(protocol["shots"]) * (len(kinds) - zero) + zero)
        counts[setting, variant] = rows
        if there:
            parts.append(gather(run.rows, there).assign(variant=variant, dataset=setting))
    if not parts:
        raise FileNotFoundError("no result rows of this study yet; run: otolith study RECIPE")
    return pd.concat(parts, ignore_index=True), counts


def study_recalls(runs: Sequence[Run]) -> pd.DataFrame:
    """The recalls of a study that are there, with columns `setting` and `variant`; empty where there are none."""
    found = []
    for run in runs:
        if run.searchable:
            variant = run.folder.name.removeprefix(f"{run.recipe.setting}-")
            found += [
                {"setting": run.recipe.setting, "variant": variant, **dataclasses.asdict(recall)}
                for recall in run.retrieve(allow_seen=True, only_there=True)
            ]
    table: pd.DataFrame = pd.DataFrame(found)
    return table


def zeroshot_file(
    model: Path,
    file: Path,
    out: Path,
    labels: Sequence[str],
    *,
    prompts: Path | None = None,
    text: str | None = None,
    columns: predict.Columns,
) -> predict.Labelled:
    """Labels one recording in words that nobody trained on, and writes the same files as `label_file`.

    Args:
        model: an encoder's checkpoint with a head for text.
        file: the recording.
        out: folder of the files.
        labels: in words.
        prompts: TOML file of sentences by label.
        text: name or folder of the text encoder, where it is not the one that the checkpoint names.
        columns: what is known of the recording.
    """
    read = predict.read_csv(file, columns)
    labelled = predict.label(TransferClassifier.from_words(model, labels, prompts=prompts, text=text), read)
    predict.write(labelled, out, predict.stem(file))
    return labelled


def label_file(
    model: Path, file: Path, out: Path, *, columns: predict.Columns, truth: list[tuple[float, float, str]] | None = None
) -> predict.Labelled:
    """Labels one recording and writes `<stem>.timeline.csv`, `<stem>.summary.csv` and `<stem>.png` into `out`."""
    labelled = predict.label(load_classifier(model), predict.read_csv(file, columns))
    predict.write(labelled, out, predict.stem(file), truth=truth)
    return labelled


def adapt_recordings(
    encoder: Path,
    recordings: Path,
    labels: Path,
    out: Path,
    *,
    columns: predict.Columns,
    recipe: Path | None = None,
    seed: int = 0,
    jobs: int = 1,
) -> tuple[adapt.Material, Iterator[adapt.Fitted]]:
    """One's own recordings and labels -> `model.safetensors`, `estimate.csv` and `estimate.png` in `out`.

    Args:
        encoder: a checkpoint.
        recordings: folder of the recordings.
        labels: the labels file; see `adapt.gather`.
        out: folder of the files.
        columns: what is known of the recordings.
        recipe: its settings for the mode finetune, or for the first arm of its protocol that has a pretrained encoder where
            finetune is not among them, take the place of `adapt.TRANSFER`.
        seed: of everything.
        jobs: processes.

    Returns:
        What was read, and the models as they get fitted; when the last is out, the files are there.
    """
    loaded = checkpoint.load(encoder)
    settings = adapt.TRANSFER
    if recipe is not None:
        made = load(recipe)
        kinds = {arm: made.overrides.get(arm, {}).get("mode", arm) for arm in made.protocol.get("modes", ())}
        arms = [arm for arm, kind in kinds.items() if kind in ("frozen", "finetune")]
        arm = arms[0] if arms and "finetune" not in kinds else "finetune"
        settings = {"mode": arm, **made.transfer, **made.overrides.get(arm, {})}
        if settings.get("head") == "text":
            settings["prompts"] = made.prompts
    kind = loaded.about.get("encoder", "")
    material = adapt.gather(recordings, labels, loaded.signal, columns=columns, encoder=kind, seed=seed)
    fits = adapt.adapt(
        loaded, material.windows, out, unlabelled=material.unlabelled, transfer=settings, seed=seed, jobs=jobs
    )
    return material, fits


def held_out_session(run: Run, *, fold: int) -> tuple[Path, list[tuple[float, float, str]]]:
    """Writes a session of one of the fold's test people as a CSV, as a user would bring it: the person's recordings
    of each class one after another, five seconds apart, time in seconds and acceleration in m/s^2.

    Returns:
        The file, and its true labels as (start, end, label) in seconds.
    """
    store = open_store(run.data / run.recipe.dataset, verify=False)
    unit = next(unit for unit in run.plan(run.windows()) if unit.split.fold == fold)
    person = unit.split.test[0]
    first: dict[int, Any] = {}
    for entry in store.entries:
        if entry.subject == person and entry.spans:
            first.setdefault(entry.spans[0][2], entry)
    columns = [store.channels.index(name) for name in ACCELEROMETER]
    tables, truth, at = [], [], 0.0
    for number, entry in sorted(first.items()):
        signal = store.signal(entry)[:, columns] * STANDARD_GRAVITY
        time_s = at + np.arange(entry.steps) / store.rate_hz
        tables.append(np.column_stack([time_s, signal]))
        truth.append((at, at + entry.steps / store.rate_hz, store.labels[number]))
        at = truth[-1][1] + 5.0
    path = run.folder / f"person-{person}.csv"
    with replacing(path) as part:
        np.savetxt(
            part, np.concatenate(tables), fmt="%.4f", delimiter=",", header="time,acc_x,acc_y,acc_z", comments=""
        )
    return path, truth
