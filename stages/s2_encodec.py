"""s2_encodec: normalised audio → EnCodec tokens, 75 frames a second, and tokens.jsonl with the frames of each file.

Without arguments: data/normalized/{start,target} → data/tokens, as params.yaml says. With arguments: any two folders.
Token files that are there already, from the same audio by the same model, stay; other files of an earlier run are
removed from OUT.

    python stages/s2_encodec.py IN OUT --bandwidth 6.0
"""

import argparse
from pathlib import Path

from soundraft import files, runtime, stage
from soundraft.audio import io, tokenize
from soundraft.audio.tokenize import Encoder
from soundraft.manifest import MANIFEST_NAME, find_clips, read_manifest
from soundraft.params import checked_section, load_params
from soundraft.params.sections import Encodec
from soundraft.tracking import stage_run

SOURCE = Path("data/normalized")
OUT = Path("data/tokens")


def main() -> None:
    params = load_params()
    with stage_run("s2_encodec", params.leaves()) as tracker:
        sources = files.folders(SOURCE)
        files.remove_other_folders(OUT, [source.name for source in sources])
        for source in sources:
            encoder = Encoder(source, OUT / source.name, params.encodec, device=runtime.device_name())
            clips = read_manifest(source / MANIFEST_NAME)
            limit = params.limits.max_bad_fraction
            done = tokenize.encode_clips(clips, encoder, max_bad_fraction=limit, owned=True)
            tracker.metrics({f"{source.name}_{key}": value for key, value in vars(done).items()})
            report(source.name, done)


def alone(given: argparse.Namespace) -> None:
    options = checked_section(
        Encodec,
        checkpoint=given.checkpoint,
        revision=given.revision,
        bandwidth_kbps=given.bandwidth,
        container=given.container,
    )
    if not given.recursive:
        stage.check_has_no_manifest(given.source, "--no-recursive")
    clips = find_clips(given.source, io.AUDIO_SUFFIXES, recursive=given.recursive)
    device = runtime.device_name() if given.device == "auto" else given.device
    encoder = Encoder(given.source, given.out, options, suffix=given.suffix, device=device)
    if given.dry_run or given.list_missing:
        report_plan(tokenize.plan(clips, encoder, overwrite=given.overwrite), given)
        return
    done = tokenize.encode_clips(clips, encoder, max_bad_fraction=given.max_bad_fraction, overwrite=given.overwrite)
    report(str(given.source), done)
    if given.verify:
        compared = tokenize.verify(encoder, samples=given.verify_samples)
        print(f"s2_encodec: encoded {compared} clips again, one by one: the same codes")
    print(f"s2_encodec: next: python stages/s3_sidecar_init.py --audio-root {given.out}")


def report_plan(plan: tokenize.Plan, given: argparse.Namespace) -> None:
    if given.dry_run:
        lines = [f"SKIP {clip.audio_path}" for clip in plan.skip] + [f"WRITE {clip.audio_path}" for clip in plan.write]
        print("\n".join([*lines, f"s2_encodec: would write {len(plan.write)} and skip {len(plan.skip)}"]))
    if given.list_missing:
        lines = [f"MISSING {path}" for path in plan.missing] + [f"ORPHAN {path}" for path in plan.orphans]
        counts = f"{len(plan.missing)} token files are missing, {len(plan.orphans)} have no audio"
        print("\n".join([*lines, f"s2_encodec: {counts}"]))


def report(name: str, done: tokenize.EncodeSummary) -> None:
    print(
        f"s2_encodec: {name}: {done.clips} clips, {done.frames} frames, {done.made} made, {done.removed} removed; "
        f"{done.rejected} rejected (quarantine.jsonl)"
    )


def options() -> argparse.ArgumentParser:
    parser = stage.parser(__doc__)
    tokenize.add_options(parser, stage.defaults().encodec)
    stage.add_max_bad_fraction(parser)
    return parser


if __name__ == "__main__":
    stage.run_either(main, alone, options)
