"""Models on a hub: uploaded without names of people, with a card; fetched, cached and checked."""

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from huggingface_hub import ModelCard, constants

import otolith as ot
from hub_server import COMMIT, Hub, serving
from otolith.apps.share import push
from otolith.checkpoints import checkpoint, shipped
from otolith.classifiers.baselines import ForestClassifier, load_classifier
from otolith.data.windows import SignalSpec, Windows
from otolith.encoders import Strided
from otolith.storage import hub, tensors

pytestmark = pytest.mark.filterwarnings(
    "ignore:Use 'content=:DeprecationWarning"
)  # the client's own upload of large files
SIGNAL = SignalSpec(50.0, ("acc_x", "acc_y", "acc_z"), 2.0)
NAMES = ["own:Anna Schmidt", "own:Ben", "spar:3"]


@pytest.fixture
def online(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Hub]:
    """A hub on this machine that the real client uses, with an empty cache."""
    with serving() as (served, address):
        monkeypatch.setattr(constants, "ENDPOINT", address)
        monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
        monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)
        for name in ("HF_TOKEN", "HF_HUB_OFFLINE"):
            monkeypatch.delenv(name, raising=False)
        template = address + "/{repo_id}/resolve/{revision}/{filename}"
        monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
        yield served


@pytest.fixture
def encoder(tmp_path: Path) -> Path:
    path = tmp_path / "encoder.safetensors"
    torch.manual_seed(0)
    about = {
        "objective": "simclr",
        "encoder": "strided",
        "subjects": NAMES,
        "windows": 1234,
        "recipe": '# of Anna Schmidt\nname = "x"',
    }
    checkpoint.save(path, Strided(3), SIGNAL, about=about)
    return path


def test_an_encoder_goes_to_the_hub_and_comes_back(encoder: Path, online: Hub, tmp_path: Path) -> None:
    pushed = push(encoder, "anna/motion", licence="apache-2.0")
    assert pushed.address.endswith("/anna/motion") and pushed.renamed == 2
    assert {path for _, path in online.files} == {"model.safetensors", "README.md"}
    mine = Strided(3)
    mine.load_state_dict(checkpoint.load(encoder).encoder.state_dict())
    x = torch.randn(4, 3, 100)
    for found in (ot.Encoder.from_pretrained("anna/motion"), Strided.from_pretrained("anna/motion@main")):
        torch.testing.assert_close(found(x), mine.eval()(x), rtol=0, atol=0)
    again = ot.load_checkpoint("hub:anna/motion")
    assert again.signal == SIGNAL and again.about["subjects"] == ["own:1", "own:2", "spar:3"]
    everything = b"".join(online.files.values())
    assert b"Schmidt" not in everything and b"Ben" not in everything
    assert b"Schmidt" in encoder.read_bytes()  # only the copy has numbers
    with pytest.raises(ValueError, match="holds an encoder Strided; expected Primus"):
        ot.encoders.Primus.from_pretrained("anna/motion")


def test_the_cache_serves_while_the_hub_cannot_be_reached(
    encoder: Path, online: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    push(encoder, "anna/motion", licence="mit")
    first = hub.fetch("hub:anna/motion")
    gets = sum(each.startswith("GET") for each in online.asked)
    assert hub.fetch("hub:anna/motion") == first and COMMIT in first.as_posix()
    assert sum(each.startswith("GET") for each in online.asked) == gets  # only its hash was asked for
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    assert hub.fetch("hub:anna/motion") == first
    with pytest.raises(FileNotFoundError, match="'hub:anna/other' on the hub cannot be reached"):
        hub.fetch("hub:anna/other")


def test_an_altered_file_on_the_hub_is_refused(encoder: Path, online: Hub) -> None:
    push(encoder, "anna/motion", licence="mit")
    content = bytearray(online.files["anna/motion", "model.safetensors"])
    content[-5] ^= 1
    online.files["anna/motion", "model.safetensors"] = bytes(content)
    with pytest.raises(ValueError, match="was altered after it was written"):
        ot.load_checkpoint("hub:anna/motion")


def test_errors_of_the_hub_are_one_line(encoder: Path, online: Hub) -> None:
    with pytest.raises(FileNotFoundError, match="no 'hub:no/body' on the hub, or it is private"):
        hub.fetch("hub:no/body")
    online.repos.add("anna/empty")
    with pytest.raises(FileNotFoundError, match=r"holds no model\.safetensors"):
        hub.fetch("hub:anna/empty")
    with pytest.raises(FileNotFoundError, match="no 'hub:anna/empty@old' on the hub"):
        hub.fetch("hub:anna/empty@old")
    with pytest.raises(ValueError, match="names no model on the hub; expected hub:USER/NAME"):
        hub.fetch("hub:anna")
    with pytest.raises(ValueError, match="names no repository of the hub; expected USER/NAME"):
        push(encoder, "anna", licence="mit")
    online.broken = True
    with pytest.raises(ValueError, match=r"the upload to anna/motion failed: .*; give the command again"):
        push(encoder, "anna/motion", licence="mit")
    online.refuse = 403
    with pytest.raises(ValueError, match="the hub answers 403 for anna/motion; sign in"):
        push(encoder, "anna/motion", licence="mit")


def test_from_a_folder_a_file_and_the_wheel(encoder: Path, tmp_path: Path) -> None:
    pushed = push(encoder, folder=tmp_path / "kept", licence="cc-by-4.0, of the authors")
    assert pushed.address == "" and sorted(path.name for path in (tmp_path / "kept").iterdir()) == [
        "README.md",
        "model.safetensors",
    ]
    for name in (tmp_path / "kept", str(tmp_path / "kept"), tmp_path / "kept" / "model.safetensors", encoder):
        assert isinstance(ot.Encoder.from_pretrained(name), Strided)
    assert isinstance(ot.Encoder.from_pretrained("shipped"), Strided)
    assert ModelCard.load(tmp_path / "kept" / "README.md").data.license == "cc-by-4.0"
    with pytest.raises(FileNotFoundError, match="no checkpoint at"):
        ot.Encoder.from_pretrained(tmp_path / "none")
    with pytest.raises(ValueError, match="names no licence; say under which one others may use it: --licence"):
        push(encoder, folder=tmp_path / "kept")
    with pytest.raises(ValueError, match="nothing to do"):
        push(encoder, licence="mit")


def test_the_card_says_what_the_file_knows(encoder: Path, tmp_path: Path) -> None:
    rows = pd.DataFrame(
        [
            {
                "dataset": "spar",
                "mode": "finetune",
                "shots": 10,
                "seed": 0,
                "fold": fold,
                "macro_f1": 0.8 + 0.01 * fold,
                "accuracy": 0.9,
                "test_subjects": str(fold),
                "f1_by_subject": json.dumps({str(fold): 0.8}),
            }
            for fold in range(5)
        ]
    )
    text = push(encoder, folder=tmp_path / "kept", licence="Apache-2.0, as Otolith", rows=rows).card
    data = ModelCard(text).data
    assert data.license == "apache-2.0" and data.library_name == "otolith" and "encoder" in data.tags
    (result,) = data.eval_results
    assert result.dataset_type == "spar" and result.metric_value == pytest.approx(0.82)
    assert result.task_name == "fine-tuned, 10 windows per class"
    for words in (
        "| SPAR shoulder exercises | 1 | BSD-3-Clause | Burns et al., Physiol. Meas. 2018 |",
        "| own recordings | 2 | not published | - |",
        "acc_x (g), acc_y (g), acc_z (g)",
        "50 Hz",
        "2 s, 100 time steps",
        "| fine-tuned | 0.820 [0.80, 0.84] |",
        "5 folds by subject, 1 seeds",
        "objective `simclr` on 1,234 windows",
        "@article{burns2018spar",
        "otolith adapt hub:USER/NAME",
    ):
        assert words in text, words
    activity = push(shipped.ACTIVITY, folder=tmp_path / "activity").card
    assert "The classes are: walking, stairs" in activity and "no medical device" in activity
    assert "By placement, each corpus tested by a model that never saw the corpus." in activity
    assert len(ModelCard(activity).data.eval_results) == 7


def test_a_forest_names_nobody(windows: Windows, online: Hub, tmp_path: Path) -> None:
    path = tmp_path / "forest.safetensors"
    facts = {"labelled_subjects": ["own:Anna"], "labelled_windows": 9, "estimate": {"forest": 0.7, "encoder": 0.6}}
    facts["estimate_intervals"] = {"forest": [0.61, 0.79], "encoder": None}
    ForestClassifier(trees=5).fit(windows).save(path, label_names=windows.label_names, about=facts)
    card = push(path, "anna/forest", licence="mit").card
    assert "| random forest | 0.700 [0.61, 0.79] |" in card and "| adapted encoder | 0.600 |" in card
    assert "9 labelled windows of 1 people" in card
    model = load_classifier("hub:anna/forest")
    np.testing.assert_array_equal(model.predict_proba(windows), load_classifier(path).predict_proba(windows))
    header, _ = tensors.read(hub.fetch("hub:anna/forest"))
    assert header["about"]["labelled_subjects"] == ["own:1"]


def test_the_command_and_the_missing_extra(encoder: Path, tmp_path: Path) -> None:
    words = ["push", str(encoder), "--licence", "mit", "--out", str(tmp_path / "kept")]
    code = "import sys; sys.modules['huggingface_hub'] = None\nfrom otolith.cli.main import main; main()"
    for start, status in ((["-m", "otolith"], 0), (["-c", code], 1)):
        done = subprocess.run([sys.executable, *start, *words], capture_output=True, text=True, timeout=120)
        assert done.returncode == status, done.stderr
        if status:
            assert "pip install 'otolith[hub]'" in done.stderr and "Traceback" not in done.stderr
        else:
            assert "2 people's names were replaced by numbers" in done.stdout
