"""Train the codec of this folder from nothing, on one core.

    python checkpoints/encodec_tiny/train.py

It learns from the train splits of all normalised corpora in a folder, by default those that `make repro` makes.
What it writes holds two files, config.json and model.safetensors; those beside this script were made by the defaults.
"""

import argparse
import time
from pathlib import Path
from sys import stdout

import torch

from soundraft import files, stage
from soundraft.manifest import MANIFEST_NAME, read_manifest
from soundraft.runtime import UserError
from soundraft.training import codec
from soundraft.training.learner import Schedule

WRITTEN = {"config.json", "model.safetensors"}


def options(steps: int) -> codec.CodecOptions:
    return codec.CodecOptions(
        steps=steps,
        continuous_share=0.3,
        batch_clips=8,
        segment_frames=48,
        full_depth_share=0.5,
        schedule=Schedule(peak=2e-3, warmup_share=0.03, final_share=0.02),
        weight_decay=0.0,
        max_grad_norm=1.0,
        wave_weight=0.25,
        commitment_weight=0.1,
        codebook_decay=0.99,
        dead_share=0.05,
        kmeans_frames=20_000,
        kmeans_rounds=8,
    )


def training_clips(data: Path) -> list[Path]:
    """The train clips of every corpus below `data`, corpora in the order of their names."""
    manifests = sorted(data.glob(f"*/{MANIFEST_NAME}"))
    if not manifests:
        raise UserError(f"{data}: no corpus with a {MANIFEST_NAME}; `make repro` makes data/normalized")
    return [
        files.inside(manifest.parent, clip.audio_path)
        for manifest in manifests
        for clip in read_manifest(manifest)
        if clip.split == "train"
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path("data/normalized"), help="default: %(default)s")
    parser.add_argument("--out", type=Path, default=Path("models/encodec_tiny"), help="default: %(default)s")
    parser.add_argument("--steps", type=int, default=7000, help="default: %(default)s")
    parser.add_argument("--seed", type=int, default=0, help="default: %(default)s")
    arguments = parser.parse_args()
    others = {path.name for path in arguments.out.glob("*")} - WRITTEN
    if others:
        raise UserError(f"{arguments.out} would be replaced, and it holds {', '.join(sorted(others))}: give --out")
    torch.set_num_threads(1)  # a sum over two threads has another order, and other weights come of it
    paths = training_clips(arguments.data)
    started = time.monotonic()
    model, report = codec.fit(paths, options(arguments.steps), seed=arguments.seed, title="train codec")
    with files.building(arguments.out) as out:
        codec.save(model, out)
    stdout.write(
        f"train: {report.steps} steps on {len(paths)} clips in {(time.monotonic() - started) / 60:.0f} min; "
        f"loss with codebooks {report.first_loss:.3f} → {report.final_loss:.3f}; wrote {arguments.out}\n"
        f"next: python checkpoints/encodec_tiny/measure.py --codec {arguments.out}\n"
    )


if __name__ == "__main__":
    stage.run(main)
