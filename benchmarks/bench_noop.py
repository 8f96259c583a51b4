"""`dvc repro` when nothing has changed, beside `dvc --version`; and how it grows with the number of clips.

    python benchmarks/bench_noop.py

The pipeline's own dvc.yaml over folders of the shape that its stages leave, with short files in them: what they hold
costs DVC nothing here, how many they are does. 6,900 clips are those of the default experiment.
"""

import shutil
import subprocess
from pathlib import Path
from statistics import median

import yaml
from timing import report, scratch, seconds

from soundraft import files, packs

ROOT = Path(__file__).resolve().parents[1]
COPIED = ("dvc.yaml", "params.yaml", "cycles.yaml", ".dvcignore", "src", "stages", "checkpoints", "paramproducers")
CLIPS = (1000, 6900, 20000, 50000)
TARGETS_S = {6900: 4.0, 50000: 15.0}
REPEATS = 3


def main() -> None:
    version_s = median(seconds(lambda: run(ROOT, "dvc", "--version")) for _ in range(REPEATS))
    print(f"dvc --version: {version_s:.2f} s")
    for clips in CLIPS:
        with scratch() as folder:
            make(folder, clips)
            took_s = median(seconds(lambda f=folder: run(f, "dvc", "repro")) for _ in range(REPEATS))
        name = f"dvc repro, nothing to do, {clips} clips ({took_s / version_s:.1f} × dvc --version)"
        if clips in TARGETS_S:
            report(name, took_s, "s", TARGETS_S[clips], at_least=False)
        else:
            print(f"{name}: {took_s:.2f} s", flush=True)


def make(folder: Path, clips: int) -> None:
    """A repository whose outs are all there and recorded."""
    for name in COPIED:
        place = ROOT / name
        (shutil.copytree if place.is_dir() else shutil.copy)(place, folder / name)
    run(folder, "git", "init", "--quiet")
    run(folder, "dvc", "init", "--quiet")
    stages = yaml.safe_load((folder / "dvc.yaml").read_text(encoding="utf-8"))["stages"]
    cycles = yaml.safe_load((folder / "cycles.yaml").read_text(encoding="utf-8"))["cycles"].values()
    for stage in stages.values():
        for out in stage.get("outs") or stage["do"]["outs"]:
            name = out if isinstance(out, str) else next(iter(out))
            for item in cycles if "${item" in name else [{}]:
                fill(folder, name.replace("${item.cycle}", item.get("cycle", "")), clips)
    for name in stages:
        files.write_json(folder / f".gate/imports/{name}.json", {})
    run(folder, "dvc", "commit", "--force", "--quiet")


def fill(folder: Path, out: str, clips: int) -> None:
    """An out as its stage leaves it: audio as loose files, token files and sidecars packed, the rest a few files."""
    place = folder / out
    if out == ".gate/params":
        files.write_text(place, "")
    elif out in ("data/raw", "data/normalized"):
        for number in range(clips):
            files.write_bytes(place / f"start/train/{number:05d}.wav", f"{number} {out}".encode())
    elif out in ("data/tokens", "data/sidecar_init", "data/sidecars"):
        for corpus in ("start", "target"):
            files.write_bytes(place / corpus / "clip.ecdc", out.encode())
            packs.pack(place / corpus, [".ecdc"])
    else:
        files.write_text(place / "made.txt", out)
    if out.startswith("data/"):
        for name in ("contents.txt", "train.txt", "validation.txt", "test.txt"):
            files.write_text(place / name, out)
    if out == "data/dataset":
        for split in ("train", "validation"):
            files.write_text(place / "start" / split / "data.arrow", split)
    if out == "data/plan":
        for chain in ("raft_train", "controls"):
            for number in range(1, 13):
                files.write_text(place / chain / f"{number:02d}.json", "")


def run(folder: Path, *command: str) -> None:
    subprocess.run(command, cwd=folder, check=True, capture_output=True)


if __name__ == "__main__":
    main()
