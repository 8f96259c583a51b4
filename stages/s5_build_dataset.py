"""s5_build_dataset: normalised clips with text → data/dataset/{start,target}, a Hugging Face DatasetDict each."""

from pathlib import Path

from soundraft import files, stage
from soundraft.dataset.build import build_dataset
from soundraft.params import load_params
from soundraft.tracking import stage_run

SOURCE = Path("data/normalized")
OUT = Path("data/dataset")


def main() -> None:
    params = load_params()
    with stage_run("s5_build_dataset", params.leaves()) as tracker, files.building(OUT) as out:
        for source in files.folders(SOURCE):
            counts = build_dataset(source, out / source.name, max_bad_fraction=params.limits.max_bad_fraction)
            tracker.metrics({f"{source.name}_{split}": count for split, count in counts.items()})
            sizes = ", ".join(f"{split} {count}" for split, count in counts.items())
            print(f"s5_build_dataset: {source.name}: {sizes}")


if __name__ == "__main__":
    stage.run(main)
