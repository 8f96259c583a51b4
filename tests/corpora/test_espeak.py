from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import yaml

from soundraft import files
from soundraft.audio import io
from soundraft.corpora import espeak
from soundraft.corpora.base import CorpusError, Request, Role
from soundraft.manifest import SPLITS, Split

OPTIONS = yaml.safe_load(Path("params.yaml").read_text())["corpus"]["espeak"]


def request(role: Role, **clips: int | None) -> Request:
    sizes: dict[Split, int | None] = {"train": 40, "validation": 10, "test": 10}
    return Request(role=role, clips={**sizes, **clips}, options=OPTIONS)


def test_byte_identical_from_run_to_run_and_from_any_number_of_workers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # the runs are seconds apart: voices with breath noise, f5 among them, would tell the time
    hashes = []
    for jobs in ("1", "2"):
        monkeypatch.setenv("SOUNDRAFT_JOBS", jobs)
        out = tmp_path / jobs
        fetched = espeak.fetch(request("target"), out)
        assert len(fetched.clips) == 60
        hashes.append([files.content_hash(out / clip.audio_path) for clip in fetched.clips])
    assert hashes[0] == hashes[1]
    samples, rate_hz = io.read(tmp_path / "1" / "train" / "00000.wav")
    assert rate_hz == 22050
    assert np.abs(samples).max() == pytest.approx(espeak.PEAK, abs=1e-3)


def test_target_voices_are_held_out() -> None:
    start = {utterance.voice for utterance in espeak.plan(request("start", train=3000))}
    target = {utterance.voice for utterance in espeak.plan(request("target", train=600))}
    assert len(start) == OPTIONS["voices"]["start"]
    assert len(target) == OPTIONS["voices"]["target"]
    assert not {voice.split("+")[1] for voice in start} & {voice.split("+")[1] for voice in target}


def test_test_texts_are_in_no_training_split() -> None:
    texts: dict[str, set[str]] = {"train": set(), "validation": set(), "test": set()}
    for role in ("start", "target"):
        for utterance in espeak.plan(request(role, train=2000, validation=300, test=300)):  # type: ignore[arg-type]
            texts[utterance.split].add(utterance.text)
    assert not texts["test"] & (texts["train"] | texts["validation"])
    assert len(texts["test"]) > 300


def test_the_grammar_has_about_fifty_words_and_uses_all() -> None:
    said = {word for u in espeak.plan(request("start", train=5000)) for word in u.text.split()}
    assert said == set(espeak.vocabulary())
    assert 45 <= len(said) <= 55


def test_noise_has_the_ratio_that_was_asked() -> None:
    speech = np.sin(np.arange(20000) / 7.0)
    for utterance in espeak.plan(request("target"))[:20]:
        assert utterance.snr_db is not None
        mixed = espeak.add_noise(speech, utterance).astype(np.float64)
        clean_part = mixed @ speech / (speech @ speech)
        noise = mixed - clean_part * speech
        measured = 10 * np.log10(np.sum((clean_part * speech) ** 2) / np.sum(noise**2))
        assert measured == pytest.approx(utterance.snr_db, abs=0.5)


def test_an_unknown_voice_is_an_error() -> None:
    for voice in ("en+nobody", "no-language+m1"):
        with pytest.raises(RuntimeError, match="no voice"):
            espeak.Espeak().speak("hello", voice, 170, 50)


def test_every_voice_exists() -> None:
    voices = espeak.role_voices("start", 98) + espeak.role_voices("target", 84)
    library = espeak.Espeak()
    assert len(set(voices)) == 182
    assert all(len(library.speak("one", voice, 170, 50)) > 1000 for voice in voices)
    with pytest.raises(CorpusError, match="99 asked, 98 exist"):
        espeak.role_voices("start", 99)


def test_words_are_balanced_and_their_voices_are_in_one_split(tmp_path: Path) -> None:
    asked = replace(request("target", train=520, validation=104, test=104), config="words")
    spoken = espeak.plan(asked)
    for split in SPLITS:
        counts = Counter(item.text for item in spoken if item.split == split)
        assert set(counts) == set(espeak.vocabulary())
        assert len(set(counts.values())) == 1
    voices = {split: {item.voice for item in spoken if item.split == split} for split in SPLITS}
    assert {split: len(found) for split, found in voices.items()} == {"train": 10, "validation": 1, "test": 1}
    assert len(set.union(*voices.values())) == OPTIONS["voices"]["target"]
    assert len({(item.text, item.voice) for item in spoken if item.split == "train"}) == 520  # each word in each voice


def test_a_word_is_its_own_label(tmp_path: Path) -> None:
    few = replace(request("target", train=3, validation=1, test=1), config="words")
    clips = espeak.fetch(few, tmp_path).clips
    assert [(clip.label, clip.text, clip.task) for clip in clips[:2]] == [
        ("and", "and", "classification"),
        ("back", "back", "classification"),
    ]
    assert all((clip.duration or 0) > 0.1 for clip in clips)


def test_digits_are_words_of_which_there_are_ten() -> None:
    asked = replace(request("start", train=40, validation=10, test=10), config="digits")
    drawn = espeak.plan(asked)
    assert Counter(each.label for each in drawn if each.split == "train") == dict.fromkeys(espeak.DIGITS, 4)
    assert all(each.text == each.label for each in drawn)


def test_what_words_need_is_said() -> None:
    with pytest.raises(CorpusError, match=r"config: espeak has no 'wrods'; it has sentences \(.*\); words \("):
        espeak.plan(replace(request("start"), config="wrods"))
    two = OPTIONS | {"voices": {"start": 2, "target": 2}}
    with pytest.raises(CorpusError, match=r"voices.start: 2 asked; words are split by voice: 3 or more"):
        espeak.plan(replace(request("start"), config="words", options=two))
