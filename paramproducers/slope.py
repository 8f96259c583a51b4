"""How fast the level changes, dB per second: `slope_db_s`, from the normalised audio.

    soundraft s4 --audio-root data/tokens/start --cond-root data/sidecars/start \\
        --producer slope --slope-wav-root data/normalized/start --slope-smooth 9
"""

from pathlib import Path

import numpy as np

from soundraft.audio.ecdc import FRAMES_PER_S
from soundraft.runtime import UserError
from soundraft.sidecar import from_audio
from soundraft.sidecar.listing import WavNames


def add_cli_args(parser):
    parser.add_argument("--slope-wav-root", type=Path, help="the normalised audio (that of from_audio)")
    parser.add_argument("--slope-smooth", type=int, default=5, help="frames of the running mean (5)")


def init(args):
    """Once in each process: open here what all clips share, and keep it in args."""
    args.wav_root = args.slope_wav_root or getattr(args, "wav_root", None)
    if args.wav_root is None:
        raise UserError("slope needs --slope-wav-root FOLDER")
    args.audio_wavs = WavNames(args.audio_root)


def produce(ecdc_path, T, *, args):  # noqa: N803
    level_db = from_audio.rms_db(from_audio.from_wav(ecdc_path, args), T)
    smooth_db = running_mean(level_db, args.slope_smooth)
    if T == 1:
        return {"slope_db_s": np.zeros(1, np.float32)}
    return {"slope_db_s": (np.gradient(smooth_db) * FRAMES_PER_S).astype(np.float32)}


def running_mean(values, width):
    """Mean over `width` frames around each one, fewer at the ends."""
    middle = slice(width // 2, width // 2 + len(values))
    window = np.ones(width)
    return np.convolve(values, window)[middle] / np.convolve(np.ones(len(values)), window)[middle]
