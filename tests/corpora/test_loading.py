"""Corpora in Python: samples, the class to derive from, and the loading of registered corpora."""

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from soundraft.audio import io
from soundraft.corpora import (
    AudioDataset,
    AudioSample,
    Request,
    load_audio_dataset,
    make_request,
)  # fmt: skip
from soundraft.runtime import UserError
from tests.conftest import tone


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


def test_a_dataset_of_ones_own_loads_once_and_writes_a_line_for_each_sample(tmp_path: Path) -> None:
    mine = Mine()
    assert [sample.text for sample in mine] == ["wörd 0", "wörd 1", "wörd 2"]
    assert len(list(mine)) == len(mine) == 3
    assert mine[2].metadata == {"speaker": "s2"}
    assert mine.loads == 1
    with pytest.raises(TypeError, match="abstract"):
        AudioDataset()  # type: ignore[abstract]
    mine.to_rlvr_format(tmp_path / "deep/x.jsonl")
    rows = [json.loads(line) for line in (tmp_path / "deep/x.jsonl").read_text(encoding="utf-8").splitlines()]
    assert rows[1] == {
        "audio_path": str(Path("1.wav").resolve()), "text": "wörd 1", "duration": 0.5, "task": "classification",
        "metadata": {"speaker": "s1"},
    }  # fmt: skip
    mine.samples.append(AudioSample(None, "x", metadata={"id": "loud"}, audio_array=np.ones(3), sample_rate=8000))
    with pytest.raises(UserError, match=r"loud.*no audio_path"):
        mine.to_rlvr_format(tmp_path / "deep/x.jsonl")
    assert len((tmp_path / "deep/x.jsonl").read_text().splitlines()) == len(list((tmp_path / "deep").iterdir())) + 2


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
    (recordings / "metadata.csv").write_text("file_name,text,split\n../up.wav,a,test\n0.wav,b,test\n")
    with pytest.warns(UserWarning, match=r"folder: 1 rejected.*metadata.csv:2"):
        dataset = load_audio_dataset("folder", path=recordings)
    assert ([item.path for item in dataset.rejected], len(dataset)) == (["metadata.csv:2"], 1)


def test_a_made_corpus_takes_its_numbers_from_params_and_lies_in_the_cache(tmp_path: Path) -> None:
    digits = tmp_path / "digits"
    for digit in range(3):
        for take in range(12):
            io.write_wav(digits / f"{digit}_ann_{take}.wav", tone(0.1), 8000)

    def load(seed: int = 0) -> list[tuple[Any, ...]]:
        dataset = load_audio_dataset("fsdd", split="validation", limit=4, path=digits, seed=seed)
        paths = [sample.audio_path for sample in dataset if sample.audio_path]
        assert all(path.is_relative_to(tmp_path / "cache") for path in paths)
        return [(path, path.read_bytes(), sample.text) for path, sample in zip(paths, dataset, strict=True)]

    assert len(load()) == 4
    assert load() == load()
    assert not {path for path, *_ in load()} & {path for path, *_ in load(seed=1)}
    assert len(load_audio_dataset("fsdd", "test", path=digits)) == 400
    as_they_are = make_request("fsdd", None, None, config="digits")
    assert as_they_are.clips == {"train": None, "validation": None, "test": None}


def test_a_script_without_a_guard_makes_a_corpus(tmp_path: Path) -> None:
    """Workers that ran the script again would wait for its lock, for ever."""
    code = "from soundraft.corpora import load_audio_dataset\nprint(len(load_audio_dataset('espeak', 'test', 1)))\n"
    (tmp_path / "script.py").write_text(code + "print(__file__)\n")
    pipes: dict[str, Any] = dict.fromkeys(("stdin", "stdout"), subprocess.PIPE)
    runs = [
        subprocess.Popen([sys.executable, *script], text=True, **pipes) for script in ([tmp_path / "script.py"], [])
    ]
    said = [run.communicate(given, timeout=60)[0].split() for run, given in zip(runs, ("", code), strict=True)]
    assert said == [["1", str(tmp_path / "script.py")], ["1"]]


def test_a_split_of_the_source_leaves_the_other_splits_out() -> None:
    request = make_request("folder", "train.clean.100", 7)
    assert (request.split, request.clips) == ("train.clean.100", {"train": 7, "validation": 0, "test": 0})
    assert make_request("folder", "dev_other", None).clips == {"train": 0, "validation": None, "test": 0}
    everything = {"train": None, "validation": None, "test": None}
    assert make_request("folder", None, None, path=None) == Request(clips=everything)  # type: ignore[arg-type]


def test_the_package_is_imported_without_anything_heavy() -> None:
    code = (
        "import sys; from soundraft.corpora import AudioSample, AudioDataset, load_audio_dataset, list_audio_datasets; "
        "print([name for name in ('torch', 'datasets', 'huggingface_hub', 'librosa', 'pandas') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
