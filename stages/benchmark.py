"""benchmark: quality of the start model before RAFT → reports/benchmark/; its speed and memory on this machine.

Speed is printed, tracked and left in reports/machine/benchmark.json. It is no DVC out: two runs never take the same
time, and a clock in an out would make every dvc.lock different.
"""

from pathlib import Path

from soundraft import files, models, runtime, stage
from soundraft.audio import io
from soundraft.dataset.loader import open_split
from soundraft.evaluation.benchmark import measure
from soundraft.params import load_params
from soundraft.tasks import asr
from soundraft.tracking import stage_run

MODEL = Path("models/base")
DATASET = Path("data/dataset")
OUT = Path("reports/benchmark")
MACHINE_OUT = Path("reports/machine/benchmark.json")


def main() -> None:
    params = load_params()
    options = params.benchmark
    normalizer = params.reward.normalizer
    with stage_run("benchmark", params.leaves()) as tracker, files.building(OUT) as out:
        recognizer = models.load_recognizer(MODEL)
        quality: dict[str, float] = {}
        for corpus in ("start", "target"):
            clips = asr.load_clips(DATASET / corpus, "validation", recognizer, normalizer=normalizer)
            scored = asr.recognize(recognizer, clips, normalizer=normalizer, title=f"validate {corpus}")
            quality |= {f"wer_{corpus}_validation": scored.wer, f"cer_{corpus}_validation": scored.cer}
        table = open_split(DATASET / "target", "validation").select_columns("wav")
        rows = table.select(range(min(options.clips, len(table))))
        waves = [io.decode(row["wav"]["bytes"], recognizer.sample_rate_hz) for row in rows]
        speed = vars(measure(recognizer, waves, warmup=options.warmup, repeats=options.repeats))
        machine = speed | {"peak_memory_gib": runtime.peak_memory_bytes() / 2**30}
        files.write_json(out / "metrics.json", quality)
        files.write_json(MACHINE_OUT, machine)
        tracker.metrics(quality | machine)
    print(
        f"benchmark: WER start {quality['wer_start_validation']:.1%}, target {quality['wer_target_validation']:.1%} "
        f"(validation); real-time factor {machine['real_time_factor']:.4f} one by one, "
        f"{machine['batched_real_time_factor']:.4f} batched; latency p50 {1000 * machine['latency_p50_s']:.0f} ms, "
        f"p95 {1000 * machine['latency_p95_s']:.0f} ms"
    )


if __name__ == "__main__":
    stage.run(main)
