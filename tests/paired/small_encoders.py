"""Tiny random models in the layouts of sentence-transformers and CLIP."""

from pathlib import Path
from typing import Any

import transformers

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
