import subprocess
import sys
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


def request(role: Role, config: str = "", **clips: int | None) -> Request:
    sizes: dict[Split, int | None] = {"train": 40, "validation": 10, "test": 10}
    return Request(role=role, config=config, clips={**sizes, **clips}, options=OPTIONS)


def test_byte_identical_from_run_to_run_and_from_any_number_of_workers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # the runs are seconds apart: voices with breath noise, f5 among them, would differ with the clock
    monkeypatch.setattr(espeak, "PARTS", 2)
    hashes = []
    for jobs in ("1", "2"):
        monkeypatch.setenv("SOUNDRAFT_JOBS", jobs)
        out = tmp_path / jobs
        fetched = espeak.fetch(request("target", train=24, validation=3, test=3), out)
        assert len(fetched.clips) == 30
        hashes.append([files.content_hash(out / clip.audio_path) for clip in fetched.clips])
    assert hashes[0] == hashes[1]
    samples, rate_hz = io.read(tmp_path / "1" / "train" / "00000.wav")
    assert rate_hz == 22050
    assert np.abs(samples).max() == pytest.approx(espeak.PEAK, abs=1e-3)


def test_no_test_text_is_in_training_all_words_are_used_and_target_voices_are_held_out() -> None:
    texts: dict[str, set[str]] = {split: set() for split in SPLITS}
    voices: dict[str, set[str]] = {}
    for role in ("start", "target"):
        planned = espeak.plan(request(role, train=3000, validation=300, test=300))  # type: ignore[arg-type]
        voices[role] = {str(clip.speaker) for clip in planned}
        for clip in planned:
            texts[str(clip.split)].add(str(clip.text))
    assert not texts["test"] & (texts["train"] | texts["validation"])
    assert len(texts["test"]) > 300
    words = {word for text in texts["train"] for word in text.split()}
    assert words == set(espeak.vocabulary())
    assert len(words) == 52
    assert {role: len(found) for role, found in voices.items()} == OPTIONS["voices"]
    start, target = ({voice.split("+")[1] for voice in found} for found in voices.values())
    assert not start & target


def test_noise_has_the_ratio_that_was_asked() -> None:
    speech = np.sin(np.arange(20000) / 7.0)
    for seed, clip in enumerate(espeak.plan(request("target"))[:20]):
        mixed = espeak.add_noise(speech, clip, seed).astype(np.float64)
        clean_part = mixed @ speech / (speech @ speech)
        noise = mixed - clean_part * speech
        measured = 10 * np.log10(np.sum((clean_part * speech) ** 2) / np.sum(noise**2))
        assert measured == pytest.approx(clip.metadata["snr_db"], abs=0.5)


def test_every_voice_exists_and_an_unknown_one_is_an_error() -> None:
    voices = espeak.role_voices("start", 98) + espeak.role_voices("target", 84)
    library = espeak.Espeak()
    assert len(set(voices)) == 182
    assert all(len(library.speak("one", voice, 170, 50)) > 1000 for voice in voices)
    with pytest.raises(CorpusError, match="99"):
        espeak.role_voices("start", 99)
    for voice in ("en+nobody", "no-language+m1"):
        with pytest.raises(RuntimeError, match="no voice"):
            library.speak("hello", voice, 170, 50)


def test_words_are_balanced_and_their_voices_are_in_one_split() -> None:
    planned = espeak.plan(request("target", "words", train=520, validation=104, test=104))
    for split in SPLITS:
        counts = Counter(clip.text for clip in planned if clip.split == split)
        assert set(counts) == set(espeak.vocabulary())
        assert len(set(counts.values())) == 1
    voices = {split: {clip.speaker for clip in planned if clip.split == split} for split in SPLITS}
    assert {split: len(found) for split, found in voices.items()} == {"train": 10, "validation": 1, "test": 1}
    assert len(set.union(*voices.values())) == OPTIONS["voices"]["target"]
    pairs = {(clip.text, clip.speaker) for clip in planned if clip.split == "train"}
    assert len(pairs) == 520  # each word in each voice


def test_a_word_is_its_own_label(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(espeak, "map_fresh", lambda speak, jobs, title: map(speak, jobs))
    clips = espeak.fetch(request("target", "words", train=2, validation=0, test=0), tmp_path).clips
    assert [(clip.label, clip.text, clip.task) for clip in clips[:2]] == [
        ("and", "and", "classification"),
        ("back", "back", "classification"),
    ]
    assert all((clip.duration or 0) > 0.1 for clip in clips)
    digits = espeak.plan(request("start", "digits"))
    assert Counter(clip.label for clip in digits if clip.split == "train") == dict.fromkeys(espeak.DIGITS, 4)


def test_sentences_can_be_split_by_voice_too() -> None:
    planned = espeak.plan(request("target", "voices", train=200, validation=40, test=40))
    voices = {split: {str(clip.speaker) for clip in planned if clip.split == split} for split in SPLITS}
    assert len(set.union(*voices.values())) == sum(map(len, voices.values())) == OPTIONS["voices"]["target"]
    assert all(espeak.text_split(str(clip.text)) == clip.split for clip in planned)
    usual = espeak.plan(request("target", train=200, validation=40, test=40))
    assert {str(clip.speaker) for clip in usual if clip.split == "test"} & voices["train"]


def test_bad_requests_are_refused() -> None:
    with pytest.raises(CorpusError, match=r"config: .*'wrods'.*words"):
        espeak.plan(request("start", "wrods"))
    with pytest.raises(CorpusError, match=r"clips.train"):
        espeak.plan(request("start", train=None))
    two = replace(request("start", "words"), options=OPTIONS | {"voices": {"start": 2, "target": 2}})
    with pytest.raises(CorpusError, match=r"voices.start: 2"):
        espeak.plan(two)


def test_for_text_to_speech_phones_have_times_and_both_roles_the_voices_of_the_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(espeak, "map_fresh", lambda speak, jobs, title: map(speak, jobs))
    asked = replace(request("target", train=6, validation=0, test=0), task="tts")
    for clip in espeak.fetch(asked, tmp_path).clips:
        phones, starts = clip.metadata[espeak.PHONES].split(), clip.metadata[espeak.PHONE_STARTS]
        assert len(phones) == len(starts)
        assert starts == sorted(starts)
        assert 0 <= starts[0] <= starts[-1] < (clip.duration or 0)
        # it says some words as one, such as "in the"
        assert 0 < phones.count(espeak.WORD_BREAK) <= len((clip.text or "").split())
        assert clip.speaker in espeak.role_voices("start", OPTIONS["voices"]["start"])
        assert clip.task == "tts"
    plain = espeak.fetch(replace(asked, task="asr"), tmp_path).clips
    assert not any(espeak.PHONES in clip.metadata for clip in plain)


def test_its_events_change_no_sample() -> None:
    code = "from soundraft.corpora.espeak import Espeak; import hashlib; print(hashlib.sha256("
    code += "Espeak(timed={}).speak('set the lamp to three', 'en-us+m1', 170, 50).tobytes()).hexdigest())"
    ran = [
        subprocess.run([sys.executable, "-c", code.format(timed)], capture_output=True, text=True, check=True).stdout
        for timed in (True, False)
    ]
    assert ran[0] == ran[1] != ""


def test_two_in_one_process_take_turns() -> None:
    silent, telling = espeak.Espeak(), espeak.Espeak(timed=True)
    for _ in range(2):
        assert len(silent.speak("three", "en-us+m1", 170, 50)) > 1000
        assert {symbol for symbol, _ in silent.phones} <= {espeak.WORD_BREAK}
        assert len(telling.speak("three", "en-us+m1", 170, 50)) > 1000
        assert "T" in {symbol for symbol, _ in telling.phones}
