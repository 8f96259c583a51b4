"""s4_sidecar_add: features of each clip by producers → columns of its sidecar, data/sidecar_init/ → data/sidecars/.

Without arguments the stage of the pipeline; alone on any folder, in place:

    python stages/s4_sidecar_add.py --audio-root TOKENS --cond-root SIDECARS --producer lin --lin position=0:1
    python stages/s4_sidecar_add.py --list-producers
"""

import argparse
import sys
from pathlib import Path
from typing import Any

from soundraft import files, stage
from soundraft.manifest import MANIFEST_NAME, QUARANTINE_NAME, check_bad_fraction
from soundraft.params import defaults, load_params
from soundraft.runtime import UserError
from soundraft.sidecar import features, listing, producers
from soundraft.tracking import stage_run

TOKENS = Path("data/tokens")
SOURCE = Path("data/sidecar_init")
AUDIO = Path("data/normalized")
OUT = Path("data/sidecars")


def pipeline() -> None:
    params = load_params()
    options = params.sidecar
    folder = Path(options.producers_dir)
    args = features.parse_arguments(options.producers, folder, options.arguments)
    with stage_run("s4_sidecar_add", params.leaves()) as tracker, files.building(OUT) as out:
        for tokens in files.folders(TOKENS):
            audio = AUDIO / tokens.name
            own: dict[str, Any] = {"audio_root": tokens, "wav_root": audio, "manifest": audio / MANIFEST_NAME}
            own |= {"audio_checkpoint": params.encodec.checkpoint, "audio_revision": params.encodec.revision}
            own = vars(args) | {key: value for key, value in own.items() if getattr(args, key, None) is None}
            done = features.add_features(features.FeaturePass(
                tokens, SOURCE / tokens.name, out / tokens.name, tuple(options.producers), folder,
                argparse.Namespace(**own), dtype=options.dtype, skip_errors=True,
            ))  # fmt: skip
            files.write_jsonl(out / tokens.name / QUARANTINE_NAME, map(vars, done.rejected))
            check_bad_fraction(done.clips, done.rejected, params.limits.max_bad_fraction)
            tracker.metrics({f"{tokens.name}_clips": done.clips, f"{tokens.name}_rejected": len(done.rejected)})
            report(f"s4_sidecar_add: {tokens.name}", done)
    print(f"s4_sidecar_add: made {OUT}/; audit checks them")


def alone() -> None:
    params = defaults().sidecar
    args = features.parse_command(sys.argv[1:], dtype=params.dtype, folder=params.producers_dir, about=__doc__)
    if args.list_producers:
        for name, place, about in producers.listed(args.producers_dir):
            print(f"{name:16}{about} ({place})")
    elif args.show_producer:
        print(producers.described(producers.load(args.show_producer, args.producers_dir)))
    elif not args.producer:
        raise UserError("no --producer is named; --list-producers shows what there is")
    else:
        tokens_root, cond_root = listing.folders(args)
        done = features.add_features(features.FeaturePass(
            tokens_root, cond_root, cond_root, tuple(args.producer), args.producers_dir, args, args.mode, args.dtype,
            args.suffix, args.create_missing, args.skip_errors,
        ), shard=listing.Shard(args.shard_index, args.shard_count))  # fmt: skip
        report("s4_sidecar_add", done)
        print(f"next: python stages/audit.py --audio-root {tokens_root} --cond-root {cond_root} --verify-ranges")


def report(title: str, done: features.Added) -> None:
    for bad in done.rejected:
        print(f"SKIPPED {bad.path}: {bad.reason}")
    named = ", ".join(f"{name} ({count})" for name, count in done.features.items()) or "no features"
    print(f"{title}: {done.clips} sidecars with {named}; {len(done.rejected)} clips skipped")


if __name__ == "__main__":
    stage.run(pipeline if len(sys.argv) == 1 else alone)
