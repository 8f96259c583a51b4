"""The commands `soundraft datasets …`: what they print, write, refuse, and how they end."""

import csv
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from datasets import Audio, Features, Value

from soundraft import cli
from soundraft.audio import io
from soundraft.cli.corpora import ACTIONS, _brief
from soundraft.corpora import CORPORA
from soundraft.manifest import read_manifest
from tests.conftest import tone
from tests.corpora import hubs

Say = Callable[..., str]
SPLITS = ("train", "train", "validation", "test")


@pytest.fixture
def say(capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Say:
    """What `soundraft datasets …` prints; with `fails` a text, how it must end."""
    monkeypatch.setenv("SOUNDRAFT_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")  # which describe sets, and huggingface_hub reads when it is imported
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.chdir(tmp_path)

    def run(*argv: object, code: int = 0, fails: str = "") -> str:
        capsys.readouterr()
        ended: Any = 0
        try:
            cli.main(["datasets", *map(str, argv)])
        except SystemExit as end:
            ended = end.code
        if fails:
            assert isinstance(ended, str)
            assert fails in ended
            assert "\n" not in ended
            assert ended.startswith(f"soundraft datasets {argv[0]}: ")
            return ended
        said = capsys.readouterr()
        assert ended == code, ended or said.err
        return said.out

    return run


@pytest.fixture
def mine(tmp_path: Path) -> Path:
    """Recordings of one's own: 8 clips, 4 speakers, each in one split."""
    root = tmp_path / "mine"
    with_rows = [("file_name", "text", "speaker", "split")]
    for number in range(8):
        io.write_wav(root / f"{number}.wav", tone(0.2, frequency_hz=300 + 40 * number), 8000)
        with_rows.append((f"{number}.wav", f"word {number}", f"s{number % 4}", SPLITS[number % 4]))
    with (root / "metadata.csv").open("w", newline="") as stream:
        csv.writer(stream).writerows(with_rows)
    return root


def test_the_list_names_every_corpus_and_fits(say: Say, monkeypatch: pytest.MonkeyPatch) -> None:
    for width in (100, 120):
        monkeypatch.setenv("COLUMNS", str(width))
        lines = say("list").splitlines()
        assert max(map(len, lines)) <= width
        assert lines[0].split() == ["name", "source", "task", "size", "licence", "splits", "languages"]
        assert [line.split()[0] for line in lines[1:-2] if not line.startswith(" ")] == list(CORPORA)
        assert len(lines) < 5 * len(CORPORA)
    assert lines[-1] == f"{len(CORPORA)} corpora. Next: soundraft datasets describe NAME, which shows all of one"


def test_the_list_breaks_off_where_the_details_begin() -> None:
    assert _brief("official: train and test; more", "; |: ") == "official"
    assert _brief("en, de, fr, sw", "; |: ") == "en and 3 more"
    assert _brief("en, de, fr", "; |: ") == "en, de, fr"
    assert _brief("one word, two words, three, four", "; ") == "one word, two words, three, four"


def test_no_action_lists_too(say: Say) -> None:
    assert say() == say("list")


def test_the_list_as_json_has_everything(say: Say) -> None:
    found = json.loads(say("list", "--json"))
    assert list(found) == list(CORPORA)
    assert found["fsdd"]["takes"] == sorted(CORPORA["fsdd"].info.takes)
    assert found["fsdd"]["columns"] == dict(CORPORA["fsdd"].info.columns)


@pytest.mark.parametrize("name", list(CORPORA))
def test_every_corpus_is_described_without_a_network(say: Say, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    info = CORPORA[name].info
    said = say("describe", name)
    in_one_line = " ".join(said.split())
    for fact in (info.about, info.source, info.licence, info.splits, *info.columns, *info.columns.values()):
        assert " ".join(fact.split()) in in_one_line
    assert "one clip" in said
    assert ("was downloaded here" in said) == ("revision" in info.takes and not info.needs)
    assert said.splitlines()[-1].startswith(f"next: soundraft datasets download {name}")


def test_to_describe_is_not_to_download(tmp_path: Path) -> None:
    environment = {name: value for name, value in os.environ.items() if name != "HF_HUB_OFFLINE"}
    environment |= {"SOUNDRAFT_CACHE": str(tmp_path), "HF_ENDPOINT": "http://127.0.0.1:9"}
    command = [sys.executable, "-m", "soundraft", "datasets", "describe", "esc50"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    assert "was downloaded here" in done.stdout
    assert done.stderr == ""


@pytest.mark.parametrize("first", ["", "import datasets; "])
def test_the_caller_of_describe_stays_online(tmp_path: Path, first: str) -> None:
    environment = {name: value for name, value in os.environ.items() if name != "HF_HUB_OFFLINE"}
    environment |= {"SOUNDRAFT_CACHE": str(tmp_path), "HF_ENDPOINT": "http://127.0.0.1:9"}
    code = (
        f"{first}import os; from soundraft import cli; cli.main(['datasets', 'describe', 'esc50']); "
        "import datasets.config, huggingface_hub.constants as hub; "
        "print(hub.HF_HUB_OFFLINE, datasets.config.HF_HUB_OFFLINE, 'HF_HUB_OFFLINE' in os.environ)"
    )
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert "was downloaded here" in done.stdout
    assert done.stdout.splitlines()[-1] == "False False False"


def test_one_clip_of_ones_own(say: Say, mine: Path) -> None:
    said = say("describe", "folder", "--path", mine)
    shown = "".join(said.partition("one clip\n")[2].partition("\n\n")[0].split())  # a long path is folded
    (number,) = map(int, re.findall(r"textword(\d)", shown))
    assert f"audio{mine}/{number}.wav" in shown
    assert f"speakers{number % 4}" in shown
    assert "none to show: --path: no such file or folder: nowhere" in say("describe", "folder", "--path", "nowhere")
    assert "none to show: give --path" in say("describe", "folder")


def test_what_is_downloaded_is_what_fetch_makes(say: Say, mine: Path, tmp_path: Path) -> None:
    said = say("download", "folder", "--path", mine, "--output", "out")
    assert "out: 8 clips (4 train, 2 validation, 2 test), 0.00 h" in said
    assert said.splitlines()[-1] == "next: soundraft datasets stats out"
    clips = read_manifest(tmp_path / "out/manifest.jsonl")
    assert [clip.text for clip in clips] == [f"word {number}" for number in range(8)]
    assert (tmp_path / "out/3.wav").read_bytes() == (mine / "3.wav").read_bytes()
    assert (tmp_path / "out/quarantine.jsonl").read_text() == ""
    assert json.loads((tmp_path / "out/source.json").read_text())["corpus"] == "folder"
    say("download", "folder", "--path", mine, "--output", "out", "--split", "train", "--limit", 1)
    assert [clip.split for clip in read_manifest(tmp_path / "out/manifest.jsonl")] == ["train"]
    assert not (tmp_path / "out/3.wav").exists()


def test_bad_clips_are_set_aside_or_too_many(say: Say, mine: Path, tmp_path: Path) -> None:
    (mine / "5.wav").unlink()
    with pytest.raises(SystemExit, match=r"soundraft datasets download: 1 of 8 clips are bad(.|\n)*metadata\.csv:7"):
        cli.main(["datasets", "download", "folder", "--path", str(mine), "--output", "out"])
    assert not (tmp_path / "out").exists()
    said = say("download", "folder", "--path", mine, "--output", "out", "--max-bad-fraction", 0.5)
    assert "1 rejected, the reasons are in out/quarantine.jsonl" in said
    assert "5.wav" in (tmp_path / "out/quarantine.jsonl").read_text()


def test_a_folder_that_holds_something_else_is_not_replaced(say: Say, mine: Path, tmp_path: Path) -> None:
    folder = ("download", "folder", "--path", mine, "--output")
    say(*folder, mine, fails="holds something else")
    say(*folder, mine / "new", fails="must be two folders")
    (tmp_path / "file").write_text("mine")
    say(*folder, "file", fails="--output file is a file; name a folder")
    (tmp_path / "empty").mkdir()
    say(*folder, "empty")
    assert len(list(mine.iterdir())) == 9


def test_what_is_not_of_the_earlier_download_is_not_removed(say: Say, mine: Path, tmp_path: Path) -> None:
    folder = ("download", "folder", "--path", mine, "--output", "out")
    say(*folder)
    (tmp_path / "out/notes").mkdir()
    (tmp_path / "out/notes/mine.txt").write_text("mine")
    say(*folder, fails="not of the earlier download, such as out/notes/mine.txt (1 in all)")
    assert (tmp_path / "out/notes/mine.txt").read_text() == "mine"


def test_an_archive_can_be_downloaded_again(say: Say, tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "esc.zip", "w") as archive:
        archive.writestr("meta/esc50.csv", "filename,fold,category,esc10,src_file,take\n1.wav,1,dog,True,1,A\n")
        io.write_wav(tmp_path / "1.wav", tone(), 8000)
        archive.write(tmp_path / "1.wav", "audio/1.wav")
        archive.write(tmp_path / "1.wav", "audio/unlisted.wav")
    for _ in range(2):
        assert "1 clips" in say("download", "esc50", "--path", "esc.zip", "--output", "out")
    assert [path.name for path in sorted((tmp_path / "out").rglob("*.wav"))] == ["1.wav"]


def test_the_output_may_be_a_link_but_not_where_one_is(
    say: Say, mine: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = ("download", "folder", "--path", mine, "--output")
    (tmp_path / "place").mkdir()
    (tmp_path / "link").symlink_to("place")
    say(*folder, "link")
    assert (tmp_path / "link").is_symlink()
    assert len(read_manifest(tmp_path / "place/manifest.jsonl")) == 8
    (tmp_path / "empty").mkdir()
    monkeypatch.chdir(tmp_path / "empty")
    say(*folder, ".", fails="--output . is, or holds, the folder that you are in")


def test_options_that_a_corpus_does_not_take_and_names_that_are_none(say: Say, mine: Path) -> None:
    say("describe", "fssd", fails="there is no corpus 'fssd'; did you mean fsdd?")
    say("download", "folder", "--output", "out", fails="--path is empty: folder needs it")
    say("download", "espeak", "--output", "out", "--fold", 2, fails="--fold: espeak does not take it")
    say("download", "folder", "--path", mine, "--output", "out", "--split", "best", fails="split 'best': give train")
    say("download", "folder", "--path", mine, "--output", "out", "--limit", -1, code=2)
    say("download", "folder", "--path", mine, "--output", "out", "--columns", "text", code=2)
    say(
        "download", "folder", "--path", mine, "--output", "out", "--role", "start", fails="--role: folder does not take"
    )
    say("describe", "folder", "--path", mine, "--limit", 2, code=2)
    say("download", "folder", "--path", mine, "--output", "out", "--max-bad-fraction", 7, code=2)
    say("download", "folder", "--path", mine, "--output", "out", "--max-bad-fraction", "nan", code=2)
    say("stats", "nowhere", fails="nowhere: neither a folder nor a corpus; there are espeak, fsdd")
    say("stats", mine, "--path", mine, fails="the folder is named already")
    say("splits", mine.parent, fails="neither")
    say("lst", code=2)


def test_splits_that_are_apart(say: Say, mine: Path) -> None:
    say("download", "folder", "--path", mine, "--output", "raw/target")
    for which in ("raw/target", mine):
        said = say("splits", which, "--texts")
        lines = [line.split() for line in said.splitlines()]
        assert ["split", "clips", "speakers", "sources", "audio", "texts"] in lines
        assert ["train", "4", "2", "–", "4", "4"] in lines
        assert ["speaker", "8", "of", "8", "none"] in lines
        assert "0 of 8  nothing to compare: no clip has one" in said
        assert f"the splits are apart. Next: soundraft datasets stats {which}" in said
    say("splits", "raw", fails="raw holds several corpora; name one of them: target")


def test_a_leak_is_named_with_its_clips_and_may_be_allowed(say: Say, mine: Path) -> None:
    text = (mine / "metadata.csv").read_text()
    (mine / "metadata.csv").write_text(text.replace("word 3,s3", "Word 0!,s0"))
    (mine / "2.wav").write_bytes((mine / "1.wav").read_bytes())
    said = say("splits", mine, "--texts", code=1)
    assert "speaker 's0' is in 2 splits\n  train  2  0.wav, 4.wav\n  test   1  3.wav\n" in said
    assert "text 'word 0' is in 2 splits" in said
    assert "… is in 2 splits\n  train       1  1.wav\n  validation  1  2.wav\n" in said
    assert said.splitlines()[-1] == (
        "3 values in two splits, 0 clips unreadable; "
        "where the corpus is made so, --allow speaker --allow audio --allow text accepts it"
    )
    assert "text" not in say("splits", mine, code=1)
    said = say("splits", mine, "--allow", "speaker", "--allow", "audio")
    assert "1 (allowed)" in said


def test_audio_that_cannot_be_read_proves_nothing(say: Say, mine: Path, tmp_path: Path) -> None:
    say("download", "folder", "--path", mine, "--output", "out")
    (tmp_path / "out/6.wav").write_bytes(b"junk")
    said = say("splits", "out", code=1)
    assert "6.wav: not readable as audio" in said
    assert said.splitlines()[-1] == "0 values in two splits, 1 clips unreadable"
    (mine / "6.wav").write_bytes(b"junk")
    said = say("splits", mine)
    assert "rejected: metadata.csv:8: not readable as audio" in said
    assert f"{mine}: 7 clips" in said


def test_many_clips_of_a_leak_are_counted(say: Say, mine: Path) -> None:
    rows = [{"id": str(number), "audio_path": f"{number}.wav", "speaker": "ann"} for number in range(8)]
    for row in rows:
        row["split"] = "test" if row["id"] == "7" else "train"
    (mine / "manifest.jsonl").write_text("\n".join(map(json.dumps, rows)))
    assert "  train  7  0, 1, 2, 3, 4, … and 2 more\n" in say("splits", mine, code=1)


def test_statistics_and_their_picture(say: Say, mine: Path, tmp_path: Path) -> None:
    said = say("stats", mine, "--plot", "p/corpus.png")
    lines = [line.split() for line in said.splitlines()]
    assert ["train", "4", "0.00", "0.20", "s", "0.20", "s", "0.20", "s", "8", "5", "–", "2", "8", "kHz"] in lines
    assert (tmp_path / "p/corpus.png").read_bytes().startswith(b"\x89PNG")
    assert "p/corpus.png: the picture" in said
    assert said.splitlines()[-1] == f"next: soundraft datasets splits {mine}"
    (mine / "1.wav").unlink()
    assert "rejected: metadata.csv:3: no such file" in say("stats", mine)
    say("download", "folder", "--path", mine, "--output", "out", "--max-bad-fraction", 1)
    rows = [json.loads(line) for line in (tmp_path / "out/manifest.jsonl").read_text().splitlines()]
    (tmp_path / "out/manifest.jsonl").write_text("\n".join(json.dumps(row | {"duration": None}) for row in rows))
    (tmp_path / "out/2.wav").unlink()
    assert "not counted: 2.wav: no such file" in say("stats", "out")
    say("stats", mine, "--plot", "x.jpg", fails="--plot writes a .png, not x.jpg")
    say("stats", mine, "--plot", mine / "0.wav/x.png", fails="Not a directory")
    say("stats", mine, "--top", 0, code=2)


def test_labels_are_counted_by_split(say: Say, mine: Path) -> None:
    rows = []
    for number in range(8):
        row = {"audio_path": f"{number}.wav", "label": "ab"[number % 2], "split": SPLITS[number % 4]}
        rows.append(row | {"task": "classification"})
    (mine / "manifest.jsonl").write_text("\n".join(map(json.dumps, rows)))
    said = say("stats", mine, "--limit", 1)
    assert [line.split() for line in said.splitlines() if line[:2] in ("a ", "b ")] == [
        ["a", "1", "1", "–", "2"],
        ["b", "–", "–", "1", "1"],
    ]
    assert "and 1 more" in say("stats", mine, "--top", 1)


@pytest.mark.parametrize("action", list(ACTIONS))
def test_every_action_tells_its_options(say: Say, action: str) -> None:
    assert f"usage: soundraft datasets {action}" in say(action, "--help")
    assert ACTIONS[action].about in " ".join(say("--help").split())


def test_a_corpus_by_name_with_its_options(say: Say, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", tmp_path / "hf")
    features = Features({"audio": Audio(), "sentence": Value("string"), "client_id": Value("string")})
    rows = [
        {"audio": hubs.audio(f"{n}.wav", frequency_hz=300 + 50 * n), "sentence": f"s {n}", "client_id": f"c{n // 2}"}
        for n in range(5)
    ]
    hubs.write(tmp_path / "repo", features, {"default": {"train": rows[:3], "test": rows[3:4], "dev": rows[4:]}})
    options = ("--path", "repo", "--columns", "text=sentence", "speaker=client_id")
    said = say("describe", "hub", *options)
    assert "text         s 0" in said
    said = say("splits", "hub", *options, code=1)
    assert "speaker 'c1' is in 2 splits" in said
    assert ["test", "1"] in [line.split()[:2] for line in say("stats", "hub", *options, "--split", "test").splitlines()]
    say("download", "hub", *options, "--output", "out")
    assert len(list((tmp_path / "out").rglob("*.wav"))) == 5


def test_faults_are_told_line_by_line(say: Say, mine: Path) -> None:
    said = say("validate", mine)
    assert said.splitlines()[-2:] == [
        f"{mine}: no errors, no warnings",
        f"next: soundraft datasets download folder --path {mine} --output FOLDER",
    ]
    (mine / "2.wav").unlink()
    text = (mine / "metadata.csv").read_text()
    (mine / "metadata.csv").write_text(text.replace("word 5,s1,train", "word 5,s1,tranche"))
    lines = say("validate", mine, code=1).splitlines()
    assert lines[0] == "metadata.csv:4: error: no such file [no_file]"
    assert lines[1].startswith("metadata.csv:7: error: split 'tranche'")
    assert lines[-1].startswith(f"{mine}: 2 errors, no warnings; ")
    say("validate", "nowhere", code=1)
    assert "[missing_column]" in say("validate", mine, "--columns", "text=words", code=1)


def test_the_hint_is_the_next_command(say: Say, mine: Path, tmp_path: Path) -> None:
    text = (mine / "metadata.csv").read_text()
    (mine / "metadata.csv").write_text(text.replace("text", "the words", 1))
    for told in (
        say("validate", mine, "--columns", "text=the words"),
        say("describe", "folder", "--path", mine, "--columns", "text=the words"),
    ):
        hint = told.splitlines()[-1]
        assert (
            hint == f"next: soundraft datasets download folder --path {mine} --columns 'text=the words' --output FOLDER"
        )
    assert "8 clips" in say(*shlex.split(hint)[3:-1], "out")
    assert say("describe", "folder").splitlines()[-1].endswith("folder --path … --output FOLDER")
    shutil.make_archive(str(tmp_path / "packed"), "zip", mine)
    hint = say("validate", "packed.zip", "--columns", "text=the words").splitlines()[-1]
    assert hint == (
        "next: unpack it, then soundraft datasets download folder --path UNPACKED "
        "--columns 'text=the words' --output FOLDER"
    )


def test_one_split_is_not_apart_from_anything(say: Say, mine: Path, tmp_path: Path) -> None:
    said = say("splits", mine, "--split", "train", code=1)
    assert said.splitlines()[-1] == "nothing to compare: of the splits there is train"
    (tmp_path / "none").mkdir()
    (tmp_path / "none/manifest.jsonl").write_text("")
    assert say("splits", "none", code=1).splitlines()[-1] == "nothing to compare: of the splits there is none"
