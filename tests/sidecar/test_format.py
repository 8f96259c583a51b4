import json
import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from soundraft import files
from soundraft.parallel import BadClip
from soundraft.runtime import UserError
from soundraft.sidecar import format
from soundraft.sidecar.format import Sidecar

FEATURE_NAMES = st.lists(
    st.text(min_size=1, max_size=8).filter(lambda text: text.isprintable()), max_size=4, unique=True
)


def save(folder: Path, values: np.ndarray | None = None, names: tuple[str, ...] = ("a", "b"), **extra: object) -> str:
    given = np.arange(12, dtype=np.float32).reshape(6, 2) if values is None else values
    format.write(f"{folder}/x.cond.npy", Sidecar(given, names, extra))
    return f"{folder}/x.cond.npy"


@given(frames=st.integers(1, 9), names=FEATURE_NAMES, dtype=st.sampled_from(format.DTYPES), seed=st.integers(0, 99))
def test_what_is_written_is_read_and_the_statistics_are_those_of_the_stored_numbers(
    tmp_path_factory: pytest.TempPathFactory, frames: int, names: list[str], dtype: str, seed: int
) -> None:
    folder = tmp_path_factory.mktemp("s")
    values = np.random.default_rng(seed).normal(0, 100, (frames, len(names))).astype(dtype)
    format.write(f"{folder}/x.cond.npy", Sidecar(values, tuple(names), {"tool": seed}))
    back = format.read(f"{folder}/x.cond.npy")
    assert back.values.dtype == dtype
    assert np.array_equal(back.values, values)
    assert (back.names, back.extra) == (tuple(names), {"tool": seed})
    norm = files.read_json(folder / "x.cond.json")["norm"]
    wide = np.load(folder / "x.cond.npy", allow_pickle=False).astype(np.float64)
    assert list(files.read_json(folder / "x.cond.json")) == [
        "schema_version",
        "fps",
        "source_rate",
        "names",
        "norm",
        "tool",
    ]
    if names:
        assert norm["min"] == wide.min(axis=0).tolist()
        assert norm["max"] == wide.max(axis=0).tolist()
        assert norm["mean"] == pytest.approx(wide.mean(axis=0).tolist(), abs=1e-9)
        assert norm["std"] == pytest.approx(wide.std(axis=0).tolist(), abs=1e-9)
    else:
        assert norm == {"min": [], "max": [], "mean": [], "std": []}


def test_an_array_of_a_terabyte_is_not_allocated(tmp_path: Path) -> None:
    path = Path(save(tmp_path))
    path.write_bytes(path.read_bytes().replace(b"(6, 2)", b"(9999999999, 99)"))
    with pytest.raises(BadClip, match="header"):
        format.read(str(path))
    path.write_bytes(path.read_bytes().replace(b"(9999999999, 99)", b"(99999999999, 0)"))
    with pytest.raises(BadClip, match="header"):
        format.read(str(path))


def test_arrays_of_other_kinds(tmp_path: Path) -> None:
    path = tmp_path / "x.cond.npy"
    for values in (np.asfortranarray(np.arange(6, dtype=np.float32).reshape(3, 2)), np.arange(3, dtype=np.int16)):
        np.save(path, values)
        assert np.array_equal(format.read_values(str(path)), values)
    for values in (np.array([{"a": 1}], dtype=object), np.array(["text"]), np.zeros(3, ">f4"), np.zeros(2, "f4,f4")):
        np.save(path, values, allow_pickle=True)
        with pytest.raises(BadClip, match="plain numbers"):
            format.read_values(str(path))


@pytest.mark.parametrize(
    ("old", "new", "reason"),
    [
        ('"max": [10', '"max": [NaN', "NaN is no number"),
        ('"max": [10', '"max": [1e999', "too large"),
        ('"fps": 75', '"fps": 75, "fps": 75', "twice"),
        ('"schema_version": 1', '"schema_version": 3', "schema_version is 3"),
        ('"schema_version": 1', '"schema_version": true', "schema_version is True"),
        ('"a", "b"', '"a"', "2 different ones"),
        ('"a", "b"', '"a", "a"', "2 different ones"),
        ('"a", "b"', '"a", "\\\\ud800"', "not strict JSON"),
        ('"fps": 75', '"fps": 50', "fps is 50"),
        ('{"schema', '[{"schema', "not strict JSON"),
        ("{", "[" * 99999 + "{", "not strict JSON"),
    ],
)  # fmt: skip
def test_a_json_that_is_not_strict_or_does_not_fit(tmp_path: Path, old: str, new: str, reason: str) -> None:
    path = save(tmp_path)
    meta = Path(format.json_path(path))
    meta.write_text(meta.read_text().replace(old, new.replace("\\\\", "\\"), 1))
    with pytest.raises(BadClip, match=reason):
        format.read(path)


@pytest.mark.parametrize("fatal", [1, 2])
def test_a_writer_that_dies_leaves_half_a_pair_never_two_that_disagree(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fatal: int
) -> None:
    path = save(tmp_path)
    real, calls = os.replace, []

    def dying(source: Path, target: Path) -> None:
        calls.append(target)
        if len(calls) == fatal:
            raise KeyboardInterrupt
        real(source, target)

    monkeypatch.setattr(os, "replace", dying)
    with pytest.raises(KeyboardInterrupt):
        save(tmp_path, np.ones((6, 2), np.float32))
    assert [place.name for place in tmp_path.iterdir()] == ["x.cond.npy"]
    with pytest.raises(BadClip, match=r"x.cond.json: no such file"):
        format.read(path)


@pytest.mark.parametrize("fatal", [1, 2])
def test_a_full_disk_leaves_the_old_pair(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fatal: int) -> None:
    path = save(tmp_path)
    before = [place.read_bytes() for place in sorted(tmp_path.iterdir())]
    real, calls = Path.write_bytes, []

    def full(place: Path, data: bytes) -> None:
        calls.append(place)
        real(place, data[:10])
        if len(calls) == fatal:
            raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(UserError, match=r"cannot write .*x.cond.npy: No space left on device"):
        save(tmp_path, np.ones((6, 2), np.float32))
    monkeypatch.undo()
    assert [place.read_bytes() for place in sorted(tmp_path.iterdir())] == before
    assert format.read(path).names == ("a", "b")


def test_no_frames_or_wrong_names_are_not_written(tmp_path: Path) -> None:
    for values, names in ((np.ones((0, 1)), ("a",)), (np.ones((2, 2)), ("a",)), (np.ones((2, 2)), ("a", "a"))):
        with pytest.raises(ValueError, match="no sidecar"):
            format.write(f"{tmp_path}/x.cond.npy", Sidecar(values.astype(np.float32), names))
    assert list(tmp_path.iterdir()) == []


NUMBERS = {"min": 0.0, "max": 127.0, "mean": 64.0, "std": 1.0}
GAIN = {"units": "dB", "doc_string": "Gain", **NUMBERS}
PITCH = {"units": "", "doc_string": "", **NUMBERS}


@pytest.mark.parametrize(
    "form",
    [
        {"schema_version": 2, "fps": 75.0, "source_rate": 75.0, "features": {"gain": GAIN, "pitch": PITCH}},
        {"schema_version": 2, "features": {"gain": GAIN, "pitch": PITCH}},
        {"features": [{"name": "gain", **GAIN}, {"name": "pitch", "stats": NUMBERS}], "fps": None},
        {"names": ["gain", "pitch"], "stats": {"gain": NUMBERS, "pitch": NUMBERS}, "units": {"gain": "dB"},
         "docs": {"gain": "Gain"}},
    ],
)  # fmt: skip
def test_every_form_of_schema_2_is_read_and_what_it_states_stays(tmp_path: Path, form: dict) -> None:
    path = save(tmp_path, names=("gain", "pitch"))
    (tmp_path / "x.cond.json").write_text(json.dumps(form | {"tool": 1}))
    meta = format.read_meta(format.json_path(path))
    assert (meta["names"], meta["norm"]["max"], meta["fps"]) == (["gain", "pitch"], [127, 127], 75)
    assert (meta["units"], meta["docs"], meta["tool"]) == ({"gain": "dB"}, {"gain": "Gain"}, 1)
    back = format.read(path)
    format.write(path, back)
    written = json.loads((tmp_path / "x.cond.json").read_text())
    assert list(written) == ["schema_version", "fps", "source_rate", "features", "tool"]
    assert written["features"] == {"gain": GAIN, "pitch": PITCH}
    assert list(written["features"]) == ["gain", "pitch"]
    format.write(path, replace(back, schema=1))  # which has the statistics of the stored numbers, and the texts
    meta = format.read_meta(format.json_path(path))
    assert (meta["norm"]["max"], meta["units"], meta["docs"]) == ([10, 11], {"gain": "dB"}, {"gain": "Gain"})


@pytest.mark.parametrize("features", [5, "gain", [1], [{}], {"gain": 1}, [{"name": "a", "stats": 3}]])
def test_features_that_are_none(tmp_path: Path, features: object) -> None:
    path = save(tmp_path)
    (tmp_path / "x.cond.json").write_text(json.dumps({"schema_version": 2, "features": features}))
    with pytest.raises(BadClip, match=r"x.cond.json: features is"):
        format.read(path)


def test_the_older_name_of_the_json_is_read_and_gives_way(tmp_path: Path) -> None:
    path = save(tmp_path)
    (tmp_path / "x.cond.json").rename(tmp_path / "x.cond.cond.json")
    assert format.exists(path) == (True, True)
    format.write(path, format.read(path))
    assert sorted(place.name for place in tmp_path.iterdir()) == ["x.cond.json", "x.cond.npy"]
