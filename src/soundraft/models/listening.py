"""What a recogniser makes of speech whose text is known: evidence for the verifier, transcripts for a judge."""

from collections.abc import Sequence
from pathlib import Path
from typing import cast

import numpy as np
import torch

from soundraft import models, runtime
from soundraft.audio import io
from soundraft.models.base import LogProbs, ModelError, Recognizer, length_batches
from soundraft.rewards.speech import Heard

# recognisers of this repository, for synthetic speech alone: see checkpoints/recognizer/README.md
SHIPPED = {"recognizer": "checkpoints/recognizer", "judge": "checkpoints/judge"}
BATCH = 8  # waves; a CPU is fastest with few of similar length
BATCH_GPU = 64


def open_recognizer(name: str | Path, *, revision: str | None = None, language: str | None = None) -> Recognizer:
    """A recogniser: one of `SHIPPED` by its name, a local folder, or a hub id; raises as `models.load_recognizer`."""
    place = runtime.shipped(SHIPPED[str(name)]) if name in SHIPPED else name
    return models.load_recognizer(place, revision=revision, language=language)


def hear(recognizer: Recognizer, waves: Sequence[np.ndarray], rate_hz: int, texts: Sequence[str]) -> list[Heard]:
    """The transcript of each wave `[N]`, and the likelihood of its text, in batches of similar length.

    A wave that the recogniser cannot take, such as one without a frame, has the transcript "".

    Args:
        texts: normalised.
    """
    found: dict[int, Heard] = {}
    features: dict[int, torch.Tensor] = {}
    for index, (wave, text) in enumerate(zip(waves, texts, strict=True)):
        try:
            features[index] = _features(recognizer, wave, rate_hz)
        except ModelError as error:
            found[index] = Heard("", None, tokens=max(1, len(text)), reason=str(error))
    places, size = list(features), BATCH if recognizer.device.type == "cpu" else BATCH_GPU
    for order in length_batches([len(each) for each in features.values()], size):
        batch = [places[place] for place in order]
        some = [features[index] for index in batch]
        found |= zip(batch, _heard(recognizer, some, [texts[index] for index in batch]), strict=True)
    return [found[index] for index in range(len(waves))]


def transcribe(recognizer: Recognizer, waves: Sequence[np.ndarray], rate_hz: int) -> list[str]:
    """The transcript of each wave `[N]`; "" of one that the recogniser cannot take, as it has nothing to say of it."""
    return [heard.transcript for heard in hear(recognizer, waves, rate_hz, [""] * len(waves))]


def _features(recognizer: Recognizer, wave: np.ndarray, rate_hz: int) -> torch.Tensor:
    if not len(wave):
        raise ModelError("no samples")
    return recognizer.extract(io.resample(np.ascontiguousarray(wave, np.float32), rate_hz, recognizer.sample_rate_hz))


def _heard(recognizer: Recognizer, features: Sequence[torch.Tensor], texts: Sequence[str]) -> list[Heard]:
    recognizer.model.eval()
    transcripts = recognizer.best(recognizer.encode(features))
    spelled = [place for place, text in enumerate(texts) if text and recognizer.can_learn(text)]
    scored: dict[int, LogProbs] = {}
    if spelled:
        with torch.inference_mode():
            losses = recognizer.loss([features[place] for place in spelled], [[texts[place]] for place in spelled])
        scored = dict(zip(spelled, cast(Sequence[LogProbs], losses), strict=True))
    found = []
    for place, (transcript, text) in enumerate(zip(transcripts, texts, strict=True)):
        if place not in scored:
            found.append(Heard(transcript, None, 0, f"the recogniser cannot spell {text!r}" if text else "no text"))
            continue
        log_prob, tokens, possible = (
            values[0].item() for values in (scored[place].log_probs, scored[place].tokens, scored[place].possible)
        )
        reason = "" if possible else "too short for its text"
        found.append(Heard(transcript, float(log_prob) if possible else None, int(tokens), reason))
    return found
