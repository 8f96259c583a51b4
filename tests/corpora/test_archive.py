import io as memory
import os
import stat
import tarfile
import zipfile
from pathlib import Path

import pytest

from soundraft.corpora import archive
from soundraft.corpora.lists import SourceError


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


def special(path: Path, name: str, kind: bytes, target: str = "") -> Path:
    with tarfile.open(path, "w") as made:
        info = tarfile.TarInfo(name)
        info.type, info.linkname = kind, target
        made.addfile(info)
    return path


def refusal(path: Path, out: Path) -> str:
    with pytest.raises(SourceError) as caught:
        archive.unpack(path, out, suffixes=(".wav",))
    assert not out.exists() or not list(out.rglob("*.wav"))
    return str(caught.value)


@pytest.mark.parametrize("pack", [zipped, tarred])
def test_what_is_wanted_is_unpacked_without_its_prefix(pack, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    suffix = "zip" if pack is zipped else "tar.gz"
    entries = [("top/a.wav", b"1"), ("top/b/C.WAV", b"2"), ("top/x.txt", b"3"), ("__MACOSX/top/._a.wav", b"4")]
    path = pack(tmp_path / f"x.{suffix}", *entries, ("top/.hidden.wav", b"5"), ("other/d.wav", b"6"))
    assert archive.is_archive(path)
    archive.unpack(path, tmp_path / "out", suffixes=(".wav",), prefix="top/")
    found = {
        file.relative_to(tmp_path / "out").as_posix(): file.read_bytes() for file in (tmp_path / "out").rglob("*.*")
    }
    assert found == {"a.wav": b"1", "b/C.WAV": b"2"}


@pytest.mark.parametrize("pack", [zipped, tarred])
@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("../up.wav", "leaves the folder"),
        ("a/../../up.wav", "leaves the folder"),
        ("a\\..\\..\\up.wav", "leaves the folder"),
        ("/abs.wav", "is absolute"),
        ("\\\\server\\x.wav", "is absolute"),
        ("C:\\x.wav", "is absolute"),
        ("c:x.wav", "is absolute"),
        (f"a/{'x' * 300}.wav", "longer than 255 bytes"),
        ("a/" * 2500 + "x.wav", "its path is longer than 1,000 bytes"),
    ],
)
def test_names_that_escape(pack, name: str, reason: str, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    path = pack(tmp_path / ("x.zip" if pack is zipped else "x.tar"), ("good.wav", b"1"), (name, b"2"))
    message = refusal(path, tmp_path / "out")
    assert reason in message
    assert message.startswith(f"{path.name}:'{name.replace(chr(92), '/')[:200]}")


@pytest.mark.parametrize("pack", [zipped, tarred])
@pytest.mark.parametrize(
    "names", [("a.wav", "A.WAV"), ("a.wav", "a.wav"), ("a", "A/b.wav"), ("a/b.wav", "a"), ("é.wav", "e\u0301.wav")]
)
@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_two_entries_for_one_file(pack, names: tuple[str, str], tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    path = pack(tmp_path / ("x.zip" if pack is zipped else "x.tar"), *((name, b"1") for name in names))
    assert f"{names[1]!r}: refused: an earlier entry has its name" in refusal(path, tmp_path / "out")


@pytest.mark.parametrize(
    ("kind", "reason"),
    [
        (tarfile.SYMTYPE, "a link"),
        (tarfile.LNKTYPE, "a link"),
        (tarfile.CHRTYPE, "a device"),
        (tarfile.FIFOTYPE, "a device"),
    ],
)
def test_links_and_devices(kind: bytes, reason: str, tmp_path: Path) -> None:
    path = special(tmp_path / "x.tar", "l.wav", kind, "/etc/passwd")
    assert f"x.tar:'l.wav': refused: it is {reason}" in refusal(path, tmp_path / "out")


def test_a_link_in_a_zip_and_an_encrypted_file(tmp_path: Path) -> None:
    info = zipfile.ZipInfo("l.wav")
    info.external_attr = (stat.S_IFLNK | 0o777) << 16
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as made:
        made.writestr(info, "/etc/passwd")
    assert "'l.wav': refused: it is a link" in refusal(tmp_path / "x.zip", tmp_path / "out")
    data = bytearray(zipped(tmp_path / "y.zip", ("a.wav", b"1")).read_bytes())
    for header, place in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        data[data.index(header) + place] |= 1
    (tmp_path / "y.zip").write_bytes(data)
    assert "'a.wav': refused: it is an encrypted file" in refusal(tmp_path / "y.zip", tmp_path / "out")


@pytest.mark.parametrize("pack", [zipped, tarred])
def test_size_bombs(pack, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:  # type: ignore[no-untyped-def]
    monkeypatch.setattr(archive, "MOST_BYTES", 100_000)
    path = pack(tmp_path / ("x.zip" if pack is zipped else "x.tgz"), ("a.wav", b"1"), ("bomb.wav", bytes(5_000_000)))
    assert "'bomb.wav': refused: with it the archive unpacks to more than" in refusal(path, tmp_path / "out")
    monkeypatch.setattr(archive, "MOST_BYTES", 10_000_000)
    monkeypatch.setattr(archive, "MOST_FILES", 1)
    assert "'bomb.wav': refused: with it the archive unpacks to more than" in refusal(path, tmp_path / "out")


def test_a_size_that_is_not_as_stated(tmp_path: Path) -> None:
    data = bytearray(zipped(tmp_path / "x.zip", ("a.wav", bytes(5_000))).read_bytes())
    for header, place in ((b"PK\x03\x04", 22), (b"PK\x01\x02", 24)):
        start = data.index(header) + place
        data[start : start + 4] = (10).to_bytes(4, "little")
    (tmp_path / "x.zip").write_bytes(data)
    with pytest.raises(SourceError, match=r"x.zip: not readable as an archive"):
        archive.unpack(tmp_path / "x.zip", tmp_path / "out", suffixes=(".wav",))


def test_damage_is_told(tmp_path: Path) -> None:
    for suffix in ("zip", "tar", "tar.gz"):
        path = tmp_path / f"x.{suffix}"
        path.write_bytes(b"no archive at all" * 100)
        assert f"x.{suffix}: not readable as an archive" in refusal(path, tmp_path / "out")
    whole = tarred(tmp_path / "cut.tar.gz", ("a.wav", os.urandom(50_000))).read_bytes()
    (tmp_path / "cut.tar.gz").write_bytes(whole[:20_000])
    with pytest.raises(SourceError, match=r"cut.tar.gz: not readable as an archive"):
        archive.unpack(tmp_path / "cut.tar.gz", tmp_path / "out", suffixes=(".wav",))


def test_every_bad_entry_is_found(tmp_path: Path) -> None:
    path = zipped(tmp_path / "x.zip", ("../a.wav", b"1"), ("b.wav", b"1"), ("/c.wav", b"1"))
    found = archive.check(path, archive.members(path))
    assert [item.place for item in found] == ["x.zip:'../a.wav'", "x.zip:'/c.wav'"]
    assert "(and 1 more)" in refusal(path, tmp_path / "out")
