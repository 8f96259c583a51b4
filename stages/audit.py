"""audit: is every sidecar what it says, and does it fit its token file? data/sidecars/ → reports/audit/.

Without arguments the stage of the pipeline; alone on any folder:

    python stages/audit.py --audio-root TOKENS --cond-root SIDECARS --require rms_db --verify-ranges
"""

import argparse
from pathlib import Path

from soundraft import files, stage
from soundraft.params import load_params
from soundraft.sidecar import audit, listing
from soundraft.tracking import stage_run

TOKENS = Path("data/tokens")
SIDECARS = Path("data/sidecars")
OUT = Path("reports/audit")


def pipeline() -> None:
    params = load_params()
    limits = params.audit
    expected = audit.Expectations(
        dtype=params.sidecar.dtype, require=tuple(limits.require),
        verify_ranges=limits.verify_ranges, range_tolerance=limits.range_tolerance,
    )  # fmt: skip
    found = {}
    with stage_run("audit", params.leaves()) as tracker:
        with files.building(OUT) as out:
            for tokens in files.folders(TOKENS):
                done = found[tokens.name] = audit.audit(tokens, SIDECARS / tokens.name, expected)
                audit.write_table(out / f"{tokens.name}.csv", done)
                summary = out / f"{tokens.name}.json"
                audit.write_summary(summary, done, limits.fail_on, limits.max_failing_fraction)
                tracker.metrics({f"{tokens.name}_{code}": count for code, count in done.counts.items()})
                tell(f"audit: {tokens.name}", done)
        for done in found.values():  # after the reports are in their place, so that a failing one can be read
            audit.check(done, limits.fail_on, limits.max_failing_fraction)
    print(f"audit: passed; {OUT}/ has the findings; s5_build_dataset makes the dataset")


def alone(args: argparse.Namespace) -> None:
    tokens_root, cond_root = listing.folders(args)
    expected = audit.Expectations(
        args.expect_fps, args.expect_dtype, tuple(args.require), args.verify_ranges, args.range_tol
    )
    shard = listing.Shard(args.shard_index, args.shard_count)
    done = audit.audit(tokens_root, cond_root, expected, suffix=args.suffix, shard=shard)
    for item in done.findings[: args.list]:
        print(f"{item.type}: {item.rel_ecdc}: {item.detail}")
    if args.export_csv:
        audit.write_table(args.export_csv, done)
        print(f"audit: {args.export_csv} has all findings")
    tell("audit", done)
    audit.check(done, args.fail_on, 0.0)
    print("audit: passed; next: stages/s5_build_dataset.py")


def tell(title: str, done: audit.Audit) -> None:
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
