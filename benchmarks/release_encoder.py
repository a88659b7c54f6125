"""Pretrain the encoder that ships, and the same encoder without each of its corpora; judge these on that corpus's people.

    python benchmarks/release_encoder.py pretrain --data DATA --out RUN [SETTING ...]
    python benchmarks/release_encoder.py own --data DATA --out RUN [--folds 2] [SETTING ...]
    python benchmarks/release_encoder.py evaluate --data DATA --out RUN [--shots 2 10] [--seeds 0] [--arms ...] [SETTING ...]
    python benchmarks/release_encoder.py rows --data DATA --out RUN --rows results/release-encoder.csv
    python benchmarks/release_encoder.py ship --data DATA --out RUN

`pretrain` makes one encoder on everybody (recipe release-encoder) and one without each corpus, all with about the same
number of steps. `own` pretrains on the training people of each fold of a setting (recipe few-shot), and on no other corpus.
`evaluate` computes rows of what was pretrained so far: the few-shot head on the encoder that never saw the corpus (variant
`released`; WHARF and UTD-MHAD are in none), on the fold's own encoder (`own`), on an untrained encoder, and the forest.
`rows` adds the
rows that were computed to a table, in place of earlier ones of the same fold, draw and arm. `ship` writes the encoder on
everybody, without the heads of its objective, to the package.

The corpora are those of the recipe; DSADS and SP-SW-HAR are prepared with `--placement all`.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import torch

from otolith.checkpoints import checkpoint
from otolith.checkpoints.shipped import WEIGHTS
from otolith.datasets import DATASETS
from otolith.evaluation.plan import FoldSeed, PlannedRow, planned_rows
from otolith.evaluation.protocol import collect_rows, evaluate
from otolith.experiments.recipe import load
from otolith.experiments.run import Run

RECIPE = "release-encoder"
ARMS = ("few-shot", "random-frozen", "forest")
PROOF = (
    "motionsense",
    "spar",
    "wisdm",
    "wharf",
    "utd-mhad",
)  # the few-shot method was chosen on no one in few-shot/proof/
SETTINGS: dict[str, tuple[str, str | None, int]] = {
    "motionsense-pocket": ("motionsense", None, 12),
    "spar-wrist": ("spar", None, 60),
    "wisdm-wrist": ("wisdm", None, 4),
    "wharf-wrist": ("wharf", None, 12),
    "utd-mhad": ("utd-mhad", None, 90),
    "dsads-right-arm": ("dsads", "right-arm", 18),
    "dsads-torso": ("dsads", "torso", 18),
    "dsads-left-leg": ("dsads", "left-leg", 18),
    "sp-sw-har-wrist": ("sp-sw-har", "wrist", 100),
    "sp-sw-har-pocket": ("sp-sw-har", "pocket", 100),
}
"""Corpus, placement (None: the only one) and epochs of its own pretraining, which make about 1,000 steps."""


def own_run(setting: str, data: Path, out: Path) -> Run:
    """Return the run that pretrains on the training people of each fold."""
    corpus, placement, epochs = SETTINGS[setting]
    name = f"few-shot/proof/{corpus}" if corpus in PROOF else "few-shot"
    changes = [f'dataset="{corpus}"', f'setting="{setting}"', f"pretrain.epochs={epochs}"]
    changes += ["protocol.seeds=[0, 1]", f"protocol.modes={json.dumps(ARMS)}"]
    changes += [] if placement is None else [f'windows.placements=["{placement}"]']
    return Run(load(name, changes), out / setting, data, out)


def released_run(without: str | None, data: Path, out: Path) -> Run:
    """Return the run of the release recipe without a corpus, with about as many steps as with all of them."""
    full = Run(load(RECIPE), out / "released", data, out)
    if without not in full.recipe.pretrain_on:
        return full
    count = {corpus: len(windows) for corpus, windows in full.unlabelled.items()}
    epochs = round(full.recipe.pretrain["epochs"] * sum(count.values()) / (sum(count.values()) - count[without]))
    corpora = [corpus for corpus in full.recipe.pretrain_on if corpus != without]
    changes = [f"pretrain_on={json.dumps(corpora)}", f'dataset="{corpora[0]}"', f"pretrain.epochs={epochs}"]
    return Run(load(RECIPE, [*changes, f'name="without-{without}"']), out / f"without-{without}", data, out)


def show(run: Run, of: list[FoldSeed | None]) -> None:
    """Pretrain what is missing and print the end of each encoder's training."""
    for progress in run.pretrain(of=of):
        if progress.step.done or progress.step.index % 100 == 0:
            losses = " ".join(f"{name} {value:.3f}" for name, value in progress.step.losses.items())
            place = f"{progress.step.index}/{progress.step.of}, {progress.step.seconds:.0f} s"
            print(run.recipe.name, run.recipe.setting, progress.name, place, losses, flush=True)


def planned(
    setting: str, data: Path, out: Path, shots: Sequence[int], seeds: Sequence[int], arms: Sequence[str]
) -> Iterator[tuple[str, Run, list[PlannedRow]]]:
    """Yield variant, run and planned rows of what was pretrained."""
    own = own_run(setting, data, out)
    windows = own.windows()
    units = [unit for unit in own.plan(windows) if unit.seed in seeds]
    arguments = {"transfer": own.recipe.transfer, "overrides": own.recipe.overrides, "shots": shots}
    released = released_run(SETTINGS[setting][0], data, out).encoder_path(None)
    if released.exists():
        yield "released", own, planned_rows(windows, units, lambda _: released, modes=arms, **arguments)
    there = [unit for unit in units if own.encoder_path(unit).exists()]
    if there and "few-shot" in arms:
        yield "own", own, planned_rows(windows, there, own.encoder_path, modes=["few-shot"], **arguments)


def terms() -> dict[str, Any]:
    """Return the licence of the weights, and of the data that they were learnt from."""
    cards = [DATASETS[name] for name in load(RECIPE).pretrain_on]
    data = [{name: getattr(card, name) for name in ("title", "licence", "origin", "cite")} for card in cards]
    return {"licence": "Apache-2.0, as Otolith", "data": data}


def main() -> None:
    """Run one stage."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("stage", choices=("pretrain", "own", "evaluate", "rows", "ship"))
    parser.add_argument("settings", nargs="*", help=f"some of {', '.join(SETTINGS)}; default: all")
    parser.add_argument("--data", type=Path, default=Path("data"))
    parser.add_argument("--out", type=Path, default=Path("runs/release-encoder"))
    parser.add_argument("--rows", type=Path, default=Path("results/release-encoder.csv"))
    parser.add_argument("--folds", type=int, default=5, help="own: pretrain for the first of the five folds only")
    parser.add_argument("--shots", type=int, nargs="+", default=[2, 10, 50])
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1])
    parser.add_argument("--arms", nargs="+", default=ARMS)
    given = parser.parse_args()
    torch.set_num_threads(1)
    settings, data, out = given.settings or list(SETTINGS), given.data, given.out
    if given.stage == "pretrain":
        for without in (None, *dict.fromkeys(SETTINGS[setting][0] for setting in settings)):
            show(released_run(without, data, out), [None])
    elif given.stage == "own":
        for setting in settings:
            run = own_run(setting, data, out)
            show(run, [unit for unit in run.plan(run.windows()) if unit.split.fold < given.folds])
    elif given.stage == "ship":
        shipped, loaded = (
            WEIGHTS / "encoder.safetensors",
            checkpoint.load(released_run(None, data, out).encoder_path(None)),
        )
        checkpoint.save(shipped, loaded.encoder, loaded.signal, about={**loaded.about, **terms()})
        print(f"{shipped}: {shipped.stat().st_size / 1e6:.2f} MB")
    else:
        tables = []
        for setting in settings:
            for variant, run, rows in planned(setting, data, out, given.shots, given.seeds, given.arms):
                if given.stage == "evaluate":
                    for row in evaluate(run.windows(), rows, folder=run.rows):
                        print(
                            setting, variant, row.mode, row.shots, row.fold, row.seed, f"{row.macro_f1:.3f}", flush=True
                        )
                elif there := [row for row in rows if (run.rows / f"{row.fingerprint}.json").exists()]:
                    tables.append(collect_rows(run.rows, there).assign(variant=variant, dataset=setting))
        if tables:
            if given.rows.exists():
                tables.insert(0, pd.read_csv(given.rows, dtype={"test_subjects": str}))
            made = pd.concat(tables)
            made = made.drop_duplicates(["dataset", "variant", "mode", "shots", "seed", "fold"], keep="last")
            made.to_csv(given.rows, index=False, lineterminator="\n")


if __name__ == "__main__":
    main()
