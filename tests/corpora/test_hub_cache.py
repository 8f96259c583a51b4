"""What is kept of a source: each row once, whole, with the same bytes however often reading was cut short."""

import itertools
import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from soundraft import files, runtime
from soundraft.corpora import hub_cache
from soundraft.corpora.base import CorpusError
from soundraft.corpora.hub_cache import Position, Record, Unkept, opened
from tests.corpora.hubs import sound

COUNT = 30


class Source:
    """Thirty rows, every seventh bad. Notes which ones were asked for; fails before the row `fails_at`."""

    def __init__(self, fails_at: int | None = None) -> None:
        self.asked: list[int] = []
        self.fails_at = fails_at

    def __call__(self, start: Position) -> Iterator[Unkept]:
        for number in range(start[2], COUNT):
            if number == self.fails_at:
                raise ConnectionError("cut")
            self.asked.append(number)
            data = b"no audio" if number % 7 == 6 else sound(frequency_hz=200 + 10 * number)
            yield Record(after=(0, 0, number + 1), values={"text": f"ö {number}"}, name=f"{number}.WAV"), data


def read(folder: Path, source: Source, count: int | None = None) -> list[Record]:
    with opened(folder) as entry:
        records = entry.records(source)
        found = list(itertools.islice(records, count))
        records.close()
    return found


def tree(folder: Path) -> dict[str, str]:
    return {
        path.relative_to(folder).as_posix(): files.content_hash(path)
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name != hub_cache.LOCK_NAME
    }


@pytest.fixture
def whole(tmp_path: Path) -> Path:
    read(tmp_path / "whole", Source())
    return tmp_path / "whole"


def test_rows_are_kept_with_their_bytes_and_the_bad_ones_with_their_reason(whole: Path) -> None:
    records = read(whole, Source(fails_at=0))  # an exhausted source is asked for nothing
    assert [record.row for record in records] == list(range(COUNT))
    assert (whole / records[5].audio).read_bytes() == sound(frequency_hz=250)
    assert records[5].audio == "00000/00000005.wav"
    assert (records[5].duration, records[5].sample_rate, records[5].values) == (0.1, 8000, {"text": "ö 5"})
    assert "not readable as audio" in records[6].reason
    assert records[6].content == records[6].audio == ""
    assert len({record.content for record in records}) == COUNT - COUNT // 7 + 1
    assert files.read_json(whole / hub_cache.COMPLETE_NAME) == {"rows": COUNT, "exhausted": True}


def test_only_what_is_taken_is_asked_for_and_a_larger_request_goes_on(tmp_path: Path, whole: Path) -> None:
    source = Source()
    read(tmp_path / "part", source, 10)
    assert source.asked == list(range(10))
    read(tmp_path / "part", Source(fails_at=10), 10)
    assert files.read_json(tmp_path / "part" / hub_cache.COMPLETE_NAME) == {"rows": 10, "exhausted": False}
    with pytest.raises(ConnectionError):
        read(tmp_path / "part", Source(fails_at=13))
    later = Source()
    read(tmp_path / "part", later)
    assert later.asked == list(range(13, COUNT))
    assert tree(tmp_path / "part") == tree(whole)


@pytest.mark.parametrize("lines", [0, 1, 12, COUNT])
@pytest.mark.parametrize("torn", ["", '{"row": 12, "aft', "line without audio", "half an audio file"])
def test_any_state_that_a_kill_leaves_ends_with_the_same_bytes(
    tmp_path: Path, whole: Path, lines: int, torn: str
) -> None:
    part = tmp_path / "part"
    read(part, Source(), lines) if lines else None
    part.mkdir(exist_ok=True)
    (part / hub_cache.COMPLETE_NAME).unlink(missing_ok=True)
    rows = (whole / hub_cache.ROWS_NAME).read_bytes().splitlines(keepends=True)
    with (part / hub_cache.ROWS_NAME).open("ab") as stream:
        stream.write(rows[lines] if torn.startswith(("line", "half")) and lines < COUNT else torn[:3].encode())
    if torn.startswith("half"):
        (part / "00000").mkdir(exist_ok=True)
        (part / f"00000/{lines:08d}.wav").write_bytes(b"RIFF")
    read(part, Source())
    extra = f"00000/{COUNT:08d}.wav"
    assert {name: value for name, value in tree(part).items() if name != extra} == tree(whole)


def test_a_damaged_finished_entry_is_named(whole: Path) -> None:
    lines = (whole / hub_cache.ROWS_NAME).read_bytes().splitlines(keepends=True)
    older = json.loads(lines[4])
    del older["content"]
    for number, damaged in (
        (5, [*lines[:4], b"{]\n", *lines[5:]]),
        (5, [*lines[:4], json.dumps(older).encode() + b"\n", *lines[5:]]),
        (10, lines[:9]),
    ):
        (whole / hub_cache.ROWS_NAME).write_bytes(b"".join(damaged))
        with pytest.raises(CorpusError, match=rf"rows.jsonl:{number}: .*remove .*whole"):
            read(whole, Source())


def test_a_row_that_is_written_again_leaves_what_was_linked_to_it(tmp_path: Path, whole: Path) -> None:
    linked = tmp_path / "linked.wav"
    (whole / "00000/00000004.wav").write_bytes(b"of an earlier fetch")
    linked.hardlink_to(whole / "00000/00000004.wav")
    for name in (hub_cache.COMPLETE_NAME, hub_cache.ROWS_NAME):
        (whole / name).unlink()
    read(whole, Source())
    assert linked.read_bytes() == b"of an earlier fetch"
    assert (whole / "00000/00000004.wav").read_bytes() == sound(frequency_hz=240)


def test_the_suffix_is_the_sources_else_what_the_bytes_are_and_the_same_bytes_have_one_hash(tmp_path: Path) -> None:
    named = [("a.Flac", "FLAC"), ("b", "FLAC"), ("", "OGG"), ("c.exe", "MP3"), ("d.wav.gz", "WAV")]

    def rows(_start: Position) -> Iterator[Unkept]:
        for number, (name, kind) in enumerate(named):
            yield Record(after=(0, 0, number + 1), values={}, name=name), sound(kind)

    with opened(tmp_path / "entry") as entry:
        records = list(entry.records(rows))
    assert [Path(record.audio).suffix for record in records] == [".flac", ".flac", ".ogg", ".mp3", ".wav"]
    assert records[0].content == records[1].content != records[4].content


def test_two_readers_share_one_download(tmp_path: Path, whole: Path) -> None:
    sources = [Source(), Source()]
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(lambda source: read(tmp_path / "shared", source), sources))
    assert sorted((source.asked for source in sources), key=len) == [[], list(range(COUNT))]
    assert tree(tmp_path / "shared") == tree(whole)


def test_a_full_disk_is_no_fault_of_the_corpus(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(path: Path, _data: bytes) -> None:
        raise OSError(28, "No space left on device", path)

    with opened(tmp_path / "entry") as entry:
        monkeypatch.setattr(Path, "write_bytes", full)
        records = entry.records(Source())
        with pytest.raises(OSError, match="No space left"):
            next(records)


def test_what_was_found_once_stays(tmp_path: Path) -> None:
    answers = iter(["first", "second"])
    assert hub_cache.remembered(tmp_path, "main", lambda: next(answers)) == "first"
    assert hub_cache.remembered(tmp_path, "main", lambda: next(answers)) == "first"
    assert hub_cache.remembered(tmp_path, "v2", lambda: next(answers)) == "second"
    schemas = iter([{"columns": ["text"]}])
    for _ in range(2):
        with opened(tmp_path) as entry:
            assert entry.schema(lambda: next(schemas)) == {"columns": ["text"]}


def test_where_the_cache_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOUNDRAFT_CACHE", str(tmp_path / "here"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setenv("HOME", str(tmp_path))
    assert runtime.cache_root() == tmp_path / "here"
    monkeypatch.delenv("SOUNDRAFT_CACHE")
    assert runtime.cache_root() == tmp_path / "soundraft"
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert runtime.cache_root() == tmp_path / ".cache/soundraft"
