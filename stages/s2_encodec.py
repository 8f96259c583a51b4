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
from soundraft.params import load_params
from soundraft.tracking import stage_run

SOURCE = Path("data/normalized")
OUT = Path("data/tokens")


def main() -> None:
    params = load_params()
    encoding = Encoding(**params.encodec.model_dump(), device=runtime.device_name())
    with stage_run("s2_encodec", params.leaves()) as tracker:
        sources = files.folders(SOURCE)
        files.remove_other_folders(OUT, [source.name for source in sources])
        for source in sources:
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
    if not given.recursive:
        stage.check_has_no_manifest(given.source, "--no-recursive")
    clips = find_clips(given.source, io.AUDIO_SUFFIXES, recursive=given.recursive)
    if given.dry_run or given.list_missing:
        plan = tokenize.plan(clips, given.source, given.out, encoding, overwrite=given.overwrite)
        lines = plan.dry_run() if given.dry_run else []
        print("\n".join(lines + (plan.list_missing() if given.list_missing else [])))
        return
    done = tokenize.encode_clips(
        clips, given.source, given.out, encoding, max_bad_fraction=given.max_bad_fraction, overwrite=given.overwrite
    )
    tell(str(given.source), done)
    if given.verify:
        compared = tokenize.verify(given.source, given.out, encoding, samples=given.verify_samples)
        print(f"s2_encodec: encoded {compared} clips again, one by one: the same codes")
    print(f"s2_encodec: next: python stages/s3_sidecar_init.py --audio-root {given.out}")


def tell(name: str, done: tokenize.EncodeSummary) -> None:
    print(
        f"s2_encodec: {name}: {done.clips} clips, {done.frames} frames, {done.made} made anew, {done.removed} removed; "
        f"{done.rejected} set aside (quarantine.jsonl)"
    )


def options() -> argparse.ArgumentParser:
    parser = stage.parser(__doc__)
    tokenize.add_options(parser, stage.defaults().encodec)
    stage.add_max_bad_fraction(parser)
    return parser


if __name__ == "__main__":
    stage.run_either(main, alone, options)
