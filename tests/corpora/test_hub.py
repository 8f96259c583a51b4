"""Each corpus of the hub against a repository with its published columns, through `datasets`' own reading."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from soundraft import corpora, runtime
from soundraft.audio import io
from soundraft.corpora import CorpusError, Fetched, Request, checks
from soundraft.corpora.base import copy_in
from soundraft.corpora.originals import EMODB_SPEAKERS
from soundraft.manifest import SPLITS, Clip, Split
from soundraft.splits import hashed_split
from tests.corpora import hubs
from tests.corpora.hubs import audio

ALL: dict[Split, int | None] = {"train": None, "validation": None, "test": None}
TRAIN_ONLY: dict[Split, int | None] = {"train": None, "validation": 0, "test": 0}


@pytest.fixture(autouse=True)
def _own_caches(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(runtime.CACHE_VARIABLE, str(tmp_path / "cache"))
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", tmp_path / "hf")


def fetch(corpus: str, path: Path, **asked: Any) -> Fetched:
    request = Request(**{"path": path, "clips": ALL, "asked_as": "--"} | asked)
    return corpora.fetch(corpus, request, path.parent / "out")


def refused(corpus: str, path: Path, word: str, **asked: Any) -> None:
    with pytest.raises(CorpusError, match=word):
        fetch(corpus, path, **asked)


def of_split(fetched: Fetched, split: str) -> list[Clip]:
    return [clip for clip in fetched.clips if clip.split == split]


def texts(fetched: Fetched) -> list[str | None]:
    return [clip.text for clip in fetched.clips]


def apart(fetched: Fetched, what: str) -> int:
    """How many speakers or sources there are, none in two splits and none of the splits empty."""

    def value(clip: Clip) -> Any:
        return clip.speaker if what == "speaker" else clip.metadata["source"]

    values = [{value(clip) for clip in of_split(fetched, split)} for split in SPLITS]
    assert all(values)
    assert sum(map(len, values)) == len(set.union(*values))
    return sum(map(len, values))


def librispeech_rows(count: int) -> list[dict[str, Any]]:
    name = "61-70968-{n:04d}"
    known = {"text": "SENTENCE {n}", "speaker_id": lambda n: 61 + n, "chapter_id": 70968, "id": name}
    sound = {"audio": lambda n: audio(f"{n}.flac", "FLAC", 200 + 10 * n)}
    return hubs.rows(count, file=f"{name}.flac", **known, **sound)


LIBRISPEECH_SPLITS = (
    "train.clean.100", "train.clean.360", "train.other.500", "validation.clean", "validation.other", "test.clean",
    "test.other",
)  # fmt: skip


@pytest.fixture
def librispeech(tmp_path: Path) -> Path:
    """Three clips in each of its splits; the first is 0 in the first split, 3 in the next, and so on."""
    rows = librispeech_rows(21)
    everything = {name: rows[3 * place : 3 * place + 3] for place, name in enumerate(LIBRISPEECH_SPLITS)}
    clean = {"train.100": rows[:2], "train.360": rows[3:5], "validation": rows[9:10], "test": rows[15:16]}
    return hubs.write(tmp_path / "librispeech_asr", hubs.LIBRISPEECH, {"all": everything, "clean": clean})


def test_librispeech_with_its_bytes_unchanged(librispeech: Path, tmp_path: Path) -> None:
    fetched = fetch("librispeech", librispeech)
    assert [len(of_split(fetched, split)) for split in SPLITS] == [3, 3, 3]
    first = fetched.clips[0]
    assert (first.id, first.text, first.speaker) == ("61-70968-0000", "SENTENCE 0", "61")
    assert (first.duration, first.sample_rate, first.task, first.metadata) == (0.1, 8000, "asr", {"chapter": 70968})
    assert first.audio_path == "train.clean.100/00000/00000000.flac"
    copied = copy_in(fetched, tmp_path / "out")
    assert (copied.root / first.audio_path).read_bytes() == librispeech_rows(1)[0]["audio"]["bytes"]
    assert fetched.source["splits"]["test"] == "test.clean"
    assert str(tmp_path) not in str(fetched.source)
    assert fetched.cached


def test_one_split_of_the_source_takes_the_place_of_the_usual_one(librispeech: Path) -> None:
    fetched = fetch("librispeech", librispeech, split="train.other.500", clips={**ALL, "train": 2})
    assert texts(fetched) == [f"SENTENCE {index}" for index in (6, 7, 9, 10, 11, 15, 16, 17)]
    clean = fetch("librispeech", librispeech, config="clean", split="train.360")
    assert texts(clean) == ["SENTENCE 3", "SENTENCE 4", "SENTENCE 9", "SENTENCE 15"]


WRONG: list[tuple[str, dict[str, Any]]] = [
    (r"--split: .*train.clean.100, train.clean.360", {"split": "train.99"}),
    (r"--split: 'clean' .*train.clean.100", {"split": "clean"}),
    (r"--subset: .*all, clean", {"config": "other"}),
    (r"--language: librispeech", {"language": "en"}),
    (r"--revision: .*local copy", {"revision": "main"}),
    (r"--path: .*gone.*openslr", {"path": Path("gone")}),
    (r"--path: .*params.yaml is not a folder", {"path": Path("params.yaml")}),
]


def test_wrong_options_are_refused_with_what_there_is(librispeech: Path) -> None:
    for word, options in WRONG:
        refused("librispeech", options.pop("path", librispeech), word, **options)
    refused("fleurs", librispeech, r"--language is empty")


def test_columns_that_are_not_there_are_named_and_can_be_given(tmp_path: Path) -> None:
    features = hubs.Features({**hubs.LIBRISPEECH, "transcript": hubs.STRING})
    del features["text"]
    rows = [{**librispeech_rows(1)[0], "transcript": "HELLO"}]
    repo = hubs.write(tmp_path / "repo", features, {"all": {"train.clean.100": rows}})
    refused("librispeech", repo, r"'text' .*file, .*speaker_id, .*transcr", clips=TRAIN_ONLY)
    columns = {"text": "transcript", "recording": "file"}
    fetched = fetch("librispeech", repo, clips=TRAIN_ONLY, columns=columns)
    assert texts(fetched) == ["HELLO"]
    assert fetched.clips[0].metadata == {"chapter": 70968, "recording": "61-70968-0000.flac"}


def test_bad_rows_are_rejected_and_do_not_count_toward_the_limit(tmp_path: Path) -> None:
    rows = librispeech_rows(9)
    rows[1]["audio"] = {"bytes": b"this is no audio", "path": "1.flac"}
    rows[2]["audio"] = None
    rows[3]["text"] = None
    rows[4]["id"] = rows[0]["id"]
    rows[5]["audio"] = {"bytes": None, "path": "/etc/passwd"}
    rows[6]["audio"] = {"bytes": None, "path": "../outside.flac"}
    beside = rows[7]["audio"]["bytes"]
    rows[7]["audio"] = {"bytes": None, "path": "clips/0.flac"}
    repo = hubs.write(tmp_path / "repo", hubs.LIBRISPEECH, {"all": {"train.clean.100": rows}})
    (repo / "clips").mkdir()
    (repo / "clips/0.flac").write_bytes(beside)
    fetched = fetch("librispeech", repo, clips={"train": 2, "validation": 0, "test": 0})
    assert texts(fetched) == ["SENTENCE 0", "SENTENCE 7"]
    assert (fetched.root / fetched.clips[1].audio_path).read_bytes() == beside
    found = {bad.path.removeprefix("train.clean.100:"): bad.reason.split(" in ")[0] for bad in fetched.rejected}
    assert list(found) == ["1", "2", "3", "4", "5", "6"]
    assert found["1"].startswith("not readable as audio")
    assert (found["2"], found["3"]) == ("no audio", "no text")
    assert found["4"].startswith("duplicate id")
    assert found["5"].endswith("'/etc/passwd'")
    assert found["6"].endswith("'../outside.flac'")


def test_class_labels_are_names_and_null_is_no_speaker(tmp_path: Path) -> None:
    labels, who = [hubs.WORDS.str2int(name) for name in ("marvin", "_silence_")], ("0165e0e8", None)
    rows = hubs.rows(
        2, "MP3", file="{n}/1.wav", label=labels.__getitem__, is_unknown=lambda n: not n, speaker_id=who.__getitem__,
        utterance_id=0, audio=lambda n: audio(f"{n}.mp3", "MP3"),
    )  # fmt: skip
    repo = hubs.write(tmp_path / "repo", hubs.SPEECH_COMMANDS, {"v0.02": dict.fromkeys(SPLITS, rows)}, converted=True)
    clips = of_split(fetch("speech_commands", repo), "test")
    assert [(clip.text, clip.label, clip.speaker, clip.metadata) for clip in clips] == [
        (None, "marvin", "0165e0e8", {"is_unknown": True, "utterance": 0, "file": "0/1.wav"}),
        (None, "_silence_", None, {"is_unknown": False, "utterance": 0, "file": "1/1.wav"}),
    ]
    assert clips[0].audio_path.endswith(".mp3")


def minds14(tmp_path: Path, count: int, recordings: int = 1000) -> Path:
    """`count` rows of so many different recordings."""
    texts = dict.fromkeys(("transcription", "english_transcription"), "request {n}")
    sound = {"audio": lambda n: audio(f"{n}.wav", frequency_hz=300 + 5 * (n % recordings))}
    rows = hubs.rows(count, path="en-US~{n}.wav", intent_class=lambda n: n % 14, lang_id=4, **texts, **sound)
    return hubs.write(tmp_path / "minds14", hubs.MINDS14, {"all": {"train": rows}, "en-US": {"train": rows}})


def test_minds14_has_names_for_labels_and_splits_drawn_with_the_seed(tmp_path: Path) -> None:
    repo = minds14(tmp_path, 60)
    fetched = fetch("minds14", repo, language="en-US", seed=1)
    assert {clip.label for clip in fetched.clips} == set(hubs.INTENTS.names)
    assert fetched.clips[0].metadata["locale"] == "en-US"
    sizes = [len(of_split(fetched, split)) for split in SPLITS]
    assert sum(sizes) == 60
    assert all(1 <= size <= 15 for size in sizes[1:])
    assert fetch("minds14", repo, language="en-US", seed=1).clips == fetched.clips
    other = fetch("minds14", repo, language="en-US", seed=2)
    assert {clip.id: clip.split for clip in other.clips} != {clip.id: clip.split for clip in fetched.clips}
    refused("minds14", repo, r"--language: .*all, en-US", language="xx")
    limited = fetch("minds14", repo, language="en-US", seed=1, clips=dict.fromkeys(SPLITS, 2))
    assert [len(of_split(limited, split)) for split in SPLITS] == [2, 2, 2]
    assert limited.usable < 60


def test_how_much_is_asked_for_moves_no_clip_to_another_split(tmp_path: Path) -> None:
    repo = voxceleb(tmp_path, speakers=40, videos=3)
    whole = {clip.id: clip.split for clip in fetch("voxceleb", repo).clips}
    speakers: dict[str, set[str | None]] = {}
    for asked in [{"train": 12}, {"validation": 2}, {"test": 5}, {"train": None}, {"train": 1, "test": 7}]:
        fetched = fetch("voxceleb", repo, clips={**dict.fromkeys(SPLITS, 0), **asked})
        assert {clip.id: clip.split for clip in fetched.clips}.items() <= whole.items()
        for split in set(asked):
            speakers.setdefault(split, set()).update(clip.speaker for clip in of_split(fetched, split))
    assert all(speakers.values())
    assert not speakers["train"] & speakers["test"]
    assert not speakers["train"] & speakers["validation"]


def test_the_same_recording_in_several_rows_is_in_one_split(tmp_path: Path) -> None:
    fetched = fetch("minds14", minds14(tmp_path, 120, recordings=40), language="en-US")
    assert (len(fetched.clips), fetched.rejected) == (120, [])
    assert all(of_split(fetched, split) for split in SPLITS)
    assert not any(map(checks.leaks, checks.examine(fetched.clips, fetched.root, texts=False)[0].values()))


def test_labels_that_are_none_are_rejected_and_unknown_ones_refused(tmp_path: Path) -> None:
    repo = minds14(tmp_path, 84)
    fetched = fetch("minds14", repo, language="en-US", labels=("freeze", "balance"), clips=TRAIN_ONLY)
    assert {clip.label for clip in fetched.clips} == {"freeze", "balance"}
    assert "'abroad'" in fetched.rejected[0].reason
    refused("minds14", repo, r"--labels: .*frieze; .*abroad, address", language="en-US", labels=("freeze", "frieze"))
    path = minds14(tmp_path / "odd", 20) / "en-US/train-00000-of-00001.parquet"
    table = hubs.pq.read_table(path)
    numbers = hubs.pa.array([14, None, *range(14), 0, 1, -1, 2], hubs.pa.int64())
    place = table.schema.get_field_index("intent_class")
    hubs.pq.write_table(table.set_column(place, table.schema.field("intent_class"), numbers), path)
    fetched = fetch("minds14", path.parents[1], language="en-US", clips=TRAIN_ONLY)
    assert [bad.path for bad in fetched.rejected] == ["train:0", "train:1", "train:18"]


def test_speech_massive_takes_its_test_split_from_the_other_repository(tmp_path: Path) -> None:
    known = {"scenario_str": "alarm", "intent_str": "alarm_set", "tokens": ["réveil"], "labels": ["Other", "time"]}
    who = {"speaker_id": "s{n}", "speaker_sex": "Female", "speaker_age": "40"}
    row = hubs.rows(4, id="{n}", utt="réveil {n}", **known, **who)
    train = {"train_115": row[:1], "validation": row[1:2]}
    configs: Mapping[str, Any] = {"hu-HU": train, "fr-FR": {**train, "train": row[2:3]}}
    main = hubs.write(tmp_path / "Speech-MASSIVE", hubs.SPEECH_MASSIVE, configs)
    refused("speech_massive", main, "FBK-MT/Speech-MASSIVE-test must lie beside", language="hu-HU")
    other = {name: {"test": row[3:]} for name in configs}
    hubs.write(tmp_path / "Speech-MASSIVE-test", hubs.SPEECH_MASSIVE, other)
    for language, expected in (("hu-HU", [0, 1, 3]), ("fr-FR", [2, 1, 3])):
        fetched = fetch("speech_massive", main, language=language)
        assert texts(fetched) == [f"réveil {index}" for index in expected]
        assert all(io.read(fetched.root / clip.audio_path) for clip in fetched.clips)
        assert (fetched.clips[0].label, fetched.clips[0].metadata["slots"]) == ("alarm_set", ["Other", "time"])


def test_audioset_keeps_all_labels_and_cuts_validation_out_of_train(tmp_path: Path) -> None:
    known = {"labels": ["/m/09x0r", "/m/04rlf"], "human_labels": ["Speech", "Music"]}
    rows = hubs.rows(61, "FLAC", video_id="t{n}", **known)
    of = {
        "train": [*rows[:60], rows[60] | {"human_labels": []}],
        "test": hubs.rows(5, "FLAC", video_id="e{n}", **known),
    }
    repo = hubs.write(tmp_path / "AudioSet", hubs.AUDIOSET, {"balanced": of})
    fetched = fetch("audioset", repo)
    assert (fetched.clips[0].label, fetched.clips[0].metadata["all_labels"]) == ("Speech", ["Speech", "Music"])
    sizes = [len(of_split(fetched, split)) for split in SPLITS]
    assert (sizes[0] + sizes[1], sizes[2]) == (60, 5)
    assert 1 <= sizes[1] <= 15
    assert [bad.path for bad in fetched.rejected] == ["train:60"]
    without = fetch("audioset", repo, clips={**ALL, "validation": 0})
    assert of_split(without, "train") == of_split(fetched, "train")


def esc50(tmp_path: Path) -> Path:
    rows = hubs.rows(
        18, fold=lambda n: n // 3 + 1, category=lambda n: ("dog", "rain", "clapping")[n % 3], esc10=lambda n: n % 3 < 2,
        filename=lambda n: f"{n // 3 + 1}-{n % 3}.wav", src_file=lambda n: 1000 + n, take="A",
    )  # fmt: skip
    return hubs.write(tmp_path / "esc50", hubs.ESC50, {"default": {"train": rows}}, shards=2)


def test_esc50_has_its_official_folds(tmp_path: Path) -> None:
    repo = esc50(tmp_path)
    for fold, validation in ((1, 2), (3, 4), (5, 1)):
        fetched = fetch("esc50", repo, fold=fold)
        assert {clip.metadata["fold"] for clip in of_split(fetched, "test")} == {fold}
        assert {clip.metadata["fold"] for clip in of_split(fetched, "validation")} == {validation}
        assert len(of_split(fetched, "train")) == 9
    assert (fetched.clips[0].metadata["source"], fetched.clips[0].id) == (1000, "1-0.wav")
    assert [bad.path for bad in fetched.rejected] == ["train:15", "train:16", "train:17"]  # of a fold that is none
    subset = fetch("esc50", repo, config="esc10", clips={"train": 3, "validation": 1, "test": None})
    assert {clip.label for clip in subset.clips} == {"dog", "rain"}
    assert [len(of_split(subset, split)) for split in SPLITS] == [3, 1, 2]
    refused("esc50", repo, r"--fold: 6", fold=6)
    refused("esc50", repo, r"--subset: .*esc10", config="esc20")


def test_emodb_has_its_speakers_from_the_names(tmp_path: Path) -> None:
    files = [f"{speaker}a01E{take}.wav" for speaker in EMODB_SPEAKERS for take in "ab"] + ["unnamed.wav"]
    rows = hubs.rows(21, age=31.0, gender=1, emotion=2, audio=lambda n: audio(files[n]))
    fetched = fetch("emodb", hubs.write(tmp_path / "emo", hubs.EMODB, {"default": {"train": rows}}), fold=2)
    assert {clip.speaker for clip in of_split(fetched, "test")} == {"08"}
    assert {clip.speaker for clip in of_split(fetched, "validation")} == {"09"}
    assert apart(fetched, "speaker") == 10
    first = fetched.clips[0]
    assert (first.label, first.metadata["gender"], first.metadata["age"]) == ("disgust", "male", 31.0)
    assert [bad.path for bad in fetched.rejected] == ["train:20"]


def voxceleb(tmp_path: Path, speakers: int, videos: int) -> Path:
    def sound(n: int) -> dict[str, Any]:
        return audio(f"id/video{n // videos}-{n % videos}/1.wav", frequency_hz=300 + 10 * (n // videos) + n % videos)

    rows = hubs.rows(speakers * videos, id="{n}", speaker_id=lambda n: f"id{n // videos}", audio=sound)
    return hubs.write(tmp_path / f"{speakers}", hubs.VOXCELEB, {"default": {"train": rows}})


def test_voxceleb_never_divides_a_speaker(tmp_path: Path) -> None:
    fetched = fetch("voxceleb", voxceleb(tmp_path, speakers=40, videos=2))
    assert apart(fetched, "speaker") == 40
    assert fetched.clips[0].metadata["source"] == "video0-0"
    # a split that no group fell to is an error, not another division
    refused("voxceleb", voxceleb(tmp_path, speakers=2, videos=3), r"2 by speaker")


def test_what_two_speakers_share_is_not_in_two_splits(tmp_path: Path) -> None:
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
    for clips in (ALL, TRAIN_ONLY):
        fetched = fetch("voxceleb", repo, clips=clips)
        reasons = {bad.path: bad.reason.split()[1] for bad in fetched.rejected}
        assert reasons == {"train:41": "source", "train:42": "content"}
        assert "train/00000043" in {clip.id for clip in of_split(fetched, "train")}


def generic(tmp_path: Path, **splits: int) -> Path:
    features = hubs.Features(speech=hubs.Audio(), phrase=hubs.STRING, speaker=hubs.STRING, photo=hubs.Value("binary"))
    sound = {"speech": lambda n: audio("a.wav", frequency_hz=300 + 5 * n)}
    of = {
        split: hubs.rows(count, phrase=f"{split} {{n}}", speaker="s{n}", photo=b"x", **sound)
        for split, count in splits.items()
    }
    return hubs.write(tmp_path / "mine", features, {"default": of})


def test_any_repository_by_its_columns(tmp_path: Path) -> None:
    repo = generic(tmp_path, train=20, test=2)
    refused("hub", repo, r"--columns: .*phrase, speaker, photo")
    fetched = fetch("hub", repo, columns={"text": "phrase"})
    first = fetched.clips[0]
    assert (first.text, first.speaker, first.task, first.metadata) == ("train 0", "s0", "asr", {})
    assert [clip.text for clip in of_split(fetched, "test")] == ["test 0", "test 1"]
    assert of_split(fetched, "validation")
    labels = fetch("hub", repo, columns={"label": "phrase", "voice": "speaker"})
    first = labels.clips[0]
    assert (first.label, first.task, first.metadata) == ("train 0", "classification", {"voice": "s0"})
    assert len(fetch("hub", generic(tmp_path, train=25, test=2), columns={"text": "phrase"}).clips) == 27  # read again


def test_any_repository_guesses_nothing(tmp_path: Path) -> None:
    with pytest.raises(CorpusError, match="--path is empty"):
        corpora.fetch("hub", Request(clips=ALL, asked_as="--"), tmp_path)
    refused("hub", tmp_path / "a/b/c", "--path: .*hub id")
    repo = generic(tmp_path / "several", **{"train": 1, "dev_a": 1, "dev_b": 1})
    refused("hub", repo, "--split: .*dev_a, dev_b", columns={"text": "phrase"})
    asked = {"columns": {"text": "phrase"}, "split": "dev_b", "clips": {**ALL, "train": 0, "test": 0}}
    assert texts(fetch("hub", repo, **asked)) == ["dev_b 0"]
    silent = hubs.Features(text=hubs.STRING, words=hubs.STRING)
    rows = {"default": {"train": [{"text": "a", "words": "b"}]}}
    refused("hub", hubs.write(tmp_path / "silent", silent, rows), "--columns: .*audio=.*none of text, words")
    two = hubs.Features(text=hubs.STRING, left=hubs.Audio(), right=hubs.Audio())
    both = {"text": "a", "left": audio("l.wav"), "right": audio("r.wav", frequency_hz=880)}
    path = hubs.write(tmp_path / "two", two, {"default": {split: [both] for split in SPLITS}})
    refused("hub", path, "audio=.*left, right")
    for side in ("left", "right"):
        fetched = fetch("hub", path, columns={"audio": side})
        assert (fetched.root / fetched.clips[0].audio_path).read_bytes() == both[side]["bytes"]  # type: ignore[index]
    features = hubs.Features(audio=hubs.Audio(), text=hubs.STRING)
    one = {"train": [{"audio": audio("a.wav"), "text": "x"}]}
    refused("hub", hubs.write(tmp_path / "de", features, {"de": one, "en": one}), "--subset: .*de, en")


def test_an_audio_folder_is_read_too(tmp_path: Path) -> None:
    folder = tmp_path / "mine"
    for index in range(30):
        io.write_wav(folder / f"train/{index:02d}.wav", hubs.tone(0.1, 8000, 0.3, 300 + 10 * index), 8000)
    lines = [f"{index:02d}.wav,word {index:02d}" for index in range(30)]
    (folder / "train/metadata.csv").write_text("\n".join(["file_name,text", *lines]))
    assert len(fetch("hub", folder, clips={"train": 1, "validation": 1, "test": 1}).clips) == 3
    fetched = fetch("hub", folder)
    assert sorted(map(str, texts(fetched))) == [f"word {index:02d}" for index in range(30)]
    assert (fetched.root / fetched.clips[0].audio_path).read_bytes() == (folder / "train/00.wav").read_bytes()


def table(tmp_path: Path, count: int = 90, **columns: Any) -> Path:
    """A repository with one split of rows that have these columns beside their audio."""
    features = hubs.columns(" ".join(columns))
    rows = hubs.rows(count, **columns)
    return hubs.write(tmp_path / "table", features, {"default": {"train": rows}})


def test_a_source_column_ties_its_clips_only_where_it_is_named(tmp_path: Path) -> None:
    fetched = fetch("hub", table(tmp_path, text="word {n}", source="librivox"))
    assert all(of_split(fetched, split) for split in SPLITS)
    assert fetched.clips[0].metadata == {"source": "librivox"}
    repo = table(tmp_path / "books", text="word {n}", book=lambda n: f"book {n // 3}")
    assert apart(fetch("hub", repo, columns={"source": "book"}), "source") == 30


def test_usual_names_of_columns_and_of_two_one_must_be_chosen_unless_it_is_ours(tmp_path: Path) -> None:
    def names(n: int) -> str:
        return f"s{n // 3}"

    for text, speaker in (("sentence", "Speaker_ID"), ("transcription", "client_id")):
        fetched = fetch("hub", table(tmp_path / text, **{text: "word {n}", speaker: names}))
        assert (fetched.clips[4].speaker, fetched.clips[4].text, fetched.clips[4].metadata) == ("s1", "word 4", {})
        assert apart(fetched, "speaker") == 30
    repo = table(tmp_path, text="{n}", speaker_id=names, client_id="c{n}")
    refused("hub", repo, "--columns: .*speaker_id, client_id")
    fetched = fetch("hub", repo, columns={"speaker": "client_id"})
    assert (fetched.clips[0].speaker, fetched.clips[0].metadata) == ("c0", {"speaker_id": "s0"})
    ours = table(tmp_path / "ours", text="{n}", speaker=names, client_id="c{n}")
    assert fetch("hub", ours).clips[0].speaker == "s0"
