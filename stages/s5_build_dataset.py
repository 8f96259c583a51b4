"""s5_build_dataset: audio, tokens and sidecars → data/dataset/{start,target}, a Hugging Face DatasetDict each.

Without arguments the stage of the pipeline; alone on any folder of token files, here with sidecars beside them:

    python stages/s5_build_dataset.py TOKENS OUT --materialize embed --verify
"""

import argparse
import shutil
from pathlib import Path

from soundraft import files, stage
from soundraft.dataset import build, verify
from soundraft.dataset.rows import Form, Sources
from soundraft.manifest import MANIFEST_NAME
from soundraft.params import load_params
from soundraft.params.options import add_keys, params_given
from soundraft.params.tasks import TASKS
from soundraft.tracking import stage_run

AUDIO = Path("data/normalized")
TOKENS = Path("data/tokens")
SIDECARS = Path("data/sidecars")
AUDIT = Path("reports/audit")
OUT = Path("data/dataset")


def pipeline() -> None:
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
            report(name, done)
        if "start" not in task.corpora:  # the start model learns the corpus that its cycles go on with
            shutil.copytree(out / "target", out / "start")


def alone(given: argparse.Namespace) -> None:
    wavs = given.wav_root or (given.manifest and given.manifest.parent)
    cond = None if given.no_cond else given.cond_root or given.tokens
    sources = Sources(given.tokens, cond, wavs, given.manifest, given.cond_suffix, given.suffix, given.recursive)
    form = Form(given.out.name, given.materialize, given.tokens_subdir, given.codec, split=given.split)
    build.check_replaceable(given.out, sources)
    limit = params_given(given).limits.max_bad_fraction
    with files.building(given.out) as out:
        done = build.build_dataset(sources, out, form, max_bad_fraction=limit, home=given.out)
        build.check_keeps_splits(given.out, list(done.splits))
    for bad in done.rejected:
        print(f"SKIPPED {bad.path}: {bad.reason}")
    report(str(given.out), done)
    if given.verify:
        print(f"s5_build_dataset: verified {verify.check(given.out)} clips: files, frames and hashes are as stated")
    print(f"s5_build_dataset: next: soundraft inspect {given.out} --split {next(iter(done.splits))}")


def report(name: str, done: build.Built) -> None:
    sizes = ", ".join(f"{split} {facts.clips}" for split, facts in done.splits.items())
    print(f"s5_build_dataset: {name}: {sizes}; {len(done.rejected)} rejected")


def options() -> argparse.ArgumentParser:
    parser = stage.parser(__doc__)
    build.add_options(parser)
    add_keys(parser, "limits.max_bad_fraction")
    return parser


if __name__ == "__main__":
    stage.run_either(pipeline, alone, options)
