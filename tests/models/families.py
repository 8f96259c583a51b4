"""A tiny random checkpoint of every CTC family, as a hub repository has it."""

from pathlib import Path
from typing import Any

import torch

from soundraft.models.ctc import character_tokenizer

RATE_HZ = 8000
MEL_BINS = 16
BLOCKS = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 16}
RAW = {
    "conv_dim": (8, 8), "conv_stride": (10, 8), "conv_kernel": (10, 8), "num_conv_pos_embeddings": 4,
    "num_conv_pos_embedding_groups": 2, "feat_extract_norm": "layer", "mask_time_length": 2, "layerdrop": 0.0,
}  # fmt: skip
MEL = {"num_mel_bins": MEL_BINS, "subsampling_conv_channels": 8, "layerdrop": 0.0}


def hub_like(folder: Path, model_type: str, *, masked: bool = True, **changes: Any) -> Path:
    """Args: masked, changes: whether padding is masked, and other settings, of models of raw waves."""
    tokenizer = character_tokenizer()
    torch.manual_seed(0)
    model, processor = BUILDERS[model_type](tokenizer, {"vocab_size": len(tokenizer), "pad_token_id": 0, **changes})
    if not masked:
        processor.feature_extractor.return_attention_mask = False
    model.save_pretrained(folder)
    processor.save_pretrained(folder)
    return folder


def _raw(config_class: str, model_class: str) -> Any:
    import transformers

    def build(tokenizer: Any, vocabulary: dict[str, int]) -> tuple[Any, Any]:
        config = getattr(transformers, config_class)(**{**BLOCKS, **RAW, **vocabulary})
        extractor = transformers.Wav2Vec2FeatureExtractor(sampling_rate=RATE_HZ, return_attention_mask=True)
        return getattr(transformers, model_class)(config), transformers.Wav2Vec2Processor(extractor, tokenizer)

    return build


def _wav2vec2_bert(tokenizer: Any, vocabulary: dict[str, int]) -> tuple[Any, Any]:
    from transformers import SeamlessM4TFeatureExtractor, Wav2Vec2BertConfig, Wav2Vec2BertForCTC, Wav2Vec2BertProcessor

    config = Wav2Vec2BertConfig(**vocabulary, **BLOCKS, feature_projection_input_dim=2 * MEL_BINS, layerdrop=0.0)
    extractor = SeamlessM4TFeatureExtractor(feature_size=MEL_BINS, num_mel_bins=MEL_BINS)
    return Wav2Vec2BertForCTC(config), Wav2Vec2BertProcessor(extractor, tokenizer)


def _parakeet(tokenizer: Any, vocabulary: dict[str, int]) -> tuple[Any, Any]:
    from transformers import (
        ParakeetCTCConfig,
        ParakeetEncoderConfig,
        ParakeetFeatureExtractor,
        ParakeetForCTC,
        ParakeetProcessor,
    )

    config = ParakeetCTCConfig(**vocabulary, encoder_config=ParakeetEncoderConfig(**BLOCKS, **MEL))
    extractor = ParakeetFeatureExtractor(feature_size=MEL_BINS, sampling_rate=RATE_HZ, hop_length=80, win_length=200)
    return ParakeetForCTC(config), ParakeetProcessor(extractor, tokenizer, decoder_type="ctc")


def _lasr(tokenizer: Any, vocabulary: dict[str, int]) -> tuple[Any, Any]:
    from transformers import LasrCTCConfig, LasrFeatureExtractor, LasrForCTC, LasrProcessor

    config = LasrCTCConfig(**vocabulary, encoder_config={**BLOCKS, **MEL, "num_key_value_heads": 2})
    extractor = LasrFeatureExtractor(feature_size=MEL_BINS)
    return LasrForCTC(config), LasrProcessor(extractor, tokenizer)


BUILDERS = {
    "wav2vec2": _raw("Wav2Vec2Config", "Wav2Vec2ForCTC"),
    "hubert": _raw("HubertConfig", "HubertForCTC"),
    "wavlm": _raw("WavLMConfig", "WavLMForCTC"),
    "wav2vec2-bert": _wav2vec2_bert,
    "parakeet_ctc": _parakeet,
    "lasr_ctc": _lasr,
}
