"""The originals of three corpora, made here in the authors' own layout."""

import shutil
import tarfile
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from soundraft.audio import io
from soundraft.corpora import catalog, originals
from soundraft.corpora.base import CorpusError, Fetched, Request, copy_in
from soundraft.manifest import Clip
from tests.conftest import tone

ALL = {"train": None, "validation": None, "test": None}
Pack = Callable[[Path], Path]


def as_folder(root: Path) -> Path:
    return root


def as_zip(root: Path) -> Path:
    return Path(shutil.make_archive(str(root), "zip", root.parent, root.name))


def as_tar(root: Path) -> Path:
    path = root.with_name(f"{root.name}.tar.gz")
    with tarfile.open(path, "w:gz") as archive:
        archive.add(root, ".")
    return path


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


def urbansound8k(root: Path) -> Path:
    lines = ["slice_file_name,fsID,start,end,salience,fold,classID,class"]
    for fold in range(1, 11):
        name = f"{1000 + fold}-3-0-0.wav"
        io.write_wav(root / f"audio/fold{fold}" / name, tone(0.2), 44100)
        lines.append(f"{name},{1000 + fold},0.0,0.317551,1,{fold},3,dog_bark")
    (root / "metadata").mkdir()
    (root / "metadata/UrbanSound8K.csv").write_text("\n".join(lines) + "\n")
    return root


def emodb(root: Path) -> Path:
    for speaker in originals.EMODB_SPEAKERS:
        for name in ("a01Wa", "b10Fb"):
            io.write_wav(root / f"wav/{speaker}{name}.wav", tone(0.2), 16000)
    (root / "erkennung.txt").write_text("Satz")
    return root


def by_id(fetched: Fetched) -> dict[str, Clip]:
    return {clip.id: clip for clip in fetched.clips}


@pytest.mark.parametrize("pack", [as_folder, as_zip, as_tar])
def test_esc50(pack: Pack, tmp_path: Path) -> None:
    path = pack(esc50(tmp_path / "ESC-50-master"))
    assert originals.is_esc50(path)
    assert not originals.is_urbansound8k(path)
    out = tmp_path / "out"
    fetched = copy_in(originals.fetch_esc50(Request(path=path, fold=5, clips=ALL), out), out)
    assert not fetched.rejected
    clips = by_id(fetched)
    assert len(clips) == 10
    clip = clips["1-101-A-36.wav"]
    assert (clip.label, clip.split, clip.task, clip.sample_rate) == (
        "vacuum_cleaner",
        "validation",
        "classification",
        44100,
    )
    assert clip.metadata == {"source": 101, "fold": 1, "take": "A", "esc10": False}
    assert clips["5-105-A-0.wav"].split == "test"
    assert io.read(out / clip.audio_path)[1] == 44100
    assert not list(out.rglob(".DS_Store"))


def test_esc10_and_what_esc50_refuses(tmp_path: Path) -> None:
    request = Request(path=esc50(tmp_path / "esc"), clips=ALL, asked_as="corpus.target.")
    small = originals.fetch_esc50(replace(request, config="esc10"), tmp_path)
    assert {clip.label for clip in small.clips} == {"dog"}
    assert len(originals.fetch_esc50(replace(request, clips={**ALL, "train": 2}), tmp_path).clips) == 6
    for wrong, message in (
        ({"config": "esc11"}, r"corpus.target.config: esc50 has no 'esc11'; it has esc50 \(all 50 classes\); esc10"),
        ({"fold": 6}, r"corpus.target.fold: got 6; esc50 has folds 1 to 5"),
        ({"path": tmp_path / "no"}, "corpus.target.path: no such file or folder"),
        ({"path": tmp_path / "esc/audio"}, r"is not ESC-50 with meta/esc50.csv"),
        ({"split": "train"}, "corpus.target.split: the original of ESC-50 has none"),
        ({"columns": {"label": "x"}}, "corpus.target.columns: the original of ESC-50 has none"),
    ):
        with pytest.raises(CorpusError, match=message):
            originals.fetch_esc50(replace(request, **wrong), tmp_path)  # type: ignore[arg-type]


def test_bad_rows_of_an_official_table_are_named(tmp_path: Path) -> None:
    root = esc50(tmp_path / "esc")
    with (root / "meta/esc50.csv").open("a") as table:
        table.write("gone.wav,1,0,dog,True,7,A\n1-101-A-0.wav,1,0,dog,True,7,A\n../x.wav,1,0,dog,True,7,A\n")
        table.write("a.wav,6,0,dog,True,7,A\nb.wav,1,0,dog,maybe,7,A\nc.wav,1,0,dog\n")
    rejected = originals.fetch_esc50(Request(path=root, clips=ALL), tmp_path).rejected
    assert {bad.path: bad.reason for bad in rejected} == {
        "esc50.csv:12": "no such file",
        "esc50.csv:13": "duplicate id '1-101-A-0.wav': esc50.csv:2 has it",
        "esc50.csv:14": "path leaves its folder: 'audio/../x.wav'",
        "esc50.csv:15": "no fold 6: there are folds 1 to 5",
        "esc50.csv:16": "esc10 must be True or False, not 'maybe'",
        "esc50.csv:17": "4 columns, the first line has 7 (table with comma between columns)",
    }
    (root / "meta/esc50.csv").write_text("filename,fold\nx.wav,1\n")
    with pytest.raises(CorpusError, match=r"esc50.csv:1: no column category, esc10, src_file, take; found: filename"):
        originals.fetch_esc50(Request(path=root, clips=ALL), tmp_path)


@pytest.mark.parametrize("pack", [as_folder, as_zip])
def test_urbansound8k(pack: Pack, tmp_path: Path) -> None:
    path = pack(urbansound8k(tmp_path / "UrbanSound8K"))
    assert originals.is_urbansound8k(path)
    out = tmp_path / "out"
    clips = by_id(copy_in(originals.fetch_urbansound8k(Request(path=path, fold=10, clips=ALL), out), out))
    assert len(clips) == 10
    clip = clips["1010-3-0-0.wav"]
    assert (clip.label, clip.split) == ("dog_bark", "test")
    assert clip.metadata == {"source": 1010, "fold": 10, "start": 0.0, "end": 0.317551, "salience": 1}
    assert clips["1001-3-0-0.wav"].split == "validation"
    with pytest.raises(CorpusError, match="got 11; urbansound8k has folds 1 to 10"):
        originals.fetch_urbansound8k(Request(path=path, fold=11, clips=ALL), out)


def test_emodb_without_its_folder_wav(tmp_path: Path) -> None:
    root = emodb(tmp_path / "emodb")
    whole = originals.fetch_emodb(Request(path=root, clips=ALL), tmp_path)
    assert originals.is_emodb(root / "wav")
    fetched = originals.fetch_emodb(Request(path=root / "wav", clips=ALL), tmp_path)
    assert [(clip.id, clip.label) for clip in fetched.clips] == [(clip.id, clip.label) for clip in whole.clips]
    assert all((fetched.root / clip.audio_path).is_file() for clip in fetched.clips)


@pytest.mark.parametrize("pack", [as_folder, as_zip, as_tar])
def test_emodb(pack: Pack, tmp_path: Path) -> None:
    root = emodb(tmp_path / "emodb")
    for bad in ("03a01Xa", "99a01Wa", "hello"):
        io.write_wav(root / f"wav/{bad}.wav", tone(0.2), 16000)
    (root / "wav/16b10Wa.wav").write_bytes(b"")
    path = pack(root)
    assert originals.is_emodb(path)
    out = tmp_path / "out"
    fetched = copy_in(originals.fetch_emodb(Request(path=path, fold=2, clips=ALL), out), out)
    clips = by_id(fetched)
    assert len(clips) == 20
    clip = clips["08b10Fb.wav"]
    assert (clip.label, clip.speaker, clip.split) == ("happiness", "08", "test")
    assert clip.metadata == {"fold": 2, "gender": "female", "age": 34, "sentence": "b10", "take": "b"}
    assert {c.speaker for c in fetched.clips if c.split == "validation"} == {"09"}
    assert {bad.path: bad.reason.split(":")[0] for bad in fetched.rejected} == {
        "wav/03a01Xa.wav": "emotion X is none of",
        "wav/99a01Wa.wav": "speaker 99 is none of",
        "wav/hello.wav": "name is not {speaker}{sentence}{emotion}{take}.wav, such as 03a01Wa.wav",
        "wav/16b10Wa.wav": "empty file",
    }


def test_other_things_are_none_of_them(tmp_path: Path) -> None:
    (tmp_path / "notes.csv").write_text("a,b\n")
    broken = tmp_path / "esc50.zip"
    broken.write_bytes(b"PK\x03\x04 not an archive")
    for is_one in (originals.is_esc50, originals.is_urbansound8k, originals.is_emodb):
        assert not is_one(tmp_path)
        assert not is_one(tmp_path / "notes.csv")
        with pytest.raises(CorpusError, match=r"esc50.zip: not readable as an archive"):
            is_one(broken)
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as archive:
        archive.writestr("a/meta/esc50.csv", "x")
        archive.writestr("../up.wav", "x")
    with pytest.raises(CorpusError, match=r"x.zip:'../up.wav': refused: its path leaves the folder"):
        originals.fetch_esc50(Request(path=tmp_path / "x.zip", clips=ALL), tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_the_hub_and_the_original_share_their_tables() -> None:
    assert catalog.EMODB_SPEAKERS is originals.EMODB_SPEAKERS
    assert catalog.EMODB.folds == len(originals.EMODB_SPEAKERS)
    assert (catalog.ESC50.folds, catalog.URBANSOUND8K.folds) == (originals.ESC50_FOLDS, originals.URBANSOUND8K_FOLDS)
