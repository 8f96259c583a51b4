"""What a user tries first, on a checkpoint that is not part of the repository: `MODELS=FOLDER make test-real`.

MODELS holds `whisper-tiny.en`, DIGITS recordings named `{digit}_{speaker}_{take}.wav`, LJSPEECH a folder of LJSpeech's
form. What is absent is skipped, with a message.
"""

import json
import os
from pathlib import Path

import pytest

from soundraft.params import defaults
from soundraft.tasks.use import open_model
from tests.conftest import Say


def place(variable: str, *inside: str) -> Path:
    """A folder that a variable of the environment names; the test is skipped where it names none."""
    folder = Path(os.environ.get(variable) or "/nowhere").joinpath(*inside).resolve()
    if not folder.is_dir():
        pytest.skip(f"{variable}=FOLDER names no folder{' with ' + '/'.join(inside) if inside else ''}")
    return folder


@pytest.fixture
def model() -> Path:
    return place("MODELS", "whisper-tiny.en")


def test_a_known_recording_is_transcribed_word_for_word(model: Path, say: Say) -> None:
    recording = place("LJSPEECH") / "wavs" / "LJ001-0002.wav"
    assert "in being comparatively modern." in say("transcribe", recording, "--model", model)


def test_a_folder_in_half_precision_is_read_in_single_and_measured_as_is_usual(model: Path) -> None:
    assert json.loads((model / "config.json").read_text())["dtype"] == "float16"
    opened = open_model(model)
    assert {str(weights.dtype) for weights in opened.model.model.parameters()} == {"torch.float32"}
    assert opened.task.params.reward.normalizer == "whisper-english"
    assert defaults().reward.normalizer == "basic"


def test_numbers_in_digits_are_named_and_count_as_words_with_the_normaliser_for_them(model: Path, say: Say) -> None:
    folder = place("DIGITS")
    argv = ("evaluate", "--model", model, "--dataset", "fsdd", "--path", folder, "--limit", 8)
    said = say(*argv)
    assert "most errors are numbers" in said
    assert "--normalizer spoken-digits" in said
    assert "note: most errors" not in say(*argv, "--normalizer", "spoken-digits")


def test_a_corpus_without_splits_is_measured_whole_up_to_the_limit(model: Path, tmp_path: Path, say: Say) -> None:
    folder = place("LJSPEECH")
    argv = ("benchmark", "--model", model, "--dataset", "ljspeech", "--path", folder, "--repeats", 1, "--timed", 1)
    for limit, expected in ((2, 2), (32, len(list((folder / "wavs").glob("*.wav"))))):
        say(*argv, "--limit", limit, "--output", tmp_path / "b.json")
        assert json.loads((tmp_path / "b.json").read_text())["clips"] == expected
