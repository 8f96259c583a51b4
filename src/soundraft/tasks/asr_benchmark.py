"""How good and how fast a recogniser is, on recordings as they are."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from soundraft import runtime
from soundraft.audio.features import AudioProcessor
from soundraft.clips import recordings
from soundraft.corpora.base import AudioSample
from soundraft.evaluation.benchmark import Speed, measure
from soundraft.evaluation.scores import Estimate
from soundraft.manifest import Rejected, check_bad_fraction
from soundraft.metrics.resampling import Bootstrap
from soundraft.metrics.text import NORMALIZERS
from soundraft.models import Recognizer
from soundraft.params.sections import Params
from soundraft.tasks import asr
from soundraft.tasks.plan import gpu_peak_bytes


@dataclass(frozen=True)
class Benchmark:
    """What was measured.

    Attributes:
        wer, cer: pooled over the clips, with 95 % bootstrap intervals over them.
        speed: on the first `timed` of the clips.
    """

    clips: int
    audio_s: float
    wer: Estimate
    cer: Estimate
    speed: Speed
    timed: int
    parameters: int
    device: str
    rejected: list[Rejected]

    def numbers(self) -> dict[str, Any]:
        """Flat, for a file."""
        memory = {"peak_memory_gib": runtime.peak_memory_bytes() / 2**30}
        gpu = gpu_peak_bytes()
        return {
            "clips": self.clips,
            "audio_s": self.audio_s,
            **self.wer.numbers(),
            **self.cer.numbers(),
            **vars(self.speed),
            "batched_throughput": 1 / self.speed.batched_real_time_factor,
            "timed_clips": self.timed,
            "parameters": self.parameters,
            "device": self.device,
            **memory,
            **({} if gpu is None else {"peak_gpu_memory_gib": gpu / 2**30}),
        }

    def rows(self) -> list[tuple[str, str]]:
        """Names and values for a person."""
        speed, numbers = self.speed, self.numbers()
        memory = f"{numbers['peak_memory_gib']:.2f} GiB"
        if "peak_gpu_memory_gib" in numbers:
            memory += f", {numbers['peak_gpu_memory_gib']:.2f} GiB on the GPU"
        return [
            ("clips", f"{self.clips:,}, {self.audio_s:,.0f} s of audio, {len(self.rejected)} set aside"),
            ("WER [95 % interval]", str(self.wer)),
            ("CER [95 % interval]", str(self.cer)),
            ("real-time factor", f"{speed.real_time_factor:.4f} one by one, {self.timed} clips, on {self.device}"),
            ("latency", f"p50 {1000 * speed.latency_p50_s:.0f} ms, p95 {1000 * speed.latency_p95_s:.0f} ms a clip"),
            (
                "throughput",
                f"{numbers['batched_throughput']:.1f} s of audio a second, in batches of {speed.batch_clips}",
            ),
            ("peak memory", memory),
            ("parameters", f"{self.parameters:,}"),
        ]


def benchmark(recognizer: Recognizer, samples: Sequence[AudioSample], params: Params) -> Benchmark:
    """Score and time a recogniser.

    Raises:
        UserError: when a larger share of the clips is bad than `limits.max_bad_fraction` allows.
    """
    normalizer, options = params.reward.normalizer, params.benchmark
    loaded = recordings.load(samples, recognizer, NORMALIZERS[normalizer], title="benchmark")
    check_bad_fraction(len(loaded.clips), loaded.rejected, params.limits.max_bad_fraction)
    scored = asr.recognize(recognizer, loaded.clips, normalizer=normalizer, title="recognise")
    bad = {item.id for item in loaded.rejected}
    processor = AudioProcessor(recognizer.sample_rate_hz, normalize=False, max_duration=None)
    timed = [sample for sample in samples if recordings.name_of(sample) not in bad][: options.clips]
    waves = [recordings.wave_of(sample, processor) for sample in timed]
    speed = measure(recognizer, waves, warmup=options.warmup, repeats=options.repeats)
    bootstrap = Bootstrap(params.evaluate.bootstrap_samples, params.seed)
    return Benchmark(
        clips=len(loaded.clips),
        audio_s=sum(loaded.durations_s),
        wer=scored.estimate("wer", bootstrap),
        cer=scored.estimate("cer", bootstrap),
        speed=speed,
        timed=len(timed),
        parameters=sum(weights.numel() for weights in recognizer.model.parameters()),
        device=str(runtime.device()),
        rejected=loaded.rejected,
    )
