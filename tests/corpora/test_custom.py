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
WAVE = np.sin(np.arange(4000) / 10) / 2


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
        three = np.int16(32767 * np.stack([wave, -wave, wave], 1))
        yield AudioSample(None, "cat", audio_array=three, sample_rate=8000, duration=0.5)
        yield AudioSample(HERE / "arrays/000002.wav", "dog")
        yield AudioSample(None, "cow", audio_array=wave, sample_rate=8000)
        yield AudioSample(None, "cat", audio_array=wave, sample_rate=8000, duration=0.6)
        yield AudioSample(None, "cat", audio_array=wave)
        yield AudioSample(None, "cat")
        yield AudioSample(None, "cat", audio_array=(wave * 32767).astype(np.int64), sample_rate=8000)
        yield AudioSample(None, "cat", audio_array=wave * 3, sample_rate=8000)
        yield AudioSample(None, "cat", audio_array=wave * np.nan, sample_rate=8000)
        yield AudioSample(None, "cat", audio_array=wave[:0], sample_rate=8000)
        yield AudioSample(HERE / "gone.wav", "cat")
        yield AudioSample(HERE / "a.wav", "cat", metadata={"array": wave})
        yield AudioSample(HERE / "a.wav", "cat", metadata={"level": float("nan")})
        yield AudioSample(HERE / "a.wav", "cat")
        yield AudioSample(HERE / "a.wav", "cat", metadata={"id": "b", "split": "often"})
        yield (HERE / "a.wav", "cat")
"""


def test_samples_in_memory_are_written_and_bad_ones_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("a.wav", "arrays/000002.wav"):
        io.write_wav(tmp_path / name, tone(), 8000)
    fetched = fetch(tmp_path, "own_mixed.py:Mixed", MIXED, labels=("cat", "dog"))
    assert {clip.id: (clip.label, clip.task) for clip in fetched.clips} == {
        "files/a.wav": ("dog", "classification"),
        "files/arrays/000002.wav": ("dog", "classification"),  # the user's file of the name that the array has
        "arrays/000002.wav": ("cat", "classification"),
        "arrays/000003.wav": ("cat", "classification"),
    }
    for number, scale in (("2", 1), ("3", 1 / 3)):
        samples, rate_hz = io.read(tmp_path / f"out/arrays/00000{number}.wav")
        assert rate_hz == 8000
        np.testing.assert_allclose(samples[:, 0], WAVE * scale, atol=2 / 32768)
    reasons = {int(bad.path.removeprefix("mixed:")): bad.reason.split()[0].strip(":") for bad in fetched.rejected}
    assert reasons == {
        5: "label", 6: "duration", 7: "neither", 8: "neither", 9: "audio_array", 10: "audio_array", 11: "audio_array",
        12: "audio_array", 13: "no", 14: "text", 15: "text", 16: "duplicate", 17: "split", 18: "load",
    }  # fmt: skip
    left = {path.relative_to(tmp_path / "out").as_posix() for path in (tmp_path / "out").rglob("*.wav")}
    assert left == {clip.audio_path for clip in fetched.clips}


WRONG = """
class Whole(AudioDataset):
    name = "whole"
    def load(self): return []
class NoLoad(AudioDataset):
    name = "x"
class NoName(AudioDataset):
    def load(self): return []
class Arguments(Whole):
    def __init__(self, root): pass
class Other: pass
"""


def test_what_is_no_corpus_is_refused_by_name(tmp_path: Path) -> None:
    assert fetch(tmp_path, "own_wrong:Whole", WRONG).clips == []
    (tmp_path / "own_broken.py").write_text("class C(")
    for spec, word in (
        ("own_wrong:Other", "it has Whole, NoLoad, NoName, Arguments"),
        ("own_wrong:Gone", "Gone"),
        ("own_wrong:NoLoad", "load"),
        ("own_wrong:NoName", "has no name"),
        ("own_wrong:Arguments", "'root'"),
        ("own_absent:Whole", "own_absent"),
        ("own_wrong", "package.module:Class"),
        ("own_broken.py:C", "never closed"),
        ("gone.py:C", "No such file"),
    ):
        with pytest.raises(CorpusError, match=word):
            fetch(tmp_path, spec)


ONE = """
class C(AudioDataset):
    name = "c"
    def load(self):
        yield AudioSample(HERE / "x.wav", HERE.name)
"""


def test_modules_of_one_name_are_kept_apart(tmp_path: Path) -> None:
    for name in ("a", "b"):
        io.write_wav(tmp_path / name / "x.wav", tone(), 8000)
        (clip,) = fetch(tmp_path / name, "same.py:C", ONE).clips
        assert clip.text == name
    fetch(tmp_path / "a", "own_same:C", ONE)
    with pytest.raises(CorpusError, match=r"own_same: .*a/own_same\.py.*b/"):
        fetch(tmp_path / "b", "own_same:C", ONE)
