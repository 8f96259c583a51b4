"""A corpus in the user's own Python."""

from pathlib import Path

import numpy as np
import pytest

from soundraft.audio import io
from soundraft.corpora import custom
from soundraft.corpora.base import CorpusError, Fetched, Request, copy_in
from tests.conftest import tone

HEAD = """
from pathlib import Path
import numpy as np
from soundraft.corpora.base import AudioDataset, AudioSample
HERE = Path(__file__).parent
"""


def fetch(tmp_path: Path, spec: str, code: str = "", labels: tuple[str, ...] = ()) -> Fetched:
    module = spec.partition(":")[0].removesuffix(".py").replace(".", "/")
    if code:
        (tmp_path / module).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / f"{module}.py").write_text(HEAD + code)
    clips = {"train": None, "validation": None, "test": None}
    out = Path("out") if Path.cwd() == tmp_path else tmp_path / "out"  # the stage gives a relative one
    asked = Request(path=tmp_path / spec, clips=clips, labels=labels, asked_as="corpus.target.")  # type: ignore[arg-type]
    return copy_in(custom.fetch(asked, out), out)


CALLS = """
from own_files.helper import TEXT
class Calls(AudioDataset):
    name = "calls"
    def load(self):
        from own_files import late
        for index in range(4):
            metadata = {"id": f"c{index}", "speaker": index // 2, "split": "dev", "source": "tape", "mood": "good"}
            yield AudioSample(HERE.parent / f"rec/{index}.wav", late.TEXT, 0.5, metadata=metadata)
"""


def test_files_stay_where_they_are_and_metadata_names_fields(tmp_path: Path) -> None:
    for index in range(4):
        io.write_wav(tmp_path / f"rec/{index}.wav", tone(), 8000)
    (tmp_path / "own_files").mkdir()
    for name in ("helper", "late"):
        (tmp_path / f"own_files/{name}.py").write_text("TEXT = 'hi'\n")
    fetched = fetch(tmp_path, "own_files.calls:Calls", CALLS)
    assert not fetched.rejected
    assert fetched.source == {"form": "class own_files.calls:Calls, corpus calls"}
    clip = fetched.clips[3]
    assert (clip.id, clip.audio_path, clip.text, clip.speaker, clip.split) == ("c3", "3.wav", "hi", "1", "validation")
    assert clip.metadata == {"mood": "good", "source": "tape"}
    assert (tmp_path / "out/3.wav").read_bytes() == (tmp_path / "rec/3.wav").read_bytes()


MIXED = """
class Mixed(AudioDataset):
    name, task = "mixed", "classification"
    def load(self):
        wave = np.sin(np.arange(4000) / 10) / 2
        yield AudioSample(HERE / "a.wav", "dog")
        yield AudioSample(None, "cat", audio_array=wave, sample_rate=8000)
        yield AudioSample(None, "cat", audio_array=np.stack([wave, -wave, wave], 1), sample_rate=8000, duration=0.5)
        yield AudioSample(None, "cow", audio_array=wave, sample_rate=8000)
        yield AudioSample(None, "cat", audio_array=wave, sample_rate=8000, duration=0.6)
        yield AudioSample(None, "cat", audio_array=wave)
        yield AudioSample(None, "cat")
        yield AudioSample(None, "cat", audio_array=(wave * 32767).astype(np.int16), sample_rate=8000)
        yield AudioSample(None, "cat", audio_array=wave * 3, sample_rate=8000)
        yield AudioSample(None, "cat", audio_array=wave * np.nan, sample_rate=8000)
        yield AudioSample(None, "cat", audio_array=wave[:0], sample_rate=8000)
        yield AudioSample(HERE / "gone.wav", "cat")
        yield AudioSample(HERE / "a.wav", "cat", metadata={"array": wave})
        yield AudioSample(HERE / "a.wav", "cat", metadata={"level": float("nan")})
        yield AudioSample(HERE / "a.wav", "cat")
        yield AudioSample(HERE / "a.wav", "cat", metadata={"id": "b", "split": "often"})
"""


def test_samples_in_memory_are_written_and_bad_ones_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    io.write_wav(tmp_path / "a.wav", tone(), 8000)
    fetched = fetch(tmp_path, "own_mixed.py:Mixed", MIXED, labels=("cat", "dog"))
    assert {clip.id: clip.label for clip in fetched.clips} == {
        "a.wav": "dog",
        "arrays/000002.wav": "cat",
        "arrays/000003.wav": "cat",
    }
    assert {clip.task for clip in fetched.clips} == {"classification"}
    wave = np.sin(np.arange(4000) / 10) / 2
    for number, scale in (("2", 1), ("3", 1 / 3)):
        samples, rate_hz = io.read(tmp_path / f"out/arrays/00000{number}.wav")
        assert rate_hz == 8000
        np.testing.assert_allclose(samples[:, 0], wave * scale, atol=1 / 32768)
    reasons = {int(bad.path.removeprefix("mixed:")): bad.reason.split(" JSON compliant")[0] for bad in fetched.rejected}
    assert reasons == {
        4: "label 'cow' is none of: cat, dog",
        5: "duration 0.6 s is stated, the audio has 0.500 s",
        6: "neither audio_path, nor audio_array with sample_rate",
        7: "neither audio_path, nor audio_array with sample_rate",
        8: "audio_array must be float samples in -1…1, [N] or [N, C], not int16 [4000]",
        9: "audio_array must be in -1…1; its peak is 1.5",
        10: "audio_array must be in -1…1; its peak is nan",
        11: "no samples",
        12: "no such file",
        13: "metadata must be what JSON can hold: Object of type ndarray is not JSON serializable",
        14: "metadata must be what JSON can hold: Out of range float values are not",
        15: "duplicate id 'a.wav': mixed:1 has it",
        16: "split 'often' is none of: train, training, validation, valid, val, dev, development, test, testing",
    }
    left = {path.relative_to(tmp_path / "out").as_posix() for path in (tmp_path / "out").rglob("*.wav")}
    assert left == {clip.audio_path for clip in fetched.clips}


def test_what_is_no_corpus_is_refused_by_name(tmp_path: Path) -> None:
    code = """
class Whole(AudioDataset):
    name = "whole"
    def load(self): return []
class NoLoad(AudioDataset):
    name = "x"
class NoName(AudioDataset):
    def load(self): return []
class Other: pass
"""
    assert fetch(tmp_path, "own_wrong:Whole", code).clips == []
    for spec, message in (
        ("own_wrong:Other", "own_wrong has no subclass Other of AudioDataset; it has Whole, NoLoad, NoName"),
        ("own_wrong:Gone", "own_wrong has no subclass Gone"),
        ("own_wrong:NoLoad", "own_wrong:NoLoad lacks load"),
        ("own_wrong:NoName", "own_wrong:NoName lacks name"),
        ("own_absent:Whole", "cannot import own_absent: No module named 'own_absent'"),
        ("own_wrong", "python needs package.module:Class"),
    ):
        with pytest.raises(CorpusError, match=message):
            fetch(tmp_path, spec)


ONE = """
class C(AudioDataset):
    name = "c"
    def load(self):
        yield AudioSample(HERE / "x.wav", HERE.name)
"""


def test_modules_of_one_name_are_told_apart(tmp_path: Path) -> None:
    for name in ("a", "b"):
        io.write_wav(tmp_path / name / "x.wav", tone(), 8000)
        (clip,) = fetch(tmp_path / name, "same.py:C", ONE).clips
        assert clip.text == name
    fetch(tmp_path / "a", "own_same:C", ONE)
    with pytest.raises(CorpusError, match=r"cannot import own_same: that name is taken by .*a/own_same\.py; give .*b/"):
        fetch(tmp_path / "b", "own_same:C", ONE)


ARRAYS = """
class C(AudioDataset):
    name = "c"
    def load(self):
        yield AudioSample(None, "made", audio_array=np.full(4000, 0.25), sample_rate=8000)
        yield AudioSample(HERE / "arrays/000001.wav", "file")
        yield AudioSample(HERE / "x.wav", "beside")
"""


def test_a_file_and_an_array_do_not_share_a_name(tmp_path: Path) -> None:
    for name in ("arrays/000001.wav", "x.wav"):
        io.write_wav(tmp_path / name, tone(), 8000)
    fetched = fetch(tmp_path, "own.py:C", ARRAYS)
    assert not fetched.rejected
    paths = {clip.text: clip.audio_path for clip in fetched.clips}
    assert paths == {"made": "arrays-2/000001.wav", "file": "arrays/000001.wav", "beside": "x.wav"}
    samples, _ = io.read(tmp_path / "out" / paths["made"])
    np.testing.assert_allclose(samples[:, 0], 0.25, atol=1 / 32768)


def test_a_bad_sample_leaves_no_file(tmp_path: Path) -> None:
    code = """
class C(AudioDataset):
    name = "c"
    def load(self):
        yield AudioSample(HERE / "x.wav", "good")
        yield AudioSample(None, "b", audio_array=np.ones(4), sample_rate=8000, metadata={"at": object()})
        yield (HERE / "x.wav", "c")
"""
    io.write_wav(tmp_path / "x.wav", tone(), 8000)
    fetched = fetch(tmp_path, "own.py:C", code)
    assert [path.name for path in (tmp_path / "out").rglob("*") if path.is_file()] == ["x.wav"]
    assert fetched.rejected[0].reason.startswith("metadata must be what JSON can hold")
    assert fetched.rejected[1].reason == "load yields tuple, not AudioSample"


def test_what_cannot_be_made_is_told_in_a_line(tmp_path: Path) -> None:
    needs = """
class C(AudioDataset):
    name = "c"
    def __init__(self, root): pass
    def load(self): return []
"""
    for code, message in (
        (needs, r"own.py:C must be made without arguments: missing a required argument: 'root'"),
        ("class C(", r"cannot import own.py: .*never closed \(own.py, line 6\)"),
    ):
        with pytest.raises(CorpusError, match=message):
            fetch(tmp_path, "own.py:C", code)
    with pytest.raises(CorpusError, match=r"cannot import gone.py: .*No such file"):
        fetch(tmp_path, "gone.py:C")
