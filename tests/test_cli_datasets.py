"""The commands `soundraft datasets …`: what they print, write, refuse, and how they end."""

import csv
import json
import re
import shlex
import shutil
import zipfile
from pathlib import Path

import pytest

from soundraft import cli
from soundraft.audio import io
from soundraft.cli.corpora import ACTIONS
from soundraft.corpora import CORPORA
from soundraft.manifest import read_manifest
from tests.conftest import Say, soundraft, tone
from tests.corpora import hubs

SPLITS = ("train", "train", "validation", "test")


@pytest.fixture
def say(capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Say:
    """What `soundraft datasets …` prints; with `fails` a word of the one line in which it must end."""
    monkeypatch.setenv("SOUNDRAFT_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", tmp_path / "hf")
    monkeypatch.chdir(tmp_path)

    return lambda *argv, code=0, fails="": soundraft(capsys, "datasets", *argv, code=fails or code)


@pytest.fixture
def mine(tmp_path: Path) -> Path:
    """Recordings of one's own: 8 clips, 4 speakers, each in one split."""
    root = tmp_path / "mine"
    rows = [("file_name", "text", "speaker", "split")]
    for number in range(8):
        io.write_wav(root / f"{number}.wav", tone(0.2, frequency_hz=300 + 40 * number), 8000)
        rows.append((f"{number}.wav", f"word {number}", f"s{number % 4}", SPLITS[number % 4]))
    with (root / "metadata.csv").open("w", newline="") as stream:
        csv.writer(stream).writerows(rows)
    return root


def edit(root: Path, old: str, new: str) -> None:
    text = (root / "metadata.csv").read_text()
    assert old in text
    (root / "metadata.csv").write_text(text.replace(old, new, 1))


def table(said: str) -> list[list[str]]:
    return [line.split() for line in said.splitlines()]


def test_the_list_names_every_corpus_and_fits(say: Say, monkeypatch: pytest.MonkeyPatch) -> None:
    for width in (100, 120):
        monkeypatch.setenv("COLUMNS", str(width))
        lines = say("list").splitlines()
        assert max(map(len, lines)) <= width
        assert lines[0].split() == ["name", "source", "task", "size", "licence", "splits", "languages"]
        assert [line.split()[0] for line in lines[1:-2] if not line.startswith(" ")] == list(CORPORA)
        assert len(lines) < 5 * len(CORPORA)
    assert say() == say("list")
    for action in ACTIONS:
        assert f"usage: soundraft datasets {action}" in say(action, "--help")
    found = json.loads(say("list", "--json"))["fsdd"]
    info = CORPORA["fsdd"].info
    assert (found["takes"], found["columns"]) == (sorted(info.takes), dict(info.columns))


def test_every_corpus_is_described_without_a_network(say: Say, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("socket.socket.connect", None)  # to describe is not to download
    for name in CORPORA.keys() - {"espeak"}:
        info, said = CORPORA[name].info, say("describe", name)
        in_one_line = " ".join(said.split())
        for fact in (info.about, info.source, info.licence, info.splits, *info.columns, *info.columns.values()):
            assert " ".join(fact.split()) in in_one_line
        assert ("was downloaded here" in said) == ("revision" in info.takes and not info.needs)
        assert said.splitlines()[-1].startswith(f"next: soundraft datasets download {name}")


def test_one_clip_of_ones_own(say: Say, mine: Path) -> None:
    said = say("describe", "folder", "--path", mine)
    shown = "".join(said.partition("one clip\n")[2].partition("\n\n")[0].split())  # a long path is folded
    (number,) = map(int, re.findall(r"textword(\d)", shown))
    assert f"audio{mine}/{number}.wav" in shown
    assert f"speakers{number % 4}" in shown
    assert "nowhere" in say("describe", "folder", "--path", "nowhere")


def test_what_is_downloaded_is_what_fetch_makes(say: Say, mine: Path, tmp_path: Path) -> None:
    said = say("download", "folder", "--path", mine, "--output", "out")
    assert "out: 8 clips (4 train, 2 validation, 2 test), 0.00 h" in said
    clips = read_manifest(tmp_path / "out/manifest.jsonl")
    assert [clip.text for clip in clips] == [f"word {number}" for number in range(8)]
    assert (tmp_path / "out/3.wav").read_bytes() == (mine / "3.wav").read_bytes()
    assert (tmp_path / "out/quarantine.jsonl").read_text() == ""
    assert json.loads((tmp_path / "out/source.json").read_text())["corpus"] == "folder"
    say("download", "folder", "--path", mine, "--output", "out", "--split", "train", "--limit", 1)
    assert [clip.split for clip in read_manifest(tmp_path / "out/manifest.jsonl")] == ["train"]
    assert not (tmp_path / "out/3.wav").exists()
    (mine / "5.wav").unlink()
    with pytest.raises(SystemExit, match=r"1 of 8 clips are bad(.|\n)*metadata\.csv:7"):
        cli.main(["datasets", "download", "folder", "--path", str(mine), "--output", "bad"])
    assert not (tmp_path / "bad").exists()
    say("download", "folder", "--path", mine, "--output", "bad", "--max-bad-fraction", 0.5)
    assert "5.wav" in (tmp_path / "bad/quarantine.jsonl").read_text()


def test_a_folder_that_holds_something_else_is_not_replaced(
    say: Say, mine: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = ("download", "folder", "--path", mine, "--output")
    say(*folder, mine, fails="holds something else")
    say(*folder, mine / "new", fails="must be two folders")
    (tmp_path / "file").write_text("mine")
    say(*folder, "file", fails="--output file is a file")
    (tmp_path / "empty").mkdir()
    say(*folder, "empty")
    (tmp_path / "empty/notes").mkdir()
    (tmp_path / "empty/notes/mine.txt").write_text("mine")
    say(*folder, "empty", fails="empty/notes/mine.txt (1 in all)")
    assert (tmp_path / "empty/notes/mine.txt").read_text() == "mine"
    (tmp_path / "place").mkdir()
    (tmp_path / "link").symlink_to("place")
    say(*folder, "link")
    assert (tmp_path / "link").is_symlink()
    assert len(read_manifest(tmp_path / "place/manifest.jsonl")) == 8
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    say(*folder, ".", fails="the folder that you are in")
    assert len(list(mine.iterdir())) == 9


def test_an_archive_can_be_downloaded_again(say: Say, tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "esc.zip", "w") as archive:
        archive.writestr("meta/esc50.csv", "filename,fold,category,esc10,src_file,take\n1.wav,1,dog,True,1,A\n")
        io.write_wav(tmp_path / "1.wav", tone(), 8000)
        archive.write(tmp_path / "1.wav", "audio/1.wav")
        archive.write(tmp_path / "1.wav", "audio/unlisted.wav")
    for _ in range(2):
        assert "1 clips" in say("download", "esc50", "--path", "esc.zip", "--output", "out")
    assert [path.name for path in sorted((tmp_path / "out").rglob("*.wav"))] == ["1.wav"]


def test_options_that_a_corpus_does_not_take_and_names_that_are_none(say: Say, mine: Path) -> None:
    say("describe", "fssd", fails="did you mean fsdd?")
    say("download", "folder", "--output", "out", fails="--path is empty")
    say("download", "espeak", "--output", "out", "--fold", 2, fails="--fold: espeak")
    folder = ("download", "folder", "--path", mine, "--output", "out")
    say(*folder, "--split", "best", fails="split 'best'")
    say(*folder, "--role", "start", fails="--role: folder")
    wrong = (("--limit", -1), ("--columns", "text"), ("--max-bad-fraction", 7), ("--max-bad-fraction", "nan"))
    for options in wrong:
        say(*folder, *options, code=2)
    say("describe", "folder", "--path", mine, "--limit", 2, code=2)
    say("stats", "nowhere", fails="nowhere: neither a folder nor a corpus")
    say("stats", mine, "--path", mine, fails="--path")
    say("splits", mine.parent, fails="neither")
    say("lst", code=2)


def test_splits_that_are_apart(say: Say, mine: Path) -> None:
    say("download", "folder", "--path", mine, "--output", "raw/target")
    for which in ("raw/target", mine):
        said = say("splits", which, "--texts")
        rows = table(said)
        assert ["split", "clips", "speakers", "sources", "audio", "texts"] in rows
        assert ["train", "4", "2", "–", "4", "4"] in rows
        assert ["speaker", "8", "of", "8", "none"] in rows
        assert "the splits are apart" in said
    say("splits", "raw", fails="target")
    assert "train" in say("splits", mine, "--split", "train", code=1).splitlines()[-1]  # one split alone proves nothing


def test_a_leak_is_named_with_its_clips_and_may_be_allowed(say: Say, mine: Path, tmp_path: Path) -> None:
    edit(mine, "word 3,s3", "Word 0!,s0")
    (mine / "2.wav").write_bytes((mine / "1.wav").read_bytes())
    said = say("splits", mine, "--texts", code=1)
    assert "speaker 's0' is in 2 splits\n  train  2  0.wav, 4.wav\n  test   1  3.wav\n" in said
    assert "text 'word 0' is in 2 splits" in said
    assert "… is in 2 splits\n  train       1  1.wav\n  validation  1  2.wav\n" in said
    assert "--allow speaker --allow audio --allow text" in said.splitlines()[-1]
    assert "text" not in say("splits", mine, code=1)
    assert "1 (allowed)" in say("splits", mine, "--allow", "speaker", "--allow", "audio")
    rows = [
        {"id": str(number), "audio_path": f"{number}.wav", "speaker": "ann", "split": "train"} for number in range(8)
    ]
    (mine / "manifest.jsonl").write_text("\n".join(map(json.dumps, [*rows[:7], rows[7] | {"split": "test"}])))
    assert "  train  7  0, 1, 2, 3, 4, … and 2 more\n" in say("splits", mine, code=1)
    (mine / "6.wav").write_bytes(b"junk")  # what cannot be read proves nothing
    assert "6.wav: not readable as audio" in say("splits", mine, code=1)


def test_statistics_and_their_picture(say: Say, mine: Path, tmp_path: Path) -> None:
    said = say("stats", mine, "--plot", "p/corpus.png")
    row = ["train", "4", "0.00", "0.20", "s", "0.20", "s", "0.20", "s", "8", "5", "–", "2", "8", "kHz"]
    assert row in table(said)
    assert (tmp_path / "p/corpus.png").read_bytes().startswith(b"\x89PNG")
    (mine / "1.wav").unlink()
    assert "metadata.csv:3: no such file" in say("stats", mine)
    say("stats", mine, "--plot", "x.jpg", fails="x.jpg")
    say("stats", mine, "--plot", mine / "0.wav/x.png", fails="Not a directory")
    say("stats", mine, "--top", 0, code=2)
    rows = [{"audio_path": f"{n}.wav", "label": "aba"[n % 3], "split": SPLITS[n % 4]} for n in (0, 2, 3, 4, 7)]
    (mine / "manifest.jsonl").write_text("\n".join(json.dumps(row | {"task": "classification"}) for row in rows))
    labels = [row for row in table(say("stats", mine)) if row and row[0] in ("a", "b")]
    assert labels == [["a", "1", "1", "1", "3"], ["b", "1", "–", "1", "2"]]
    assert "and 1 more" in say("stats", mine, "--top", 1)


def test_a_corpus_by_name_with_its_options(say: Say, tmp_path: Path) -> None:
    rows = hubs.rows(5, sentence="s {n}", client_id=lambda n: f"c{n // 2}")
    of = {"default": {"train": rows[:3], "test": rows[3:4], "dev": rows[4:]}}
    hubs.write(tmp_path / "repo", hubs.columns("sentence client_id"), of)
    options = ("--path", "repo", "--columns", "text=sentence", "speaker=client_id")
    assert "text         s 0" in say("describe", "hub", *options)
    assert "speaker 'c1' is in 2 splits" in say("splits", "hub", *options, code=1)
    assert ["test", "1"] in [row[:2] for row in table(say("stats", "hub", *options, "--split", "test"))]
    say("download", "hub", *options, "--output", "out")
    assert len(list((tmp_path / "out").rglob("*.wav"))) == 5


def test_faults_are_named_line_by_line_and_the_hint_is_the_next_command(say: Say, mine: Path, tmp_path: Path) -> None:
    edit(mine, "text", "the words")
    asked = ("--columns", "text=the words")
    for said in (say("validate", mine, *asked), say("describe", "folder", "--path", mine, *asked)):
        hint = said.splitlines()[-1]
        download = f"download folder --path {mine} --columns 'text=the words' --output FOLDER"
        assert hint == f"next: soundraft datasets {download}"
    assert "8 clips" in say(*shlex.split(hint)[3:-1], "out")
    shutil.make_archive(str(tmp_path / "packed"), "zip", mine)
    assert "--columns 'text=the words'" in say("validate", "packed.zip", *asked).splitlines()[-1]
    (mine / "2.wav").unlink()
    edit(mine, "word 5,s1,train", "word 5,s1,tranche")
    lines = say("validate", mine, *asked, code=1).splitlines()
    assert lines[0] == "metadata.csv:4: error: no such file [no_file]"
    assert lines[1].startswith("metadata.csv:7: error: split 'tranche'")
    assert lines[-1].startswith(f"{mine}: 2 errors, no warnings; ")
    say("validate", "nowhere", code=1)
    assert "[missing_column]" in say("validate", mine, code=1)
