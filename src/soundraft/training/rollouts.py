"""The record of a cycle: every sample with its reward and fate (parquet), and the numbers of the whole."""

import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

from soundraft import files
from soundraft.dataset.loader import Utterances
from soundraft.training.raft import CycleResult
from soundraft.training.selection import Sample


def write(path: Path, samples: Sequence[Sample], clips: Utterances) -> None:
    """One row per sample: `id, sample, text, reward, <parts…>, success, selected, reason`."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    parts = sorted({name for sample in samples for name in sample.parts})
    columns: dict[str, list[Any]] = {
        "id": [clips.ids[sample.clip] for sample in samples],
        "sample": [sample.number for sample in samples],
        "text": [sample.text for sample in samples],
        "reward": [sample.reward for sample in samples],
        **{name: [sample.parts.get(name) for sample in samples] for name in parts},
        "success": [sample.success for sample in samples],
        "selected": [sample.kept for sample in samples],
        "reason": [sample.reason for sample in samples],
    }
    buffer = pa.BufferOutputStream()
    pq.write_table(pa.table(columns), buffer, compression="zstd")
    files.write_bytes(path, buffer.getvalue().to_pybytes())


def summarize(result: CycleResult) -> dict[str, Any]:
    """Flat numbers of one cycle. Samples without a reward are counted and left out of the averages.

    An average of nothing is `None`: a control may learn texts that its verifier cannot score.
    """
    rewards = {index: sample.reward for index, sample in enumerate(result.samples) if sample.reward is not None}
    best: dict[int, float] = {}
    for index, reward in rewards.items():
        clip = result.samples[index].clip
        best[clip] = max(best.get(clip, -math.inf), reward)
    kept = {sample.clip for sample in result.samples if sample.kept}
    return {
        "reward_mean": _mean(rewards.values()),
        "reward_best": _mean(best.values()),
        "reward_kept": _mean(reward for index, reward in rewards.items() if result.samples[index].kept),
        "success_rate": _mean(result.samples[index].success for index in rewards),
        "kept_share": len(kept) / len({sample.clip for sample in result.samples}),
        "not_scorable": len(result.samples) - len(rewards),
        "loss": result.fit.mean_loss,
        "learning_rate": result.learning_rate,
    }


def details(result: CycleResult) -> dict[str, float]:
    """More numbers of one cycle, for the tracker: quantiles of the rewards, variety of the samples, speeds.

    `sample_entropy` is the mean over the clips of the entropy, in nats, of the texts that were drawn.
    """
    rewards = sorted(sample.reward for sample in result.samples if sample.reward is not None)
    drawn: dict[int, Counter[str]] = defaultdict(Counter)
    for sample in result.samples:
        drawn[sample.clip][sample.text] += 1
    percents = (10, 50, 90) if rewards else ()
    quantiles = {f"reward_q{percent}": rewards[(len(rewards) - 1) * percent // 100] for percent in percents}
    return quantiles | {
        "sample_entropy": fmean(_entropy(counts.values()) for counts in drawn.values()),
        "sampling_s": result.seconds["sampling"],
        "training_s": result.seconds["training"],
        "sampling_clips_per_s": len(drawn) / result.seconds["sampling"],
        "training_clips_per_s": result.fit.presentations / result.seconds["training"],
    }


def _mean(values: Iterable[float]) -> float | None:
    numbers = list(values)
    return fmean(numbers) if numbers else None


def _entropy(counts: Iterable[int]) -> float:
    numbers = list(counts)
    total = sum(numbers)
    return -sum(number / total * math.log(number / total) for number in numbers)
