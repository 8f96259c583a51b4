"""Every finding has a defect that produces it, and a sound folder has none."""

import csv
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from soundraft import files
from soundraft.audio import ecdc
from soundraft.params.sections import Audit as Limits
from soundraft.runtime import UserError
from soundraft.sidecar import audit as audit_module
from soundraft.sidecar import format
from soundraft.sidecar.audit import CODES, Expectations, audit, check, write_summary
from soundraft.sidecar.format import Sidecar
from soundraft.sidecar.listing import Shard
from tests.sidecar.workshop import NAMES, add, make_empty, script, token_folder

CLIP = "x_120.0.ecdc"


def expect(dtype: format.Dtype | None = None, **limits: Any) -> Expectations:
    given = {"require": [], "verify_ranges": False, "range_tolerance": 0.0, "fail_on": [], "max_failing_fraction": 0.0}
    return Expectations(Limits(**given | limits), dtype)


STRICT = expect("float16", require=["a", "b"], verify_ranges=True)


@pytest.fixture
def folders(tmp_path: Path) -> tuple[Path, Path]:
    """Five sound clips with the features a and b, float16."""
    tokens = token_folder(tmp_path / "t")
    cond = make_empty(tokens, tmp_path / "c", "float16")
    add(tokens, cond, "lin", lin=[("a", 0.0, 0.1), ("b", 300.0, 3.0)])
    return tokens, cond


def test_a_sound_folder_has_no_findings(folders: tuple[Path, Path]) -> None:
    done = audit(*folders, STRICT)
    assert (done.clips, done.findings, done.orphans) == (5, [], [])


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 10**6), dtype=st.sampled_from(format.DTYPES), scale=st.sampled_from([1e-7, 1e-3, 1.0, 5e4]))
def test_statistics_of_stored_numbers_raise_no_false_range_alarm(
    tmp_path_factory: pytest.TempPathFactory, seed: int, dtype: format.Dtype, scale: float
) -> None:
    """The public workflow states float32 statistics of float16 data, and its audit then rings."""
    folder = tmp_path_factory.mktemp("a")
    tokens = token_folder(folder / "t", ("a.ecdc",))
    values = (np.random.default_rng(seed).uniform(-1, 1, (5, 3)) * scale).astype(dtype)
    format.write(f"{tokens}/a.cond.npy", Sidecar(values, ("a", "b", "c")))
    assert audit(tokens, tokens, expect(verify_ranges=True)).findings == []


def meta(**changes: Any) -> Callable[[Path, Path], None]:
    """A defect in the json; `norm_min=…` changes a list in norm, None removes a key."""

    def change(tokens: Path, cond: Path) -> None:
        content = files.read_json(cond / "x_120.0.cond.json")
        for key, value in changes.items():
            place, name = (content["norm"], key[5:]) if key.startswith("norm_") else (content, key)
            place[name] = value
            if value is None:
                del place[name]
        (cond / "x_120.0.cond.json").write_text(json.dumps(content))

    return change


def npy(values: np.ndarray) -> Callable[[Path, Path], None]:
    return lambda tokens, cond: np.save(cond / "x_120.0.cond.npy", values)


def junk(name: str) -> Callable[[Path, Path], None]:
    return lambda tokens, cond: ((cond if "cond" in name else tokens) / name).write_bytes(b"junk") and None


def remove(*names: str) -> Callable[[Path, Path], None]:
    return lambda tokens, cond: [((cond if "cond" in n else tokens) / n).unlink() for n in names] and None


HALF = np.float16
ROWS = np.full((6, 2), [0.05, 50], HALF)
DEFECTS: list[tuple[str, Callable[[Path, Path], None], dict[str, str]]] = [
    ("unreadable tokens", junk(CLIP), {"bad_ecdc": "not a token file"}),
    ("tokens gone", remove(CLIP), {"bad_ecdc": "no such file"}),
    ("no sidecar", remove("x_120.0.cond.npy", "x_120.0.cond.json"), {"missing_sidecar": "no x_120.0.cond.npy"}),
    ("json alone", remove("x_120.0.cond.npy"), {"missing_sidecar": "its json is there alone"}),
    ("npy alone", remove("x_120.0.cond.json"), {"bad_sidecar": "x_120.0.cond.json: no such file"}),
    ("npy is junk", junk("x_120.0.cond.npy"), {"bad_sidecar": "not an npy file", "range_unverifiable": ""}),
    ("json is junk", junk("x_120.0.cond.json"), {"bad_sidecar": "not strict JSON"}),
    ("unknown schema", meta(schema_version=3), {"bad_sidecar": "schema_version is 3"}),
    ("NaN", npy(ROWS * HALF("nan")), {"bad_sidecar": "nan in frame 0 of column 0", "range_unverifiable": ""}),
    ("one axis", npy(ROWS[:, 0]), {"bad_shape": r"shape \[6\]", "range_unverifiable": ""}),
    ("a frame short", npy(ROWS[1:]), {"frame_mismatch": "sidecar has 5 frames, the token file has 6"}),
    ("float32", npy(ROWS.astype(np.float32)), {"dtype_mismatch": "float32; float16 is wanted"}),
    ("float64", npy(ROWS.astype(np.float64)), {"dtype_mismatch": "float64"}),
    ("fps", meta(fps=50), {"fps_mismatch": "fps is 50; 75"}),
    ("source_rate", meta(source_rate=None), {"fps_mismatch": "source_rate is None; 75"}),
    ("names twice", meta(names=["a", "a"]), {"duplicate_names": "a", "missing_features": "b"}),
    ("three names", meta(names=["a", "b", "c"]), {"names_length_mismatch": "3 names, 2 columns"}),
    (
        "not required",
        meta(names=["a", "c"]),
        {"missing_features": "b", "unlike_others": "features a, c; most have a, b"},
    ),
    ("no names", meta(names=None), {"missing_names": "names is None"}),
    ("names of numbers", meta(names=[1, 2]), {"missing_names": "names is"}),
    ("no norm", meta(norm=None), {"norm_invalid": "norm is NoneType", "range_unverifiable": ""}),
    ("no min", meta(norm_min=None), {"norm_invalid": "min is None", "range_unverifiable": ""}),
    ("words for max", meta(norm_max=["x", 1]), {"norm_invalid": "max is", "range_unverifiable": ""}),
    ("a huge whole number", meta(norm_max=[10**400, 1]), {"norm_invalid": "max is", "range_unverifiable": ""}),
    ("std below 0", meta(norm_std=[-1, 0]), {"norm_invalid": "std is below 0", "range_unverifiable": ""}),
    ("short mean", meta(norm_mean=[1]), {"norm_length_mismatch": "mean 1, std 2; 2 columns"}),
    ("short min", meta(norm_min=[0]), {"norm_length_mismatch": "min 1", "range_unverifiable": ""}),
    ("inverted", meta(norm_min=[0, 900]), {"norm_inverted": "column 1: min 900 is above", "range_below_min": ""}),
    ("below", meta(norm_min=[0, 4]), {"range_below_min": "column 1: 3 is below min 4"}),
    ("above", meta(norm_max=[0.05, 300]), {"range_above_max": "column 0: 0.0999756 is above max 0.05"}),
]


@pytest.mark.parametrize(("defect", "expected"), [row[1:] for row in DEFECTS], ids=[row[0] for row in DEFECTS])
def test_each_defect_has_its_findings_and_no_others(
    folders: tuple[Path, Path], defect: Callable[[Path, Path], None], expected: dict[str, str]
) -> None:
    defect(*folders)
    done = audit(*folders, STRICT)
    assert {finding.rel_ecdc for finding in done.findings} == {CLIP}
    assert set(done.counts) == set(expected)
    for code, words in expected.items():
        assert any(re.search(words, finding.detail) for finding in done.findings if finding.type == code), code


def test_an_error_of_the_auditor_is_a_finding(folders: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> None:
        raise RuntimeError("our own mistake")

    monkeypatch.setenv("SOUNDRAFT_JOBS", "1")
    monkeypatch.setattr(audit_module, "check_names", broken)
    done = audit(*folders, STRICT)
    assert done.counts == {"auditor_error": 5}
    assert done.findings[0].detail == "RuntimeError: our own mistake"
    assert {code for _, _, expected in DEFECTS for code in expected} | {"auditor_error"} == set(CODES)


def test_the_index_is_compared_too(folders: tuple[Path, Path]) -> None:
    tokens, cond = folders
    index = tokens / "tokens.jsonl"
    index.write_text(index.read_text().replace('"frames": 6', '"frames": 7'))
    assert audit(tokens, cond, STRICT).counts == {"frame_mismatch": 1}  # token files are opened
    index.unlink()
    assert audit(tokens, cond, STRICT).findings == []
    (tokens / CLIP).write_bytes(b"junk")
    assert audit(tokens, cond, STRICT).counts == {"bad_ecdc": 1}


@pytest.mark.parametrize(
    ("fail_on", "fraction", "verdict"),
    [
        (["bad_ecdc"], 0.0, "failed"), (["bad_ecdc", "fps_mismatch"], 0.2, "passed"), (["bad_shape"], 0.0, "passed"),
        ([], 0.0, "passed"),
    ],
)  # fmt: skip
def test_verdict_and_limit(
    folders: tuple[Path, Path], tmp_path: Path, fail_on: list, fraction: float, verdict: str
) -> None:
    junk(CLIP)(*folders)
    meta(fps=1)(*folders)
    done = audit(*folders, expect(fail_on=fail_on, max_failing_fraction=fraction))
    write_summary(tmp_path / "a.json", done)
    summary = files.read_json(tmp_path / "a.json")
    assert (summary["verdict"], summary["findings"]) == (verdict, {"bad_ecdc": 1, "fps_mismatch": 1})
    assert list(summary["limits"]) == [
        "fail_on", "max_failing_fraction", "fps", "dtype", "require", "verify_ranges", "range_tolerance",
    ]  # fmt: skip
    if verdict == "failed":
        with pytest.raises(UserError, match=r"1 of 5 clips(.|\n)*bad_ecdc: x_120"):
            check(done)
    else:
        check(done)


def test_shards_together_find_the_same(folders: tuple[Path, Path]) -> None:
    tokens, cond = folders
    for name in NAMES[:3]:
        (cond / name.replace(".ecdc", ".cond.npy")).write_bytes(b"junk")
    remove("a.ecdc")(tokens, cond)
    format.write(f"{cond}/gone.cond.npy", Sidecar(np.ones((2, 1), HALF), ("a",)))
    whole = audit(tokens, cond, STRICT)
    parts = [audit(tokens, cond, STRICT, shard=Shard(index, 3)) for index in range(3)]
    assert sum(part.clips for part in parts) == whole.clips == 5
    key = str
    assert sorted((f for part in parts for f in part.findings), key=key) == sorted(whole.findings, key=key)
    assert sorted(name for part in parts for name in part.orphans) == whole.orphans != []


def test_what_fits_into_no_batch_and_the_older_name_of_the_json(folders: tuple[Path, Path]) -> None:
    tokens, cond = folders
    (tokens / "a.ecdc").write_bytes(ecdc.encodec_bytes(ecdc.Tokens(np.zeros((4, 5), int), 1600)))
    (cond / "x_120.5.cond.json").rename(cond / "x_120.5.cond.cond.json")
    done = audit(tokens, cond, STRICT)
    assert [(finding.type, finding.detail) for finding in done.findings] == [
        ("unlike_others", "4 codebooks; most clips have 2")
    ]
    assert (done.doubled, done.orphans) == (["x_120.5"], [])
    assert "x_120.5" in script("audit", "--audio-root", tokens, "--cond-root", cond)[1]


def test_statistics_of_numbers_before_they_were_rounded_raise_no_alarm(folders: tuple[Path, Path]) -> None:
    tokens, cond = folders
    values = np.linspace(0.1, 0.7, 6)
    stated = {"min": 0.1, "max": 0.7, "mean": 0.4, "std": 0.2}
    format.write(f"{cond}/x_120.0.cond.npy", Sidecar(values[:, None].astype(HALF), ("a",), {}, {"a": stated}, 2))
    assert audit(tokens, cond, expect(verify_ranges=True)).counts == {"unlike_others": 1}
    stated["max"] = 0.6
    format.write(f"{cond}/x_120.0.cond.npy", Sidecar(values[:, None].astype(HALF), ("a",), {}, {"a": stated}, 2))
    assert audit(tokens, cond, expect(verify_ranges=True)).counts == {"unlike_others": 1, "range_above_max": 1}


@pytest.mark.parametrize(
    ("argv", "code", "words"),
    [
        ("--verify-ranges --require a,b --expect-dtype float16", 0, "5 clips: no findings"),
        ("--require a,z --fail-on missing_features", 1, "missing_features 5"),
        ("--require a,z", 0, "missing_features 5"),
        ("--expect-fps 50 --list 2", 0, "fps_mismatch: "),
        ("--expect-fps 50 --list all", 0, "fps_mismatch 5"),
        ("--expect-dtype float32", 0, "dtype_mismatch 5"),
        ("--suffix .feat.npy", 1, "missing_sidecar 5"),
        ("--suffix .feat.npy --fail-on norm_invalid", 0, "missing_sidecar 5"),
        ("--shard-index 0 --shard-count 1", 0, "no findings"),
        ("--fail-on bad", 2, "'bad'"),
        ("--list few", 2, "neither a number nor all"),
    ],
)
def test_options(folders: tuple[Path, Path], tmp_path: Path, argv: str, code: int, words: str) -> None:
    tokens, cond = folders
    table = tmp_path / "f.csv"
    ended, output = script("audit", "--audio-root", tokens, "--cond-root", cond, *argv.split(), "--export-csv", table)
    assert (ended, words in output) == (code, True), output
    if "--list" in argv and code == 0:
        assert output.count("fps_mismatch: ") == (2 if "2" in argv else 5)
    if code < 2:
        rows = list(csv.reader(table.open(encoding="utf-8")))
        assert (rows[0], len(rows)) == (["type", "rel_ecdc", "rel_cond", "detail"], 1 if "no findings" in words else 6)


def test_ranges_are_verified_only_when_asked_and_with_slack(folders: tuple[Path, Path]) -> None:
    meta(norm_min=[0, 3.01])(*folders)
    common = ("audit", "--audio-root", folders[0], "--cond-root", folders[1])
    assert "no findings" in script(*common, "--no-verify-ranges")[1]
    assert "range_below_min 1" in script(*common, "--verify-ranges")[1]
    assert "no findings" in script(*common, "--verify-ranges", "--range-tol", "0.1")[1]
