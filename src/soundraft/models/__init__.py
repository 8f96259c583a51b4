"""Models: arrays in, answers out. Recognisers are chosen by `config.model_type`, never by a model's name."""

from pathlib import Path

from soundraft.models import checkpoints
from soundraft.models.base import ModelError, Recognizer
from soundraft.models.ctc import CTC_MODEL_TYPES, CTCAdapter
from soundraft.models.whisper import WhisperAdapter, shorten

ADAPTERS: dict[str, type] = {**dict.fromkeys(CTC_MODEL_TYPES, CTCAdapter), "whisper": WhisperAdapter}


def load_recognizer(
    checkpoint: str | Path, *, revision: str | None = None, language: str | None = None, window_s: int = 0
) -> Recognizer:
    """A recogniser from a local folder (relative to the main repository) or a hub id, at a revision.

    Args:
        language: which one a multilingual Whisper shall transcribe; one of ours remembers it. CTC models have one.
        window_s: of a Whisper, as `whisper.shorten` takes it; 0: as the model has it.

    Raises:
        ModelError: when there is none, it cannot be loaded, or its parts do not fit together.
    """
    from transformers import AutoModelForCTC, AutoModelForSpeechSeq2Seq, AutoProcessor

    name = checkpoints.place_of(checkpoint)
    config = checkpoints.config_of(name, revision)
    adapter = ADAPTERS.get(config.model_type)
    if adapter is None:
        raise ModelError(
            f"{name}: no adapter for model type {config.model_type!r}; there are: {', '.join(sorted(ADAPTERS))}"
        )
    loader = AutoModelForSpeechSeq2Seq if adapter is WhisperAdapter else AutoModelForCTC
    model = checkpoints.load_model(loader, name, config, revision)
    with checkpoints.loading(name):
        processor = AutoProcessor.from_pretrained(name, revision=revision)
    for part in ("tokenizer", "feature_extractor"):
        if not hasattr(processor, part):
            raise ModelError(f"{name} has no {part.replace('_', ' ')}: save the model's processor beside its weights")
    try:
        if adapter is not WhisperAdapter:
            if window_s:
                raise ModelError("model.window_s is for Whisper; a CTC model takes clips of any length: 0")
            return adapter(model, processor)
        if window_s:
            shorten(model, processor.feature_extractor, window_s)
        return adapter(model, processor, language)
    except ModelError as error:
        raise ModelError(f"{name}: {error}") from error


__all__ = ["ADAPTERS", "ModelError", "Recognizer", "load_recognizer"]
