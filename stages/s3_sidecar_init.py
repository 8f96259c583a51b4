"""s3_sidecar_init: an empty [T, 0] sidecar for every token file of data/tokens/ → data/sidecar_init/.

Without arguments the stage of the pipeline; alone on any folder:

    python stages/s3_sidecar_init.py --audio-root TOKENS [--cond-root SIDECARS]
"""

import argparse
from pathlib import Path

from soundraft import files, stage
from soundraft.manifest import QUARANTINE_NAME, check_bad_fraction
from soundraft.params import load_params
from soundraft.params.options import add_key, params_given
from soundraft.sidecar import features, listing
from soundraft.tracking import stage_run

TOKENS = Path("data/tokens")
OUT = Path("data/sidecar_init")


def pipeline() -> None:
    params = load_params()
    with stage_run("s3_sidecar_init", params.leaves()) as tracker, files.building(OUT) as out:
        for source in files.folders(TOKENS):
            done = features.create_sidecars(source, out / source.name, dtype=params.sidecar.dtype, skip_errors=True)
            files.write_jsonl(out / source.name / QUARANTINE_NAME, map(vars, done.rejected))
            check_bad_fraction(done.made, done.rejected, params.limits.max_bad_fraction)
            tracker.metrics({f"{source.name}_clips": done.made, f"{source.name}_rejected": len(done.rejected)})
            print(f"s3_sidecar_init: {source.name}: {done.made} sidecars, {len(done.rejected)} clips rejected")
    print(f"s3_sidecar_init: made {OUT}/; s4_sidecar_add fills them")


def alone(args: argparse.Namespace) -> None:
    tokens_root, cond_root = listing.folders(args)
    done = features.create_sidecars(
        tokens_root, cond_root, dtype=params_given(args).sidecar.dtype, suffix=args.suffix,
        overwrite=args.overwrite, skip_errors=args.skip_errors, shard=listing.Shard(args.shard_index, args.shard_count),
    )  # fmt: skip
    for bad in done.rejected:
        print(f"SKIPPED {bad.path}: {bad.reason}")
    if args.manifest_csv:
        features.write_table(args.manifest_csv, done, args.suffix)
        print(f"s3_sidecar_init: {args.manifest_csv} lists them")
    print(f"s3_sidecar_init: {done.made} made, {done.kept} kept, {len(done.rejected)} skipped, in {cond_root}")
    print(f"next: python stages/s4_sidecar_add.py --audio-root {tokens_root} --cond-root {cond_root} --list-producers")


def options() -> argparse.ArgumentParser:
    parser = stage.parser(__doc__)
    listing.add_folder_options(parser)
    add_key(parser, "sidecar.dtype")
    parser.add_argument("--overwrite", action="store_true", help="Make sidecars again that exist.")
    table = f"Write a table of the sidecars: {', '.join(features.COLUMNS)}."
    parser.add_argument("--manifest-csv", type=Path, metavar="FILE", help=table)
    listing.add_skip_option(parser)
    return parser


if __name__ == "__main__":
    stage.run_either(pipeline, alone, options)
