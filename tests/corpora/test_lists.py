"""Lists as people write them: delimiters, quotes, encodings."""

import csv
import io
import random
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from soundraft.corpora.base import Request
from soundraft.corpora.lists import Listing, SourceError, read_listing
from soundraft.corpora.recordings import find_recordings
from soundraft.manifest import write_manifest

NAMES = {"file_name", "audio", "path"}


def read(tmp_path: Path, data: str | bytes, name: str = "list.csv") -> Listing:
    path = tmp_path / name
    path.write_bytes(data.encode() if isinstance(data, str) else data)
    return read_listing(path, audio_names=NAMES)


@pytest.mark.parametrize(("delimiter", "name"), [(",", "comma"), (";", "semicolon"), ("\t", "tab"), ("|", "bar")])
def test_the_delimiter_is_found_and_named(delimiter: str, name: str, tmp_path: Path) -> None:
    # text holds the other delimiters, and quoted ones its own
    others = "".join(other for other in ",;|" if other != delimiter)
    lines = ["file_name{0}text{0}speaker", f"a.wav{{0}}one{others}two{{0}}s1", 'b.wav{0}"x{0} y"{0}s2']
    listing = read(tmp_path, "\n".join(lines).format(delimiter), "list.txt")
    assert name in listing.form
    assert listing.columns == ["file_name", "text", "speaker"]
    assert [row["text"] for row in listing.rows.values()] == [f"one{others}two", f"x{delimiter} y"]


def test_the_delimiter_is_the_one_under_which_a_column_names_the_audio(tmp_path: Path) -> None:
    listing = read(tmp_path, "file_name;text, spoken, clean\na.wav;one, two, three\n")
    assert listing.columns == ["file_name", "text, spoken, clean"]


TEXT = st.text(st.characters(blacklist_categories=("Cs", "Cc"), blacklist_characters="\ufeff"), max_size=20)


@given(
    rows=st.lists(st.tuples(TEXT, TEXT), min_size=1, max_size=20),
    delimiter=st.sampled_from(",;\t|"),
    ending=st.sampled_from(["\n", "\r\n"]),
    marked=st.booleans(),
)
def test_what_a_spreadsheet_writes_is_read_back(
    tmp_path_factory: pytest.TempPathFactory, rows: list[tuple[str, str]], delimiter: str, ending: str, marked: bool
) -> None:
    out = io.StringIO(newline="")
    writer = csv.writer(out, delimiter=delimiter, lineterminator=ending)
    writer.writerow(["file_name", "text", "note"])
    writer.writerows([(f"{index}.wav", *row) for index, row in enumerate(rows)])
    listing = read(tmp_path_factory.mktemp("list"), out.getvalue().encode("utf-8-sig" if marked else "utf-8"))
    assert listing.columns == ["file_name", "text", "note"]
    assert not listing.findings
    found = [(row.get("text", ""), row.get("note", "")) for row in listing.rows.values()]
    assert found == [(text.strip(), note.strip()) for text, note in rows]


def test_a_row_has_the_line_that_it_starts_on(tmp_path: Path) -> None:
    listing = read(tmp_path, 'file_name,text\n\na.wav,"two\nlines"\nb.wav,x\nc.wav\nd.wav,x,y\n')
    assert {place: row["file_name"] for place, row in listing.rows.items()} == {
        "list.csv:3": "a.wav",
        "list.csv:5": "b.wav",
    }
    assert [(item.place, item.code) for item in listing.findings] == [
        ("list.csv:6", "column_count"),
        ("list.csv:7", "column_count"),
    ]


def test_quotation_marks_of_the_text_itself(tmp_path: Path) -> None:
    listing = read(tmp_path, 'path\tsentence\na.wav\t"So," he said.\nb.wav\tit is 5" long\nc.wav\t"open\n', "x.tsv")
    assert [row["sentence"] for row in listing.rows.values()] == ['"So," he said.', 'it is 5" long', '"open']


LONG = "path{0}text\na.wav{0}hi\nb.wav{0}" + "x" * 140_000


@pytest.mark.parametrize(
    ("data", "place", "code"),
    [
        ("file_name,text\na.wav,ok\nb.wav,Käse\n".encode("latin-1"), "list.csv:3", "encoding"),
        ("file_name,text\r\na.wav,ok\r\nb.wav,Käse\r\n".encode("latin-1"), "list.csv:3", "encoding"),
        (b"\xef\xbb\xbffile_name,text\n\xff.wav,ok\n", "list.csv:2", "encoding"),
        ("file_name,text\n".encode("utf-16"), "list.csv:1", "encoding"),
        (b"", "list.csv", "empty_list"),
        (b"file_name,text,text\n", "list.csv:1", "duplicate_column"),
        (b'file_name,text\na.wav,"fine"\nb.wav,"never closed\nc.wav,x\n', "list.csv:3", "quotes"),
        (LONG.format(",").encode(), "list.csv:3", "quotes"),
        (LONG.format("\t").encode(), "list.csv:3", "quotes"),
    ],
)
def test_files_that_cannot_be_read_name_the_line(data: bytes, place: str, code: str, tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=f"^{place}: ") as caught:
        read(tmp_path, data)
    assert (caught.value.finding.place, caught.value.finding.code) == (place, code)


def test_json_lines(tmp_path: Path) -> None:
    lines = [
        b'\xef\xbb\xbf{"audio": "a.wav", "text": "\xc3\xa4", "none": null}',
        b"",
        b"{broken",
        b"[1]",
        b'{"audio": "b.wav", "text": "\xe4"}',
        b'{"audio": "c.wav", "level": NaN}',
        b'{"audio": "d.wav", "text": "\\ud800"}',
        b'{"audio": "e.wav", "text": "\\ud83d\\ude00\xe2\x80\xa8"}',
        b"[" * 100_000,
        b'{"audio": "f.wav", "level": 1e999}',
    ]
    listing = read(tmp_path, b"\n".join(lines), "list.jsonl")
    assert listing.rows == {
        "list.jsonl:1": {"audio": "a.wav", "text": "ä"},
        "list.jsonl:8": {"audio": "e.wav", "text": "😀\u2028"},
    }
    codes = {item.place.removeprefix("list.jsonl:"): item.code for item in listing.findings}
    assert codes == dict.fromkeys("34", "not_json") | {
        "5": "encoding",
        "6": "not_json",
        "7": "encoding",
    } | dict.fromkeys(("9", "10"), "not_json")


SEEDS = (
    ("l.csv", b'id,file_name,text,label,split,duration\n1,a.wav,"hi, you",dog,train,0.5\n2,b/c.wav,"x\ny",cat,dev,\n'),
    ("l.tsv", 'file_name\ttext\na.wav\tKäse "x"\nb.wav\ty\n'.encode()),
    ("l.jsonl", b'{"audio":"a.wav","text":"x","duration":1,"metadata":{"a":1},"offset":0}\n{"path":"b.wav","label":1}'),
)
SCRAPS = b', \t \n \r \0 { } [] \xff " null NaN -1 1e999 \\ud800'.split(b" ")


def test_damaged_lists_are_refused_or_read_but_never_crash(tmp_path: Path) -> None:
    rng = random.Random(0)
    for _ in range(150):
        name, seed = rng.choice(SEEDS)
        data = bytearray(seed)
        for _ in range(rng.randint(1, 4)):
            place = rng.randrange(len(data) + 1)
            data[place : place + rng.randint(0, 3)] = rng.choice(SCRAPS)
        (tmp_path / name).write_bytes(data)
        try:
            found = find_recordings(tmp_path / name, Request())
        except SourceError:
            continue
        assert all(re.match(rf"{name}:\d+$", finding.place) for finding in found.findings)
        write_manifest(tmp_path / "out", found.clips.values(), [])


def test_a_list_of_ljspeechs_form_names_the_corpus_that_reads_it(tmp_path: Path) -> None:
    for first in ("LJ1|Dr. A|Doctor A", "LJ1|the same|the same"):
        with pytest.raises(SourceError, match="corpus ljspeech"):
            read(tmp_path, f"{first}\nLJ2|two|two\n")
