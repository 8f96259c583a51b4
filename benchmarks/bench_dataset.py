"""s5 over 3,000 clips of 0.5 s, as a process of its own with all imports, against the way `datasets` goes.

    python benchmarks/bench_dataset.py

The baseline writes the same tables through `Dataset.from_generator` and `save_to_disk`, and copies the same token files
and sidecars; it checks nothing, hashes nothing and writes no card. A changed clip costs s5 what all clips cost: it
starts from nothing every time. Last line: the memory of 5,000 clips against that of 500 (Linux).
"""

import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
from timing import compare, report, scratch

from soundraft import files
from soundraft.audio import ecdc, io
from soundraft.audio.ecdc import TokenFile, write_index
from soundraft.manifest import SPLITS, Clip, write_manifest
from soundraft.params import defaults
from soundraft.sidecar import audit, format

CLIPS = 3000
REPEATS = 3
SAMPLES = 12000
ROOT = Path(__file__).resolve().parents[1]
STAGE = ROOT / "stages/s5_build_dataset.py"
BASELINE = """
import json, shutil, sys
from pathlib import Path
from datasets import Audio, Dataset, DatasetDict, disable_progress_bars

disable_progress_bars()
source, out = Path("data"), Path("baseline")
shutil.rmtree(out, ignore_errors=True)
rows = [json.loads(line) for line in (source / "normalized/start/manifest.jsonl").read_text().splitlines()]

def generate(split):
    for row in rows:
        if row["split"] == split:
            name = row["audio_path"].removesuffix(".wav")
            wav = (source / "normalized/start" / row["audio_path"]).read_bytes()
            names = json.loads((source / f"sidecars/start/{name}.cond.json").read_text())["names"]
            for kind, ending in (("tokens", "ecdc"), ("sidecars", "cond.npy"), ("sidecars", "cond.json")):
                target = out / kind / f"{name}.{ending}"
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(source / f"{kind}/start/{name}.{ending}", target)
            yield {"id": row["id"], "wav": {"bytes": wav, "path": row["audio_path"]}, "audio": f"tokens/{name}.ecdc",
                   "cond": f"cond/{name}.cond.npy", "text": row["text"], "speaker": row["speaker"], "features": names}

splits = ("train", "validation", "test")
made = DatasetDict({split: Dataset.from_generator(generate, cache_dir="cache", gen_kwargs={"split": split})
                    for split in splits})
made.save_to_disk(out / "tables")
shutil.rmtree("cache")
"""


def make_corpus(root: Path, clips: int) -> None:
    """What s1 to s4 and the audit leave for one corpus."""
    rng = np.random.default_rng(0)
    wavs, tokens, cond = (root / f"data/{kind}/start" for kind in ("normalized", "tokens", "sidecars"))
    rows, listed = [], []
    for index in range(clips):
        split = SPLITS[max(0, index % 10 - 7)]
        name, frames = f"{split}/clip{index:05d}", ecdc.frames_of(SAMPLES)
        io.write_wav(wavs / f"{name}.wav", rng.uniform(-0.1, 0.1, SAMPLES).astype(np.float32), ecdc.SAMPLE_RATE_HZ)
        codes = ecdc.Tokens(rng.integers(0, ecdc.CODEBOOK_SIZE, (8, frames)), SAMPLES)
        files.write_bytes(tokens / f"{name}.ecdc", ecdc.esf_bytes(codes))
        sidecar = format.Sidecar(rng.normal(size=(frames, 2)).astype(np.float16), ("rms_db", "f0"))
        format.write(f"{cond}/{name}.cond.npy", sidecar)
        rows.append(TokenFile(f"{name}.ecdc", f"{name}.wav", frames, 8, SAMPLES))
        listed.append(
            Clip(id=f"{index:05d}", audio_path=f"{name}.wav", text=f"text {index}", duration=0.5, sample_rate=24000,
                 speaker="s", split=split)
        )  # fmt: skip
    write_index(tokens, rows)
    write_manifest(wavs, listed, [])
    expected = audit.Expectations(defaults().audit)
    audit.write_summary(root / "reports/audit/start.json", audit.audit(tokens, cond, expected))
    (root / "params.yaml").write_bytes((ROOT / "params.yaml").read_bytes())


def run(folder: Path, *command: str) -> str:
    environment = os.environ | {"PYTHONPATH": str(ROOT / "src"), "SOUNDRAFT_TRACKING": "off"}
    done = subprocess.run(
        [sys.executable, *command], cwd=folder, env=environment, check=True, capture_output=True, text=True
    )
    return done.stdout


def peak_mib(folder: Path, clips: int) -> int:
    make_corpus(folder, clips)
    show = "import sys, runpy; sys.argv = sys.argv[1:]; runpy.run_path(sys.argv[0], run_name='__main__'); "
    show += "print(open('/proc/self/status').read())"
    peak = re.search(r"VmHWM:\s*(\d+) kB", run(folder, "-c", show, str(STAGE)))  # ru_maxrss starts at the parent's
    assert peak is not None
    return int(peak[1]) // 1024


def main() -> None:
    with scratch() as folder:
        make_corpus(folder / "speed", CLIPS)
        ours_s, baseline_s = compare(
            lambda: run(folder / "speed", str(STAGE)), lambda: run(folder / "speed", "-c", BASELINE), repeats=REPEATS
        )
        few, many = peak_mib(folder / "few", 500), peak_mib(folder / "many", 5000)
    print(f"s5 over {CLIPS} clips: {ours_s:.2f} s; datasets and copies, unchecked: {baseline_s:.2f} s")
    report(f"s5 with one changed clip among {CLIPS}, with imports", ours_s, "s", 2, at_least=False)
    print(f"memory of s5: {few} MiB for 500 clips")
    report("5,000 clips against 500", many / few, "×", 1.25, at_least=False)


if __name__ == "__main__":
    main()
