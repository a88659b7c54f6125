"""A small recipe for tests of the command line, and what a command did."""

from typing import NamedTuple

RECIPE = """
name = "small"
dataset = "synthetic"
[windows]
channels = ["acc_x", "acc_y", "acc_z"]
[unlabelled]
overlap = 0.0
[encoder]
name = "strided"
[objective]
name = "simclr"
augmentations = [{ name = "rotation", sd_degrees = 20 }]
[pretrain]
epochs = 2
batch_size = 64
[protocol]
folds = 3
fold_seed = 0
seeds = [0, 1]
shots = [2, 10]
modes = ["frozen", "finetune", "forest"]
[transfer]
head = { name = "logistic" }
training = { steps = 10 }
"""


class Ran(NamedTuple):
    """What a command did: its exit status, and what it wrote to standard output and standard error."""

    status: int
    out: str
    err: str

    @property
    def text(self) -> str:
        """All that a terminal shows."""
        return self.out + self.err
