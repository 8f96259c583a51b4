from pathlib import Path

import pytest

from soundraft import parallel, runtime
from soundraft.parallel import BadClip, Failure, map_clips
from soundraft.runtime import UserError


def test_derived_seeds_are_stable_and_apart() -> None:
    assert runtime.derive_seed(0, "cycle", 1) == 6936244040127716220
    seeds = {runtime.derive_seed(seed, clip) for seed in range(50) for clip in range(50)}
    assert len(seeds) == 2500
    assert all(0 <= seed < 2**63 for seed in seeds)
    assert runtime.derive_seed("a", "b") != runtime.derive_seed("ab")


def test_the_main_repository_is_found_from_a_scratch_copy(tmp_path: Path) -> None:
    (tmp_path / "dvc.yaml").touch()
    (tmp_path / "data").mkdir()
    copy = tmp_path / ".dvc/tmp/exps/temp123"
    copy.mkdir(parents=True)
    (copy / "dvc.yaml").touch()
    assert runtime.main_root(tmp_path / "data") == tmp_path
    assert runtime.main_root(copy) == tmp_path


def test_a_number_of_jobs_that_is_none_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    for given in ("0", "two", "-1"):
        monkeypatch.setenv("SOUNDRAFT_JOBS", given)
        with pytest.raises(UserError, match="SOUNDRAFT_JOBS must be a whole number from 1"):
            runtime.jobs()


def halve(number: int) -> int:
    if number == 13:
        raise BadClip("unlucky")
    if number == 40:
        raise ZeroDivisionError("surprise")
    return number // 2


@pytest.mark.parametrize("jobs", ["1", "2"])
def test_the_map_keeps_order_and_a_failure_is_one_clips_own(monkeypatch: pytest.MonkeyPatch, jobs: str) -> None:
    monkeypatch.setenv("SOUNDRAFT_JOBS", jobs)
    results = list(map_clips(halve, range(100), title="halve"))
    expected: list[int | Failure] = [number // 2 for number in range(100)]
    expected[13] = Failure("unlucky")
    expected[40] = Failure("ZeroDivisionError: surprise")
    assert results == expected
    assert list(map_clips(halve, [], title="nothing")) == []


def test_a_fresh_process_gives_its_results_in_order() -> None:
    assert parallel.map_fresh(halve, [2, 4], title="fresh") == [1, 2]
