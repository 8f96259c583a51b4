"""Each corpus of the hub against a repository with its published columns, through `datasets`' own reading."""

import tracemalloc
import zipfile
from pathlib import Path
from typing import Any

import pytest

from soundraft import corpora, runtime
from soundraft.audio import io
from soundraft.corpora import CorpusError, Fetched, Request, catalog, checks, hub
from soundraft.corpora.base import copy_in
from soundraft.manifest import SPLITS, Clip, Split
from soundraft.splits import hashed_split
from tests.corpora import hubs
from tests.corpora.hubs import audio

ALL: dict[Split, int | None] = {"train": None, "validation": None, "test": None}


@pytest.fixture(autouse=True)
def _own_caches(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(runtime.CACHE_VARIABLE, str(tmp_path / "cache"))
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", tmp_path / "hf")


def fetch(corpus: str, path: Path, **asked: Any) -> Fetched:
    request = Request(**{"path": path, "clips": ALL, "asked_as": "--"} | asked)
    return corpora.fetch(corpus, request, path.parent / "out")


def of_split(fetched: Fetched, split: str) -> list[Clip]:
    return [clip for clip in fetched.clips if clip.split == split]


def librispeech_row(index: int) -> dict[str, Any]:
    return {
        "file": f"61-70968-{index:04d}.flac",
        "audio": audio(f"61-70968-{index:04d}.flac", "FLAC", 200 + 10 * index),
        "text": f"SENTENCE {index}",
        "speaker_id": 61 + index,
        "chapter_id": 70968,
        "id": f"61-70968-{index:04d}",
    }


LIBRISPEECH_SPLITS = (
    "train.clean.100",
    "train.clean.360",
    "train.other.500",
    "validation.clean",
    "validation.other",
    "test.clean",
    "test.other",
)


@pytest.fixture
def librispeech(tmp_path: Path) -> Path:
    """Three clips in each of its splits; the first is 0 in the first split, 3 in the next, and so on."""
    rows = [librispeech_row(index) for index in range(21)]
    everything = {name: rows[3 * place : 3 * place + 3] for place, name in enumerate(LIBRISPEECH_SPLITS)}
    clean = {"train.100": rows[:2], "train.360": rows[3:5], "validation": rows[9:10], "test": rows[15:16]}
    return hubs.write(tmp_path / "librispeech_asr", hubs.LIBRISPEECH, {"all": everything, "clean": clean})


def test_librispeech_with_its_bytes_unchanged(librispeech: Path, tmp_path: Path) -> None:
    fetched = fetch("librispeech", librispeech)
    assert [len(of_split(fetched, split)) for split in SPLITS] == [3, 3, 3]
    first = fetched.clips[0]
    assert (first.id, first.text, first.speaker) == ("61-70968-0000", "SENTENCE 0", "61")
    assert first.metadata == {"chapter": 70968}
    assert (first.duration, first.sample_rate, first.task) == (0.1, 8000, "asr")
    assert of_split(fetched, "validation")[0].text == "SENTENCE 9"
    copied = copy_in(fetched, tmp_path / "out")
    assert (copied.root / first.audio_path).read_bytes() == librispeech_row(0)["audio"]["bytes"]
    assert first.audio_path == "train.clean.100/00000/00000000.flac"
    assert fetched.source["splits"]["test"] == "test.clean"
    assert str(tmp_path) not in str(fetched.source)
    assert fetched.cached


def test_one_split_of_the_source_takes_the_place_of_the_usual_one(librispeech: Path) -> None:
    fetched = fetch("librispeech", librispeech, split="train.other.500", clips={**ALL, "train": 2})
    assert [clip.text for clip in fetched.clips] == [f"SENTENCE {index}" for index in (6, 7, 9, 10, 11, 15, 16, 17)]
    clean = fetch("librispeech", librispeech, config="clean", split="train.360")
    assert [clip.text for clip in clean.clips] == ["SENTENCE 3", "SENTENCE 4", "SENTENCE 9", "SENTENCE 15"]


def test_wrong_splits_configs_and_options_are_named_with_what_there_is(librispeech: Path) -> None:
    with pytest.raises(CorpusError, match=r"--split: .* no 'train.99'; there are: train.clean.100, train.clean.360"):
        fetch("librispeech", librispeech, split="train.99")
    with pytest.raises(CorpusError, match=r"--split: 'clean' begins like none of train, .* there are: train.clean.100"):
        fetch("librispeech", librispeech, split="clean")
    with pytest.raises(CorpusError, match=r"--config: .* no 'other'; there are: all, clean"):
        fetch("librispeech", librispeech, config="other")
    with pytest.raises(CorpusError, match=r"--language: librispeech does not take it"):
        fetch("librispeech", librispeech, language="en")
    with pytest.raises(CorpusError, match=r"--language is empty: fleurs needs it"):
        fetch("fleurs", librispeech)
    with pytest.raises(CorpusError, match=r"--revision: .* is a local copy"):
        fetch("librispeech", librispeech, revision="main")
    with pytest.raises(CorpusError, match=r"--path: no such folder: .*gone; it must be a local copy of openslr"):
        fetch("librispeech", librispeech / "gone")


def test_columns_that_are_not_there_are_named_and_can_be_given(tmp_path: Path) -> None:
    features = hubs.Features({**hubs.LIBRISPEECH, "transcript": hubs.STRING})
    del features["text"]
    rows = [{**librispeech_row(0), "transcript": "HELLO"}]
    repo = hubs.write(tmp_path / "repo", features, {"all": {"train.clean.100": rows}})
    with pytest.raises(CorpusError, match=r"has no column 'text' \(for text\); there are: file, speaker_id, .*transcr"):
        fetch("librispeech", repo, clips={**ALL, "validation": 0, "test": 0})
    columns = {"text": "transcript", "recording": "file"}
    fetched = fetch("librispeech", repo, clips={**ALL, "validation": 0, "test": 0}, columns=columns)
    assert fetched.clips[0].text == "HELLO"
    assert fetched.clips[0].metadata == {"chapter": 70968, "recording": "61-70968-0000.flac"}


def test_bad_rows_are_set_aside_and_do_not_count_toward_the_limit(tmp_path: Path) -> None:
    rows = [librispeech_row(index) for index in range(8)]
    rows[1]["audio"] = {"bytes": b"this is no audio", "path": "1.flac"}
    rows[2]["audio"] = None
    rows[3]["text"] = None
    rows[4]["id"] = rows[0]["id"]
    rows[5]["audio"] = {"bytes": None, "path": "/etc/passwd"}
    repo = hubs.write(tmp_path / "repo", hubs.LIBRISPEECH, {"all": {"train.clean.100": rows}})
    clips = {"train": 2, "validation": 0, "test": 0}
    fetched = fetch("librispeech", repo, clips=clips)
    assert [clip.text for clip in fetched.clips] == ["SENTENCE 0", "SENTENCE 6"]
    reasons = {bad.path: bad.reason for bad in fetched.rejected}
    assert list(reasons) == [f"train.clean.100:{row}" for row in range(1, 6)]
    assert "not readable as audio" in reasons["train.clean.100:1"]
    assert reasons["train.clean.100:2"] == "no audio"
    assert reasons["train.clean.100:3"] == "no text in column 'text'"
    assert "duplicate id" in reasons["train.clean.100:4"]
    assert reasons["train.clean.100:5"] == "path leaves the repository: '/etc/passwd'"


def test_audio_that_lies_beside_the_table(tmp_path: Path) -> None:
    rows = [librispeech_row(index) for index in range(2)]
    repo = hubs.write(tmp_path / "repo", hubs.LIBRISPEECH, {"all": {"train.clean.100": rows}})
    (repo / "clips").mkdir()
    (repo / "clips/0.flac").write_bytes(rows[0]["audio"]["bytes"])
    for row, path in zip(rows, ("clips/0.flac", "../outside.flac"), strict=True):
        row["audio"] = {"bytes": None, "path": path}
    hubs.write(repo, hubs.LIBRISPEECH, {"all": {"train.clean.100": rows}})
    fetched = fetch("librispeech", repo, clips={**ALL, "validation": 0, "test": 0})
    assert (fetched.root / fetched.clips[0].audio_path).read_bytes() == (repo / "clips/0.flac").read_bytes()
    assert [bad.reason for bad in fetched.rejected] == ["path leaves the repository: '../outside.flac'"]


def test_common_voice(tmp_path: Path) -> None:
    row = {"client_id": "ab12", "path": "cv_1.mp3", "sentence": "Bore da.", "up_votes": 2, "down_votes": 0, "age": ""}
    rows = [row | {"audio": audio("cv_1.mp3", "MP3"), "gender": "female", "locale": "cy", "segment": ""}]
    of = dict.fromkeys(("train", "validation", "test", "other", "invalidated"), rows)
    repo = hubs.write(tmp_path / "repo", hubs.COMMON_VOICE, {"cy": of, "en": of}, converted=True)
    clip = fetch("common_voice", repo, language="cy").clips[0]
    assert (clip.text, clip.speaker, clip.metadata["gender"], clip.metadata["up_votes"]) == (
        "Bore da.",
        "ab12",
        "female",
        2,
    )
    assert clip.audio_path.endswith(".mp3")


def test_what_a_clip_costs_in_memory(tmp_path: Path) -> None:
    repo = table(tmp_path, text=[f"word {index}" for index in range(300)], speaker="ann")
    asked = {"clips": {**ALL, "validation": 0, "test": 0}}
    fetch("hub", repo, **asked)
    tracemalloc.start()
    before = tracemalloc.get_traced_memory()[0]
    fetched = fetch("hub", repo, **asked)
    held = tracemalloc.get_traced_memory()[0] - before
    tracemalloc.stop()
    assert held / len(fetched.clips) < 1300


def test_a_language_that_is_not_there_is_told_by_the_option_that_named_it(tmp_path: Path) -> None:
    with pytest.raises(CorpusError, match=r"--language: PolyAI/minds14 has no 'xx'; there are: all, en-US"):
        fetch("minds14", minds14(tmp_path, 3), language="xx")


def minds14(tmp_path: Path, count: int, recordings: int = 1000) -> Path:
    """`count` rows of so many different recordings."""
    rows = [
        {
            "path": f"en-US~{index}.wav",
            "audio": audio(f"{index}.wav", frequency_hz=300 + 5 * (index % recordings)),
            "transcription": f"request {index}",
            "english_transcription": f"request {index}",
            "intent_class": index % 14,
            "lang_id": 4,
        }
        for index in range(count)
    ]
    return hubs.write(tmp_path / "minds14", hubs.MINDS14, {"all": {"train": rows}, "en-US": {"train": rows}})


def test_minds14_has_names_for_labels_and_splits_drawn_with_the_seed(tmp_path: Path) -> None:
    repo = minds14(tmp_path, 60)
    fetched = fetch("minds14", repo, language="en-US", seed=1)
    assert {clip.label for clip in fetched.clips} == set(hubs.INTENTS)
    assert fetched.clips[0].metadata["locale"] == "en-US"
    sizes = [len(of_split(fetched, split)) for split in SPLITS]
    assert sum(sizes) == 60
    assert all(1 <= size <= 15 for size in sizes[1:])
    assert fetch("minds14", repo, language="en-US", seed=1).clips == fetched.clips
    other = fetch("minds14", repo, language="en-US", seed=2)
    assert {clip.id: clip.split for clip in other.clips} != {clip.id: clip.split for clip in fetched.clips}


def test_a_limit_fills_every_split_that_must_be_drawn(tmp_path: Path) -> None:
    limited = fetch("minds14", minds14(tmp_path, 100), language="en-US", clips=dict.fromkeys(SPLITS, 4))
    assert [len(of_split(limited, split)) for split in SPLITS] == [4, 4, 4]
    assert limited.usable < 100


@pytest.mark.parametrize("seed", range(3))
def test_how_much_is_asked_for_moves_no_clip_to_another_split(tmp_path: Path, seed: int) -> None:
    repo = voxceleb(tmp_path, speakers=40, videos=3)
    whole = {clip.id: clip.split for clip in fetch("voxceleb", repo, seed=seed).clips}
    speakers: dict[str, set[str | None]] = {}
    for asked in [{"train": 12}, {"validation": 2}, {"test": 5}, {"train": None}, {"train": 1, "test": 7}]:
        fetched = fetch("voxceleb", repo, seed=seed, clips={**dict.fromkeys(SPLITS, 0), **asked})
        assert {clip.id: clip.split for clip in fetched.clips}.items() <= whole.items()
        for split in set(asked):
            speakers.setdefault(split, set()).update(clip.speaker for clip in of_split(fetched, split))
    assert all(speakers.values())
    assert not speakers["train"] & speakers["test"]
    assert not speakers["train"] & speakers["validation"]


def test_a_split_that_no_group_fell_to_is_an_error_not_another_division(tmp_path: Path) -> None:
    repo = voxceleb(tmp_path, speakers=2, videos=3)
    with pytest.raises(
        CorpusError, match=r"no clip of voxceleb/voxceleb1 \(train\) fell to .*\(2 by speaker\); another"
    ):
        fetch("voxceleb", repo)


def test_the_same_recording_in_several_rows_is_in_one_split(tmp_path: Path) -> None:
    fetched = fetch("minds14", minds14(tmp_path, 120, recordings=40), language="en-US")
    assert len(fetched.clips) == 120
    assert not fetched.rejected
    assert all(of_split(fetched, split) for split in SPLITS)
    (check,) = [check for check in checks.examine(fetched.clips, fetched.root, texts=False)[0] if check.kind == "audio"]
    assert check.leaks == []


def test_a_label_that_is_none_of_the_names_is_set_aside(tmp_path: Path) -> None:
    repo = minds14(tmp_path, 20)
    table = hubs.pq.read_table(repo / "en-US/train-00000-of-00001.parquet")
    numbers = hubs.pa.array([14, None, *range(14), 0, 1, -1, 2], hubs.pa.int64())
    place = table.schema.get_field_index("intent_class")
    table = table.set_column(place, table.schema.field("intent_class"), numbers)
    hubs.pq.write_table(table, repo / "en-US/train-00000-of-00001.parquet")
    fetched = fetch("minds14", repo, language="en-US", clips={**ALL, "validation": 0, "test": 0})
    assert [bad.path for bad in fetched.rejected] == ["train:0", "train:1", "train:18"]
    assert {bad.reason for bad in fetched.rejected} == {"no label in column 'intent_class'"}


def test_labels_outside_the_list_are_set_aside_and_unknown_ones_refused(tmp_path: Path) -> None:
    repo = minds14(tmp_path, 84)
    only_train = {**ALL, "validation": 0, "test": 0}
    fetched = fetch("minds14", repo, language="en-US", labels=("freeze", "balance"), clips=only_train)
    assert {clip.label for clip in fetched.clips} == {"freeze", "balance"}
    assert fetched.rejected[0].reason == "label 'abroad' is not one of freeze, balance"
    with pytest.raises(CorpusError, match=r"--labels: PolyAI/minds14 has no frieze; there are: abroad, address"):
        fetch("minds14", repo, language="en-US", labels=("freeze", "frieze"))


def test_speech_massive_takes_its_test_split_from_the_other_repository(tmp_path: Path) -> None:
    def row(index: int) -> dict[str, Any]:
        return {
            "id": str(index),
            "scenario_str": "alarm",
            "intent_str": "alarm_set",
            "utt": f"réveil {index}",
            "tokens": ["réveil", str(index)],
            "labels": ["Other", "time"],
            "audio": audio(f"{index}.wav"),
            "speaker_id": f"s{index}",
            "speaker_sex": "Female",
            "speaker_age": "40",
        }

    train = {"train_115": [row(0)], "validation": [row(1)]}
    main = hubs.write(
        tmp_path / "Speech-MASSIVE",
        hubs.SPEECH_MASSIVE,
        {"hu-HU": train, "fr-FR": {**train, "train": [row(2)]}},
    )
    with pytest.raises(CorpusError, match=r"FBK-MT/Speech-MASSIVE-test must lie beside"):
        fetch("speech_massive", main, language="hu-HU")
    hubs.write(
        tmp_path / "Speech-MASSIVE-test",
        hubs.SPEECH_MASSIVE,
        {name: {"test": [row(3)]} for name in ("hu-HU", "fr-FR")},
    )
    for language, expected in (("hu-HU", [0, 1, 3]), ("fr-FR", [2, 1, 3])):
        fetched = fetch("speech_massive", main, language=language)
        assert [clip.text for clip in fetched.clips] == [f"réveil {index}" for index in expected]
        assert all(io.read(fetched.root / clip.audio_path) for clip in fetched.clips)
        assert fetched.clips[0].label == "alarm_set"
        assert fetched.clips[0].metadata["slots"] == ["Other", "time"]


def test_audioset_keeps_all_labels_and_cuts_validation_out_of_train(tmp_path: Path) -> None:
    def rows(count: int, kind: str) -> list[dict[str, Any]]:
        return [
            {
                "video_id": f"{kind}{index}",
                "audio": audio(f"{index}.flac", "FLAC", 300 + 5 * index),
                "labels": ["/m/09x0r", "/m/04rlf"],
                "human_labels": ["Speech", "Music"],
            }
            for index in range(count)
        ]

    of = {"train": [*rows(60, "t"), {**rows(1, "x")[0], "human_labels": []}], "test": rows(5, "e")}
    repo = hubs.write(tmp_path / "AudioSet", hubs.AUDIOSET, {"balanced": of})
    fetched = fetch("audioset", repo)
    assert fetched.clips[0].label == "Speech"
    assert fetched.clips[0].metadata["all_labels"] == ["Speech", "Music"]
    assert len(of_split(fetched, "test")) == 5
    assert len(of_split(fetched, "train")) + len(of_split(fetched, "validation")) == 60
    assert 1 <= len(of_split(fetched, "validation")) <= 15
    assert [bad.reason for bad in fetched.rejected] == ["no label in column 'human_labels'"]
    without = fetch("audioset", repo, clips={**ALL, "validation": 0})
    assert of_split(without, "train") == of_split(fetched, "train")


def test_speech_commands(tmp_path: Path) -> None:
    def row(word: str, speaker: str | None) -> dict[str, Any]:
        known = {"file": f"{word}/1.wav", "audio": audio("1.wav"), "label": hubs.WORDS.index(word)}
        return known | {"is_unknown": word == "marvin", "speaker_id": speaker, "utterance_id": 0}

    of = {name: [row("marvin", "0165e0e8"), row("_silence_", None)] for name in ("train", "validation", "test")}
    repo = hubs.write(tmp_path / "repo", hubs.SPEECH_COMMANDS, {"v0.01": of, "v0.02": of}, converted=True)
    word, silence = of_split(fetch("speech_commands", repo), "test")
    assert (word.label, word.speaker, word.metadata["is_unknown"]) == ("marvin", "0165e0e8", True)
    assert (silence.label, silence.speaker) == ("_silence_", None)


def esc50(tmp_path: Path) -> Path:
    rows = [
        {
            "filename": f"{fold}-{kind}-A-{kind}.wav",
            "fold": fold,
            "target": kind,
            "category": ("dog", "rain", "clapping")[kind],
            "esc10": kind < 2,
            "src_file": 1000 * fold + kind,
            "take": "A",
            "audio": audio(f"{fold}-{kind}-A-{kind}.wav"),
        }
        for fold in range(1, 6)
        for kind in range(3)
    ]
    return hubs.write(tmp_path / "esc50", hubs.ESC50, {"default": {"train": rows}}, shards=2)


@pytest.mark.parametrize(("fold", "validation"), [(1, 2), (3, 4), (5, 1)])
def test_esc50_has_its_official_folds(tmp_path: Path, fold: int, validation: int) -> None:
    fetched = fetch("esc50", esc50(tmp_path), fold=fold)
    assert {clip.metadata["fold"] for clip in of_split(fetched, "test")} == {fold}
    assert {clip.metadata["fold"] for clip in of_split(fetched, "validation")} == {validation}
    assert len(of_split(fetched, "train")) == 9
    assert fetched.clips[0].metadata["source"] == 1000
    assert fetched.clips[0].id == "1-0-A-0.wav"


def test_esc10_limits_and_folds_that_do_not_exist(tmp_path: Path) -> None:
    repo = esc50(tmp_path)
    subset = fetch("esc50", repo, config="esc10", clips={"train": 3, "validation": 1, "test": None}, fold=4)
    assert {clip.label for clip in subset.clips} == {"dog", "rain"}
    assert [len(of_split(subset, split)) for split in SPLITS] == [3, 1, 2]
    with pytest.raises(CorpusError, match=r"--fold: 6; ashraq/esc50 has folds 1 to 5"):
        fetch("esc50", repo, fold=6)
    with pytest.raises(CorpusError, match=r"--config: no 'esc20'; there is: esc10"):
        fetch("esc50", repo, config="esc20")


def test_a_folder_as_its_authors_publish_it_is_read_by_its_own_reader(tmp_path: Path) -> None:
    mine = Fetched([Clip(id="x", audio_path="x.wav")], 1, [], tmp_path)
    original = hub.Original(lambda path: path.name == "ESC-50-master", lambda _request, _out: mine)
    corpus = catalog.ESC50.corpus(original)
    assert corpus.fetch(Request(path=tmp_path / "ESC-50-master", clips=ALL), tmp_path / "out") == mine
    assert len(corpus.fetch(Request(path=esc50(tmp_path), clips=ALL), tmp_path / "out").clips) == 15


def test_a_file_that_is_not_the_original_is_said_to_be_none(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "my.zip", "w") as archive:
        archive.writestr("a.txt", "x")
    for name in ("esc50", "urbansound8k", "emodb"):
        with pytest.raises(CorpusError, match=r"--path: .*my.zip is neither an archive of the original nor a folder"):
            fetch(name, tmp_path / "my.zip")
    with pytest.raises(CorpusError, match=r"--path: .*my.zip is not a folder; it must be a local copy of openslr"):
        fetch("librispeech", tmp_path / "my.zip")


def test_a_folder_that_is_neither_the_original_nor_a_copy_is_said_to_be_none(tmp_path: Path) -> None:
    (tmp_path / "notes.json").write_text("{}")
    with pytest.raises(CorpusError, match=r"--path: .* is not the original, nor can it be read as a copy of"):
        fetch("emodb", tmp_path)


def test_urbansound8k(tmp_path: Path) -> None:
    rows = [
        {
            "audio": audio("x.wav"),
            "slice_file_name": f"100032-3-0-{fold}.wav",
            "fsID": 100032,
            "start": 0.0,
            "end": float("nan") if fold == 2 else 0.317551,
            "salience": 1,
            "fold": fold,
            "classID": 3,
            "class": "dog_bark",
        }
        for fold in range(1, 12)
    ]
    repo = hubs.write(tmp_path / "repo", hubs.URBANSOUND8K, {"default": {"train": rows}})
    fetched = fetch("urbansound8k", repo, fold=10)
    assert [clip.metadata["fold"] for clip in of_split(fetched, "test")] == [10]
    assert [clip.metadata["fold"] for clip in of_split(fetched, "validation")] == [1]
    assert fetched.clips[0].label == "dog_bark"
    assert "end" not in fetched.clips[1].metadata
    assert [bad.reason for bad in fetched.rejected] == ["fold 11 is not one of 1 to 10"]


def test_emodb_holds_out_the_speaker_that_the_fold_names(tmp_path: Path) -> None:
    rows = [
        {"age": 31.0, "gender": 1, "emotion": 2, "audio": audio(f"{speaker}a01E{take}.wav")}
        for speaker in catalog.EMODB_SPEAKERS
        for take in "ab"
    ]
    rows.append({"age": 31.0, "gender": 1, "emotion": 2, "audio": audio("unnamed.wav")})
    fetched = fetch("emodb", hubs.write(tmp_path / "repo", hubs.EMODB, {"default": {"train": rows}}), fold=2)
    assert {clip.speaker for clip in of_split(fetched, "test")} == {"08"}
    assert {clip.speaker for clip in of_split(fetched, "validation")} == {"09"}
    assert len({clip.speaker for clip in of_split(fetched, "train")}) == 8
    first = fetched.clips[0]
    assert (first.label, first.metadata["gender"], first.metadata["age"]) == ("disgust", "male", 31.0)
    assert [bad.reason for bad in fetched.rejected] == ["the file's name tells no speaker: 'unnamed.wav'"]


def voxceleb(tmp_path: Path, speakers: int, videos: int) -> Path:
    rows = [
        {
            "audio": audio(f"id{speaker}/video{speaker}{video}/00001.wav", frequency_hz=300 + 10 * speaker + video),
            "id": f"{speaker}-{video}",
            "speaker_id": f"id{10001 + speaker}",
        }
        for speaker in range(speakers)
        for video in range(videos)
    ]
    return hubs.write(tmp_path / "repo", hubs.VOXCELEB, {"default": {"train": rows}})


def test_voxceleb_never_divides_a_speaker(tmp_path: Path) -> None:
    fetched = fetch("voxceleb", voxceleb(tmp_path, speakers=40, videos=2))
    speakers = [{clip.speaker for clip in of_split(fetched, split)} for split in SPLITS]
    assert sum(map(len, speakers)) == len(set.union(*speakers)) == 40
    assert all(speakers)
    assert fetched.clips[0].metadata["source"] == "video00"


@pytest.mark.parametrize("clips", [ALL, {"train": None, "validation": 0, "test": 0}])
def test_what_two_speakers_share_is_not_in_two_splits(tmp_path: Path, clips: dict[Split, int | None]) -> None:
    names = [f"id{number}" for number in range(40)]
    splits = {name: hashed_split(0, ("speaker", name)) for name in names}
    trained = [name for name in names if splits[name] == "train"]
    tested = next(name for name in names if splits[name] == "test")
    of = [*((name, name, index) for index, name in enumerate(names)), (trained[0], "again", 200)]
    of += [(tested, "again", 201), (tested, "copy", names.index(trained[1])), (trained[2], "twin", 200)]
    rows = [
        {"speaker_id": name, "id": "x", "audio": audio(f"{name}/{video}/1.wav", frequency_hz=300 + 10 * sound)}
        for name, video, sound in of
    ]
    repo = hubs.write(tmp_path / "repo", hubs.VOXCELEB, {"default": {"train": rows}})
    fetched = fetch("voxceleb", repo, clips=clips)
    assert {bad.path: bad.reason for bad in fetched.rejected} == {
        "train:41": "same source as train/00000040, which is of train; its speaker is of test",
        "train:42": f"same content as train/{names.index(trained[1]):08d}, which is of train; its speaker is of test",
    }
    assert "train/00000043" in {clip.id for clip in of_split(fetched, "train")}


def generic(tmp_path: Path, **splits: int) -> Path:
    features = hubs.Features(speech=hubs.Audio(), phrase=hubs.STRING, speaker=hubs.STRING, photo=hubs.Value("binary"))
    of = {
        split: [
            {
                "speech": audio("a.wav", frequency_hz=300 + 5 * index),
                "phrase": f"{split} {index}",
                "speaker": f"s{index}",
                "photo": b"x",
            }
            for index in range(count)
        ]
        for split, count in splits.items()
    }
    return hubs.write(tmp_path / "mine", features, {"default": of})


def test_any_repository_by_its_columns(tmp_path: Path) -> None:
    repo = generic(tmp_path, train=20, test=2)
    with pytest.raises(CorpusError, match=r"--columns: which column of mine has the text .* phrase, speaker, photo"):
        fetch("hub", repo)
    fetched = fetch("hub", repo, columns={"text": "phrase"})
    assert fetched.clips[0].text == "train 0"
    assert fetched.clips[0].speaker == "s0"
    assert fetched.clips[0].task == "asr"
    assert fetched.clips[0].metadata == {}
    assert [clip.text for clip in of_split(fetched, "test")] == ["test 0", "test 1"]
    assert of_split(fetched, "validation")
    labels = fetch("hub", repo, columns={"label": "phrase", "voice": "speaker"})
    assert (labels.clips[0].label, labels.clips[0].task) == ("train 0", "classification")
    assert labels.clips[0].metadata == {"voice": "s0"}


def test_any_repository_guesses_nothing(tmp_path: Path) -> None:
    with pytest.raises(CorpusError, match=r"--path is empty: hub needs it"):
        corpora.fetch("hub", Request(clips=ALL, asked_as="--"), tmp_path)
    with pytest.raises(CorpusError, match=r"--path: neither a folder nor a hub id"):
        fetch("hub", tmp_path / "a/b/c")
    repo = generic(tmp_path / "several", **{"train": 1, "dev_a": 1, "dev_b": 1})
    with pytest.raises(CorpusError, match=r"--split: mine has several for validation: dev_a, dev_b; name one"):
        fetch("hub", repo, columns={"text": "phrase"})
    fetched = fetch("hub", repo, columns={"text": "phrase"}, split="dev_b", clips={**ALL, "train": 0, "test": 0})
    assert [clip.text for clip in of_split(fetched, "validation")] == ["dev_b 0"]
    silent = hubs.Features(text=hubs.STRING, words=hubs.STRING)
    rows = [{"text": "a", "words": "b"}]
    with pytest.raises(CorpusError, match=r"--columns: which one has the audio .* none of text, words"):
        fetch("hub", hubs.write(tmp_path / "silent", silent, {"default": {"train": rows}}))
    two = hubs.Features(text=hubs.STRING, left=hubs.Audio(), right=hubs.Audio())
    both = [{"text": "a", "left": audio("l.wav"), "right": audio("r.wav", frequency_hz=880)}]
    path = hubs.write(tmp_path / "two", two, {"default": dict.fromkeys(SPLITS, both)})
    with pytest.raises(CorpusError, match=r"which one has the audio .* two has left, right"):
        fetch("hub", path)
    for side, number in (("left", 0), ("right", 1)):
        fetched = fetch("hub", path, columns={"audio": side})
        data = (fetched.root / fetched.clips[0].audio_path).read_bytes()
        assert data == list(both[0].values())[1 + number]["bytes"]


def test_several_configs_without_a_default_must_be_named(tmp_path: Path) -> None:
    with pytest.raises(CorpusError, match=r"--config is empty: mine has several: de, en"):
        features = hubs.Features(audio=hubs.Audio(), text=hubs.STRING)
        rows = {"train": [{"audio": audio("a.wav"), "text": "x"}]}
        fetch("hub", hubs.write(tmp_path / "mine", features, {"de": rows, "en": rows}))


def test_a_changed_local_copy_is_read_again(tmp_path: Path) -> None:
    columns = {"text": "phrase"}
    assert len(fetch("hub", generic(tmp_path, train=5, dev=1, test=1), columns=columns).clips) == 7
    assert len(fetch("hub", generic(tmp_path, train=7, dev=1, test=1), columns=columns).clips) == 9


def test_an_audio_folder_is_read_too(tmp_path: Path) -> None:
    folder = tmp_path / "mine"
    for index in range(30):
        io.write_wav(folder / f"train/{index:02d}.wav", hubs.tone(0.1, 8000, 0.3, 300 + 10 * index), 8000)
    lines = [f"{index:02d}.wav,word {index:02d}" for index in range(30)]
    (folder / "train/metadata.csv").write_text("\n".join(["file_name,text", *lines]))
    limited = fetch("hub", folder, clips={"train": 1, "validation": 1, "test": 1})
    assert len(limited.clips) == 3
    fetched = fetch("hub", folder)
    assert sorted(str(clip.text) for clip in fetched.clips) == [f"word {index:02d}" for index in range(30)]
    assert (fetched.root / fetched.clips[0].audio_path).read_bytes() == (folder / "train/00.wav").read_bytes()


def table(tmp_path: Path, **columns: Any) -> Path:
    """A repository with one split of rows that have these columns beside their audio; a list is a column's values."""
    count = max(len(values) for values in columns.values() if isinstance(values, list))
    features = hubs.Features(audio=hubs.Audio(), **dict.fromkeys(columns, hubs.STRING))
    rows = [
        {name: values if isinstance(values, str) else values[index] for name, values in columns.items()}
        | {"audio": audio(f"{index}.wav", frequency_hz=300 + 5 * index)}
        for index in range(count)
    ]
    return hubs.write(tmp_path / "table", features, {"default": {"train": rows}})


def test_a_column_that_happens_to_be_called_source_ties_nothing(tmp_path: Path) -> None:
    repo = table(tmp_path, text=[f"word {index}" for index in range(60)], source="librivox")
    fetched = fetch("hub", repo)
    assert all(of_split(fetched, split) for split in SPLITS)
    assert fetched.clips[0].metadata == {"source": "librivox"}


def test_a_source_column_that_is_named_ties_its_clips(tmp_path: Path) -> None:
    books = [f"book {index // 3}" for index in range(90)]
    repo = table(tmp_path, text=[f"word {index}" for index in range(90)], book=books)
    fetched = fetch("hub", repo, columns={"source": "book"})
    sources = [{clip.metadata["source"] for clip in of_split(fetched, split)} for split in SPLITS]
    assert sum(map(len, sources)) == len(set.union(*sources)) == 30
    assert all(sources)


@pytest.mark.parametrize("column", ["speaker", "speaker_id", "client_id", "Speaker_ID"])
@pytest.mark.parametrize("text", ["text", "sentence", "transcription"])
def test_usual_names_of_columns_are_known(tmp_path: Path, column: str, text: str) -> None:
    texts = [f"word {index}" for index in range(90)]
    repo = table(tmp_path, **{text: texts, column: [f"s{index // 3}" for index in range(90)]})
    fetched = fetch("hub", repo)
    assert (fetched.clips[4].speaker, fetched.clips[4].text, fetched.clips[4].metadata) == ("s1", "word 4", {})
    speakers = [{clip.speaker for clip in of_split(fetched, split)} for split in SPLITS]
    assert sum(map(len, speakers)) == len(set.union(*speakers)) == 30


def test_of_two_usual_names_one_must_be_chosen_unless_it_is_ours(tmp_path: Path) -> None:
    names = [f"s{index // 3}" for index in range(90)]
    clients = [f"c{index // 3}" for index in range(90)]
    repo = table(tmp_path, text=names, speaker_id=names, client_id=clients)
    with pytest.raises(
        CorpusError, match=r"--columns: which one is the speaker \(speaker=…\)\? .* speaker_id, client_id"
    ):
        fetch("hub", repo)
    fetched = fetch("hub", repo, columns={"speaker": "client_id"})
    assert fetched.clips[0].speaker == "c0"
    assert fetched.clips[0].metadata == {"speaker_id": "s0"}
    ours = table(tmp_path / "ours", text=names, speaker=names, client_id=clients)
    assert fetch("hub", ours).clips[0].speaker == "s0"
