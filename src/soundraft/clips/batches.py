"""The one door through which training and evaluation see data, and how clips are put into batches."""

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import soxr
import torch

from soundraft import runtime
from soundraft.audio import io
from soundraft.clips.features import FeatureCache
from soundraft.manifest import Split
from soundraft.parallel import progress_over


@dataclass(frozen=True)
class Utterances:
    """Clips as a model takes them: parallel lists.

    Attributes:
        features: per clip what the model's feature extractor made, `[T, F]` (or `[T]` for raw samples).
    """

    ids: list[str]
    texts: list[str]
    features: list[torch.Tensor]

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def lengths(self) -> list[int]:
        return [len(feature) for feature in self.features]

    def part(self, indices: Sequence[int]) -> "Utterances":
        """These clips, in this order."""
        return Utterances(
            [self.ids[index] for index in indices],
            [self.texts[index] for index in indices],
            [self.features[index] for index in indices],
        )


Extract = Callable[[np.ndarray], torch.Tensor]


def load_utterances(
    folder: Path,
    split: Split,
    *,
    sample_rate_hz: int,
    extract: Extract,
    depends: Mapping[str, Any],
    indices: Sequence[int] | None = None,
) -> Utterances:
    """Read, decode and featurise the clips of one split; only the features stay in memory, and in the feature cache.

    Args:
        folder: a dataset that s5 built.
        extract: mono samples `[N]` at `sample_rate_hz` → features `[T, F]`.
        depends: what `extract` depends on: its settings and the versions of its libraries.
        indices: which clips, in which order; all in the dataset's order when `None`.
    """
    table = open_split(folder, split).select_columns(["id", "text", "wav"])
    chosen = range(len(table)) if indices is None else indices
    out = Utterances([], [], [])
    title = f"features {folder.name}/{split}"
    decoding = {"sample_rate_hz": sample_rate_hz, "soxr": soxr.__version__}
    with FeatureCache({**depends, **decoding}, lambda audio: extract(io.decode(audio, sample_rate_hz))) as cache:
        for index in progress_over(chosen, total=len(chosen), title=title, unit="clip"):
            row = table[int(index)]
            out.ids.append(row["id"])
            out.texts.append(row["text"])
            out.features.append(cache.of(row["wav"]["bytes"]))
    return out


def open_split(folder: Path, split: str) -> Any:
    """One split of a saved dataset, memory-mapped."""
    import datasets

    return datasets.load_from_disk(str(folder / split))


def length_batches(lengths: Sequence[int], batch_size: int) -> list[list[int]]:
    """Indices in batches of similar length, for inference: sorted, so that padding costs little."""
    order = sorted(range(len(lengths)), key=lambda index: (lengths[index], index))
    return [order[start : start + batch_size] for start in range(0, len(order), batch_size)]


def shuffled_batches(lengths: Sequence[int], batch_size: int, *, seed: int) -> list[list[int]]:
    """Every index once, in batches of similar length whose make-up and order depend on the seed.

    Lengths are jittered by ±10 % before sorting, so that no two epochs have the same batches.
    """
    rng = random.Random(runtime.derive_seed("batches", seed))
    jittered = [length * rng.uniform(0.9, 1.1) for length in lengths]
    order = sorted(range(len(lengths)), key=lambda index: (jittered[index], index))
    batches = [order[start : start + batch_size] for start in range(0, len(order), batch_size)]
    rng.shuffle(batches)
    return batches
