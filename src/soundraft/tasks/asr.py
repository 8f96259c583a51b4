"""Speech recognition: where its models, metrics and data meet."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from soundraft.audio.perturb import Alteration
from soundraft.dataset.loader import Utterances, load_utterances
from soundraft.evaluation.recognition import Scored, score
from soundraft.manifest import Split
from soundraft.metrics.text import NORMALIZERS
from soundraft.models import Recognizer
from soundraft.models.decoding import transcribe


def load_clips(
    dataset: Path,
    split: Split,
    recognizer: Recognizer,
    *,
    normalizer: str,
    indices: Sequence[int] | None = None,
    altered: Alteration | None = None,
) -> Utterances:
    """Clips of a dataset with the features that this recogniser takes, and their texts normalised.

    Args:
        altered: what is done to the samples before, for copies that are to be recognised beside the clips.
    """

    def extract(samples: np.ndarray) -> torch.Tensor:
        return recognizer.extract(altered.apply(samples) if altered else samples)

    clips = load_utterances(
        dataset,
        split,
        sample_rate_hz=recognizer.sample_rate_hz,
        extract=extract,
        depends={**recognizer.features_depend_on(), "altered": altered.name if altered else ""},
        indices=indices,
    )
    return replace(clips, texts=[NORMALIZERS[normalizer](text) for text in clips.texts])


def recognize(recognizer: Recognizer, clips: Utterances, *, normalizer: str, title: str) -> Scored:
    """Greedy transcripts of the clips, scored against their texts."""
    return score(
        ids=clips.ids,
        references=clips.texts,
        hypotheses=transcribe(recognizer, clips, title=title),
        normalizer=NORMALIZERS[normalizer],
    )
