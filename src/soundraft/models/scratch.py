"""A small Conformer with a CTC head (the shape of Parakeet) that learns from scratch in minutes on a CPU."""

import json
import tempfile
from pathlib import Path
from typing import Any

from soundraft.models.ctc import CTCAdapter

BLANK, UNKNOWN, WORD_BREAK = "<pad>", "<unk>", "|"
CHARACTERS = "abcdefghijklmnopqrstuvwxyz'"


def build(
    *,
    sample_rate_hz: int,
    mel_bins: int,
    window_s: float,
    hop_s: float,
    hidden_size: int,
    layers: int,
    attention_heads: int,
    subsampling: int,
    dropout: float,
) -> CTCAdapter:
    """A recogniser with random weights, from torch's global seed; it saves and loads through transformers."""
    from transformers import (
        ParakeetCTCConfig,
        ParakeetEncoderConfig,
        ParakeetFeatureExtractor,
        ParakeetForCTC,
        ParakeetProcessor,
    )

    window = round(window_s * sample_rate_hz)
    extractor = ParakeetFeatureExtractor(
        feature_size=mel_bins,
        sampling_rate=sample_rate_hz,
        hop_length=round(hop_s * sample_rate_hz),
        win_length=window,
        n_fft=1 << (window - 1).bit_length(),
    )
    tokenizer = character_tokenizer()
    encoder = ParakeetEncoderConfig(
        hidden_size=hidden_size,
        num_hidden_layers=layers,
        num_attention_heads=attention_heads,
        intermediate_size=4 * hidden_size,
        subsampling_factor=subsampling,
        subsampling_conv_channels=hidden_size // 2,
        num_mel_bins=mel_bins,
        dropout=dropout,
        activation_dropout=dropout,
        attention_dropout=dropout,
        layerdrop=0.0,
    )
    config = ParakeetCTCConfig(vocab_size=len(tokenizer), pad_token_id=tokenizer.pad_token_id, encoder_config=encoder)
    return CTCAdapter(ParakeetForCTC(config), ParakeetProcessor(extractor, tokenizer, decoder_type="ctc"))


def character_tokenizer() -> Any:
    """A CTC tokenizer over lower-case letters and the apostrophe; `|` separates words."""
    from transformers import Wav2Vec2CTCTokenizer

    tokens = [BLANK, UNKNOWN, WORD_BREAK, *CHARACTERS]
    with tempfile.TemporaryDirectory() as folder:
        vocabulary = Path(folder) / "vocab.json"
        vocabulary.write_text(json.dumps({token: index for index, token in enumerate(tokens)}))
        return Wav2Vec2CTCTokenizer(
            str(vocabulary), bos_token=None, eos_token=None, pad_token=BLANK, unk_token=UNKNOWN,
            word_delimiter_token=WORD_BREAK,
        )  # fmt: skip
