"""What real folders hold beside good recordings: it is counted, named or refused, and the rest goes on."""

import os
import tarfile
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from soundraft import cli, files
from soundraft.audio import io
from soundraft.corpora import AudioSample, CorpusError, load_audio_dataset, make_request
from soundraft.corpora.checks import validate
from soundraft.manifest import audio_names, find_clips
from soundraft.params import changed, defaults
from soundraft.runtime import BadClip, UserError
from tests.conftest import tone

LONG = f"{'x' * 246}.wav"  # of 255 bytes that a file's name may have


def not_utf8(folder: Path) -> None:
    (Path(os.fsdecode(os.fsencode(folder) + b"/\xff.wav"))).write_bytes(io.wav_bytes(tone(), 8000))


ODD: dict[str, Callable[[Path], object]] = {
    "broken links: 1 ('broken.wav')": lambda folder: (folder / "broken.wav").symlink_to("nowhere"),
    "link loops: 1": lambda folder: (folder / "loop.wav").symlink_to("loop.wav"),
    "linked folders: 1 ('linked')": lambda folder: (folder / "linked").symlink_to("yes"),
    "pipes, sockets or devices: 1": lambda folder: os.mkfifo(folder / "pipe.wav"),
    "names that are not UTF-8: 1": not_utf8,
    **{
        f"ending {ending}: 1": lambda folder, ending=ending: io.write_wav(folder / f"x{ending.upper()}", tone(), 8000)
        for ending in (".au", ".caf", ".w64", ".rf64", ".oga", ".m4a")
    },
}


@pytest.fixture
def mine(tmp_path: Path) -> Path:
    root = tmp_path / "mine"
    for label in ("yes", "no"):
        io.write_wav(root / f"{label}/1.wav", tone(), 8000)
    io.write_wav(root / "no" / LONG, tone(), 8000)
    return root


@pytest.mark.parametrize("counted", list(ODD))
def test_what_is_not_taken_is_counted_by_reason(mine: Path, counted: str, caplog: pytest.LogCaptureFixture) -> None:
    names = audio_names(mine, io.AUDIO_SUFFIXES)
    assert caplog.messages == []
    ODD[counted](mine)
    assert [clip.id for clip in find_clips(mine, io.AUDIO_SUFFIXES)] == names
    (said,) = caplog.messages
    assert said.startswith(f"{mine}: not taken: {counted}")
    assert {sample.metadata["label"] for sample in load_audio_dataset("folder", path=mine)} == {"yes", "no"}


def test_a_folder_can_be_read_without_those_below_also_by_its_manifest(mine: Path) -> None:
    io.write_wav(mine / "top.wav", tone(), 8000)
    assert [clip.id for clip in find_clips(mine, [".wav"], recursive=False)] == ["top.wav"]
    (mine / "manifest.jsonl").write_text('{"audio_path": "top.wav"}\n{"audio_path": "yes/1.wav"}\n')
    assert [clip.id for clip in find_clips(mine, [".wav"], recursive=False)] == ["top.wav"]
    assert len(find_clips(mine, [".wav"])) == 2


@pytest.mark.parametrize(
    ("made", "reason"), [("pipe", "pipe"), ("loop", "itself"), ("yes", "folder"), ("x", "no such")]
)
def test_what_is_no_file_is_not_read(mine: Path, made: str, reason: str) -> None:
    os.mkfifo(mine / "pipe")
    (mine / "loop").symlink_to("loop")
    with pytest.raises(BadClip, match=reason):
        files.read_file(mine / made)


def test_the_longest_names_can_be_written(tmp_path: Path) -> None:
    files.write_together({tmp_path / LONG: b"1", tmp_path / f"{'é' * 120}.wav": b"2"})
    for text in ("old", "new"):
        with files.building(tmp_path / "d" / LONG) as scratch:
            (scratch / "a").write_text(text)
    assert (tmp_path / "d" / LONG / "a").read_text() == "new"
    with pytest.raises(OSError, match=f"too long: 'x{LONG}.json'"):
        files.write_bytes(tmp_path / f"x{LONG}.json", b"1")
    assert len(list(tmp_path.iterdir())) == 3


@pytest.mark.parametrize("copy_audio", [False, True])
def test_an_exported_list_is_read_back_from_any_folder(mine: Path, tmp_path: Path, copy_audio: bool) -> None:
    dataset = load_audio_dataset("folder", path=mine)
    if copy_audio:
        dataset.samples.append(
            AudioSample(None, "yes", audio_array=tone(), sample_rate=8000, metadata={"label": "yes"})
        )
    listing = tmp_path / "far" / "away.jsonl"
    dataset.to_rlvr_format(listing, copy_audio=copy_audio)
    if copy_audio:
        listing.parent.rename(tmp_path / "moved")
        listing = tmp_path / "moved" / "away.jsonl"
        for path in mine.rglob("*.wav"):
            path.unlink()
    back = load_audio_dataset("jsonl", path=listing)
    assert back.rejected == []
    assert [(each.text, each.metadata["label"]) for each in back] == [(s.text, s.metadata["label"]) for s in dataset]
    assert [each.metadata["id"] for each in back.samples[:3]] == [each.metadata["id"] for each in dataset.samples[:3]]
    for sample in back:
        np.testing.assert_array_equal(
            io.read(sample.audio_path or Path())[0][:, 0], io.parse(io.wav_bytes(tone(), 8000))[0][:, 0]
        )


def test_whole_paths_are_taken_from_a_list_that_is_named_itself_only(mine: Path, tmp_path: Path) -> None:
    io.write_wav(tmp_path / "near.wav", tone(), 8000)
    lines = [
        "file_name,text",
        f"{mine}/yes/1.wav,one",
        "near.wav,two",
        f"{mine}/no/../no/1.wav,three",
        "../up.wav,four",
    ]
    (tmp_path / "metadata.csv").write_text("\n".join(lines))
    with pytest.warns(UserWarning, match="2 rejected"):
        listed = load_audio_dataset("folder", path=tmp_path / "metadata.csv")
    assert [(sample.metadata["id"], sample.text) for sample in listed] == [
        ("mine/yes/1.wav", "one"),
        ("near.wav", "two"),
    ]
    assert {bad.path[-1] for bad in listed.rejected} == {"4", "5"}
    (tmp_path / "metadata.csv").rename(tmp_path / "mine/no/metadata.csv")
    with pytest.warns(UserWarning, match="4 rejected"):
        assert len(load_audio_dataset("folder", path=mine / "no")) == 0


def test_names_that_are_not_utf8_and_lists_that_are_no_files_end_nothing_else(tmp_path: Path) -> None:
    for name in ("a/1.wav", "b/2.wav"):
        io.write_wav(tmp_path / "mine" / name, tone(), 8000)
    not_utf8(tmp_path / "mine" / "b")
    with tarfile.open(tmp_path / "mine.tar", "w") as packed:
        packed.add(tmp_path / "mine", "mine")
    assert [item.code for item in validate(tmp_path / "mine.tar") if item.code != "duplicate_audio"] == [
        "empty_split",
        "not_utf8",
    ]
    for make in (lambda path: path.symlink_to("nowhere"), os.mkfifo):
        make(tmp_path / "mine/list.csv")
        assert [item.code for item in validate(tmp_path / "mine")] == ["no_file"]
        (tmp_path / "mine/list.csv").unlink()
    os.mkfifo(tmp_path / "list.csv")
    assert [item.code for item in validate(tmp_path / "list.csv")] == ["no_list"]


@pytest.mark.parametrize("labels", ["yes", "no"])
def test_one_text_where_several_are_meant_is_refused(mine: Path, labels: str) -> None:
    for refused in (make_request, load_audio_dataset):
        with pytest.raises(UserError, match=rf"labels: '{labels}' is one text"):
            refused("folder", None, None, path=mine, labels=labels)
    with pytest.raises(UserError, match="labels"):
        validate(mine, labels=labels)
    with pytest.raises(CorpusError, match="columns"):
        make_request("folder", None, None, path=mine, columns=f"label={labels}")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("key", "given", "meant"),
    [
        ("corpus.target.labels", "yes", r"\[yes\]"),
        ("corpus.target.labels", [True], "quotation marks"),
        ("reward.labels.aliases", {"yes": "yeah"}, r"\[yes=yeah\]"),
    ],
)
def test_params_that_are_no_lists_are_refused_with_what_is_meant(key: str, given: object, meant: str) -> None:
    with pytest.raises(UserError, match=f"{key}.*{meant}"):
        changed(defaults(), {key: given})


def test_no_clips_has_the_first_reason(mine: Path) -> None:
    (mine / "list.jsonl").write_text('{"audio_path": "gone.wav", "label": "hi"}\n')
    for dataset in (["jsonl", "--path", str(mine / "list.jsonl")], [str(mine)]):
        with pytest.raises(SystemExit, match=r"no clips: 1 rejected, first list.jsonl:1: no such file"):
            cli.main(["train", "--dataset", *dataset, "--task", "classification", "--output", str(mine / "run")])


def test_an_impossible_rate_is_refused_and_hours_of_zeros_are_doubted_without_their_memory(tmp_path: Path) -> None:
    slow = bytearray(io.wav_bytes(np.zeros(8000, np.float32), 8000))
    slow[24:28] = (1).to_bytes(4, "little")
    (tmp_path / "slow.wav").write_bytes(slow)
    samples = 3 * 3600 * 1000
    header = bytearray(io.wav_bytes(np.zeros(0, np.float32), 1000))
    header[4:8], header[40:44] = (36 + 2 * samples).to_bytes(4, "little"), (2 * samples).to_bytes(4, "little")
    with (tmp_path / "zeros.wav").open("wb") as stream:
        stream.write(header)
        stream.truncate(44 + 2 * samples)
    (tmp_path / "list.csv").write_text("file,text\nslow.wav,hi\nzeros.wav,hello")
    tracemalloc.start()
    found = {(item.place[-1], item.code) for item in validate(tmp_path)}
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert found >= {("2", "rate"), ("3", "silent"), ("3", "long")}
    assert peak < 4 * samples / 2
    with pytest.warns(UserWarning, match="a sampling rate of 1 Hz"):
        assert len(load_audio_dataset("folder", path=tmp_path)) == 1


DOUBTS: dict[str, tuple[np.ndarray, str]] = {
    "silent": (np.zeros(8000, np.float32), "hello"),
    "short": (tone(0.005), "a"),
    "long": (tone(601.0, 1000), "a long talk"),
    "no_words": (tone(), "…?!"),
    "fast": (tone(3.0), " ".join(["word"] * 300)),
    "": (tone(), "good morning"),
}


@pytest.mark.parametrize("code", list(DOUBTS))
def test_validate_doubts_what_is_hardly_meant(tmp_path: Path, code: str) -> None:
    samples, text = DOUBTS[code]
    rows = ["file_name,text,split"]
    for split in ("train", "validation", "test"):
        io.write_wav(tmp_path / f"{split}.wav", tone(0.5, 1000, frequency_hz=20 * len(split)), 1000)
        rows.append(f"{split}.wav,hi,{split}")
    io.write_wav(tmp_path / "odd.wav", samples, 1000 if code == "long" else 8000)
    (tmp_path / "metadata.csv").write_text("\n".join([*rows, f"odd.wav,{text},train"]))
    findings = [item for item in validate(tmp_path) if item.code != "mixed_rates"]
    assert [(item.code, item.severity, item.place) for item in findings] == [
        (code, "warning", "metadata.csv:5")
    ] * bool(code)
