"""Models: arrays in, answers out. Recognisers are chosen by `config.model_type`, never by a model's name."""

from pathlib import Path

import torch

from soundraft import runtime
from soundraft.models.base import ModelError, Recognizer
from soundraft.models.ctc import CTC_MODEL_TYPES, CTCAdapter
from soundraft.models.whisper import WhisperAdapter

ADAPTERS: dict[str, type] = {**dict.fromkeys(CTC_MODEL_TYPES, CTCAdapter), "whisper": WhisperAdapter}


def load_recognizer(checkpoint: str | Path, *, revision: str | None = None, language: str | None = None) -> Recognizer:
    """A recogniser from a local folder (relative to the main repository) or a hub id, at a revision.

    Args:
        language: which one a multilingual Whisper shall transcribe; one of ours remembers it. CTC models have one.

    Raises:
        ModelError: when it cannot be loaded, or its model type has no adapter.
    """
    from transformers import AutoConfig, AutoModelForCTC, AutoModelForSpeechSeq2Seq, AutoProcessor, logging

    logging.disable_progress_bar()
    folder = runtime.main_root() / checkpoint if isinstance(checkpoint, str) else checkpoint
    name = str(folder if folder.is_dir() else checkpoint)
    try:
        config = AutoConfig.from_pretrained(name, revision=revision)
        adapter = ADAPTERS.get(config.model_type)
        if adapter is None:
            raise ModelError(
                f"{name}: no adapter for model type {config.model_type!r}; there are: {', '.join(sorted(ADAPTERS))}"
            )
        loader = AutoModelForSpeechSeq2Seq if adapter is WhisperAdapter else AutoModelForCTC
        model = loader.from_pretrained(name, revision=revision, dtype=torch.float32)
        processor = AutoProcessor.from_pretrained(name, revision=revision)
    except OSError as error:
        cause = str(error).strip().partition("\n")[0]  # what follows guesses at connections and tokens
        raise ModelError(f"cannot load {name!r} (a local folder or a hub id): {cause}") from error
    return adapter(model, processor, language) if adapter is WhisperAdapter else adapter(model, processor)


__all__ = ["ADAPTERS", "ModelError", "Recognizer", "load_recognizer"]
