"""`soundraft transcribe` on toy recordings."""

import json
import math
import re
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from soundraft import cli, models
from soundraft.audio import io
from soundraft.params import defaults
from tests.conftest import Say
from tests.models import test_whisper
from tests.tasks import letters

TEXTS = {"a.wav": "one two", "b.v2.flac": "six nine zero"}


@pytest.fixture
def recordings(tmp_path: Path) -> list[Path]:
    import soundfile

    for name, text in TEXTS.items():
        soundfile.write(tmp_path / name, letters.wave_of(text), letters.RATE_HZ)
    return [tmp_path / name for name in TEXTS]


def test_text_goes_to_the_screen_or_to_files(recordings: list[Path], tmp_path: Path, say: Say) -> None:
    model, out = ("--model", letters.checkpoint()), ("--output", tmp_path / "out")
    assert say("transcribe", recordings[0], *model) == "one two\n"
    both = say("transcribe", *recordings, *model)
    assert both == f"{recordings[0]}:\none two\n{recordings[1]}:\nsix nine zero\n"
    say("transcribe", *recordings, *model, *out, "--format", "json")
    found = json.loads((tmp_path / "out/b.v2.json").read_text())
    assert found["text"] == "six nine zero"
    assert found["segments"][0]["end_s"] == pytest.approx(len(TEXTS["b.v2.flac"]) * letters.LETTER_S)
    say("transcribe", recordings[0], *model, *out, "--format", "srt")
    assert re.fullmatch(r"1\n00:00:00,000 --> 00:00:00,420\none two\n", (tmp_path / "out/a.srt").read_text())


def test_a_recording_longer_than_a_window_is_read_whole(tmp_path: Path, say: Say) -> None:
    window_s = defaults().decoding.long_audio.window_s
    wave = letters.wave_of(" ".join(letters.text_of(number) for number in range(60)))
    seconds = len(wave) / letters.RATE_HZ
    io.write_wav(tmp_path / "long.wav", wave, letters.RATE_HZ)
    model = ("--model", letters.checkpoint(), "--format", "json")
    segments = json.loads(say("transcribe", tmp_path / "long.wav", *model))["segments"]
    assert len(segments) >= math.ceil(seconds / window_s) > 1
    assert [segments[0]["start_s"], segments[-1]["end_s"]] == [0.0, pytest.approx(seconds, abs=1e-3)]
    assert all(first["end_s"] == then["start_s"] for first, then in pairwise(segments))
    assert all(segment["end_s"] - segment["start_s"] <= window_s for segment in segments)


def test_subtitles_are_short_and_their_times_are_those_of_the_words(tmp_path: Path, say: Say) -> None:
    texts = [letters.text_of(number) for number in range(24)]
    wave = letters.wave_of(" ".join(texts))
    io.write_wav(tmp_path / "long.wav", wave, letters.RATE_HZ)
    options = defaults().decoding.long_audio
    found = say("transcribe", tmp_path / "long.wav", "--model", letters.checkpoint(), "--format", "srt").strip()
    ends_s, said = [0.0], ""
    for number, block in enumerate(found.split("\n\n"), start=1):
        head, times, text = block.split("\n")
        hours, minutes, seconds = re.split(":", times.split(" --> ")[1].replace(",", "."))
        said = f"{said} {text}".strip()
        ends_s.append(3600 * int(hours) + 60 * int(minutes) + float(seconds))
        assert int(head) == number
        assert len(text) <= options.line_characters
        assert ends_s[-1] - ends_s[-2] <= options.line_s
        assert ends_s[-1] == pytest.approx(len(said) * letters.LETTER_S, abs=0.5)
    assert len(ends_s) > len(wave) / letters.RATE_HZ / options.line_s


def test_bad_files_are_named_and_the_others_done(
    recordings: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "noise.wav").write_bytes(b"junk")
    bad = [tmp_path / "none.wav", tmp_path / "noise.wav", tmp_path]
    given = ["transcribe", *bad, *recordings, "--model", letters.checkpoint(), "--output", tmp_path / "out"]
    with pytest.raises(SystemExit, match="3 of 5 files"):
        cli.main([str(word) for word in given])
    assert [line.split(":")[0] for line in capsys.readouterr().err.splitlines() if "/" in line] == list(map(str, bad))
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["a.txt", "b.v2.txt"]


def test_what_cannot_be_written_is_refused_before_the_work(recordings: list[Path], tmp_path: Path, say: Say) -> None:
    model = ("--model", tmp_path / "not loaded")
    say("transcribe", *recordings, *model, "--format", "srt", code="--output")
    twins = ("x/a.wav", "y/a.flac")
    say("transcribe", *twins, *model, "--output", tmp_path, code="y/a.flac")
    say("transcribe", *twins, *model, "--output", recordings[0], code="is a file")


def test_a_beam_search_is_that_of_the_model(recordings: list[Path], tmp_path: Path, say: Say) -> None:
    recognizer = models.load_recognizer(letters.checkpoint())
    noisy = letters.wave_of("one two six", seed=3)
    noisy += 0.25 * np.random.default_rng(0).standard_normal(len(noisy)).astype(np.float32)
    io.write_wav(tmp_path / "noisy.wav", noisy, letters.RATE_HZ)
    recognizer.model.eval()
    encoded = recognizer.encode([recognizer.extract(io.read(tmp_path / "noisy.wav")[0][:, 0])])
    (wanted,) = recognizer.beam(encoded, width=8, tokens_per_frame=defaults().decoding.beam_tokens_per_frame)  # type: ignore[attr-defined]
    (greedy,) = recognizer.best(encoded)
    assert wanted != greedy
    argv = ("transcribe", tmp_path / "noisy.wav", "--model", letters.checkpoint())
    assert say(*argv, "--beam", 8) == f"{wanted}\n"
    assert say(*argv) == f"{greedy}\n"
    say(*argv, "--beam", 0, code=2)
    whisper = test_whisper.checkpoint(tmp_path / "whisper")
    argv = ("transcribe", recordings[0], "--model", whisper, "--language", "en", "--beam", 4)
    say(*argv, code="--beam is for CTC models")
