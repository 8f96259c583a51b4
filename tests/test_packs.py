"""Packs: files that were packed read as if they lay in their folder, and the same files give the same packs."""

import io
import os
import subprocess
import tarfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from soundraft import files, packs
from soundraft.ledger import Entry, Worker, bring_up_to_date
from soundraft.manifest import Clip, Rejected
from soundraft.runtime import BadClip, UserError

NAMES = ["a.ecdc", "deep/b_120.0.ecdc", "x" * 180 + ".ecdc", "ü.ecdc", *(f"{number}.ecdc" for number in range(200))]


def fill(folder: Path) -> Path:
    for name in NAMES:
        files.write_bytes(folder / name, name.encode() * 7)
    files.write_text(folder / "index.jsonl", "{}\n")
    return folder


def content(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.glob("pack-*.tar"))}


def test_packed_files_read_as_files(tmp_path: Path) -> None:
    folder = fill(tmp_path / "tokens")
    before = files.sorted_names(folder, [".ecdc"])
    packs.pack(folder, [".ecdc"])
    assert sorted(os.listdir(folder)) == ["index.jsonl", *sorted(content(folder))]
    assert files.sorted_names(folder, [".ecdc"]) == before == sorted(NAMES)
    assert files.sorted_names(folder, [".ecdc"], recursive=False) == sorted(name for name in NAMES if "/" not in name)
    for name in NAMES:
        assert files.exists(folder / name)
        assert files.read_file(folder / name) == name.encode() * 7
    assert files.read_file(folder / "a.ecdc", 3) == b"a.e"
    for absent in ("none.ecdc", "deep/a.ecdc", "index.json"):
        assert not files.exists(folder / absent)
        with pytest.raises(BadClip):
            files.read_file(folder / absent)


def test_a_relative_folder_works_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    packs.pack(fill(tmp_path / "tokens"), [".ecdc"])
    monkeypatch.chdir(tmp_path)
    assert files.read_file(Path("tokens/deep/b_120.0.ecdc")).startswith(b"deep/")
    assert not files.exists("no.ecdc")


def test_the_same_files_give_the_same_packs_however_they_came(tmp_path: Path) -> None:
    """One file after the other, or changed and removed in between: as from nothing."""
    whole = fill(tmp_path / "whole")
    packs.pack(whole, [".ecdc"])
    parts = tmp_path / "parts"
    for name in [*NAMES[::2], "gone.ecdc"]:
        files.write_bytes(parts / name, b"old")
    packs.pack(parts, [".ecdc"])
    fill(parts)
    packs.pack(parts, [".ecdc"], keep=NAMES)
    assert content(parts) == content(whole)
    assert not files.exists(parts / "gone.ecdc")
    changed = files.sorted_names(whole, [".tar"])
    files.write_bytes(whole / "a.ecdc", b"new")
    before = content(whole)
    packs.pack(whole, [".ecdc"])
    assert files.read_file(whole / "a.ecdc") == b"new"
    assert len([name for name in changed if content(whole)[name] != before[name]]) == 1


def test_tar_takes_a_pack_apart_and_so_does_unpack(tmp_path: Path) -> None:
    folder = fill(tmp_path / "tokens")
    packs.pack(folder, [".ecdc"])
    assert packs.unpack(folder, tmp_path / "out") == len(NAMES) + 1  # the table too
    for pack in folder.glob("pack-*.tar"):
        (tmp_path / "tar").mkdir(exist_ok=True)
        subprocess.run(["tar", "xf", pack], cwd=tmp_path / "tar", check=True)
    for name in NAMES:
        assert (tmp_path / "out" / name).read_bytes() == (tmp_path / "tar" / name).read_bytes() == name.encode() * 7


def test_packs_are_what_tarfile_writes_and_any_pack_of_tarfile_is_read(tmp_path: Path) -> None:
    """Names and sizes at the limits of a plain header, an empty file, and headers that are not plain."""
    names = ["0", "x" * 100, "y" * 101, "d/" * 60 + "z", "ü", "\udce9", "a b:c", "7"]
    for number, name in enumerate(names):
        files.write_bytes(tmp_path / name, b"1" * (511 + number if number else 0))
    contents = {name: files.read_file(tmp_path / name) for name in names}
    packs.pack(tmp_path, [""])
    assert {name: files.read_file(tmp_path / name) for name in names} == contents
    for pack in tmp_path.glob("pack-*.tar"):
        buffer = io.BytesIO()
        with tarfile.open(pack) as again, tarfile.open(fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT) as tar:
            for member in again:
                entry = tarfile.TarInfo(member.name)
                entry.size = member.size
                tar.addfile(entry, again.extractfile(member))
        assert pack.read_bytes() == buffer.getvalue()
        with tarfile.open(pack, "w", format=tarfile.GNU_FORMAT) as tar:  # as someone else may have packed it
            for name in [name for name in names if packs.shard_of(name, packs.PACKS) == int(pack.stem[-2:])]:
                entry = tarfile.TarInfo(name)
                entry.size, entry.mtime, entry.uname = len(contents[name]), 1, "me"
                tar.addfile(entry, io.BytesIO(contents[name]))
    os.utime(tmp_path)
    assert {name: files.read_file(tmp_path / name) for name in names} == contents


def test_spooled_files_are_packed_as_loose_ones_are(tmp_path: Path) -> None:
    loose, spooled = fill(tmp_path / "loose"), tmp_path / "spooled"
    packs.pack(loose, [".ecdc"])
    with packs.spool(spooled) as spool:
        for name in reversed(NAMES):
            spool.add(name, name.encode() * 7)
    packs.pack(spooled, [".ecdc"], spooled=spool.places)
    assert content(spooled) == content(loose)
    assert sorted(os.listdir(spooled)) == sorted(content(spooled))  # the spool is gone


def test_the_files_of_a_clip_lie_in_one_pack(tmp_path: Path) -> None:
    for clip in range(50):
        for suffix in (".cond.npy", ".cond.json"):
            files.write_bytes(tmp_path / f"{clip}{suffix}", b"x")
    packs.pack(tmp_path, [".cond.npy", ".cond.json"])
    holding = {
        name: pack
        for pack, data in content(tmp_path).items()
        for name in map(str, range(50))
        if f"{name}.cond".encode() in data
    }
    for clip in map(str, range(50)):
        data = content(tmp_path)[holding[clip]]
        assert f"{clip}.cond.npy".encode() in data
        assert f"{clip}.cond.json".encode() in data


def test_a_damaged_pack_is_named(tmp_path: Path) -> None:
    folder = fill(tmp_path / "tokens")
    packs.pack(folder, [".ecdc"])
    (folder / "pack-07.tar").write_bytes(b"no tar file" * 100)
    with pytest.raises(UserError, match=r"pack-07\.tar"):
        files.sorted_names(folder, [".ecdc"])


class Copy(Worker):
    """A stage that keeps its folder: copies each clip to a token file."""

    def input_names(self, clip: Clip) -> list[str]:
        return [clip.audio_path]

    def output_names(self, clip: Clip) -> list[str]:
        return [f"{clip.id}.ecdc"]

    def make(self, clip: Clip, inputs: list[bytes]) -> tuple[dict[str, Any], list[bytes]]:
        return {}, inputs

    def write_lists(self, good: Sequence[tuple[Clip, Entry]], rejected: Sequence[Rejected]) -> list[str]:
        return []


def test_a_kept_folder_is_brought_up_to_date_through_its_packs(tmp_path: Path) -> None:
    """One changed clip costs one clip, one that is gone goes, and all is as made from nothing."""
    source = tmp_path / "in"

    def run(out: str, clips: Sequence[int]) -> tuple[int, int]:
        for number in clips:
            files.write_bytes(source / f"{number}.wav", b"%d" % (number if number != 3 else len(clips)))
        worker = Copy("copy", source, tmp_path / out, "key")
        done = bring_up_to_date(
            [Clip(id=str(number), audio_path=f"{number}.wav") for number in clips],
            worker,
            max_bad_fraction=0,
            owned=True,
        )
        packs.pack(tmp_path / out, [".ecdc"], keep=[f"{number}.ecdc" for number in clips])
        return done.made, done.removed

    assert run("out", range(20)) == (20, 0)
    assert run("out", range(20)) == (0, 0)
    assert run("out", range(19)) == (1, 1)
    assert run("anew", range(19)) == (19, 0)
    assert content(tmp_path / "out") == content(tmp_path / "anew")
    assert sorted(os.listdir(tmp_path / "out")) == sorted(os.listdir(tmp_path / "anew"))
