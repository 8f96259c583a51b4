"""audit: checks every sidecar against its description and its token file: data/sidecars/ → reports/audit/.

Without arguments the stage of the pipeline; alone on any folder:

    python stages/audit.py --audio-root TOKENS --cond-root SIDECARS --require rms_db --verify-ranges
"""

import argparse
from pathlib import Path

from soundraft import files, stage
from soundraft.audio import ecdc
from soundraft.params import changed, load_params
from soundraft.params.options import add_key, params_given
from soundraft.sidecar import audit, format, listing
from soundraft.tracking import stage_run

TOKENS = Path("data/tokens")
SIDECARS = Path("data/sidecars")
OUT = Path("reports/audit")


def pipeline() -> None:
    params = load_params()
    expected = audit.Expectations(params.audit, dtype=params.sidecar.dtype)
    found = {}
    with stage_run("audit", params.leaves()) as tracker:
        with files.building(OUT) as out:
            for tokens in files.folders(TOKENS):
                done = found[tokens.name] = audit.audit(tokens, SIDECARS / tokens.name, expected)
                audit.write_table(out / f"{tokens.name}.csv", done)
                audit.write_summary(out / f"{tokens.name}.json", done)
                tracker.metrics({f"{tokens.name}_{code}": count for code, count in done.counts.items()})
                report(f"audit: {tokens.name}", done)
        for done in found.values():  # after the reports are in their place, so that a failing one can be read
            audit.check(done)
    print(f"audit: passed; {OUT}/ has the findings; s5_build_dataset makes the dataset")


def alone(args: argparse.Namespace) -> None:
    tokens_root, cond_root = listing.folders(args)
    params = changed(params_given(args), {"audit.max_failing_fraction": 0.0})
    expected = audit.Expectations(params.audit, args.expect_dtype, args.expect_fps)
    shard = listing.Shard(args.shard_index, args.shard_count)
    done = audit.audit(tokens_root, cond_root, expected, suffix=args.suffix, shard=shard)
    for item in done.findings[: args.list]:
        print(f"{item.type}: {item.rel_ecdc}: {item.detail}")
    if args.export_csv:
        audit.write_table(args.export_csv, done)
        print(f"audit: {args.export_csv} has all findings")
    report("audit", done)
    audit.check(done)
    print("audit: passed; next: stages/s5_build_dataset.py")


def report(title: str, done: audit.Audited) -> None:
    counts = ", ".join(f"{code} {count}" for code, count in done.counts.items()) or "no findings"
    print(f"{title}: {done.clips} clips: {counts}")
    if done.orphans:
        print(f"{title}: {len(done.orphans)} files without a token file, such as {done.orphans[0]}")


def options() -> argparse.ArgumentParser:
    parser = stage.parser(__doc__)
    listing.add_folder_options(parser)
    add = parser.add_argument
    add("--expect-fps", type=int, default=ecdc.FRAMES_PER_S, help="Frames per second (default: %(default)s).")
    add("--expect-dtype", choices=format.DTYPES, help="Number format (default: any).")
    add_key(parser, "audit.require", comma=",")
    add_key(parser, "audit.verify_ranges")
    add_key(parser, "audit.range_tolerance", flag="--range-tol")
    add_key(parser, "audit.fail_on", comma=",")
    add("--list", type=list_length, default=50, metavar="N|all", help="Findings to print (default: %(default)s).")
    add("--export-csv", type=Path, metavar="FILE", help=f"Write all findings: {', '.join(audit.COLUMNS)}.")
    return parser


def list_length(text: str) -> int | None:
    if text != "all" and not text.isdigit():
        raise argparse.ArgumentTypeError(f"{text!r} is neither a number nor all")
    return None if text == "all" else int(text)


if __name__ == "__main__":
    stage.run_either(pipeline, alone, options)
