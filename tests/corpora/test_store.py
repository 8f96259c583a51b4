import itertools
import json
import multiprocessing
from collections.abc import Iterator
from pathlib import Path

import pytest

from soundraft import files, runtime
from soundraft.corpora import hub_cache
from soundraft.corpora.base import CorpusError
from soundraft.corpora.hub_cache import Entry, Item, Position, Record, opened
from tests.corpora.hubs import sound

COUNT = 30


class Source:
    """Thirty rows, every seventh bad. Notes which ones were asked for; fails before the row `fails_at`."""

    def __init__(self, fails_at: int | None = None) -> None:
        self.asked: list[int] = []
        self.fails_at = fails_at

    def __call__(self, start: Position) -> Iterator[Item]:
        for number in range(start[2], COUNT):
            if number == self.fails_at:
                raise ConnectionError("cut")
            self.asked.append(number)
            data = b"no audio" if number % 7 == 6 else sound(frequency_hz=200 + 10 * number)
            yield Item((0, 0, number + 1), {"text": f"ö {number}"}, data, f"{number}.WAV")


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
    records = read(whole, Source())
    assert [record.row for record in records] == list(range(COUNT))
    assert (whole / records[5].audio).read_bytes() == sound(frequency_hz=250)
    assert records[5].audio == "00000/00000005.wav"
    assert (records[5].duration, records[5].sample_rate, records[5].values) == (0.1, 8000, {"text": "ö 5"})
    assert "not readable as audio" in records[6].reason
    assert records[6].content == ""
    assert len({record.content for record in records}) == COUNT - COUNT // 7 + 1
    assert records[6].audio == ""
    assert files.read_json(whole / hub_cache.COMPLETE_NAME) == {"rows": COUNT, "exhausted": True}


def test_an_exhausted_entry_asks_for_nothing(whole: Path) -> None:
    source = Source(fails_at=0)
    assert len(read(whole, source)) == COUNT


def test_only_what_is_taken_is_asked_for_and_a_larger_request_goes_on(tmp_path: Path, whole: Path) -> None:
    source = Source()
    read(tmp_path / "part", source, 10)
    assert source.asked == list(range(10))
    assert files.read_json(tmp_path / "part" / hub_cache.COMPLETE_NAME) == {"rows": 10, "exhausted": False}
    read(tmp_path / "part", Source(fails_at=10), 10)
    assert files.read_json(tmp_path / "part" / hub_cache.COMPLETE_NAME) == {"rows": 10, "exhausted": False}
    later = Source()
    read(tmp_path / "part", later, None)
    assert later.asked == list(range(10, COUNT))
    assert tree(tmp_path / "part") == tree(whole)


def test_a_source_that_fails_leaves_what_was_finished(tmp_path: Path, whole: Path) -> None:
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
    (whole / hub_cache.ROWS_NAME).write_bytes(b"".join([*lines[:4], b"{]\n", *lines[5:]]))
    with pytest.raises(CorpusError, match=r"rows.jsonl:5: the cache is damaged, .*; remove .*whole"):
        read(whole, Source())
    (whole / hub_cache.ROWS_NAME).write_bytes(b"".join(lines[:9]))
    with pytest.raises(CorpusError, match=r"rows.jsonl:10: the cache is damaged"):
        read(whole, Source())


def test_the_same_bytes_have_the_same_content(tmp_path: Path) -> None:
    def items(_start: Position) -> Iterator[Item]:
        for number, frequency_hz in enumerate((300, 400, 300)):
            yield Item((0, 0, number + 1), {}, sound(frequency_hz=frequency_hz), f"{number}.wav")

    for _ in range(2):
        with opened(tmp_path / "entry") as entry:
            first, other, again = [record.content for record in entry.records(items)]
        assert first == again != other


def test_a_row_that_was_kept_without_its_content_hash_is_named(whole: Path) -> None:
    rows = [json.loads(line) for line in (whole / hub_cache.ROWS_NAME).read_text().splitlines()]
    del rows[3]["content"]
    files.write_jsonl(whole / hub_cache.ROWS_NAME, rows)
    with pytest.raises(CorpusError, match=r"rows.jsonl:4: the cache is damaged, or an older version's; remove .*whole"):
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


def test_the_suffix_is_the_sources_else_what_the_bytes_are(tmp_path: Path) -> None:
    named = [("a.Flac", "FLAC"), ("b", "FLAC"), ("", "OGG"), ("c.exe", "MP3"), ("d.wav.gz", "WAV")]

    def items(_start: Position) -> Iterator[Item]:
        for number, (name, kind) in enumerate(named):
            yield Item((0, 0, number + 1), {}, sound(kind), name)

    with opened(tmp_path / "entry") as entry:
        suffixes = [Path(record.audio).suffix for record in entry.records(items)]
    assert suffixes == [".flac", ".flac", ".ogg", ".mp3", ".wav"]


def _read_all(folder: Path) -> list[int]:
    source = Source()
    read(folder, source)
    return source.asked


def test_two_processes_share_one_download(tmp_path: Path, whole: Path) -> None:
    with multiprocessing.get_context("spawn").Pool(2) as pool:
        asked = pool.map(_read_all, [tmp_path / "shared"] * 2, chunksize=1)
    assert sorted(asked, key=len) == [[], list(range(COUNT))]
    assert tree(tmp_path / "shared") == tree(whole)


def test_a_full_disk_is_no_fault_of_the_corpus(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(path: str, _data: bytes) -> None:
        raise OSError(28, "No space left on device", path)

    with opened(tmp_path / "entry") as entry:
        monkeypatch.setattr(hub_cache, "_write", full)
        with pytest.raises(OSError, match="No space left"):
            list(entry.records(Source()))


def test_what_was_resolved_once_stays(tmp_path: Path) -> None:
    answers = iter(["first", "second"])
    assert hub_cache.remembered(tmp_path, "main", lambda: next(answers)) == "first"
    assert hub_cache.remembered(tmp_path, "main", lambda: next(answers)) == "first"
    assert hub_cache.remembered(tmp_path, "v2", lambda: next(answers)) == "second"


def test_where_the_cache_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOUNDRAFT_CACHE", str(tmp_path / "here"))
    assert runtime.cache_root() == tmp_path / "here"
    monkeypatch.delenv("SOUNDRAFT_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert runtime.cache_root() == tmp_path / "soundraft"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert runtime.cache_root() == tmp_path / ".cache/soundraft"


def test_the_schema_is_asked_once(tmp_path: Path) -> None:
    asked = []

    def schema() -> dict[str, list[str]]:
        asked.append(1)
        return {"columns": ["text"]}

    for _ in range(2):
        with opened(tmp_path) as entry:
            assert isinstance(entry, Entry)
            assert entry.schema(schema) == {"columns": ["text"]}
    assert len(asked) == 1
