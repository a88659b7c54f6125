"""Precompute embeddings of text, video and other sensors that are aligned with recordings, with frozen encoders."""

from otolith.paired.embeddings import PairedEmbeddings, folder_of, load, modalities
from otolith.paired.encode import EmbedProgress, embed, precompute
from otolith.paired.image import ImageEncoder, image_encoder
from otolith.paired.text import TextEncoder, clean_narration, text_encoder

__all__ = [
    "EmbedProgress",
    "ImageEncoder",
    "PairedEmbeddings",
    "TextEncoder",
    "clean_narration",
    "embed",
    "folder_of",
    "image_encoder",
    "load",
    "modalities",
    "precompute",
    "text_encoder",
]
