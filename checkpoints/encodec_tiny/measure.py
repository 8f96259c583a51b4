"""How well the codec keeps synthetic speech: mel distance and word errors, by number of codebooks; its speed and size.

    python checkpoints/encodec_tiny/measure.py

Our own recogniser transcribes the original clips, the clips decoded from 1, 2, 4 and 8 codebooks, and, as a control,
the clips decoded from all codebooks with their frames in random order.
"""

import argparse
import math
import time
from collections.abc import Sequence
from pathlib import Path
from sys import stdout

import numpy as np
import torch
from train import mel_distance, read_wave
from transformers import EncodecModel

from soundraft import files, models, stage
from soundraft.audio import codec, io
from soundraft.audio.ecdc import SAMPLE_RATE_HZ
from soundraft.clips.batches import Utterances, best_answers
from soundraft.evaluation.scores import score_texts
from soundraft.manifest import MANIFEST_NAME, read_manifest
from soundraft.metrics.resampling import Bootstrap
from soundraft.metrics.text import NORMALIZERS
from soundraft.parallel import progress_over
from soundraft.params import defaults
from soundraft.runtime import UserError, derive_seed

DEPTHS = (1, 2, 4, 8)
BANDWIDTH_KBPS = 6.0  # all 8 codebooks
BOOTSTRAP_SAMPLES = 2000


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--codec", type=Path, default=Path(__file__).parent, help="default: %(default)s")
    parser.add_argument("--data", type=Path, default=Path("data/normalized/start"), help="default: %(default)s")
    parser.add_argument("--split", default="test", help="default: %(default)s")
    parser.add_argument("--clips", type=int, default=300, help="at most so many; default: %(default)s")
    parser.add_argument("--recognizer", type=Path, default=Path("models/base"), help="default: %(default)s")
    parser.add_argument("--seed", type=int, default=0, help="of the shuffle and the intervals; default: %(default)s")
    return parser.parse_args()


def distance(originals: Sequence[np.ndarray], waves: Sequence[np.ndarray]) -> float:
    """Mel distance over all clips, longer clips counting more."""
    pairs = [(torch.from_numpy(a)[None], torch.from_numpy(b)[None]) for a, b in zip(originals, waves, strict=True)]
    return sum(float(mel_distance(reference=a, decoded=b)) * a.shape[1] for a, b in pairs) / sum(map(len, originals))


@torch.inference_mode()
def codebook_table(model: EncodecModel, waves: Sequence[np.ndarray]) -> str:
    """Of each codebook: perplexity, how many codes it would take, all used equally often; variance explained so far."""
    latents = torch.cat([model.encoder(torch.from_numpy(wave)[None, None])[0].T for wave in waves])  # [F, D]
    residual, variance = latents, float(latents.var(dim=0).sum())
    lines = ["| codebook | perplexity | variance explained so far |", "|---|---|---|"]
    for number, layer in enumerate(model.quantizer.layers, start=1):
        codes = layer.codebook.encode(residual)
        residual = residual - layer.codebook.decode(codes)
        shares = torch.bincount(codes) / len(codes)
        entropy = float(-torch.special.xlogy(shares, shares).sum())
        explained = 1 - float(residual.square().sum(dim=1).mean()) / variance
        lines.append(f"| {number} | {math.exp(entropy):.0f} | {explained:.1%} |")
    return "\n".join(lines)


def main() -> None:
    given = arguments()
    torch.set_num_threads(1)
    recognizer = models.load_recognizer(given.recognizer)
    tiny = codec.load(given.codec)
    clips = [clip for clip in read_manifest(given.data / MANIFEST_NAME) if clip.split == given.split][: given.clips]
    if not clips:
        raise UserError(f"{given.data}: no clip in split {given.split!r}")
    originals = [read_wave(files.inside(given.data, clip.audio_path)) for clip in clips]
    audio_s = sum(map(len, originals)) / SAMPLE_RATE_HZ

    def decoded(codes: Sequence[np.ndarray], depth: int) -> list[np.ndarray]:
        return [tiny.decode(one[:depth])[: len(wave)] for one, wave in zip(codes, originals, strict=True)]

    started = time.perf_counter()
    waves = progress_over(originals, total=len(clips), title="encode", unit="clip")
    codes = [tiny.encode(wave, BANDWIDTH_KBPS) for wave in waves]
    encode_s = time.perf_counter() - started
    versions: dict[str, list[np.ndarray]] = {"original": originals}
    for depth in DEPTHS:
        started = time.perf_counter()
        versions[f"{depth} of 8 codebooks"] = decoded(codes, depth)
        decode_s = time.perf_counter() - started
    seeds = [derive_seed("shuffle", given.seed, clip.id) for clip in clips]
    orders = [
        torch.randperm(one.shape[1], generator=torch.Generator().manual_seed(seed)).numpy()
        for one, seed in zip(codes, seeds, strict=True)
    ]
    shuffled = [one[:, order] for one, order in zip(codes, orders, strict=True)]
    versions["8 codebooks, frames shuffled"] = decoded(shuffled, max(DEPTHS))

    stdout.write("| version | mel distance | WER [95 % interval] |\n|---|---|---|\n")
    for name, made in versions.items():
        features = [recognizer.extract(io.resample(wave, SAMPLE_RATE_HZ, recognizer.sample_rate_hz)) for wave in made]
        ids, references = [clip.id for clip in clips], [clip.text or "" for clip in clips]
        texts = best_answers(recognizer, Utterances(ids, references, features), defaults().decoding, title=name)
        scores = score_texts(ids=ids, references=references, hypotheses=texts, normalizer=NORMALIZERS["basic"])
        wer = scores.estimate("wer", Bootstrap(BOOTSTRAP_SAMPLES, given.seed))
        stdout.write(f"| {name} | {distance(originals, made):.3f} | {wer} |\n")
    size = sum((given.codec / name).stat().st_size for name in ("config.json", "model.safetensors"))
    stdout.write(
        f"\n{codebook_table(tiny.model, originals)}\n\n"
        f"measure: {len(clips)} clips, {audio_s:.0f} s; one core encodes at {audio_s / encode_s:.0f} × real time and "
        f"decodes 8 codebooks at {audio_s / decode_s:.0f} ×; the checkpoint has {size / 1e6:.2f} MB\n"
    )


if __name__ == "__main__":
    stage.run(main)
