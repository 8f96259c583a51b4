"""Folders of token files, and the stage scripts run in this process."""

import io
import runpy
import sys
from argparse import Namespace
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path

import numpy as np
import pytest

from soundraft.audio import ecdc
from soundraft.audio.ecdc import TokenFile, write_index
from soundraft.sidecar import features, format
from soundraft.sidecar.features import Added, FeaturePass, add_features, create_sidecars
from soundraft.sidecar.listing import WHOLE, Shard
from soundraft.sidecar.producers import load_all

REPOSITORY = Path(__file__).resolve().parents[2]
NAMES = ("a.ecdc", "x_120.0.ecdc", "x_120.5.ecdc", "sub/ü b.ecdc", "foo_pitch_64.00_amp_.75.ecdc")


def token_folder(folder: Path, names: tuple[str, ...] = NAMES, *, index: bool = True) -> Path:
    """Token files of 5, 6, 7 … frames."""
    rows = []
    for number, name in enumerate(names):
        frames = 5 + number
        tokens = ecdc.Tokens(np.full((2, frames), number), frames * ecdc.SAMPLES_PER_FRAME - 9)
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(ecdc.encodec_bytes(tokens))
        rows.append(TokenFile(name, name.removesuffix(".ecdc") + ".wav", frames, 2, tokens.samples))
    if index:
        write_index(folder, rows)
    return folder


def make_empty(tokens: Path, cond: Path, dtype: format.Dtype = "float32", **options: object) -> Path:
    create_sidecars(tokens, cond, dtype=dtype, **options)
    return cond


def add(
    tokens: Path, cond: Path, *producers: str, out: Path | None = None, shard: Shard = WHOLE, **given: object
) -> Added:
    """s4; what is no field of `FeaturePass` is an option of a producer."""
    fields = {key: given.pop(key) for key in list(given) if key in FeaturePass.__dataclass_fields__}
    folder = fields.setdefault("producers_dir", tokens)
    args = Namespace(**vars(features.parse_arguments(load_all(producers, folder), [])) | {"audio_root": tokens} | given)
    return add_features(FeaturePass(tokens, cond, out or cond, producers, args=args, **fields), shard=shard)


def tree(folder: Path) -> dict[str, bytes]:
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def script(name: str, *argv: object) -> tuple[int, str]:
    """Exit code, and all that a stage script prints."""
    output = io.StringIO()
    with pytest.MonkeyPatch.context() as patch, redirect_stdout(output), redirect_stderr(output):
        patch.setattr(sys, "argv", [f"stages/{name}.py", *map(str, argv)])
        try:
            runpy.run_path(str(REPOSITORY / f"stages/{name}.py"), run_name="__main__")
        except SystemExit as end:
            code = end.code if isinstance(end.code, int) else int(end.code is not None)
            return code, output.getvalue() + ("" if isinstance(end.code, int) else str(end.code or ""))
    return 0, output.getvalue()
