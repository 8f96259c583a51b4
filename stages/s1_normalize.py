"""s1_normalize: any rate, level and channel count → mono WAV at one rate and loudness, in data/normalized/."""

from pathlib import Path

from soundraft import files, stage
from soundraft.audio.normalize import normalize_corpus
from soundraft.params import load_params
from soundraft.tracking import stage_run

SOURCE = Path("data/raw")
OUT = Path("data/normalized")


def main() -> None:
    params = load_params()
    options = params.normalize.model_dump()
    with stage_run("s1_normalize", params.leaves()) as tracker, files.building(OUT) as out:
        for source in sorted(path for path in SOURCE.iterdir() if path.is_dir()):
            done = normalize_corpus(
                source, out / source.name, max_bad_fraction=params.limits.max_bad_fraction, **options
            )
            tracker.metrics({f"{source.name}_{key}": value for key, value in vars(done).items()})
            print(
                f"s1_normalize: {source.name}: {done.clips} clips, {done.hours:.2f} h; {done.rejected} set aside, "
                f"gain limited on {done.limited}"
            )


if __name__ == "__main__":
    stage.run(main)
