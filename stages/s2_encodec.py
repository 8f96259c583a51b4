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
from soundraft.audio.tokenize import Encoding
from soundraft.manifest import MANIFEST_NAME, find_clips, read_manifest
from soundraft.params import BANDWIDTHS_KBPS, load_params
from soundraft.tracking import stage_run

SOURCE = Path("data/normalized")
OUT = Path("data/tokens")


def main() -> None:
    params = load_params()
    encoding = Encoding(**params.encodec.model_dump(), device=runtime.device_name())
    with stage_run("s2_encodec", params.leaves()) as tracker:
        for source in files.folders(SOURCE):
            clips = read_manifest(source / MANIFEST_NAME)
            limit = params.limits.max_bad_fraction
            done = tokenize.encode_clips(clips, source, OUT / source.name, encoding, max_bad_fraction=limit, owned=True)
            tracker.metrics({f"{source.name}_{key}": value for key, value in vars(done).items()})
            tell(source.name, done)


def alone(given: argparse.Namespace) -> None:
    encoding = Encoding(
        checkpoint=given.checkpoint,
        revision=given.revision,
        bandwidth_kbps=given.bandwidth,
        container=given.container,
        suffix=given.suffix,
        device=runtime.device_name() if given.device == "auto" else given.device,
    )
    clips = find_clips(given.source, io.AUDIO_SUFFIXES, recursive=given.recursive)
    if given.dry_run or given.list_missing:
        show_plan(tokenize.plan(clips, given.source, given.out, encoding, overwrite=given.overwrite), given)
        return
    done = tokenize.encode_clips(
        clips, given.source, given.out, encoding, max_bad_fraction=given.max_bad_fraction, overwrite=given.overwrite
    )
    tell(str(given.source), done)
    if given.verify:
        compared = tokenize.verify(given.source, given.out, encoding, samples=given.verify_samples)
        print(f"s2_encodec: encoded {compared} clips again, one by one: the same codes")
    print(f"s2_encodec: next: python stages/s3_sidecar_init.py --audio-root {given.out}")


def show_plan(plan: tokenize.Plan, given: argparse.Namespace) -> None:
    if given.dry_run:
        for verb, clips in (("SKIP", plan.skip), ("WRITE", plan.write)):
            for clip in clips:
                print(f"{verb} {clip.audio_path}")
        print(f"s2_encodec: would write {len(plan.write)} and skip {len(plan.skip)}")
    if given.list_missing:
        for verb, paths in (("MISSING", plan.missing), ("ORPHAN", plan.orphans)):
            for path in paths:
                print(f"{verb} {path}")
        print(f"s2_encodec: {len(plan.missing)} token files are missing, {len(plan.orphans)} have no audio")


def tell(name: str, done: tokenize.EncodeSummary) -> None:
    print(
        f"s2_encodec: {name}: {done.clips} clips, {done.frames} frames, {done.made} made anew, {done.removed} removed; "
        f"{done.rejected} set aside (quarantine.jsonl)"
    )


def options() -> argparse.ArgumentParser:
    default = stage.defaults().encodec
    parser = stage.parser(__doc__)
    parser.add_argument("source", type=Path, metavar="IN", help="folder of 24 kHz mono audio, as s1 makes it")
    parser.add_argument("out", type=Path, metavar="OUT", help="folder for the token files; made when absent")
    parser.add_argument(
        "--checkpoint", default=default.checkpoint, help="tiny, a hub id, or a local folder (%(default)s)"
    )
    parser.add_argument("--revision", default=default.revision, help="commit, tag or branch of a hub id")
    parser.add_argument(
        "--bandwidth", type=float, choices=BANDWIDTHS_KBPS, default=default.bandwidth_kbps, help="kbps (%(default)s)"
    )
    parser.add_argument(
        "--container", choices=["esf", "encodec"], default=default.container, help="kind of .ecdc file (%(default)s)"
    )
    parser.add_argument(
        "--recursive", action=argparse.BooleanOptionalAction, default=True, help="nested folders too (yes)"
    )
    parser.add_argument("--overwrite", action="store_true", help="encode everything again")
    parser.add_argument("--suffix", default=".ecdc", help="ending of the token files (%(default)s)")
    parser.add_argument("--device", choices=["auto", "cuda", "cpu"], default="auto", help="auto: a GPU if there is one")
    parser.add_argument("--dry-run", action="store_true", help="print SKIP or WRITE per file, and write nothing")
    parser.add_argument("--list-missing", action="store_true", help="print missing and orphan tokens; write nothing")
    parser.add_argument("--verify", action="store_true", help="afterwards encode some clips again, alone, and compare")
    parser.add_argument("--verify-samples", type=int, default=20, help="so many of them (%(default)s)")
    stage.add_max_bad_fraction(parser)
    return parser


if __name__ == "__main__":
    stage.run_either(main, alone, options)
