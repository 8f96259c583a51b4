"""The clips of the page: what each model says of them, aligned with the reference, and how they sound and look."""

import base64
import io
import struct
import zlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import pairwise, zip_longest
from pathlib import Path
from typing import Any

import jiwer
import numpy as np
import soundfile
from markupsafe import Markup, escape

from soundraft.audio import io as audio_io
from soundraft.evaluation.samples import Sample
from soundraft.metrics.text import units

MOST_AUDIO_BYTES = 2_600_000  # in the page, before base64 adds a third
PICTURE_BANDS, PICTURE_FRAMES = 48, 220
_FLOOR_DB = 65  # below the loudest point of a spectrogram everything is dark
_RATES_HZ = (8000, 16000, 24000)  # those that an MP3 may have


@dataclass(frozen=True)
class Player:
    """A sound that the page plays; without `audio` the page has no room for it."""

    title: str
    sample: Sample
    audio: str
    seconds: float
    picture: str
    wave: str


@dataclass
class Sounds:
    """Makes players until the page is full; what is there twice is written once.

    Attributes:
        data: MP3 in base64, by name.
        left_out: how many had no room.
    """

    data: dict[str, str] = field(default_factory=dict)
    left_out: int = 0
    _bytes: int = 0
    _made: dict[Path, Player] = field(default_factory=dict)

    def player(self, title: str, folder: Path, sample: Sample) -> Player:
        path = folder / sample.path
        if path not in self._made:
            samples, rate_hz = audio_io.read(path)
            self._made[path] = self._new(audio_io.to_mono(samples), rate_hz)
        made = self._made[path]
        return Player(title, sample, made.audio, made.seconds, made.picture, made.wave)

    def _new(self, samples: np.ndarray, rate_hz: int) -> Player:
        data, name = mp3(samples, rate_hz), ""
        if self._bytes + len(data) <= MOST_AUDIO_BYTES:
            self._bytes += len(data)
            name = f"a{len(self.data)}"
            self.data[name] = base64.b64encode(data).decode()
        else:
            self.left_out += 1
        picture = base64.b64encode(png(spectrogram(samples))).decode()
        return Player("", Sample("", "input"), name, len(samples) / rate_hz, picture, waveform(samples))


def mp3(samples: np.ndarray, rate_hz: int) -> bytes:
    """`[N]` as an MP3 of 8, 16 or 24 kHz; equal samples make equal bytes."""
    kept_hz = next((rate for rate in _RATES_HZ if rate >= rate_hz), _RATES_HZ[-1])
    stream = io.BytesIO()
    heard = np.clip(audio_io.resample(samples, rate_hz, kept_hz), -1, 1)
    soundfile.write(stream, heard, kept_hz, format="MP3", subtype="MPEG_LAYER_III")
    return stream.getvalue()


def spectrogram(samples: np.ndarray) -> np.ndarray:
    """Brightness 0 to 255, `[bands, frames]`, high frequencies first."""
    window = 512
    padded = np.pad(samples, (0, max(0, window - len(samples))))
    starts = np.linspace(0, len(padded) - window, PICTURE_FRAMES).astype(int)
    frames = np.stack([padded[start : start + window] for start in starts]) * np.hanning(window)
    power = np.abs(np.fft.rfft(frames, axis=1)) ** 2
    # bands as wide as those of a mel scale, in bins of any rate: narrow below, wide above
    edges = np.unique(np.round(np.geomspace(1, window // 2 + 1, PICTURE_BANDS * 2)).astype(int))
    bands = np.stack([power[:, low:high].mean(1) for low, high in pairwise(edges)])
    level_db = 10 * np.log10(np.maximum(bands, 1e-12))
    loudest = level_db.max()
    floor_db = max(loudest - _FLOOR_DB, float(np.quantile(level_db, 0.25)))  # of a noisy clip the noise
    bright = np.clip((level_db - floor_db) / max(loudest - floor_db, 1.0), 0, 1)
    return (255 * bright[::-1]).astype(np.uint8)


def waveform(samples: np.ndarray, columns: int = 180) -> str:
    """The path of an SVG, `columns` wide and 100 high."""
    parts = np.array_split(samples, columns) if len(samples) >= columns else [samples]
    peak = float(np.abs(samples).max()) or 1.0
    up = [50 - 48 * float(part.max()) / peak for part in parts]
    down = [50 - 48 * float(part.min()) / peak for part in parts]
    there = [f"{place} {value:.0f}" for place, value in enumerate(up)]
    back = [f"{place} {value:.0f}" for place, value in reversed([*enumerate(down)])]
    return f"M{' L'.join([*there, *back])}Z"


def png(bright: np.ndarray) -> bytes:
    """A picture of 16 shades, `[H, W]` of 0 to 255, from transparent to dark: the page's style turns it for dark."""
    height, width = bright.shape
    shades = bright >> 4
    shades = np.pad(shades, ((0, 0), (0, width % 2)))
    packed = (shades[:, ::2] << 4 | shades[:, 1::2]).astype(np.uint8)
    rows = b"".join(b"\0" + row.tobytes() for row in packed)
    palette = b"".join(bytes((20 + 2 * shade, 60 + 3 * shade, 130 - 4 * shade)) for shade in range(16))
    alpha = bytes(17 * shade for shade in range(16))
    header = struct.pack(">IIBBBBB", width, height, 4, 3, 0, 0, 0)
    chunks = (
        (b"IHDR", header),
        (b"PLTE", palette),
        (b"tRNS", alpha),
        (b"IDAT", zlib.compress(rows, 9)),
        (b"IEND", b""),
    )
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data)) for name, data in chunks
    )


def aligned(reference: str, hypothesis: str) -> Markup:
    """A hypothesis with its errors marked, by jiwer's alignment: a sign and a colour for each kind."""
    if not reference.strip():
        return Markup(" ").join(_edit("ins", "", word) for word in hypothesis.split())
    pair = [" ".join(units(text)) for text in (reference, hypothesis)]
    found = jiwer.process_words([pair[0]], [pair[1]])
    parts: list[Markup] = []
    for chunk in found.alignments[0]:
        left = found.references[0][chunk.ref_start_idx : chunk.ref_end_idx]
        right = found.hypotheses[0][chunk.hyp_start_idx : chunk.hyp_end_idx]
        if chunk.type == "equal":
            parts.append(escape(" ".join(right)))
            continue
        kind = {"substitute": "sub", "delete": "del", "insert": "ins"}[chunk.type]
        parts += [_edit(kind, *words) for words in zip_longest(left, right, fillvalue="")]
    return Markup(" ").join(parts)


def _edit(kind: str, reference: str, hypothesis: str) -> Markup:
    if kind == "sub":
        form = '<span class="sub" title="{0} → {1}"><s>{0}</s><b>{1}</b></span>'
    elif kind == "del":
        form = '<span class="del" title="left out">−{0}</span>'
    else:
        form = '<span class="ins" title="added">+{1}</span>'
    return Markup(form).format(reference, hypothesis)


def by_clip(found: Iterable[tuple[Path, Sample]]) -> dict[str, list[tuple[Path, Sample]]]:
    """Samples of each clip, in their order."""
    groups: dict[str, list[tuple[Path, Sample]]] = {}
    for folder, sample in found:
        groups.setdefault(sample.id, []).append((folder, sample))
    return groups


def shown_facts(row: dict[str, Any], names: Sequence[str]) -> list[str]:
    """Seconds and the named facts of a clip, in words."""
    facts = row["facts"]
    told = [f"{row['seconds']:.2f} s"]
    for name in names:
        value = facts.get(name)
        if value is not None:
            told.append(
                f"SNR {value:g} dB" if name == "snr_db" else str(value) if name == "speaker" else f"{name} {value}"
            )
    return told
