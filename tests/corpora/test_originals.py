"""The originals of three corpora, made here in the authors' own layout."""

import shutil
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from soundraft import corpora
from soundraft.audio import io
from soundraft.corpora import CorpusError, Fetched, Request
from soundraft.corpora.base import copy_in
from soundraft.corpora.originals import EMODB_SPEAKERS
from soundraft.manifest import Clip
from tests.conftest import tone

ALL: dict[Any, int | None] = {"train": None, "validation": None, "test": None}


def as_zip(root: Path) -> Path:
    return Path(shutil.make_archive(str(root), "zip", root.parent, root.name))


def as_tar(root: Path) -> Path:
    path = root.with_name(f"{root.name}.tar.gz")
    with tarfile.open(path, "w:gz") as archive:
        archive.add(root, ".")
    return path


Pack = Callable[[Path], Path]
PACKS = pytest.mark.parametrize("pack", [Path, as_zip, as_tar])


def fetch(name: str, path: Path, **asked: Any) -> Fetched:
    """From its folder, or with what had to be unpacked."""
    out = path.parent / "out"
    return copy_in(corpora.fetch(name, Request(path=path, **{"clips": ALL, "asked_as": "--"} | asked), out), out)


def by_id(fetched: Fetched) -> dict[str, Clip]:
    return {clip.id: clip for clip in fetched.clips}


def esc50(root: Path) -> Path:
    lines = ["filename,fold,target,category,esc10,src_file,take"]
    for fold in range(1, 6):
        for target, category, small in ((0, "dog", "True"), (36, "vacuum_cleaner", "False")):
            name = f"{fold}-{100 + fold}-A-{target}.wav"
            io.write_wav(root / "audio" / name, tone(0.2), 44100)
            lines.append(f"{name},{fold},{target},{category},{small},{100 + fold},A")
    (root / "meta").mkdir()
    (root / "meta/esc50.csv").write_text("\n".join(lines) + "\n")
    (root / "README.md").write_text("ESC-50")
    (root / "audio/.DS_Store").write_bytes(b"x")
    return root


@PACKS
def test_esc50(pack: Pack, tmp_path: Path) -> None:
    fetched = fetch("esc50", pack(esc50(tmp_path / "ESC-50-master")), fold=5)
    assert not fetched.rejected
    clips = by_id(fetched)
    assert len(clips) == 10
    clip = clips["1-101-A-36.wav"]
    assert (clip.label, clip.split, clip.task, clip.sample_rate) == (
        "vacuum_cleaner", "validation", "classification", 44100,
    )  # fmt: skip
    assert clip.metadata == {"source": 101, "fold": 1, "take": "A", "esc10": False}
    assert clips["5-105-A-0.wav"].split == "test"
    assert io.read(fetched.root / clip.audio_path)[1] == 44100
    assert not list(fetched.root.rglob(".DS_Store"))


def test_esc10_and_what_esc50_refuses(tmp_path: Path) -> None:
    path = esc50(tmp_path / "esc")
    assert {clip.label for clip in fetch("esc50", path, config="esc10").clips} == {"dog"}
    assert len(fetch("esc50", path, clips={**ALL, "train": 2}).clips) == 6
    wrong: dict[str, Any] = {
        "config": "esc11", "fold": 6, "path": tmp_path / "no", "split": "train", "columns": {"label": "x"},
        "revision": "main",
    }  # fmt: skip
    for option, value in wrong.items():
        with pytest.raises(CorpusError, match=f"^--{option.replace('config', 'subset')}: "):
            fetch("esc50", **{"path": path} | {option: value})


def test_bad_rows_of_an_official_table_are_named(tmp_path: Path) -> None:
    root = esc50(tmp_path / "esc")
    with (root / "meta/esc50.csv").open("a") as table:
        table.write("gone.wav,1,0,dog,True,7,A\n1-101-A-0.wav,1,0,dog,True,7,A\n../x.wav,1,0,dog,True,7,A\n")
        table.write("a.wav,6,0,dog,True,7,A\nb.wav,1,0,dog,maybe,7,A\nc.wav,1,0,dog\n,1,0,dog,True,7,A\n")
    rejected = fetch("esc50", root).rejected
    assert {bad.path: bad.reason.split()[0].strip(":") for bad in rejected} == {
        "esc50.csv:12": "no",
        "esc50.csv:13": "duplicate",
        "esc50.csv:14": "path",
        "esc50.csv:15": "fold",
        "esc50.csv:16": "esc10",
        "esc50.csv:17": "4",
        "esc50.csv:18": "filename",
    }
    (root / "meta/esc50.csv").write_text("filename,fold\nx.wav,1\n")
    with pytest.raises(CorpusError, match=r"'category'.*filename, fold"):
        fetch("esc50", root)


@PACKS
def test_urbansound8k(pack: Pack, tmp_path: Path) -> None:
    root = tmp_path / "UrbanSound8K"
    lines = ["slice_file_name,fsID,start,end,salience,fold,classID,class"]
    for fold in range(1, 11):
        name = f"{1000 + fold}-3-0-0.wav"
        io.write_wav(root / f"audio/fold{fold}" / name, tone(0.2), 44100)
        lines.append(f"{name},{1000 + fold},0.0,0.317551,1,{fold},3,dog_bark")
    (root / "metadata").mkdir()
    (root / "metadata/UrbanSound8K.csv").write_text("\n".join(lines) + "\n")
    clips = by_id(fetch("urbansound8k", pack(root), fold=10))
    assert len(clips) == 10
    clip = clips["1010-3-0-0.wav"]
    assert (clip.label, clip.split) == ("dog_bark", "test")
    assert clip.metadata == {"source": 1010, "fold": 10, "start": 0.0, "end": 0.317551, "salience": 1}
    assert clips["1001-3-0-0.wav"].split == "validation"


@PACKS
def test_emodb(pack: Pack, tmp_path: Path) -> None:
    root = tmp_path / "emodb"
    for name in [
        *(f"{speaker}{end}" for speaker in EMODB_SPEAKERS for end in ("a01Wa", "b10Fb")),
        "03a01Xa",
        "99a01Wa",
    ]:
        io.write_wav(root / f"wav/{name}.wav", tone(0.2), 16000)
    io.write_wav(root / "wav/hello.wav", tone(0.2), 16000)
    (root / "wav/16b10Wa.wav").write_bytes(b"")
    (root / "erkennung.txt").write_text("Satz")
    fetched = fetch("emodb", pack(root), fold=2)
    clips = by_id(fetched)
    assert len(clips) == 20
    clip = clips["08b10Fb.wav"]
    assert (clip.label, clip.speaker, clip.split) == ("happiness", "08", "test")
    assert clip.metadata == {"fold": 2, "gender": "female", "age": 34, "sentence": "b10", "take": "b"}
    assert {c.speaker for c in fetched.clips if c.split == "validation"} == {"09"}
    assert {bad.path.removeprefix("wav/") for bad in fetched.rejected} == {
        "03a01Xa.wav", "99a01Wa.wav", "hello.wav", "16b10Wa.wav",
    }  # fmt: skip
    without_folder = corpora.fetch("emodb", Request(path=root / "wav", fold=2, clips=ALL), tmp_path)
    assert {clip.id: clip.label for clip in without_folder.clips} == {clip.id: clip.label for clip in fetched.clips}


def test_other_things_are_none_of_them(tmp_path: Path) -> None:
    (tmp_path / "notes.csv").write_text("a,b\n")
    (tmp_path / "broken.zip").write_bytes(b"PK\x03\x04 not an archive")
    with zipfile.ZipFile(tmp_path / "other.zip", "w") as archive:
        archive.writestr("a.txt", "x")
    for name in ("esc50", "urbansound8k", "emodb"):
        for path in (tmp_path, tmp_path / "notes.csv", tmp_path / "other.zip"):
            with pytest.raises(CorpusError, match=f"--path: {path} "):
                fetch(name, path)
        with pytest.raises(CorpusError, match=r"broken.zip: not readable as an archive"):
            fetch(name, tmp_path / "broken.zip")
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as archive:
        archive.writestr("a/meta/esc50.csv", "x")
        archive.writestr("../up.wav", "x")
    with pytest.raises(CorpusError, match=r"x.zip:'../up.wav'"):
        fetch("esc50", tmp_path / "x.zip")
    assert not (tmp_path / "out").exists()
