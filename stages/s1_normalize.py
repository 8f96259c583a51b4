"""s1_normalize: any rate, depth and channel count → mono WAV at one rate and one loudness.

Without arguments: data/raw/{start,target} → data/normalized, as params.yaml says. With arguments: any two folders.
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
from soundraft.params import checked_section, load_params
from soundraft.params.sections import Normalize
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
    options = checked_section(
        Normalize,
        sample_rate_hz=given.sample_rate,
        target_db=loudness.gain_to_db(given.target_rms),
        window_s=given.window_ms / 1000,
        silence_db=given.silence_db,
        min_duration_s=given.min_duration,
        on_clipping=given.on_clipping,
    )
    if given.extensions is not None:
        stage.check_has_no_manifest(given.source, "--extensions")
    clips = find_clips(given.source, [f".{suffix.lstrip('.')}" for suffix in given.extensions or io.AUDIO_SUFFIXES])
    done = normalize_clips(clips, given.source, given.out, options, max_bad_fraction=given.max_bad_fraction)
    report(str(given.source), done)
    print(f"s1_normalize: next: python stages/s2_encodec.py {given.out} TOKENS_DIR")


def report(name: str, done: NormalizeSummary) -> None:
    print(
        f"s1_normalize: {name}: {done.clips} clips, {done.hours:.2f} h, {done.made} made, {done.removed} removed; "
        f"{done.rejected} rejected (quarantine.jsonl), gain limited on {done.limited}, {done.clipped} clipped"
    )


def options() -> argparse.ArgumentParser:
    level = stage.defaults().normalize
    parser = stage.parser(__doc__)
    parser.add_argument("source", type=Path, metavar="IN", help="folder of recordings, or of a manifest.jsonl")
    parser.add_argument("out", type=Path, metavar="OUT", help="folder for the normalised files; made when absent")
    rms = round(loudness.db_to_gain(level.target_db), 6)
    parser.add_argument(
        "--target-rms", type=float, default=rms, help="RMS of the loudest window, full scale is 1 (%(default)s)"
    )
    parser.add_argument("--window-ms", type=float, default=1000 * level.window_s, help="its length (%(default)s)")
    parser.add_argument("--extensions", nargs="+", help="file endings, in any case (all that can be read)")
    parser.add_argument("--sample-rate", type=int, default=level.sample_rate_hz, help="Hz of the output (%(default)s)")
    parser.add_argument(
        "--silence-db", type=float, default=level.silence_db, help="clips below it are rejected, dBFS (%(default)s)"
    )
    parser.add_argument(
        "--min-duration", type=float, default=level.min_duration_s, help="shorter clips are rejected, s (%(default)s)"
    )
    help_text = "limit the gain, or keep it and report what was cut (%(default)s)"
    parser.add_argument("--on-clipping", choices=["limit", "report"], default=level.on_clipping, help=help_text)
    stage.add_max_bad_fraction(parser)
    return parser


if __name__ == "__main__":
    stage.run_either(main, alone, options)
