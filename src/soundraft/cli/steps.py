"""`soundraft s1` to `s5` and `audit`: the steps from recordings to a dataset, each alone on any folders.

`stages/s1_normalize.py` and its neighbours are the same with arguments, and the stages of the pipeline without any.
"""

import argparse
import re
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from soundraft.cli.options import add_key, add_keys, params_given, positive
from soundraft.runtime import UserError

if TYPE_CHECKING:
    from soundraft.audio.tokenize import Plan

ADOPT = "Work in a folder that has files and no ledger: outputs are made again, other files stay."


def _describe(options: argparse.ArgumentParser, *lines: str) -> None:
    """What a step does, and examples, below the options."""
    options.formatter_class = argparse.RawDescriptionHelpFormatter
    options.epilog = "\n".join(lines)


# s1: recordings → one rate, one level


def s1_options(options: argparse.ArgumentParser) -> None:
    from soundraft.audio import loudness
    from soundraft.params import defaults

    def rms_as_db(text: str) -> float:
        return loudness.gain_to_db(float(text))

    def ms_as_s(text: str) -> float:
        return float(text) / 1000

    level, add = defaults().normalize, options.add_argument
    _describe(
        options,
        "Files in OUT that were made from the same recordings by the same code stay; others of an earlier run go.",
        "",
        "    soundraft s1 IN OUT --target-rms 0.1 --window-ms 250",
    )
    add("source", type=Path, metavar="IN", help="Folder of recordings, or of a manifest.jsonl.")
    add("out", type=Path, metavar="OUT", help="Folder for the normalised files; made when absent.")
    rms, window_ms = round(loudness.db_to_gain(level.target_db), 6), round(1000 * level.window_s)
    add("--target-rms", type=rms_as_db, dest="normalize.target_db", metavar="RMS",
        help=f"RMS of the loudest window; full scale is 1 (default: {rms})")  # fmt: skip
    add("--window-ms", type=ms_as_s, dest="normalize.window_s", metavar="MS",
        help=f"Length of the window (default: {window_ms})")  # fmt: skip
    add("--extensions", nargs="+", help="File endings, in any case (default: all that can be read).")
    add("--adopt", action="store_true", help=ADOPT)
    add_key(options, "normalize.sample_rate_hz", flag="--sample-rate")
    add_key(options, "normalize.min_duration_s", flag="--min-duration")
    add_keys(options, "normalize.silence_db", "normalize.on_clipping", "limits.max_bad_fraction")


def s1(given: argparse.Namespace) -> None:
    from soundraft.audio import io
    from soundraft.audio.normalize import normalize_clips
    from soundraft.manifest import find_clips

    params = params_given(given)
    endings = given.extensions and [f".{ending.lstrip('.')}" for ending in given.extensions]
    clips = find_clips(given.source, io.AUDIO_SUFFIXES, chosen=endings)
    limit = params.limits.max_bad_fraction
    done = normalize_clips(clips, given.source, given.out, params.normalize, max_bad_fraction=limit, adopt=given.adopt)
    print(f"{given.source}: {done}")
    print(f"next: soundraft s2 {given.out} TOKENS")


# s2: normalised audio → tokens


def s2_options(options: argparse.ArgumentParser) -> None:
    _describe(
        options,
        "Token files in OUT that were made from the same audio by the same model stay; others of an earlier run go.",
        "",
        "    soundraft s2 IN OUT --bandwidth 6.0",
    )
    add = options.add_argument
    add("source", type=Path, metavar="IN", help="Folder of 24 kHz mono audio, as s1 makes it.")
    add("out", type=Path, metavar="OUT", help="Folder for the token files; made when absent.")
    add_keys(options, "encodec.checkpoint", "encodec.revision", "encodec.container", "limits.max_bad_fraction")
    add_key(options, "encodec.bandwidth_kbps", flag="--bandwidth")
    add("--recursive", action=argparse.BooleanOptionalAction, default=True, help="Nested folders too (default: yes).")
    add("--overwrite", action="store_true", help="Encode everything again.")
    add("--adopt", action="store_true", help=ADOPT)
    add("--suffix", default=".ecdc", help="Ending of the token files (default: %(default)s).")
    add("--device", choices=["auto", "cuda", "cpu"], default="auto", help="auto: a GPU if there is one.")
    add("--dry-run", action="store_true", help="Print SKIP or WRITE per file, and write nothing.")
    add("--list-missing", action="store_true", help="Print missing and orphan tokens; write nothing.")
    add("--verify", action="store_true", help="Encode some clips of OUT again, alone, and compare.")
    add("--verify-samples", type=int, default=20, help="How many of them (default: %(default)s).")


def s2(given: argparse.Namespace) -> None:
    from soundraft import runtime
    from soundraft.audio import io, tokenize
    from soundraft.manifest import find_clips

    params = params_given(given)
    clips = find_clips(given.source, io.AUDIO_SUFFIXES, recursive=given.recursive)
    device = str(runtime.device("" if given.device == "auto" else given.device))
    encoder = tokenize.Encoder(given.source, given.out, params.encodec, suffix=given.suffix, device=device)
    looks = given.dry_run or given.list_missing
    if looks:
        print("\n".join(_plan_lines(tokenize.plan(clips, encoder, overwrite=given.overwrite), given)))
    else:
        limit = params.limits.max_bad_fraction
        done = tokenize.encode_clips(
            clips, encoder, max_bad_fraction=limit, overwrite=given.overwrite, adopt=given.adopt
        )
        print(f"{given.source}: {done}")
    if given.verify:
        compared = tokenize.verify(encoder, samples=given.verify_samples)
        print(f"encoded {compared} clips again, one by one: the same codes" if compared else "no tokens to verify yet")
    if not looks:
        print(f"next: soundraft s3 --audio-root {given.out}")


def _plan_lines(plan: "Plan", given: argparse.Namespace) -> list[str]:
    lines = []
    if given.dry_run:
        lines += [f"SKIP {clip.audio_path}" for clip in plan.skip] + [f"WRITE {clip.audio_path}" for clip in plan.write]
        lines.append(f"would write {len(plan.write)} and skip {len(plan.skip)}")
    if given.list_missing:
        lines += [f"MISSING {path}" for path in plan.missing] + [f"ORPHAN {path}" for path in plan.orphans]
        lines.append(f"{len(plan.missing)} token files are missing, {len(plan.orphans)} have no audio")
    return lines


# s3: an empty sidecar for each token file


def _add_folders(options: argparse.ArgumentParser, *, required: bool = True) -> None:
    """The options that s3, s4 and audit share."""
    from soundraft.sidecar import format

    add = options.add_argument
    add("--audio-root", type=Path, required=required, metavar="FOLDER", help="Where the .ecdc files are.")
    add("--cond-root", type=Path, metavar="FOLDER", help="Where the sidecars are (default: beside the .ecdc).")
    add("--suffix", default=format.SUFFIX, help="Ending of the sidecars (default: %(default)s).")
    add("--shard-index", type=int, default=0, metavar="I", help="Take part I of the clips, from 0 (default: 0).")
    add("--shard-count", type=int, default=1, metavar="N", help="Of so many parts (default: 1).")


def s3_options(options: argparse.ArgumentParser) -> None:
    from soundraft.sidecar import features, format

    _describe(options, "    soundraft s3 --audio-root TOKENS --cond-root SIDECARS")
    _add_folders(options)
    add_key(options, "sidecar.dtype")
    add = options.add_argument
    add("--schema", type=int, choices=format.SCHEMAS, default=1, help="Of their json (default: %(default)s).")
    add("--overwrite", action="store_true", help="Make sidecars again that exist.")
    table = f"Write a table of the sidecars: {', '.join(features.COLUMNS)}."
    add("--manifest-csv", type=Path, metavar="FILE", help=table)
    add("--skip-errors", action="store_true", help="Name bad clips and go on with the others.")


def s3(given: argparse.Namespace) -> None:
    from soundraft.sidecar import features
    from soundraft.sidecar.listing import Shard

    root, cond_root = given.audio_root, given.cond_root or given.audio_root
    done = features.create_sidecars(
        root, cond_root, dtype=params_given(given).sidecar.dtype, schema=given.schema, suffix=given.suffix,
        overwrite=given.overwrite, skip_errors=given.skip_errors, shard=Shard(given.shard_index, given.shard_count),
    )  # fmt: skip
    for bad in done.rejected:
        print(f"SKIPPED {bad.path}: {bad.reason}")
    if given.manifest_csv:
        features.write_table(given.manifest_csv, done, given.suffix)
        print(f"{given.manifest_csv} lists them")
    print(f"{done.made} made, {done.kept} kept, {len(done.rejected)} skipped, in {cond_root}")
    print(f"next: soundraft s4 --audio-root {root} --cond-root {cond_root} --list-producers")


# s4: features → columns of the sidecars


def _add_producers(options: argparse.ArgumentParser) -> None:
    from soundraft.params import defaults

    add = options.add_argument
    add("--producer", action="append", default=[], metavar="NAME",
        help="A built-in one, a file or its name in the folder, or a dotted module; repeatable.")  # fmt: skip
    add("--producers-dir", type=Path, default=Path(defaults().sidecar.producers_dir), metavar="FOLDER",
        help="Folder of your own producers (default: %(default)s).")  # fmt: skip
    add("--list-producers", action="store_true", help="List them; executes none of your files.")
    add("--show-producer", action="append", metavar="NAME", help="Describe one and its options; repeatable.")


def s4_options(options: argparse.ArgumentParser, words: list[str]) -> None:
    """With the options of the producers that the command line names."""
    from typing import get_args

    from soundraft.params import defaults
    from soundraft.sidecar import features, format, producers

    _describe(
        options,
        "    soundraft s4 --audio-root TOKENS --cond-root SIDECARS --producer lin --lin position=0:1",
        "    soundraft s4 --producer lin --help",
    )
    first = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    _add_producers(first)
    named, _ = first.parse_known_args(words)
    options.allow_abbrev = False
    _add_producers(options)
    _add_folders(options, required=not (named.list_producers or named.show_producer))
    add, dtype = options.add_argument, defaults().sidecar.dtype
    add("--mode", choices=get_args(features.Mode), default="append",
        help="Of the columns that are there append keeps all, overwrite replaces those of the same name, replace-all "
        "removes all (default: %(default)s).")  # fmt: skip
    add("--create-missing", action="store_const", const=dtype, help=f"Make sidecars that are missing ({dtype}).")
    add("--dtype", choices=format.DTYPES, help="Number format (default: as each sidecar has it).")
    add("--schema", type=int, choices=format.SCHEMAS, help="Of the json (default: as each sidecar has it).")
    add("--skip-errors", action="store_true", help="Name bad clips and go on with the others.")
    producers.add_options(options, producers.load_all(named.producer, named.producers_dir))


def s4(given: argparse.Namespace) -> None:
    from soundraft.sidecar import features, producers
    from soundraft.sidecar.listing import Shard

    if given.list_producers:
        for name, place, about in producers.listed(given.producers_dir):
            print(f"{name:16}{about} ({place})")
        return
    if given.show_producer:
        print("\n\n".join(producers.described(producers.load(n, given.producers_dir)) for n in given.show_producer))
        return
    if not given.producer:
        raise UserError("no --producer is named; --list-producers shows what there is")
    root, cond_root = given.audio_root, given.cond_root or given.audio_root
    print("".join(f"{note}\n" for note in producers.notes(given.producer, given.producers_dir)), end="")
    done = features.add_features(features.FeaturePass(
        root, cond_root, cond_root, tuple(given.producer), given.producers_dir, given, given.mode, given.dtype,
        given.schema, given.suffix, given.create_missing, given.skip_errors,
    ), shard=Shard(given.shard_index, given.shard_count))  # fmt: skip
    print("\n".join(done.lines()))
    print(f"next: soundraft audit --audio-root {root} --cond-root {cond_root} --verify-ranges")


# audit: sidecars against their token files


def audit_options(options: argparse.ArgumentParser) -> None:
    from soundraft.audio import ecdc
    from soundraft.sidecar import audit, format

    _describe(options, "    soundraft audit --audio-root TOKENS --cond-root SIDECARS --require rms_db --verify-ranges")
    _add_folders(options)
    add = options.add_argument
    add("--expect-fps", type=int, default=ecdc.FRAMES_PER_S, help="Frames per second (default: %(default)s).")
    add("--expect-dtype", choices=format.DTYPES, help="Number format (default: any).")
    add_key(options, "audit.require", comma=",")
    add_key(options, "audit.verify_ranges")
    add_key(options, "audit.range_tolerance", flag="--range-tol")
    add_key(options, "audit.fail_on", comma=",")
    add("--list", type=_list_length, default=50, metavar="N|all", help="Findings to print (default: %(default)s).")
    add("--export-csv", type=Path, metavar="FILE", help=f"Write all findings: {', '.join(audit.COLUMNS)}.")


def _list_length(text: str) -> int | None:
    if text != "all" and not text.isdigit():
        raise argparse.ArgumentTypeError(f"{text!r} is neither a number nor all")
    return None if text == "all" else int(text)


def audit(given: argparse.Namespace) -> None:
    from soundraft.params import changed
    from soundraft.sidecar import audit
    from soundraft.sidecar.listing import Shard

    root, cond_root = given.audio_root, given.cond_root or given.audio_root
    params = changed(params_given(given), {"audit.max_failing_fraction": 0.0})
    expected = audit.Expectations(params.audit, given.expect_dtype, given.expect_fps)
    shard = Shard(given.shard_index, given.shard_count)
    done = audit.audit(root, cond_root, expected, suffix=given.suffix, shard=shard)
    for item in done.findings[: given.list]:
        print(f"{item.type}: {item.rel_ecdc}: {item.detail}")
    if given.export_csv:
        audit.write_table(given.export_csv, done)
        print(f"{given.export_csv} has all findings")
    print("\n".join(done.lines()))
    audit.check(done)
    print(f"passed; next: soundraft s5 {root} DATASET --cond-root {cond_root}")


# s5: audio, tokens and sidecars → a dataset


def s5_options(options: argparse.ArgumentParser) -> None:
    from typing import get_args

    from soundraft.dataset.rows import Layout
    from soundraft.params.sections import Materialize
    from soundraft.sidecar import format

    _describe(options, "    soundraft s5 TOKENS DATASET --cond-root SIDECARS --materialize embed --verify")
    add = options.add_argument
    add("tokens", type=Path, metavar="TOKENS_DIR", help="Folder of token files, as s2 makes it.")
    add("out", type=Path, metavar="OUT_DIR", help="The dataset; one that is there is replaced.")
    add("--split", type=_split_name, default="train", help="Of all clips, or of those whose manifest names none.")
    add("--suffix", default=".ecdc", help="Ending of the token files (default: %(default)s).")
    add("--recursive", action=argparse.BooleanOptionalAction, default=True, help="Nested folders too (default: yes).")
    add("--max-files", type=positive, metavar="N", help="Take the first N token files only.")
    add("--tokens-subdir", default="tokens", metavar="NAME", help="Folder in the dataset that takes the token files.")
    add("--materialize", choices=get_args(Materialize), default="link",
        help="How token files and sidecars come into the dataset (default: %(default)s).")  # fmt: skip
    add("--layout", choices=get_args(Layout), default="cond",
        help="Sidecars in the folder cond (default), or beside the token files (esf).")  # fmt: skip
    add("--verify", action="store_true", help="Afterwards compare every file with what the tables and the card say.")
    add("--cond-root", type=Path, metavar="FOLDER", help="Where the sidecars are (default: beside the token files).")
    add("--cond-suffix", type=format.check_suffix, default=format.SUFFIX, help="Ending of the sidecars.")
    add("--no-cond", action="store_true", help="Make the dataset without sidecars.")
    add("--wav-root", type=Path, metavar="FOLDER", help="Audio for the tables (default: the manifest's folder).")
    add("--manifest", type=Path, metavar="FILE", help="manifest.jsonl of the audio: texts, speakers, splits.")
    add("--codec", default="", metavar="NAME", help="The codec's checkpoint, for the card.")
    add_keys(options, "limits.max_bad_fraction")


def _split_name(text: str) -> str:
    """A split's name as `datasets` allows it."""
    from soundraft.dataset.table import SPLIT_NAME

    if not re.fullmatch(SPLIT_NAME, text):
        raise argparse.ArgumentTypeError(f"{text!r} is no name of a split: letters, digits and _")
    return text


def s5(given: argparse.Namespace) -> None:
    from soundraft import files
    from soundraft.dataset import build, verify
    from soundraft.dataset.rows import Form, Sources

    wavs = given.wav_root or (given.manifest and given.manifest.parent)
    cond = None if given.no_cond else given.cond_root or given.tokens
    sources = Sources(
        given.tokens, cond, wavs, given.manifest, given.cond_suffix, given.suffix, given.recursive, given.max_files
    )
    form = Form(
        given.out.name, given.materialize, given.tokens_subdir, given.codec, split=given.split, layout=given.layout
    )
    build.check_replaceable(given.out, sources)
    if cond == given.tokens and not given.cond_root and not files.sorted_names(cond, [given.cond_suffix]):
        sources = replace(sources, cond=None)
        print(f"no sidecar (*{given.cond_suffix}) lies beside the token files: the dataset has none; "
              "--cond-root FOLDER names their folder")  # fmt: skip
    limit = params_given(given).limits.max_bad_fraction
    with files.building(given.out) as out:
        done = build.build_dataset(sources, out, form, max_bad_fraction=limit, home=given.out)
        build.check_keeps_splits(given.out, list(done.splits))
    for bad in done.rejected:
        print(f"SKIPPED {bad.path}: {bad.reason}")
    print(f"{given.out}: {done}")
    if given.verify:
        print(f"verified {verify.check(given.out)} clips: files, frames and hashes are as stated")
    print(f"next: soundraft inspect {given.out} --split {next(iter(done.splits))}")
