"""`soundraft transcribe` on toy recordings."""

import json
import math
import re
import shutil
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
    assert re.fullmatch(r"1\n00:00:00,0\d\d --> 00:00:00,420\none two\n", (tmp_path / "out/a.srt").read_text())


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
    said, blocks = "", found.split("\n\n")
    for number, block in enumerate(blocks, start=1):
        head, times, text = block.split("\n")
        start_s, end_s = map(seconds_of, times.split(" --> "))
        begun = len(said) + 1 if said else 0
        said = f"{said} {text}".strip()
        assert int(head) == number
        assert len(text) <= options.line_characters
        assert end_s - start_s <= options.line_s
        assert start_s == pytest.approx(begun * letters.LETTER_S, abs=0.15)
        assert end_s == pytest.approx(len(said) * letters.LETTER_S, abs=0.15)
    assert len(blocks) > len(said) * letters.LETTER_S / options.line_s


def seconds_of(clock: str) -> float:
    hours, minutes, seconds = clock.replace(",", ".").split(":")
    return 3600 * int(hours) + 60 * int(minutes) + float(seconds)


def test_bad_files_are_named_and_the_others_done(
    recordings: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "noise.wav").write_bytes(b"junk")
    bad = [tmp_path / "none.wav", tmp_path / "noise.wav"]
    given = ["transcribe", *bad, *recordings, "--model", letters.checkpoint(), "--output", tmp_path / "out"]
    with pytest.raises(SystemExit, match="2 of 4 files"):
        cli.main([str(word) for word in given])
    assert [line.split(":")[0] for line in capsys.readouterr().err.splitlines() if "/" in line] == list(map(str, bad))
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["a.txt", "b.v2.txt"]


def test_the_recordings_of_a_folder_keep_their_places(recordings: list[Path], tmp_path: Path, say: Say) -> None:
    deep = tmp_path / "deep/er"
    deep.mkdir(parents=True)
    shutil.copy(recordings[0], deep)
    (tmp_path / "notes.txt").write_text("no recording")
    model, out = ("--model", letters.checkpoint()), tmp_path / "out"
    say("transcribe", tmp_path, *model, "--output", out, "--format", "vtt")
    found = {str(path.relative_to(out)): path.read_text() for path in out.rglob("*.vtt")}
    assert {name: text.splitlines()[-1] for name, text in found.items()} == {
        "a.vtt": "one two", "b.v2.vtt": "six nine zero", "deep/er/a.vtt": "one two",
    }  # fmt: skip
    assert say("transcribe", tmp_path / "deep", *model) == "one two\n"
    say("transcribe", out, *model, code="no recordings")


def test_no_model_is_loaded_for_inputs_that_are_all_bad(tmp_path: Path, say: Say) -> None:
    (tmp_path / "noise.wav").write_bytes(b"junk")
    say("transcribe", tmp_path / "noise.wav", tmp_path / "none.wav", "--model", tmp_path / "no", code="2 of 2 files")


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
