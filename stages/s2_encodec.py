"""s2_encodec: normalised audio → EnCodec tokens, 75 frames a second, and tokens.jsonl with the frames of each file.

Without arguments: data/normalized/{start,target} → data/tokens, as in params.yaml. With arguments: any two folders.
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
from soundraft.params import load_params
from soundraft.params.options import add_key, add_keys, params_given
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
    params = params_given(given)
    if not given.recursive:
        stage.check_has_no_manifest(given.source, "--no-recursive")
    clips = find_clips(given.source, io.AUDIO_SUFFIXES, recursive=given.recursive)
    device = runtime.device_name() if given.device == "auto" else given.device
    encoder = Encoder(given.source, given.out, params.encodec, suffix=given.suffix, device=device)
    if given.dry_run or given.list_missing:
        report_plan(tokenize.plan(clips, encoder, overwrite=given.overwrite), given)
        return
    limit = params.limits.max_bad_fraction
    done = tokenize.encode_clips(clips, encoder, max_bad_fraction=limit, overwrite=given.overwrite)
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
    add = parser.add_argument
    add("source", type=Path, metavar="IN", help="Folder of 24 kHz mono audio, as s1 makes it.")
    add("out", type=Path, metavar="OUT", help="Folder for the token files; made when absent.")
    add_keys(parser, "encodec.checkpoint", "encodec.revision", "encodec.container", "limits.max_bad_fraction")
    add_key(parser, "encodec.bandwidth_kbps", flag="--bandwidth")
    add("--recursive", action=argparse.BooleanOptionalAction, default=True, help="Nested folders too (default: yes).")
    add("--overwrite", action="store_true", help="Encode everything again.")
    add("--suffix", default=".ecdc", help="Ending of the token files (default: %(default)s).")
    add("--device", choices=["auto", "cuda", "cpu"], default="auto", help="auto: a GPU if there is one.")
    add("--dry-run", action="store_true", help="Print SKIP or WRITE per file, and write nothing.")
    add("--list-missing", action="store_true", help="Print missing and orphan tokens; write nothing.")
    add("--verify", action="store_true", help="Afterwards encode some clips again, alone, and compare.")
    add("--verify-samples", type=int, default=20, help="How many of them (default: %(default)s).")
    return parser


if __name__ == "__main__":
    stage.run_either(main, alone, options)
