"""A corpus in Python: samples, the class to derive from, and the loading of registered corpora."""

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from datasets import Audio, Features, Value

from soundraft.audio import io
from soundraft.corpora import CORPORA, AudioDataset, AudioSample, CorpusError, list_audio_datasets, load_audio_dataset
from soundraft.corpora.base import Request
from soundraft.runtime import UserError
from tests.conftest import tone
from tests.corpora import hubs


class Mine(AudioDataset):
    name = "mine"
    task = "classification"
    loads = 0

    def load(self) -> Iterator[AudioSample]:
        self.loads += 1
        for number in range(3):
            path = Path(f"{number}.wav")
            yield AudioSample(path, f"wörd {number}", 0.5, task=self.task, metadata={"speaker": f"s{number}"})


@pytest.fixture(autouse=True)
def _cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOUNDRAFT_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", tmp_path / "hf")


@pytest.fixture
def recordings(tmp_path: Path) -> Path:
    root = tmp_path / "mine"
    lines = ["file_name,text,speaker,split,accent"]
    for number in range(6):
        io.write_wav(root / f"{number}.wav", tone(0.5 + number / 10), 8000)
        lines.append(f"{number}.wav,hello {number},s{number % 2},{('train', 'test')[number % 2]},welsh")
    (root / "metadata.csv").write_text("\n".join(lines))
    return root


def test_a_dataset_of_ones_own_iterates_and_loads_once() -> None:
    mine = Mine()
    assert [sample.text for sample in mine] == ["wörd 0", "wörd 1", "wörd 2"]
    assert len(list(mine)) == len(mine) == 3
    assert mine[2].metadata == {"speaker": "s2"}
    assert mine.loads == 1
    with pytest.raises(TypeError, match="abstract"):
        AudioDataset()  # type: ignore[abstract]


def test_the_rlvr_format_line_by_line(tmp_path: Path) -> None:
    Mine().to_rlvr_format(tmp_path / "deep/x.jsonl")
    lines = (tmp_path / "deep/x.jsonl").read_text(encoding="utf-8").splitlines()
    assert json.loads(lines[1]) == {
        "audio_path": "1.wav",
        "text": "wörd 1",
        "duration": 0.5,
        "task": "classification",
        "metadata": {"speaker": "s1"},
    }
    assert len(lines) == 3


def test_a_sample_without_a_file_is_named_and_nothing_is_left(tmp_path: Path) -> None:
    mine = Mine()
    mine.samples.append(AudioSample(None, "x", metadata={"id": "loud"}, audio_array=np.ones(3), sample_rate=8000))
    (tmp_path / "x.jsonl").write_text("earlier")
    with pytest.raises(UserError, match="mine: sample loud has no audio_path"):
        mine.to_rlvr_format(tmp_path / "x.jsonl")
    assert (tmp_path / "x.jsonl").read_text() == "earlier"
    assert [path.name for path in tmp_path.iterdir()] == ["x.jsonl"]


def test_a_path_may_be_text() -> None:
    assert AudioSample("a/b.wav", "x").audio_path == Path("a/b.wav")  # type: ignore[arg-type]


def test_a_registered_corpus_is_loaded(recordings: Path, tmp_path: Path) -> None:
    dataset = load_audio_dataset("folder", path=recordings)
    assert len(dataset) == 6
    first = dataset[0]
    assert first.audio_path == recordings / "0.wav"
    assert (first.text, first.task) == ("hello 0", "asr")
    assert first.metadata == {"id": "0.wav", "speaker": "s0", "split": "train", "accent": "welsh"}
    assert {sample.metadata["split"] for sample in load_audio_dataset("folder", "test", path=recordings)} == {"test"}
    assert len(load_audio_dataset("folder", split="train", limit=2, path=str(recordings))) == 2
    assert list((tmp_path / "cache/made").glob("folder*")) == list((tmp_path / "cache/made").glob("*.lock"))


def test_what_is_set_aside_is_told(recordings: Path) -> None:
    (recordings / "metadata.csv").write_text("file_name,text,split\n../up.wav,a,test\n0.wav,b,test\n")
    with pytest.warns(UserWarning, match="folder: 1 of the source set aside.*metadata.csv:2: .*leaves its folder"):
        dataset = load_audio_dataset("folder", path=recordings)
    assert [item.path for item in dataset.rejected] == ["metadata.csv:2"]
    assert len(dataset) == 1


def test_a_made_corpus_takes_its_numbers_from_params_and_lies_in_the_cache(tmp_path: Path) -> None:
    digits = tmp_path / "digits"
    for digit in range(3):
        for take in range(12):
            io.write_wav(digits / f"{digit}_ann_{take}.wav", tone(0.1), 8000)
    dataset = load_audio_dataset("fsdd", split="validation", limit=4, path=digits)
    assert len(dataset) == 4
    path = dataset[0].audio_path
    assert path is not None
    assert path.is_relative_to(tmp_path / "cache")
    before = [sample.audio_path.read_bytes() for sample in dataset if sample.audio_path]
    again = load_audio_dataset("fsdd", split="validation", limit=4, path=digits)
    assert [sample.audio_path.read_bytes() for sample in again if sample.audio_path] == before
    assert len(load_audio_dataset("fsdd", "test", path=digits)) == 400
    other = load_audio_dataset("fsdd", "validation", 4, path=digits, seed=1)
    assert other[0].audio_path != path
    assert [sample.text for sample in other] != [sample.text for sample in dataset]


def test_a_corpus_of_the_hub_lies_in_the_cache_and_no_more_than_asked_is_read(tmp_path: Path) -> None:
    features = Features({"audio": Audio(), "sentence": Value("string"), "client_id": Value("string")})
    rows = [{"audio": hubs.audio(f"{n}.wav"), "sentence": f"s {n}", "client_id": f"c{n}"} for n in range(5)]
    path = hubs.write(tmp_path / "repo", features, {"default": {"train.clean.100": rows[:4], "test": rows[4:]}})
    columns = {"text": "sentence", "speaker": "client_id"}
    dataset = load_audio_dataset("hub", "train.clean.100", 2, path=path, columns=columns)
    assert [(sample.text, sample.metadata["speaker"]) for sample in dataset] == [("s 0", "c0"), ("s 1", "c1")]
    for sample, row in zip(dataset, rows, strict=False):
        assert sample.audio_path is not None
        assert sample.audio_path.is_relative_to(tmp_path / "cache")
        assert sample.audio_path.read_bytes() == row["audio"]["bytes"]  # type: ignore[index]
    assert len(list((tmp_path / "cache").rglob("*.wav"))) == 2
    assert [sample.text for sample in load_audio_dataset("hub", "test", path=path, columns=columns)] == ["s 4"]


def test_a_split_of_the_source_leaves_the_other_splits_out(monkeypatch: pytest.MonkeyPatch) -> None:
    from soundraft.corpora import loading

    request = loading.make_request("folder", "train.clean.100", 7)
    assert (request.split, request.clips) == ("train.clean.100", {"train": 7, "validation": 0, "test": 0})
    request = loading.make_request("folder", "dev_other", None)
    assert request.clips == {"train": 0, "validation": None, "test": 0}
    with pytest.raises(CorpusError, match="split 'best': give train, validation, test, or a split of the source"):
        loading.make_request("folder", "best", None)
    everything = loading.make_request("folder", None, None, path=None)
    assert everything == Request(clips={"train": None, "validation": None, "test": None})


def test_mistakes_name_what_exists() -> None:
    assert list_audio_datasets() == list(CORPORA)
    with pytest.raises(CorpusError, match=r"no corpus 'fssd'; did you mean fsdd\? there are espeak, fsdd"):
        load_audio_dataset("fssd")
    with pytest.raises(CorpusError, match="language: folder does not take it; it takes columns, labels, path"):
        load_audio_dataset("folder", path=".", language="en")
    with pytest.raises(CorpusError, match="limit 0: give a number from 1"):
        load_audio_dataset("folder", path=".", limit=0)
    with pytest.raises(CorpusError, match="no role 'goal'; there are start, target"):
        load_audio_dataset("espeak", role="goal")


def test_the_package_is_imported_without_anything_heavy() -> None:
    code = (
        "import sys; from soundraft.corpora import AudioSample, AudioDataset, load_audio_dataset, list_audio_datasets; "
        "print([name for name in ('torch', 'datasets', 'huggingface_hub', 'librosa', 'pandas') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_the_rlvr_format_is_read_back_where_the_audio_lies_below_it(recordings: Path) -> None:
    dataset = load_audio_dataset("folder", path=recordings)
    dataset.to_rlvr_format(recordings.parent / "all.jsonl")
    again = load_audio_dataset("jsonl", path=recordings.parent / "all.jsonl")
    assert [sample.audio_path for sample in again] == [sample.audio_path for sample in dataset]
    assert [sample.metadata["id"] for sample in again] == [sample.metadata["id"] for sample in dataset]


def test_an_id_of_nought_is_an_id(recordings: Path) -> None:
    (recordings / "ids.jsonl").write_text(
        "".join(json.dumps({"id": number, "audio_path": f"{number}.wav", "text": "a"}) + "\n" for number in range(3))
    )
    again = load_audio_dataset("jsonl", path=recordings / "ids.jsonl")
    assert sorted(sample.metadata["id"] for sample in again) == ["0", "1", "2"]


def test_a_script_without_a_main_guard_can_have_speech_made(tmp_path: Path) -> None:
    script = tmp_path / "plain.py"
    script.write_text(
        "from soundraft.corpora import load_audio_dataset\nprint(len(load_audio_dataset('espeak', 'test', 2)))\n"
    )
    done = subprocess.run([sys.executable, script], capture_output=True, text=True, timeout=60, check=False)
    assert done.stdout == "2\n", done.stderr


def test_a_limit_draws_from_a_list_that_is_sorted_by_label(tmp_path: Path) -> None:
    lines = ["file_name,label"]
    for number in range(40):
        io.write_wav(tmp_path / f"mine/{number:02d}.wav", tone(0.1, frequency_hz=200 + number), 8000)
        lines.append(f"{number:02d}.wav,{'cat' if number < 20 else 'dog'}")
    (tmp_path / "mine/metadata.csv").write_text("\n".join(lines))
    few = load_audio_dataset("folder", "train", 8, path=tmp_path / "mine")
    assert {sample.metadata["label"] for sample in few} == {"cat", "dog"}
    more = load_audio_dataset("folder", "train", 12, path=tmp_path / "mine")
    assert {sample.audio_path for sample in few} < {sample.audio_path for sample in more}
