import datetime
import itertools
import json
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from soundraft import models
from soundraft.models.longform import WRITERS, Segment, clock, cut, lines_of, speech, transcribe_file
from soundraft.params import defaults
from tests.conftest import tiny_recognizer, tone
from tests.models.families import hub_like
from tests.models.test_whisper import checkpoint

RATE_HZ = 8000
DECODING = defaults().decoding
WORDS = {400.0: "low", 800.0: "mid", 1600.0: "high"}


class ToneReader:
    """Recognises one word for every burst of a tone, also for half of one."""

    sample_rate_hz = RATE_HZ
    window_s = 4.0
    learned_clip_s = None
    model = torch.nn.Identity()

    def extract(self, samples: np.ndarray) -> torch.Tensor:
        assert len(samples) <= self.window_s * RATE_HZ
        return torch.from_numpy(samples)

    def encode(self, features: list[torch.Tensor]) -> list[torch.Tensor]:
        return features

    def best_with_fallback(self, encoded: list[torch.Tensor], options: object) -> list[str]:
        return [" ".join(self._words(samples.numpy())) for samples in encoded]

    def _words(self, samples: np.ndarray) -> list[str]:
        loud = np.concatenate([[0], (np.abs(samples) > 1e-3).astype(int), [0]])
        # zero crossings of a tone are quiet too: close gaps of up to 5 ms
        edges = np.flatnonzero(np.diff(np.convolve(loud, np.ones(41), "same") > 0))
        words = []
        for start, end in zip(edges[::2], edges[1::2], strict=True):
            spectrum = np.abs(np.fft.rfft(samples[start:end]))
            frequency = spectrum.argmax() * RATE_HZ / (end - start)
            words.append(WORDS[min(WORDS, key=lambda known: abs(known - frequency))])
        return words


def words_of(segments: list[Segment]) -> list[str]:
    return [word for segment in segments for word in segment.text.split()]


def recording(seed: int, count: int) -> tuple[np.ndarray, list[str]]:
    rng = np.random.default_rng(seed)
    parts, words = [np.zeros(RATE_HZ // 4, np.float32)], []
    for _ in range(count):
        frequency = list(WORDS)[rng.integers(len(WORDS))]
        words.append(WORDS[frequency])
        burst = tone(float(rng.uniform(0.2, 0.8)), RATE_HZ, frequency_hz=frequency)
        parts += [burst, np.zeros(round(rng.uniform(0.22, 0.5) * RATE_HZ), np.float32)]
    return np.concatenate(parts), words


@pytest.mark.parametrize("seed", range(5))
def test_no_word_is_lost_or_doubled_at_a_border(seed: int) -> None:
    samples, words = recording(seed, 60)
    segments = transcribe_file(ToneReader(), samples, DECODING)  # type: ignore[arg-type]
    assert words_of(segments) == words
    assert len(segments) > 8
    assert all(one.end_s <= other.start_s for one, other in itertools.pairwise(segments))
    assert segments[-1].end_s == pytest.approx(len(samples) / RATE_HZ)


@settings(deadline=None)
@given(st.integers(1, 60000), st.sampled_from([1.0, 2.5]))
def test_windows_follow_each_other_and_are_never_too_long(length: int, window_s: float) -> None:
    samples = np.random.default_rng(length).standard_normal(length).astype(np.float32)
    windows = cut(samples, RATE_HZ, window_s, DECODING.long_audio)
    assert [start for start, _ in windows] == [0, *(end for _, end in windows[:-1])]
    assert windows[-1][1] == length
    assert all(0 < end - start <= window_s * RATE_HZ for start, end in windows)


def test_the_cut_is_in_the_quietest_place_of_the_last_third() -> None:
    samples = np.random.default_rng(0).standard_normal(3 * RATE_HZ).astype(np.float32)
    samples[round(0.3 * RATE_HZ) : round(0.6 * RATE_HZ)] = 0  # quiet, but too early
    samples[round(1.5 * RATE_HZ) : round(1.7 * RATE_HZ)] *= 0.1
    (_, end), *_ = cut(samples, RATE_HZ, 2.0, DECODING.long_audio)
    assert end / RATE_HZ == pytest.approx(1.6, abs=0.02)
    sliver = np.ones(30_050, np.float32)
    sliver[29_700:] = 0.0  # the quietest place is at the very end of the window: no cut leaves a sliver behind
    (_, (start, end)) = cut(sliver, 1000, 30.0, DECODING.long_audio)
    assert end - start >= 900


def test_windows_are_as_long_as_the_clips_that_the_model_learned(tmp_path: Path) -> None:
    recognizer, samples = tiny_recognizer(), np.random.default_rng(0).normal(size=9 * RATE_HZ).astype(np.float32)
    recognizer.note_learned([2.5] * 200 + [9.0])  # one long clip teaches little
    recognizer.note_learned([2.0])
    recognizer.save(tmp_path / "ours")
    ours, foreign = (
        models.load_recognizer(folder) for folder in (tmp_path / "ours", hub_like(tmp_path / "w", "wavlm"))
    )
    foreign.note_learned([2.5])  # what it learned elsewhere is not known
    longest = []
    for each in (ours, foreign):
        segments = transcribe_file(each, samples, DECODING, lambda encoded: ["x"] * len(encoded.lengths))
        longest.append(max(segment.end_s - segment.start_s for segment in segments))
    assert 1.0 < longest[0] <= 2.5 * 2 / 3
    short = transcribe_file(ours, samples[: 5 * RATE_HZ // 2], DECODING, lambda encoded: ["x"] * len(encoded.lengths))
    assert len(short) == 1  # no longer than what it learned
    assert longest[1] == 9.0


def test_pauses_are_left_out_for_a_model_of_single_clips(tmp_path: Path) -> None:
    rng, pause = np.random.default_rng(0), np.zeros(RATE_HZ // 2, np.float32)
    bursts = [0.1 * rng.standard_normal(round(seconds * RATE_HZ)).astype(np.float32) for seconds in (0.6, 1.1, 0.9)]
    bursts.append(bursts[0][:8])  # a click of a millisecond
    quiet = 1e-4 * rng.standard_normal(RATE_HZ).astype(np.float32)
    samples = np.concatenate([pause, *(part for burst in bursts for part in (burst, quiet)), pause])
    found = speech(samples, RATE_HZ, DECODING.long_audio)
    starts = np.cumsum([len(pause), *(len(burst) + len(quiet) for burst in bursts)])
    for (start, end), burst, expected in zip(found, bursts, starts, strict=False):
        seconds = max(len(burst) / RATE_HZ, DECODING.long_audio.quiet_s)
        assert (end - start) / RATE_HZ == pytest.approx(seconds, abs=0.05)
        assert abs((start + end) / 2 - expected - len(burst) / 2) < 0.03 * RATE_HZ
    assert len(found) == len(bursts)
    recognizer = tiny_recognizer()
    recognizer.note_learned([2.0])
    segments = transcribe_file(recognizer, samples, DECODING, lambda encoded: ["x"] * len(encoded.lengths))
    assert [round(segment.start_s * RATE_HZ) for segment in segments] == [start for start, _ in found]
    for whole in (pause, samples[:100]):  # nothing is below the loudest
        assert speech(whole, RATE_HZ, DECODING.long_audio) == [(0, len(whole))]


def test_silence_has_no_text_and_another_decoder_can_be_given() -> None:
    samples, words = recording(1, 8)
    silence = 1e-5 * np.random.default_rng(0).standard_normal(12 * RATE_HZ).astype(np.float32)
    segments = transcribe_file(ToneReader(), np.concatenate([samples, silence]), DECODING)  # type: ignore[arg-type]
    assert words_of(segments) == words
    assert segments[-1].end_s < len(samples) / RATE_HZ + ToneReader.window_s
    recognizer = tiny_recognizer()
    assert transcribe_file(recognizer, silence, DECODING) == transcribe_file(recognizer, silence[:0], DECODING) == []
    segments = transcribe_file(ToneReader(), samples, DECODING, lambda encoded: ["x"] * len(encoded))  # type: ignore[arg-type]
    assert {segment.text for segment in segments} == {"x"}


def test_adapters_take_what_is_longer_than_their_windows(tmp_path: Path) -> None:
    whisper = models.load_recognizer(checkpoint(tmp_path / "whisper"), language="en")
    rng = np.random.default_rng(0)
    for recognizer, seconds in ((tiny_recognizer(), 45.0), (whisper, 2.6)):
        rate_hz = recognizer.sample_rate_hz
        samples = (0.1 * rng.standard_normal(round(seconds * rate_hz))).astype(np.float32)
        segments = transcribe_file(recognizer, samples, DECODING)
        window_s = recognizer.window_s or DECODING.long_audio.window_s
        assert all(segment.end_s - segment.start_s <= window_s for segment in segments)
        (start, end), *_ = cut(samples, rate_hz, window_s, DECODING.long_audio)
        encoded = recognizer.encode([recognizer.extract(samples[start:end])])
        (alone,) = recognizer.best_with_fallback(encoded, DECODING.fallback)
        assert segments[0] == Segment(0.0, end / rate_hz, alone)


# Lines of subtitles.

LINES = DECODING.long_audio.model_copy(update={"line_s": 4.0, "line_characters": 20})


@given(st.lists(st.tuples(st.integers(1, 9), st.floats(0.0, 1.5), st.floats(0.0, 0.9)), min_size=2, max_size=40))
def test_lines_hold_every_word_in_its_time_and_are_short(drawn: list[tuple[int, float, float]]) -> None:
    words, spans, now_s = [], [], 0.0
    for letters, gap_s, length_s in drawn:
        words.append("x" * letters)
        spans.append((now_s + gap_s, now_s + gap_s + length_s))
        now_s = spans[-1][1]
    lines = lines_of(" ".join(words), spans, LINES, start_s=100.0, duration_s=now_s)
    assert " ".join(line.text for line in lines) == " ".join(words)
    first = 0
    for line, following in itertools.zip_longest(lines, lines[1:]):
        own = spans[first : first + len(line.text.split())]
        first += len(own)
        assert len(line.text) <= 20
        assert line.start_s == pytest.approx(100 + own[0][0])
        assert (
            line.start_s
            <= line.end_s
            <= min(line.start_s + 4.0, following.start_s if following else 100 + now_s) + 1e-6
        )
        assert line.end_s >= 100 + min(own[-1][1], own[0][0] + 4.0) - 1e-6
        assert all(then[0] - one[1] <= 1.0 for one, then in itertools.pairwise(own))


def test_lines_are_as_few_as_can_be_and_of_similar_length() -> None:
    words = ["word"] * 10  # 49 characters: three lines of 20
    spans = [(place * 0.3, place * 0.3 + 0.3) for place in range(10)]
    lines = lines_of(" ".join(words), spans, LINES, start_s=0.0, duration_s=3.0)
    assert [len(line.text.split()) for line in lines] == [4, 4, 2]
    lines = lines_of(" ".join(words[:6]), spans[:6], LINES, start_s=0.0, duration_s=1.8)
    assert [len(line.text.split()) for line in lines] == [3, 3]
    lines = lines_of("一二三四五六", spans[:6], LINES, start_s=0.0, duration_s=9.0)  # no spaces: of each character
    assert [line.text for line in lines] == ["一二三四五六"]
    (line,) = lines_of("a b", [(1.0, 1.1), (1.1, 1.2)], LINES, start_s=0.0, duration_s=9.0)
    assert (line.start_s, line.end_s) == (1.0, 1.8)  # long enough to be read


# Files.


SEGMENTS = [
    Segment(0.0, 1.5, "one two"),
    Segment(61.0006, 3723.9996, "drei – vier"),
    Segment(3723.9996, 3730.25, "a --> b"),
]


def test_subtitles_are_subrip_to_the_letter() -> None:
    assert WRITERS["srt"](SEGMENTS) == (
        "1\n00:00:00,000 --> 00:00:01,500\none two\n"
        "\n"
        "2\n00:01:01,001 --> 01:02:04,000\ndrei – vier\n"
        "\n"
        "3\n01:02:04,000 --> 01:02:10,250\na -> b\n"
    )
    assert WRITERS["srt"]([]) == ""


@given(st.integers(0, 359_999_999))
def test_the_clock_is_that_of_datetime(milliseconds: int) -> None:
    written = clock(milliseconds / 1000)
    assert re.fullmatch(r"\d\d:[0-5]\d:[0-5]\d,\d{3}", written)
    hours, minutes, seconds, rest = (int(part) for part in re.split("[:,]", written))
    expected = datetime.timedelta(milliseconds=milliseconds)
    assert datetime.timedelta(hours=hours, minutes=minutes, seconds=seconds, milliseconds=rest) == expected


def test_subtitles_for_the_web() -> None:
    assert WRITERS["vtt"](SEGMENTS) == (
        "WEBVTT\n"
        "\n00:00:00.000 --> 00:00:01.500\none two\n"
        "\n00:01:01.001 --> 01:02:04.000\ndrei – vier\n"
        "\n01:02:04.000 --> 01:02:10.250\na --&gt; b\n"
    )
    assert WRITERS["vtt"]([]) == "WEBVTT\n"


def test_text_and_json_hold_every_segment() -> None:
    assert WRITERS["txt"](SEGMENTS) == "one two\ndrei – vier\na --> b\n"
    read = json.loads(WRITERS["json"](SEGMENTS))
    assert read["text"] == "one two drei – vier a --> b"
    assert read["segments"][1] == {"start_s": 61.001, "end_s": 3724.0, "text": "drei – vier"}
    assert json.loads(WRITERS["json"]([])) == {"text": "", "segments": []}
