"""The record of a cycle: every sample with its reward and fate (parquet), and the numbers of the whole."""

from collections import defaultdict
from collections.abc import Sequence
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
    """Flat numbers of one cycle. Samples without a reward are counted and left out of the averages."""
    scored = [sample for sample in result.samples if sample.reward is not None]
    best: dict[int, float] = defaultdict(float)
    for sample in scored:
        best[sample.clip] = max(best[sample.clip], sample.reward or 0.0)
    kept = [sample for sample in scored if sample.kept]
    return {
        "reward_mean": fmean(sample.reward or 0.0 for sample in scored),
        "reward_best": fmean(best.values()),
        "reward_kept": fmean(sample.reward or 0.0 for sample in kept),
        "success_rate": fmean(sample.success for sample in scored),
        "kept": len(kept),
        "not_scorable": len(result.samples) - len(scored),
        "loss": result.fit.mean_loss,
        "steps": result.fit.steps,
        "learning_rate": result.learning_rate,
    }
