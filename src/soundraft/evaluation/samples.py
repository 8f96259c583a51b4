"""samples.jsonl and audio/ beside it: the sounds of a report, which a task writes whose answers are audio.

A line has the fields of `Sample`. Audio is FLAC, 16 bits, one channel, and named by its content: what several lines
share is there once. `Task.samples` makes them; the report page plays them.
"""

import io
import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
import soundfile

from soundraft import files
from soundraft.audio import io as audio_io
from soundraft.audio.io import PCM16_SCALE
from soundraft.runtime import UserError

NAME, AUDIO = "samples.jsonl", "audio"
LONGEST_S, HIGHEST_RATE_HZ = 20.0, 24000  # of what is kept of a clip
Role = Literal["reference", "input", "prediction", "candidate"]
_TYPES: Mapping[str, tuple[type, ...]] = {
    "id": (str,), "role": (str,), "model": (str,), "cycle": (int,), "path": (str,), "text": (str,),
    "transcript": (str,), "numbers": (dict,), "kept": (bool, type(None)), "reason": (str,),
}  # fmt: skip


@dataclass(frozen=True)
class Sample:
    """One sound of one clip; texts that are empty say nothing.

    Attributes:
        id: of the clip. All lines of one clip are shown together.
        role: the reference; the input of the model; a model's answer; one of the K answers that a cycle sampled.
        model: whose answer it is, as `str(ModelId)`, such as "raft 2"; empty for reference and input.
        path: of the audio, relative to the folder of samples.jsonl; `write` sets it.
        text: what is asked for, or said.
        transcript: what a recogniser hears.
        numbers: by name, such as the rewards of a candidate.
        kept: of a candidate, whether the cycle learned it; `None` for the other roles.
        reason: why it was kept or not, or what else there is to say.
    """

    id: str
    role: Role
    model: str = ""
    cycle: int = 0
    path: str = ""
    text: str = ""
    transcript: str = ""
    numbers: Mapping[str, float] = field(default_factory=dict)
    kept: bool | None = None
    reason: str = ""


@dataclass(frozen=True, eq=False)
class Sound:
    """A sample with its audio, `[N]` in −1…1; samples beyond are clipped."""

    sample: Sample
    audio: np.ndarray
    rate_hz: int


def of_clip(name: str, role: Role, data: bytes) -> Sound:
    """The sound of a clip from the bytes of its file: mono, its first 20 s.

    Raises:
        BadClip: as `audio.io.parse`.
    """
    found, rate_hz = audio_io.parse(data)
    longer = len(found) > LONGEST_S * rate_hz
    mono = audio_io.to_mono(found[: int(LONGEST_S * rate_hz)])
    kept_hz = min(rate_hz, HIGHEST_RATE_HZ)
    reason = f"the first {LONGEST_S:g} s" if longer else ""
    return Sound(Sample(name, role, reason=reason), audio_io.resample(mono, rate_hz, kept_hz), kept_hz)


def write(folder: Path, sounds: Iterable[Sound]) -> list[Sample]:
    """Write samples.jsonl and the audio to a folder, in the order given; the samples with their paths.

    Raises:
        ValueError: when audio is empty, not `[N]`, or not finite.
    """
    written = []
    for sound in sounds:
        data = _flac(sound.audio, sound.rate_hz)
        path = f"{AUDIO}/{files.content_of(data)[:16]}.flac"
        if not (folder / path).exists():
            files.write_bytes(folder / path, data)
        written.append(replace(sound.sample, path=path))
    files.write_jsonl(folder / NAME, (_row(sample) for sample in written))
    return written


def read(folder: Path) -> list[Sample]:
    """The samples of a folder; none where it has no samples.jsonl.

    Raises:
        UserError: when a line is none that `write` writes, or its audio is not there.
    """
    path = folder / NAME
    if not path.is_file():
        return []
    lines = path.read_text(encoding="utf-8").splitlines()
    return [_parse(folder, line, f"{path}, line {number}") for number, line in enumerate(lines, 1)]


def _row(sample: Sample) -> dict[str, Any]:
    return asdict(sample) | {"numbers": {name: float(value) for name, value in sample.numbers.items()}}


def _flac(audio: np.ndarray, rate_hz: int) -> bytes:
    if audio.ndim != 1 or not len(audio) or not np.isfinite(audio).all():
        raise ValueError(f"audio of a sample is finite and has the shape [N]; got {list(audio.shape)}")
    pcm = np.clip(np.rint(audio * PCM16_SCALE), -PCM16_SCALE, PCM16_SCALE - 1).astype(np.int16)
    stream = io.BytesIO()
    soundfile.write(stream, pcm, rate_hz, format="FLAC", subtype="PCM_16")
    return stream.getvalue()


def _parse(folder: Path, line: str, where: str) -> Sample:
    try:
        row = json.loads(line)
    except ValueError as error:
        raise UserError(f"{where} is not JSON: {error}") from error
    names = [each.name for each in fields(Sample)]
    if not isinstance(row, dict) or sorted(row) != sorted(names):
        got = ", ".join(row) if isinstance(row, dict) else type(row).__name__
        raise UserError(f"{where}: got {got}; a sample has {', '.join(names)}")
    # a bool is an int to Python, and no cycle
    odd = [name for name in names if type(row[name]) not in _TYPES[name]]
    odd += ["role"] * (row["role"] not in get_args(Role))
    odd += ["numbers"] * (not odd and any(type(value) not in (int, float) for value in row["numbers"].values()))
    if odd:
        raise UserError(f"{where}: {odd[0]} is {row[odd[0]]!r}, which is none of its values")
    try:
        audio = files.inside(folder, row["path"])
    except ValueError as error:
        raise UserError(f"{where}: {error}") from error
    if not audio.is_file():
        raise UserError(f"{where}: there is no {audio}")
    return Sample(**row)
