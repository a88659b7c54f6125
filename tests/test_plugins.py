"""What other packages add: found by name, loaded when asked for, and refused with a reason."""

import sys
from pathlib import Path

import pytest
import torch

from otolith import plugins
from otolith.checkpoints import checkpoint
from otolith.data.windows import SignalSpec
from otolith.datasets import DATASETS, find_dataset
from otolith.encoders import ENCODERS, find_encoder
from otolith.objectives import find_objective

CODE = '''
from otolith.datasets import DATASETS
from otolith.encoders import Strided
from otolith.objectives import SimCLR

class Mine(Strided):
    """Strided, smaller."""
    def __init__(self, channels, mean=None, std=None, dropout: float = 0.0) -> None:
        super().__init__(channels, mean, std, dropout, widths=[8, 8, 8])

class Own(SimCLR):
    """SimCLR under another name."""

CORPUS = DATASETS["synthetic"]
NUMBER = 3
'''
ENTRIES = """
[otolith.encoders]
mine = guest.parts:Mine
missing = guest.parts:Gone
broken = guest_of_nothing:Mine
number = guest.parts:NUMBER
strided = guest.parts:Mine
[otolith.objectives]
own = guest.parts:Own
encoder = guest.parts:Mine
[otolith.datasets]
guests = guest.parts:CORPUS
"""


@pytest.fixture(scope="module", autouse=True)
def guest(tmp_path_factory: pytest.TempPathFactory) -> None:
    """An installed package that adds an encoder, an objective and a corpus."""
    folder = tmp_path_factory.mktemp("site")
    (folder / "guest").mkdir()
    (folder / "guest" / "__init__.py").touch()
    (folder / "guest" / "parts.py").write_text(CODE)
    info = folder / "guest_package-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: guest-package\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(ENTRIES)
    sys.path.insert(0, str(folder))
    yield
    sys.path.remove(str(folder))
    for name in [name for name in sys.modules if name.partition(".")[0] == "guest"]:
        del sys.modules[name]


def test_nothing_is_loaded_before_it_is_asked_for() -> None:
    assert {"mine", "number"} < set(plugins.names(ENCODERS, "encoder")) and "guests" in plugins.names(
        DATASETS, "dataset"
    )
    assert "guest.parts" not in sys.modules
    assert find_encoder("strided") is ENCODERS["strided"], "Otolith's own names win"
    assert "guest.parts" not in sys.modules
    assert find_encoder("mine").__name__ == "Mine"


def test_members_of_each_family_are_found() -> None:
    assert find_encoder("mine")(3).dim == 16
    assert find_objective("own").__name__ == "Own"
    assert find_dataset("guests") is DATASETS["synthetic"]
    assert plugins.name_of(find_encoder("mine"), ENCODERS, "encoder") == "mine"
    assert plugins.name_of(ENCODERS["tpn"], ENCODERS, "encoder") == "tpn"
    assert plugins.name_of(find_objective("own"), ENCODERS, "encoder") is None


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("mne", "unknown encoder 'mne'; did you mean 'mine'"),
        ("", "unknown encoder ''; known: cpc, .*strided.*mine"),
        ("missing", r"the encoder 'missing' \(guest.parts:Gone\) of the package guest-package cannot be loaded: Attr"),
        ("broken", "package guest-package cannot be loaded: ModuleNotFoundError: .*update or uninstall that package"),
        ("number", "of the package guest-package is 3; expected otolith.encoders.contract.Encoder"),
    ],
)
def test_what_cannot_be_used_is_refused(name: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        find_encoder(name)


def test_a_member_of_another_family_is_refused() -> None:
    with pytest.raises(ValueError, match=r"the objective 'encoder' .*expected otolith.objectives.contract.Objective"):
        find_objective("encoder")


def test_a_checkpoint_of_such_an_encoder_comes_back(tmp_path: Path) -> None:
    encoder = find_encoder("mine")(3, dropout=0.2)
    checkpoint.save(tmp_path / "e.safetensors", encoder, SignalSpec(50.0, ("acc_x", "acc_y", "acc_z"), 2.0), about={})
    loaded = checkpoint.load(tmp_path / "e.safetensors").encoder
    x = torch.randn(2, 3, 100)
    assert type(loaded) is type(encoder) and torch.equal(loaded(x), encoder.eval()(x))
