"""Vectors of other modalities beside recordings: words, pictures, other sensors, through frozen encoders, made once."""

from otolith.paired.embeddings import PairedEmbeddings, folder_of, load, modalities
from otolith.paired.encode import Progress, compute, pair
from otolith.paired.image import ImageEncoder, image_encoder
from otolith.paired.text import TextEncoder, clean_narration, text_encoder

__all__ = [
    "ImageEncoder",
    "PairedEmbeddings",
    "Progress",
    "TextEncoder",
    "clean_narration",
    "compute",
    "folder_of",
    "image_encoder",
    "load",
    "modalities",
    "pair",
    "text_encoder",
]
