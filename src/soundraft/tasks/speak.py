"""Speech from texts by a trained model: many at once, and from where it stopped.

A folder of speech has `NAME.wav` for each text, and `speech.jsonl`, what each file was made from.
"""

import difflib
import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path

import numpy as np
import torch

from soundraft import files, runtime
from soundraft.audio import ecdc, io
from soundraft.models import reading
from soundraft.models.base import ModelError
from soundraft.models.codec_lm import CodecLM, Speech
from soundraft.models.voices import VoiceEncoder
from soundraft.rewards.base import Evidence
from soundraft.runtime import UserError
from soundraft.tasks.lines import Line
from soundraft.tasks.tts import Speaking
from soundraft.tasks.use import AnyModel, open_model

LIST_NAME = "speech.jsonl"
TEXTS_AT_ONCE = 32
PAUSE_S = 0.2  # between the pieces of a long text


@dataclass(frozen=True)
class Row:
    """A line of speech.jsonl. `heard`: what the rewarding recogniser hears, where the best of several was taken."""

    id: str
    text: str
    voice: str
    best_of: int
    seed: int
    path: str
    seconds: float
    heard: str


class Speaker:
    """A model that speaks, of a run or a folder.

    Raises:
        UserError: when there is none, or it is a model of another task.
    """

    def __init__(self, model: AnyModel) -> None:
        opened = open_model(model)
        if not isinstance(opened.task, Speaking) or not isinstance(opened.model, CodecLM):
            raise UserError(f"{model} is a model of the task {opened.task.params.task}, and does not speak")
        self.task, self.model = opened.task, opened.model

    def voice(self, name: str) -> str:
        """A voice of the model by its name, or the one that is most like a recording.

        Raises:
            UserError: when there is no such voice, naming the nearest one; or in the recording there is none to hear.
        """
        known = self.model.config.voices
        if name.lower().endswith(io.AUDIO_SUFFIXES):
            return self._nearest(Path(name))
        if name in known:
            return name
        if not name and len(known) == 1:
            return known[0]
        close = difflib.get_close_matches(name, known, n=1, cutoff=0.0)
        raise UserError(f"there is no voice {name!r}; the nearest name is {close[0]!r}; there are {', '.join(known)}")

    def _nearest(self, recording: Path) -> str:
        """By the similarity of speakers, all of them through the codec."""
        samples, rate_hz = io.read(recording)
        encoder, mono = VoiceEncoder(), io.to_mono(samples)
        encoder.embed(mono, rate_hz)  # what has no voice before the codec has none behind it
        wanted = encoder.embed(self.task.through_codec(mono, rate_hz), ecdc.SAMPLE_RATE_HZ)
        similar = {}
        for voice, texts in self.model.config.examples.items():
            said = self.model.best([self.model.prompt(units, voice) for units in texts])
            wave = np.concatenate([self.task.wave_of(each) for each in said])
            similar[voice] = float(wanted @ encoder.embed(wave, ecdc.SAMPLE_RATE_HZ))
        return max(similar, key=lambda voice: similar[voice])

    def speak(self, lines: Sequence[Line], *, best_of: int = 1, seed: int = 0) -> list[tuple[np.ndarray, str]]:
        """Of each line samples `[N]` at 24 kHz, and what was heard (empty without `best_of`).

        Raises:
            UserError: when a text cannot be said, naming the line.
        """
        prompts, places = [], []
        for place, line in enumerate(lines):
            for part in self._parts(line):
                prompts.append(part)
                places.append((place, part[1]))
        seeds = [runtime.derive_seed("speak", seed, text, self.model.voice_of(prompt)) for prompt, text in prompts]
        drawn = self.model.sample(
            [prompt for prompt, _ in prompts], best_of, temperature=self.model.config.temperature, seeds=seeds
        )
        said: list[list[np.ndarray]] = [[] for _ in lines]
        heard: list[list[str]] = [[] for _ in lines]
        for (place, text), answers in zip(places, drawn, strict=True):
            chosen = self._best(answers, text) if best_of > 1 else answers[0]
            said[place].append(self.task.wave_of(chosen))
            heard[place].append(self.task.describe_answer(chosen) if best_of > 1 else "")
        pause = np.zeros(round(PAUSE_S * ecdc.SAMPLE_RATE_HZ), np.float32)
        return [
            (np.concatenate([sound for wave in waves for sound in (wave, pause)][:-1]), " ".join(texts).strip())
            for waves, texts in zip(said, heard, strict=True)
        ]

    def _parts(self, line: Line) -> Iterator[tuple[torch.Tensor, str]]:
        """The prompts of a text, with the text of each."""
        script = self.model.config.script
        try:
            for text in reading.pieces(reading.spoken(line.text)):
                yield self.model.prompt(reading.units(text, line.voice, script), line.voice), text
        except ModelError as error:
            raise UserError(f"{line.id}: {error}") from error

    def _best(self, answers: Sequence[Speech], text: str) -> Speech:
        nothing = Speech(np.empty((0, 0), np.int16), np.empty(0, np.int16), text=self.task.normalize(text))
        results = self.task.verifier_alone().verify_samples(answers, Evidence(nothing))
        rewards = [-1.0 if each.reward is None else each.reward for each in results]
        return answers[int(np.argmax(rewards))]


def speak_to_folder(
    speaker: Speaker, lines: Sequence[Line], folder: Path, *, best_of: int, seed: int,
    say: Callable[[str], None] = lambda line: None,
) -> list[Row]:  # fmt: skip
    """A file for each line; those that are there already, made from the same, stay.

    Raises:
        UserError: as `Speaker.speak`; what was said before it is kept.
    """
    lines = [Line(line.id, line.text, speaker.voice(line.voice)) for line in lines]
    done = {row.id: row for row in _known(folder)}
    left = []
    for line in lines:
        row = done.get(line.id)
        same = row and (row.text, row.voice, row.best_of, row.seed) == (line.text, line.voice, best_of, seed)
        if not same or not (folder / f"{line.id}.wav").is_file():
            left.append(line)
    if len(left) < len(lines):
        say(f"{len(lines) - len(left)} of {len(lines)} are there already")
    for group in _groups(left, TEXTS_AT_ONCE):
        for line, (wave, heard) in zip(group, speaker.speak(group, best_of=best_of, seed=seed), strict=True):
            path = f"{line.id}.wav"
            io.write_wav(folder / path, wave, ecdc.SAMPLE_RATE_HZ)
            seconds = round(len(wave) / ecdc.SAMPLE_RATE_HZ, 3)
            done[line.id] = Row(line.id, line.text, line.voice, best_of, seed, path, seconds, heard)
        files.write_jsonl(folder / LIST_NAME, [asdict(done[each.id]) for each in lines if each.id in done])
    return [done[line.id] for line in lines]


def _known(folder: Path) -> list[Row]:
    path = folder / LIST_NAME
    if not path.is_file():
        return []
    try:
        return [Row(**json.loads(line)) for line in path.read_text(encoding="utf-8").splitlines()]
    except (ValueError, TypeError) as error:
        raise UserError(f"{path} is damaged: remove it, and all is said anew") from error


def _groups(lines: Iterable[Line], size: int) -> Iterator[list[Line]]:
    rest = iter(lines)
    while group := list(islice(rest, size)):
        yield group
