"""Settings that mean nothing are refused by name, in Python and in recipes."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from otolith.classifiers.baselines import ForestClassifier
from otolith.classifiers.settings import FineTuning, Training
from otolith.data.conversion import check_number
from otolith.evaluation.plan import check_protocol
from otolith.experiments.recipe import load
from otolith.pretraining import Runtime, Sampling
from otolith.pretraining.settings import check_settings


@pytest.mark.parametrize(
    ("value", "range_", "text"),
    [
        (0, {"least": 1, "whole": True}, "n is 0; expected a whole number of at least 1"),
        (-3, {"least": 0}, "n is -3; expected a number of at least 0"),
        (0.0, {"above": 0, "most": 1}, "n is 0.0; expected a number of above 0 and at most 1"),
        (50, {"above": 0, "most": 1}, "above 0 and at most 1"),
        (1, {"least": 0, "below": 1}, "at least 0 and below 1"),
        (1.5, {"whole": True}, "n is 1.5; expected a whole number"),
        (True, {"whole": True}, "n is True; expected a whole number"),
        (np.True_, {}, "expected a number"),
        (float("nan"), {}, "n is nan; expected a number"),
        (float("inf"), {"least": 0}, "n is inf"),
        ("3", {"whole": True}, "n is '3'"),
        (None, {}, "n is None"),
    ],
)
def test_a_number_out_of_its_range_is_named(value: Any, range_: dict[str, Any], text: str) -> None:
    with pytest.raises(ValueError) as caught:
        check_number("n", value, **range_)
    assert text in str(caught.value)


@pytest.mark.parametrize("value", [1, np.int64(1), 1.0, np.float32(0.5), 1e9])
def test_numbers_in_range_pass(value: Any) -> None:
    check_number("n", value, above=0)


@pytest.mark.parametrize(
    ("make", "name"),
    [
        (lambda: Sampling(share=0), "share"),
        (lambda: Sampling(share=50), "share"),
        (lambda: Runtime(report_every=0), "report_every"),
        (lambda: Runtime(save_every_s=-1), "save_every_s"),
        (lambda: check_settings(epochs=0), "epochs"),
        (lambda: check_settings(lr=0), "lr"),
        (lambda: check_settings(seed=-1), "seed"),
        (lambda: check_protocol(shots=[-1]), "shots"),
        (lambda: check_protocol(shots=[2, 2]), "shots"),
        (lambda: check_protocol(seeds=[]), "seeds"),
        (lambda: check_protocol(seeds=[True]), "seed"),
        (lambda: check_protocol(modes=[]), "modes"),
        (lambda: check_protocol(validation=1.0), "validation"),
        (lambda: Training(epochs=-3).check(), "epochs"),
        (lambda: Training(lr=0.0).check(), "lr"),
        (lambda: Training(steps=-1).check(), "steps"),
        (lambda: Training(finetuning=FineTuning(layer_decay=0)).check(), "layer_decay"),
        (lambda: ForestClassifier(trees=10**9).fit(np.zeros((2, 3, 100)), [0, 1]), "trees"),
    ],
)
def test_classes_and_functions_refuse_it(make: Any, name: str) -> None:
    with pytest.raises(ValueError, match=rf"{name}.* (is|expected)"):
        make()


GOOD = 'dataset = "spar"\nencoder = { name = "strided" }\nobjective = { name = "simclr" }\n'


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("pretrain.epochs=0", "epochs is 0"),
        ("pretrain.epochs=-3", "epochs is -3"),
        ("pretrain.lr=0", "lr is 0"),
        ("pretrain.batch_size=0", "batch_size is 0"),
        ("pretrain.batch_size=true", "true and false are no numbers"),
        ("pretrain.sampling={share=50}", "share is 50"),
        ("pretrain.runtime={report_every=0}", "report_every is 0"),
        ("protocol.seeds=[]", "seeds is []"),
        ("protocol.seeds=[true]", "true and false are no numbers"),
        ("protocol.shots=[-1]", "shots"),
        ("protocol.folds=1", "folds is 1"),
        ("seed=1.9", "seed is 1.9"),
        ("seed=true", "seed is True"),
        ('name="../x"', "expected the name of a folder"),
        ('name="a/b"', "expected the name of a folder"),
        ('name="a\\u0007b"', "expected the name of a folder"),
        ('name=""', "expected the name of a folder"),
        ("name=" + '"' + "x" * 300 + '"', "expected the name of a folder"),
    ],
)
def test_recipes_refuse_it_before_anything_is_computed(change: str, message: str, tmp_path: Path) -> None:
    path = tmp_path / "r.toml"
    path.write_text(GOOD)
    load(path)
    with pytest.raises(ValueError) as caught:
        load(path, [change])
    assert message in str(caught.value) and "\n" not in str(caught.value)


def test_recipes_that_extend_each_other_are_refused(tmp_path: Path) -> None:
    for one, other in ("ab", "bc", "ca"):
        (tmp_path / f"{one}.toml").write_text(f'extends = "{other}.toml"\n' + GOOD)
    with pytest.raises(ValueError, match=r"extends itself: 'a.toml' -> 'b.toml' -> 'c.toml' -> 'a.toml'"):
        load(tmp_path / "a.toml")


@pytest.mark.parametrize("text", ["x = " + "[" * 50_000, ".".join(["a"] * 20_000) + " = 1\n" + GOOD])
def test_tables_without_an_end_are_one_line(text: str, tmp_path: Path) -> None:
    path = tmp_path / "deep.toml"
    path.write_text(text)
    with pytest.raises(ValueError) as caught:
        load(path)
    assert "deep.toml" in str(caught.value) and "\n" not in str(caught.value) and len(str(caught.value)) < 400
