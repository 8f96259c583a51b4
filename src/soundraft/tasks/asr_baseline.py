"""Speech recognition before RAFT: quality of the start model, its speed and memory on this machine."""

from pathlib import Path
from typing import Any

from soundraft import models, runtime
from soundraft.audio import io
from soundraft.dataset.loader import open_split
from soundraft.evaluation.benchmark import measure
from soundraft.params.sections import Params
from soundraft.tasks import asr


def baseline(params: Params, model: Path, dataset: Path) -> tuple[dict[str, float], dict[str, Any], str]:
    """Quality, what the machine has to do with it, and both for a person."""
    options = params.benchmark
    normalizer = params.reward.normalizer
    recognizer = models.load_recognizer(model)
    quality: dict[str, float] = {}
    for corpus in ("start", "target"):
        clips = asr.load_clips(dataset / corpus, "validation", recognizer, normalizer=normalizer)
        scored = asr.recognize(recognizer, clips, normalizer=normalizer, title=f"validate {corpus}")
        quality |= {f"wer_{corpus}_validation": scored.wer, f"cer_{corpus}_validation": scored.cer}
    table = open_split(dataset / "target", "validation").select_columns("wav")
    rows = table.select(range(min(options.clips, len(table))))
    waves = [io.decode(row["wav"]["bytes"], recognizer.sample_rate_hz) for row in rows]
    speed = vars(measure(recognizer, waves, warmup=options.warmup, repeats=options.repeats))
    machine = speed | {"peak_memory_gib": runtime.peak_memory_bytes() / 2**30}
    told = (
        f"WER start {quality['wer_start_validation']:.1%}, target {quality['wer_target_validation']:.1%} "
        f"(validation); real-time factor {machine['real_time_factor']:.4f} one by one, "
        f"{machine['batched_real_time_factor']:.4f} batched; latency p50 {1000 * machine['latency_p50_s']:.0f} ms, "
        f"p95 {1000 * machine['latency_p95_s']:.0f} ms"
    )
    return quality, machine, told
