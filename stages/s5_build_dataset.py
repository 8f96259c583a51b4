"""s5_build_dataset: audio, tokens and sidecars → data/dataset/{start,target}, a Hugging Face DatasetDict each.

With arguments `soundraft s5`, on any folder of token files, here with sidecars beside them:

    python stages/s5_build_dataset.py TOKENS OUT --materialize embed --verify
"""

import shutil
from pathlib import Path

from soundraft import files, stage
from soundraft.dataset import build
from soundraft.dataset.rows import Form, Sources
from soundraft.manifest import MANIFEST_NAME, SPLITS
from soundraft.params import load_params
from soundraft.params.tasks import TASKS
from soundraft.tracking import stage_run

AUDIO = Path("data/normalized")
TOKENS = Path("data/tokens")
SIDECARS = Path("data/sidecars")
AUDIT = Path("reports/audit")
OUT = Path("data/dataset")


def main() -> None:
    params = load_params()
    task, checkpoint = TASKS[params.task], params.encodec.checkpoint
    # of a local folder only the name: a card may be published
    codec = "@".join(
        filter(None, (Path(checkpoint).name if Path(checkpoint).is_dir() else checkpoint, params.encodec.revision))
    )
    with stage_run("s5_build_dataset", params.leaves()) as tracker, files.building(OUT) as out:
        for audio in files.folders(AUDIO):
            name = audio.name
            sources = Sources(TOKENS / name, SIDECARS / name, audio, audio / MANIFEST_NAME)
            form = Form(name, params.dataset.materialize, codec=codec, needs_text=task.needs_text, all_splits=True)
            done = build.build_dataset(
                sources, out / name, form, max_bad_fraction=params.limits.max_bad_fraction,
                home=OUT / name, audited=AUDIT / f"{name}.json",
            )  # fmt: skip
            tracker.metrics({f"{name}_{split}": facts.clips for split, facts in done.splits.items()})
            print(f"s5_build_dataset: {name}: {done}")
        if "start" not in task.corpora:  # the start model learns the corpus that its cycles go on with
            shutil.copytree(out / "target", out / "start")
        for split in SPLITS:  # what a cycle depends on
            files.write_contents(out, f"{split}.txt", f"*/{split}/*")


if __name__ == "__main__":
    stage.run_either(main, "s5", AUDIO, TOKENS, SIDECARS, AUDIT)
