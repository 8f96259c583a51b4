"""A number that the manifest has for the clip, in every frame: its duration, or what metadata holds."""

import argparse
import math
from pathlib import Path
from typing import Any

import numpy as np

from soundraft.manifest import Clip, read_manifest
from soundraft.parallel import BadClip
from soundraft.runtime import UserError
from soundraft.sidecar.listing import WavNames

_METADATA = "metadata."


def add_cli_args(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--manifest", type=Path, metavar="FILE", help="manifest.jsonl of the audio")
    help_text = "a column with numbers, such as duration or metadata.snr_db (its feature is snr_db); repeatable"
    parser.add_argument("--manifest-column", action="append", default=[], metavar="NAME", help=help_text)


def init(args: argparse.Namespace) -> None:
    if args.manifest is None or not args.manifest_column:
        raise UserError("from_manifest needs --manifest FILE and --manifest-column NAME")
    unknown = [name for name in args.manifest_column if not _is_column(name)]
    if unknown:
        known = ", ".join(name for name in Clip.model_fields if name != "metadata")
        raise UserError(f"--manifest-column {unknown[0]}: there are {known} and metadata.NAME")
    args.clips_by_wav = {clip.audio_path: clip for clip in read_manifest(args.manifest)}
    args.manifest_wavs = WavNames(args.audio_root)


def produce(ecdc_path: Path, T: int, *, args: argparse.Namespace) -> dict[str, np.ndarray]:  # noqa: N803
    wav = args.manifest_wavs(ecdc_path)
    clip = args.clips_by_wav.get(wav)
    if clip is None:
        raise BadClip(f"{args.manifest} has no clip with audio_path {wav}")
    return {
        column.removeprefix(_METADATA): np.full(T, _number(clip, column), np.float32)
        for column in args.manifest_column
    }  # fmt: skip


def _is_column(name: str) -> bool:
    return name != "metadata" and (name in Clip.model_fields or (name.startswith(_METADATA) and name != _METADATA))


def _number(clip: Clip, column: str) -> float:
    value: Any = getattr(clip, column) if column in Clip.model_fields else clip.metadata
    if column.startswith(_METADATA):
        for part in column.removeprefix(_METADATA).split("."):
            value = value.get(part) if isinstance(value, dict) else None
    if value is None:
        raise BadClip(f"the manifest has no {column} for clip {clip.id}")
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise BadClip(f"{column} of clip {clip.id} is {value!r}, no number")
    return float(value)
