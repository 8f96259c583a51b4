"""s1_normalize: any rate, depth and channel count → mono WAV at one rate and one loudness.

data/raw/{start,target} → data/normalized, as in params.yaml; with arguments `soundraft s1`, on any two folders:

    python stages/s1_normalize.py IN OUT --target-rms 0.1 --window-ms 250
"""

from pathlib import Path

from soundraft import files, stage
from soundraft.audio.normalize import normalize_clips
from soundraft.manifest import MANIFEST_NAME, read_manifest
from soundraft.params import load_params
from soundraft.tracking import stage_run

SOURCE = Path("data/raw")
OUT = Path("data/normalized")


def main() -> None:
    params = load_params()
    with stage_run("s1_normalize", params.leaves()) as tracker:
        sources = files.folders(SOURCE)
        files.remove_other_folders(OUT, [source.name for source in sources])
        for source in sources:
            done = normalize_clips(
                read_manifest(source / MANIFEST_NAME), source, OUT / source.name, params.normalize,
                max_bad_fraction=params.limits.max_bad_fraction, owned=True,
            )  # fmt: skip
            tracker.metrics({f"{source.name}_{key}": value for key, value in vars(done).items()})
            print(f"s1_normalize: {source.name}: {done}")
    files.write_contents(OUT)


if __name__ == "__main__":
    stage.run_either(main, "s1", SOURCE)
