import io as memory
import os
import stat
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from soundraft.corpora import archive
from soundraft.corpora.lists import SourceError

Pack = Callable[..., Path]


def zipped(path: Path, *entries: tuple[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as made:
        for name, data in entries:
            made.writestr(name, data)
    return path


def tarred(path: Path, *entries: tuple[str, bytes]) -> Path:
    with tarfile.open(path, "w:gz" if path.name.endswith("gz") else "w") as made:
        for name, data in entries:
            info = tarfile.TarInfo(name)
            info.size = len(data)
            made.addfile(info, memory.BytesIO(data))
    return path


PACKS = pytest.mark.parametrize(("pack", "suffix"), [(zipped, "zip"), (tarred, "tar"), (tarred, "tar.gz")])


def refused(path: Path, out: Path) -> tuple[str, str]:
    """The place and the code of the fault for which nothing of an archive is unpacked."""
    with pytest.raises(SourceError) as caught:
        archive.unpack(path, out, suffixes=(".wav",))
    assert not out.exists() or not list(out.rglob("*.wav"))
    return caught.value.finding.place, caught.value.finding.code


@PACKS
def test_what_is_wanted_is_unpacked_without_its_prefix(pack: Pack, suffix: str, tmp_path: Path) -> None:
    entries = [("top/a.wav", b"1"), ("top/b/C.WAV", b"2"), ("top/x.txt", b"3"), ("__MACOSX/top/._a.wav", b"4")]
    path = pack(tmp_path / f"x.{suffix}", *entries, ("top/.hidden.wav", b"5"), ("other/d.wav", b"6"))
    assert archive.is_archive(path)
    out = tmp_path / "out"
    archive.unpack(path, out, suffixes=(".wav",), prefix="top/")
    assert {file.relative_to(out).as_posix(): file.read_bytes() for file in out.rglob("*.*")} == {
        "a.wav": b"1",
        "b/C.WAV": b"2",
    }


@PACKS
@pytest.mark.parametrize(
    ("name", "code"),
    [
        *((name, "path_leaves") for name in ("../up.wav", "a/../../up.wav", "a\\..\\..\\up.wav", "/abs.wav")),
        *((name, "path_leaves") for name in ("\\\\server\\x.wav", "C:\\x.wav", "c:x.wav")),
        *((name, "bad_name") for name in (f"a/{'x' * 300}.wav", "a/" * 2500 + "x.wav")),
    ],
)
def test_names_that_escape(pack: Pack, suffix: str, name: str, code: str, tmp_path: Path) -> None:
    path = pack(tmp_path / f"x.{suffix}", ("good.wav", b"1"), (name, b"2"))
    place, found = refused(path, tmp_path / "out")
    assert found == code
    assert place.startswith(f"{path.name}:'{name.replace(chr(92), '/')[:200]}")


@PACKS
@pytest.mark.parametrize(
    "names", [("a.wav", "A.WAV"), ("a.wav", "a.wav"), ("a", "A/b.wav"), ("a/b.wav", "a"), ("é.wav", "e\u0301.wav")]
)
@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_two_entries_for_one_file(pack: Pack, suffix: str, names: tuple[str, str], tmp_path: Path) -> None:
    path = pack(tmp_path / f"x.{suffix}", *((name, b"1") for name in names))
    assert refused(path, tmp_path / "out") == (f"{path.name}:{names[1]!r}", "duplicate_member")


def test_links_devices_and_encrypted_files(tmp_path: Path) -> None:
    kinds = {tarfile.SYMTYPE: "link", tarfile.LNKTYPE: "link", tarfile.CHRTYPE: "device", tarfile.FIFOTYPE: "device"}
    for kind, code in kinds.items():
        with tarfile.open(tmp_path / "x.tar", "w") as made:
            info = tarfile.TarInfo("l.wav")
            info.type, info.linkname = kind, "/etc/passwd"
            made.addfile(info)
        assert refused(tmp_path / "x.tar", tmp_path / "out") == ("x.tar:'l.wav'", code)
    link = zipfile.ZipInfo("l.wav")
    link.external_attr = (stat.S_IFLNK | 0o777) << 16
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as zip_made:
        zip_made.writestr(link, "/etc/passwd")
    assert refused(tmp_path / "x.zip", tmp_path / "out") == ("x.zip:'l.wav'", "link")
    data = bytearray(zipped(tmp_path / "y.zip", ("a.wav", b"1")).read_bytes())
    for header, place in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        data[data.index(header) + place] |= 1
    (tmp_path / "y.zip").write_bytes(data)
    assert refused(tmp_path / "y.zip", tmp_path / "out") == ("y.zip:'a.wav'", "encrypted")


@PACKS
def test_size_bombs(pack: Pack, suffix: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archive, "MOST_GROWTH", 0)
    path = pack(tmp_path / f"x.{suffix}", ("a.wav", b"1"), ("bomb.wav", bytes(5_000_000)), ("c.wav", b"1"))
    for most_bytes, most_files in ((100_000, 100), (10_000_000, 1)):
        monkeypatch.setattr(archive, "MOST_BYTES", most_bytes)
        monkeypatch.setattr(archive, "MOST_FILES", most_files)
        assert [(item.place, item.code) for item in archive.check(path)] == [(f"{path.name}:'bomb.wav'", "bomb")]
        refused(path, tmp_path / "out")


def test_damage_is_named(tmp_path: Path) -> None:
    for suffix in ("zip", "tar", "tar.gz"):
        path = tmp_path / f"x.{suffix}"
        path.write_bytes(b"no archive at all" * 100)
        assert refused(path, tmp_path / "out") == (path.name, "bad_archive")
    whole = tarred(tmp_path / "cut.tar.gz", ("a.wav", os.urandom(50_000))).read_bytes()
    (tmp_path / "cut.tar.gz").write_bytes(whole[:20_000])
    data = bytearray(zipped(tmp_path / "size.zip", ("a.wav", bytes(5_000))).read_bytes())
    for header, place in ((b"PK\x03\x04", 22), (b"PK\x01\x02", 24)):
        start = data.index(header) + place
        data[start : start + 4] = (10).to_bytes(4, "little")
    (tmp_path / "size.zip").write_bytes(data)
    for name in ("cut.tar.gz", "size.zip"):
        with pytest.raises(SourceError, match=name):
            archive.unpack(tmp_path / name, tmp_path / "out", suffixes=(".wav",))
