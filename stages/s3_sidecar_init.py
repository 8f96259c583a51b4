"""s3_sidecar_init: an empty [T, 0] sidecar for every token file of data/tokens/ → data/sidecar_init/.

With arguments `soundraft s3`, on any folder:

    python stages/s3_sidecar_init.py --audio-root TOKENS [--cond-root SIDECARS]
"""

from pathlib import Path

from soundraft import files, stage
from soundraft.manifest import QUARANTINE_NAME, check_bad_fraction
from soundraft.params import load_params
from soundraft.sidecar import features
from soundraft.tracking import stage_run

TOKENS = Path("data/tokens")
OUT = Path("data/sidecar_init")


def main() -> None:
    params = load_params()
    with stage_run("s3_sidecar_init", params.leaves()) as tracker, files.building(OUT) as out:
        for source in files.folders(TOKENS):
            done = features.create_sidecars(
                source, out / source.name, dtype=params.sidecar.dtype, overwrite=True, skip_errors=True, packed=True
            )
            files.write_jsonl(out / source.name / QUARANTINE_NAME, map(vars, done.rejected))
            check_bad_fraction(done.made, done.rejected, params.limits.max_bad_fraction)
            tracker.metrics({f"{source.name}_clips": done.made, f"{source.name}_rejected": len(done.rejected)})
            print(f"s3_sidecar_init: {source.name}: {done.made} sidecars, {len(done.rejected)} clips rejected")
    print(f"s3_sidecar_init: made {OUT}/; s4_sidecar_add fills them")


if __name__ == "__main__":
    stage.run_either(main, "s3", TOKENS)
