"""audit: is every sidecar what it says, and does it fit its token file? data/sidecars/ → reports/audit/.

Without arguments the stage of the pipeline; alone on any folder:

    python stages/audit.py --audio-root TOKENS --cond-root SIDECARS --require rms_db --verify-ranges
"""

import argparse
from pathlib import Path

from soundraft import files, stage
from soundraft.params import checked_section, load_params
from soundraft.params.sections import Audit
from soundraft.sidecar import audit, listing
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
    limits = checked_section(
        Audit, require=args.require, verify_ranges=args.verify_ranges, range_tolerance=args.range_tol,
        fail_on=args.fail_on, max_failing_fraction=0.0,
    )  # fmt: skip
    expected = audit.Expectations(limits, args.expect_dtype, args.expect_fps)
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
    audit.add_options(parser, stage.defaults().audit)
    return parser


if __name__ == "__main__":
    stage.run_either(pipeline, alone, options)
