"""s3 and s4 (const, lin, from_filename) over 3,000 clips, against opening every token file with torch.

    python benchmarks/bench_sidecars.py

Counted for ours: both stages as the pipeline calls them, token index read, 3,000 pairs of files packed by s3, read and
packed by s4, in a process that has them imported. Counted for the baseline: two fresh processes, since the public
scripts of s3 and s4 are two; each imports torch and loads every token file, and does nothing else: it writes no sidecar
and computes no feature. Both work in memory where the system has /dev/shm: creating a file took 0.02–0.7 ms on the disk
of the machine this was written on, whatever is written. Last line: ours as two fresh processes too, with all imports.
"""

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
from timing import compare, report, seconds

from soundraft import files
from soundraft.audio import ecdc
from soundraft.audio.ecdc import TokenFile, write_index
from soundraft.sidecar.features import FeaturePass, add_features, create_sidecars
from soundraft.sidecar.producers import DEFAULT_REGEX

CLIPS = 3000
REPEATS = 3
MEMORY = Path("/dev/shm")
ROOT = Path(__file__).resolve().parents[1]
PRODUCERS = ("const", "lin", "from_filename")
LOAD_ALL = """
import sys, torch
from pathlib import Path
for path in Path(sys.argv[1]).glob("*.ecdc"):
    content = torch.load(path, map_location="cpu", weights_only=True)
    content["audio_codes"].shape[-1]
"""


def make_tokens(folder: Path) -> None:
    """Clips of 0.4–0.8 s, 8 codebooks, as s2 writes them."""
    rng = np.random.default_rng(0)
    rows = []
    for index in range(CLIPS):
        frames = int(rng.integers(30, 60))
        tokens = ecdc.Tokens(rng.integers(0, ecdc.CODEBOOK_SIZE, (8, frames)), frames * ecdc.SAMPLES_PER_FRAME)
        name = f"clip{index:04d}_pitch_{rng.uniform(40, 80):.2f}_amp_.{rng.integers(10, 99)}"
        files.write_bytes(folder / f"{name}.ecdc", ecdc.esf_bytes(tokens))
        rows.append(TokenFile(f"{name}.ecdc", f"{name}.wav", frames, 8, tokens.samples))
    write_index(folder, rows)


def ours(tokens: Path, parent: Path) -> None:
    work = Path(tempfile.mkdtemp(dir=parent))
    args = argparse.Namespace(
        audio_root=tokens, const=[("gain", 0.5)], lin=[("position", 0.0, 1.0)], from_filename=True,
        filename_regex=DEFAULT_REGEX,
    )  # fmt: skip
    with files.building(work / "init") as out:
        create_sidecars(tokens, out, dtype="float16", overwrite=True, packed=True)
    with files.building(work / "sidecars") as out:
        done = add_features(FeaturePass(tokens, work / "init", out, PRODUCERS, Path(), args, packed=True))
    assert done.features == dict.fromkeys(("gain", "position", "pitch", "amp"), CLIPS)


def ours_fresh(tokens: Path, cond: Path) -> None:
    folders = ["--audio-root", str(tokens), "--cond-root", str(cond)]
    options = ["--producer", "const", "--const", "gain=.5", "--producer", "lin", "--lin", "position=0:1"]
    for script, more in (
        ("s3_sidecar_init", ["--overwrite"]),
        ("s4_sidecar_add", [*options, "--producer", "from_filename"]),
    ):
        subprocess.run([sys.executable, ROOT / f"stages/{script}.py", *folders, *more], check=True, capture_output=True)


def baseline(tokens: Path) -> None:
    for _ in ("s3", "s4"):
        subprocess.run([sys.executable, "-c", LOAD_ALL, str(tokens)], check=True)


def main() -> None:
    with tempfile.TemporaryDirectory(dir=MEMORY if MEMORY.is_dir() else None) as folder:
        tokens = Path(folder) / "tokens"
        make_tokens(tokens)
        ours_s, baseline_s = compare(lambda: ours(tokens, Path(folder)), lambda: baseline(tokens), repeats=REPEATS)
        fresh_s = seconds(lambda: ours_fresh(tokens, Path(folder) / "cond"))
    print(
        f"s3 + s4 over {CLIPS} clips: {ours_s:.2f} s; two processes that import torch and load all: {baseline_s:.2f} s"
    )
    report("s3 + s4 against loading every token file with torch", baseline_s / ours_s, "×", 20)
    print(f"both as scripts of their own, with imports, in place: {fresh_s:.2f} s, {baseline_s / fresh_s:.1f} ×")


if __name__ == "__main__":
    main()
