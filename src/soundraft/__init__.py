"""soundraft: reproducible audio machine learning, with models that improve themselves by RAFT."""

import importlib
from typing import Any

__version__ = "0.1.0"

# imported when asked for: the command line and the stages begin without torch
_EXPORTS = {
    "AudioDataset": "soundraft.corpora.base",
    "AudioSample": "soundraft.corpora.base",
    "AudioProcessor": "soundraft.audio.features",
    "AudioVerifier": "soundraft.rewards",
    "AudioRAFTConfig": "soundraft.tasks.run",
    "AudioRAFTTrainer": "soundraft.tasks.run",
    "RunResult": "soundraft.tasks.run",
    "cross_validate": "soundraft.tasks.folds",
    "evaluate": "soundraft.tasks.use",
    "fit": "soundraft.tasks.run",
    "predict": "soundraft.tasks.use",
    "write_sidecar_features": "soundraft.sidecar.features",
    "list_audio_datasets": "soundraft.corpora",
    "load_audio_dataset": "soundraft.corpora",
}

__all__ = sorted(_EXPORTS)


def __getattr__(name: str) -> Any:
    if name not in _EXPORTS:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(_EXPORTS[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
