"""s1_normalize: any rate, depth and channel count → mono WAV at one rate and one loudness.

Without arguments: data/raw/{start,target} → data/normalized, as in params.yaml. With arguments: any two folders.
Files that are there already, from the same recordings by the same code, stay; other files of an earlier run are
removed from OUT.

    python stages/s1_normalize.py IN OUT --target-rms 0.1 --window-ms 250
"""

import argparse
from pathlib import Path

from soundraft import files, stage
from soundraft.audio import io, loudness
from soundraft.audio.normalize import NormalizeSummary, normalize_clips
from soundraft.manifest import MANIFEST_NAME, find_clips, read_manifest
from soundraft.params import defaults, load_params
from soundraft.params.options import add_key, add_keys, params_given
from soundraft.tracking import stage_run

SOURCE = Path("data/raw")
OUT = Path("data/normalized")


def main() -> None:
    params = load_params()
    with stage_run("s1_normalize", params.leaves()) as tracker:
        sources = files.folders(SOURCE)
        files.remove_other_folders(OUT, [source.name for source in sources])
        for source in sources:
            done = normalize_clips(
                read_manifest(source / MANIFEST_NAME), source, OUT / source.name, params.normalize,
                max_bad_fraction=params.limits.max_bad_fraction, owned=True,
            )  # fmt: skip
            tracker.metrics({f"{source.name}_{key}": value for key, value in vars(done).items()})
            report(source.name, done)


def alone(given: argparse.Namespace) -> None:
    params = params_given(given)
    if given.extensions is not None:
        stage.check_has_no_manifest(given.source, "--extensions")
    clips = find_clips(given.source, [f".{suffix.lstrip('.')}" for suffix in given.extensions or io.AUDIO_SUFFIXES])
    limit = params.limits.max_bad_fraction
    report(str(given.source), normalize_clips(clips, given.source, given.out, params.normalize, max_bad_fraction=limit))
    print(f"s1_normalize: next: python stages/s2_encodec.py {given.out} TOKENS_DIR")


def report(name: str, done: NormalizeSummary) -> None:
    print(
        f"s1_normalize: {name}: {done.clips} clips, {done.hours:.2f} h, {done.made} made, {done.removed} removed; "
        f"{done.rejected} rejected (quarantine.jsonl), gain limited on {done.limited}, {done.clipped} clipped"
    )


def options() -> argparse.ArgumentParser:
    level = defaults().normalize
    parser = stage.parser(__doc__)
    add = parser.add_argument
    add("source", type=Path, metavar="IN", help="Folder of recordings, or of a manifest.jsonl.")
    add("out", type=Path, metavar="OUT", help="Folder for the normalised files; made when absent.")
    rms, window_ms = round(loudness.db_to_gain(level.target_db), 6), round(1000 * level.window_s)
    add("--target-rms", type=lambda text: loudness.gain_to_db(float(text)), dest="normalize.target_db", metavar="RMS",
        help=f"RMS of the loudest window; full scale is 1 (default: {rms})")  # fmt: skip
    add("--window-ms", type=lambda text: float(text) / 1000, dest="normalize.window_s", metavar="MS",
        help=f"Length of the window (default: {window_ms})")  # fmt: skip
    add("--extensions", nargs="+", help="File endings, in any case (default: all that can be read).")
    add_key(parser, "normalize.sample_rate_hz", flag="--sample-rate")
    add_key(parser, "normalize.min_duration_s", flag="--min-duration")
    add_keys(parser, "normalize.silence_db", "normalize.on_clipping", "limits.max_bad_fraction")
    return parser


if __name__ == "__main__":
    stage.run_either(main, alone, options)
