"""How well the codec keeps synthetic speech: mel distance and words heard, by number of codebooks; its speed and size.

    python checkpoints/encodec_tiny/measure.py

Our own recogniser transcribes the original clips, the clips decoded from 1, 2, 4 and 8 codebooks, and, as a control,
the clips decoded from all codebooks with their frames in random order.
"""

import argparse
import time
from collections.abc import Sequence
from pathlib import Path
from sys import stdout

import numpy as np
import torch

from soundraft import files, models, stage
from soundraft.audio import io
from soundraft.clips.batches import Utterances
from soundraft.manifest import MANIFEST_NAME, Clip, read_manifest
from soundraft.metrics import text as metric
from soundraft.models import Recognizer
from soundraft.parallel import progress_over
from soundraft.runtime import UserError, derive_seed
from soundraft.tasks import asr
from soundraft.training import codebooks, codec

DEPTHS = (1, 2, 4, 8)
BOOTSTRAP_SAMPLES = 2000
NORMALIZER = "basic"


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--codec", type=Path, default=Path(__file__).parent, help="default: %(default)s")
    parser.add_argument("--data", type=Path, default=Path("data/normalized/start"), help="default: %(default)s")
    parser.add_argument("--split", default="test", help="default: %(default)s")
    parser.add_argument("--clips", type=int, default=300, help="at most so many; default: %(default)s")
    parser.add_argument("--recognizer", type=Path, default=Path("models/base"), help="default: %(default)s")
    parser.add_argument("--seed", type=int, default=0, help="of the shuffle and the intervals; default: %(default)s")
    return parser.parse_args()


def shuffled(codes: torch.Tensor, seed: int) -> torch.Tensor:
    """`[K, T]` with its frames in random order."""
    return codes[:, torch.randperm(codes.shape[1], generator=torch.Generator().manual_seed(seed))]


def distance(originals: Sequence[np.ndarray], waves: Sequence[np.ndarray]) -> float:
    """Mel distance over all clips, longer clips counting more."""
    pairs = [(torch.from_numpy(a)[None], torch.from_numpy(b)[None]) for a, b in zip(originals, waves, strict=True)]
    total = sum(float(codec.mel_distance(reference=a, decoded=b)) * a.shape[1] for a, b in pairs)
    return total / sum(map(len, originals))


def row(
    name: str,
    clips: Sequence[Clip],
    originals: Sequence[np.ndarray],
    waves: Sequence[np.ndarray],
    recognizer: Recognizer,
    seed: int,
) -> str:
    """One line of the table: what was heard, how far it is from the original, and the words that were lost."""
    heard = [recognizer.extract(io.resample(wave, codec.RATE_HZ, recognizer.sample_rate_hz)) for wave in waves]
    spoken = Utterances([clip.id for clip in clips], [clip.text or "" for clip in clips], heard)
    scored = asr.recognize(recognizer, spoken, normalizer=NORMALIZER, title=name)
    low, high = metric.bootstrap_interval(scored.words, samples=BOOTSTRAP_SAMPLES, seed=seed)
    return f"| {name} | {distance(originals, waves):.3f} | {scored.wer:.1%} [{low:.1%}–{high:.1%}] |\n"


def main() -> None:
    given = arguments()
    torch.set_num_threads(1)
    recognizer = models.load_recognizer(given.recognizer)
    model = codec.load(given.codec)
    clips = [clip for clip in read_manifest(given.data / MANIFEST_NAME) if clip.split == given.split][: given.clips]
    if not clips:
        raise UserError(f"{given.data}: no clip in split {given.split!r}")
    originals = [codec.read_wave(files.inside(given.data, clip.audio_path)) for clip in clips]
    audio_s = sum(map(len, originals)) / codec.RATE_HZ

    started = time.perf_counter()
    codes = [codec.encode(model, w) for w in progress_over(originals, total=len(clips), title="encode", unit="clip")]
    encode_s = time.perf_counter() - started
    versions: dict[str, list[np.ndarray]] = {"original": originals}
    for depth in DEPTHS:
        started = time.perf_counter()
        versions[f"{depth} of 8 codebooks"] = [
            codec.decode(model, one[:depth], samples=len(wave)) for one, wave in zip(codes, originals, strict=True)
        ]
        decode_s = time.perf_counter() - started
    mixed = [shuffled(one, derive_seed("shuffle", given.seed, clip.id)) for one, clip in zip(codes, clips, strict=True)]
    versions["8 codebooks, frames shuffled"] = [
        codec.decode(model, one, samples=len(wave)) for one, wave in zip(mixed, originals, strict=True)
    ]

    stdout.write("| heard | mel distance | WER [95 % interval] |\n|---|---|---|\n")
    for name, waves in versions.items():
        stdout.write(row(name, clips, originals, waves, recognizer, given.seed))
    stdout.write("\n| codebook | perplexity | variance explained so far |\n|---|---|---|\n")
    for number, use in enumerate(codebooks.codebook_use(model, originals), start=1):
        stdout.write(f"| {number} | {use.perplexity:.0f} | {use.explained:.1%} |\n")
    size = sum((given.codec / name).stat().st_size for name in ("config.json", "model.safetensors"))
    stdout.write(
        f"\nmeasure: {len(clips)} clips, {audio_s:.0f} s; one core encodes at {audio_s / encode_s:.0f} × real time and "
        f"decodes 8 codebooks at {audio_s / decode_s:.0f} ×; the checkpoint has {size / 1e6:.2f} MB\n"
    )


if __name__ == "__main__":
    stage.run(main)
