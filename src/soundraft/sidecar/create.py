"""s3: an empty sidecar, `[T, 0]`, for every token file; no token file is opened where its folder has an index."""

import argparse
import csv
import io
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from soundraft import files
from soundraft.audio.ecdc import FRAMES_PER_S
from soundraft.audio.token_index import TokenFile
from soundraft.manifest import Rejected
from soundraft.parallel import BadClip
from soundraft.sidecar import format, listing
from soundraft.sidecar.format import Dtype, Sidecar

COLUMNS = ("rel_ecdc", "rel_cond", "frames", "D", "fps", "codebooks")


@dataclass(frozen=True)
class Created:
    """What became of the clips.

    Attributes:
        columns: for each clip with a sidecar, how many features that has.
    """

    made: int
    kept: int
    rejected: list[Rejected]
    columns: list[tuple[TokenFile, int]]


def create_sidecars(
    tokens_root: Path,
    cond_root: Path,
    *,
    dtype: Dtype,
    suffix: str = format.SUFFIX,
    overwrite: bool = False,
    skip_errors: bool = False,
    shard: listing.Shard = listing.WHOLE,
    in_building: bool = False,
) -> Created:
    """Make the sidecars that are not there yet; with `overwrite` all of them anew.

    Raises:
        UserError: without `skip_errors` when a clip is bad, before anything is written.
    """
    clips = listing.list_clips(tokens_root, suffix, shard)
    columns: dict[str, int] = {}
    bad = [listing.rejected(clip, clip.problem) for clip in clips if clip.problem]
    for clip in clips:
        if not clip.problem and not overwrite and not in_building:
            try:
                columns |= _columns_there(clip, listing.place(cond_root, clip, suffix))
            except BadClip as error:
                bad.append(listing.rejected(clip, f"{error}; --overwrite makes it anew"))
    if bad and (not skip_errors or len(bad) == len(clips)):
        raise listing.fail(f"{len(bad)} of {len(clips)} clips cannot have a sidecar, nothing was written", bad)
    named = {item.path for item in bad}
    good = [clip for clip in clips if clip.path not in named]
    new = [clip for clip in good if clip.path not in columns]
    listing.make_folders(cond_root, [clip.path for clip in new])
    for clip in new:
        empty = Sidecar(np.empty((clip.frames, 0), dtype), ())
        format.write(listing.place(cond_root, clip, suffix), empty, in_building=in_building)
    return Created(len(new), len(good) - len(new), bad, [(clip, columns.get(clip.path, 0)) for clip in good])


def _columns_there(clip: TokenFile, path: str) -> dict[str, int]:
    """How many features the clip's sidecar has already; nothing when it has to be made.

    Raises:
        BadClip: when half of a sidecar is there, or one of another length, and it holds features.
    """
    npy, meta = format.exists(path)
    if not npy:
        return {}
    shape = format.read_values(path).shape
    if len(shape) != 2:
        raise BadClip(f"{format.name_of(path)} has shape {list(shape)}")
    if not meta and shape[1]:
        raise BadClip(f"{format.name_of(path)} has features, but its json is gone")
    if shape[0] != clip.frames and shape[1]:
        raise BadClip(f"{format.name_of(path)} has {shape[0]} frames of features, the token file {clip.frames}")
    return {clip.path: shape[1]} if meta and shape[0] == clip.frames else {}


def write_table(path: Path, created: Created, suffix: str) -> None:
    """`--manifest-csv`: one row for each clip with a sidecar."""
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(COLUMNS)
    for clip, width in created.columns:
        writer.writerow([clip.path, clip.name + suffix, clip.frames, width, FRAMES_PER_S, clip.codebooks])
    files.write_text(path, stream.getvalue())


def add_options(parser: argparse.ArgumentParser, *, dtype: Dtype) -> None:
    """The options of s3 alone; `dtype` is the default."""
    listing.add_folder_options(parser)
    parser.add_argument("--dtype", choices=format.DTYPES, default=dtype, help="number format (%(default)s)")
    parser.add_argument("--overwrite", action="store_true", help="make sidecars anew that are there")
    table = f"write a table of the sidecars: {', '.join(COLUMNS)}"
    parser.add_argument("--manifest-csv", type=Path, metavar="FILE", help=table)
    listing.add_skip_option(parser)
