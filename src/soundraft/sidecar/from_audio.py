"""Features of the audio in each frame: rms_db, f0, spectral_centroid, onset_strength.

The audio is what the codes were made from (`--wav-root`), or is decoded from the codes (`--audio-source codes`, with
the codec that made them; this alone needs torch).

Frame t is samples 320·t … 320·t + 319 at 24 kHz; wider windows are centred on it.

- rms_db: level of the frame, dBFS, at least −120 (digital silence).
- f0: fundamental frequency, Hz, by librosa's pYIN, 60–1000; 0 where the frame is unvoiced. 0.1 s per second.
- spectral_centroid: centre of gravity of the spectrum, Hz; 0 in silence.
- onset_strength: rise of the mel spectrum, dB, mean over the bands; 0 in the first frame.
"""

import argparse
import os
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from filelock import FileLock

from soundraft import files
from soundraft.audio import ecdc, tokenize
from soundraft.audio.ecdc import SAMPLE_RATE_HZ, SAMPLES_PER_FRAME
from soundraft.runtime import BadClip, UserError
from soundraft.sidecar.listing import WavNames

SILENCE_DB = -120.0
F0_LOW_HZ = 60.0
F0_HIGH_HZ = 1000.0
WINDOW_SAMPLES = 1024  # 43 ms: more than two periods of the lowest voice
MEL_BANDS = 64


def add_cli_args(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--wav-root", type=Path, metavar="FOLDER", help="the normalised audio of the token files")
    help_text = f"from {', '.join(FEATURES)}; separated by commas (rms_db)"
    parser.add_argument(
        "--audio-features", "--audio-feats", type=_features, default=["rms_db"], metavar="NAMES", help=help_text
    )
    help_text = "where the audio comes from (wav where --wav-root is given, else codes where a codec is)"
    parser.add_argument("--audio-source", choices=sorted(SOURCES), help=help_text)
    help_text = "codec that made the codes: tiny, a hub id or a folder"
    parser.add_argument("--audio-checkpoint", "--hf-model", metavar="CODEC", help=help_text)
    parser.add_argument("--audio-revision", metavar="COMMIT", help="of a hub id")


def init(args: argparse.Namespace) -> None:
    if args.audio_source is None:
        args.audio_source = "codes" if args.wav_root is None and args.audio_checkpoint else "wav"
    if args.audio_source == "wav" and args.wav_root is None:
        raise UserError(
            "from_audio needs --wav-root FOLDER, the audio that the token files were made from, or --audio-checkpoint, "
            "the codec that decodes them"
        )
    args.audio_wavs = WavNames(args.audio_root)
    if args.audio_source == "codes":
        if args.audio_checkpoint is None:
            raise UserError("from_audio needs --audio-checkpoint, the codec that the token files were made with")
        folder = tokenize.checkpoint_folder(args.audio_checkpoint, args.audio_revision or "")
        args.audio_codec = tokenize.load_codec(folder)
    _compile([name for name in args.audio_features if name != "rms_db"])


def produce(ecdc_path: Path, T: int, *, args: argparse.Namespace) -> dict[str, np.ndarray]:  # noqa: N803
    samples = SOURCES[args.audio_source](ecdc_path, args)
    missing = T * SAMPLES_PER_FRAME - len(samples)
    if abs(missing) >= 2 * SAMPLES_PER_FRAME:
        raise BadClip(f"the audio has {len(samples)} samples, {T} frames need {T * SAMPLES_PER_FRAME}: not its audio")
    return {name: FEATURES[name](samples, T).astype(np.float32) for name in args.audio_features}


def _compile(features: Sequence[str]) -> None:
    """Run these features of librosa once, one process at a time.

    They compile on first use into a cache on disk, and two processes that do so at once leave one there that crashes
    every later process (numba issue 10128).
    """
    if features:
        with FileLock(Path(tempfile.gettempdir()) / f"soundraft-librosa-{os.getuid()}.lock"):
            for name in features:
                FEATURES[name](np.zeros(10 * SAMPLES_PER_FRAME, np.float32), 10)


def from_wav(ecdc_path: Path, args: argparse.Namespace) -> np.ndarray:
    """The samples, float32 `[N]` at 24 kHz, of the wav under `--wav-root`."""
    from soundraft.audio import io

    wav = args.audio_wavs(ecdc_path)
    try:
        samples, rate_hz = io.read(files.inside(args.wav_root, wav))
    except ValueError as error:
        raise BadClip(f"{args.wav_root}/{wav}: {error}") from error
    return io.resample(io.to_mono(samples), rate_hz, SAMPLE_RATE_HZ)


def from_codes(ecdc_path: Path, args: argparse.Namespace) -> np.ndarray:
    """The samples, float32 `[N]` at 24 kHz, that the codec makes of the codes."""
    tokens = ecdc.read(ecdc_path)
    return args.audio_codec.decode(tokens.codes)[: tokens.samples]


def rms_db(samples: np.ndarray, frames: int) -> np.ndarray:
    """Of the samples that are there: the last frame is often part empty. A frame without any has the one before's."""
    starts = np.arange(0, min(len(samples), frames * SAMPLES_PER_FRAME), SAMPLES_PER_FRAME)
    ends = np.append(starts[1:], min(len(samples), frames * SAMPLES_PER_FRAME))
    inside = samples[: ends[-1]].astype(np.float64)
    power = np.add.reduceat(inside * inside, starts) / (ends - starts)
    level_db = 10 * np.log10(np.maximum(power, 10 ** (SILENCE_DB / 10)))
    return np.pad(level_db, (0, frames - len(level_db)), mode="edge")


def f0(samples: np.ndarray, frames: int) -> np.ndarray:
    import librosa

    found_hz, _voiced, _probability = librosa.pyin(
        _windows_centred(samples, frames), fmin=F0_LOW_HZ, fmax=F0_HIGH_HZ, sr=SAMPLE_RATE_HZ,
        frame_length=WINDOW_SAMPLES, hop_length=SAMPLES_PER_FRAME, center=False,
    )  # fmt: skip
    return np.nan_to_num(found_hz, nan=0.0)


def spectral_centroid(samples: np.ndarray, frames: int) -> np.ndarray:
    import librosa

    spectrum = _spectrum(samples, frames)
    return librosa.feature.spectral_centroid(S=spectrum, sr=SAMPLE_RATE_HZ, n_fft=WINDOW_SAMPLES)[0]


def onset_strength(samples: np.ndarray, frames: int) -> np.ndarray:
    import librosa
    from librosa.onset import onset_strength as rise

    power = _spectrum(samples, frames) ** 2
    mel = librosa.feature.melspectrogram(S=power, sr=SAMPLE_RATE_HZ, n_fft=WINDOW_SAMPLES, n_mels=MEL_BANDS)
    return rise(S=librosa.power_to_db(mel), sr=SAMPLE_RATE_HZ, center=False)


def _spectrum(samples: np.ndarray, frames: int) -> np.ndarray:
    """Magnitudes `[513, T]`."""
    import librosa

    padded = _windows_centred(samples, frames)
    return np.abs(librosa.stft(padded, n_fft=WINDOW_SAMPLES, hop_length=SAMPLES_PER_FRAME, center=False))


def _windows_centred(samples: np.ndarray, frames: int) -> np.ndarray:
    """Zeros on both sides, so that window t of 1024 samples is centred on frame t of 320, and there are just T.

    A clip that ends loudly therefore ends with a click: its last frame is brighter, and an onset.

    |···352···|frame 0|frame 1| … |frame T−1|···352···|
    """
    side = (WINDOW_SAMPLES - SAMPLES_PER_FRAME) // 2
    body = samples[: frames * SAMPLES_PER_FRAME]
    return np.pad(body, (side, side + frames * SAMPLES_PER_FRAME - len(body)))


def _features(text: str) -> list[str]:
    names = [name.strip() for name in text.split(",")]
    unknown = [name for name in names if name not in FEATURES]
    if unknown:
        raise argparse.ArgumentTypeError(f"{unknown[0]!r} is none of {', '.join(FEATURES)}")
    return names


FEATURES: dict[str, Callable[[np.ndarray, int], np.ndarray]] = {
    "rms_db": rms_db,
    "f0": f0,
    "spectral_centroid": spectral_centroid,
    "onset_strength": onset_strength,
}
SOURCES: dict[str, Callable[[Path, argparse.Namespace], np.ndarray]] = {"wav": from_wav, "codes": from_codes}
