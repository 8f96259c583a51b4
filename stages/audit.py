"""audit: checks every sidecar against its description and its token file: data/sidecars/ → reports/audit/.

With arguments `soundraft audit`, on any folder:

    python stages/audit.py --audio-root TOKENS --cond-root SIDECARS --require rms_db --verify-ranges
"""

from pathlib import Path

from soundraft import files, stage
from soundraft.params import load_params
from soundraft.sidecar import audit
from soundraft.tracking import stage_run

TOKENS = Path("data/tokens")
SIDECARS = Path("data/sidecars")
OUT = Path("reports/audit")


def main() -> None:
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
                print("\n".join(f"audit: {tokens.name}: {line}" for line in done.lines()))
        for done in found.values():  # after the reports are in their place, so that a failing one can be read
            audit.check(done)
    print(f"audit: passed; {OUT}/ has the findings; s5_build_dataset makes the dataset")


if __name__ == "__main__":
    stage.run_either(main, "audit", TOKENS, SIDECARS)
