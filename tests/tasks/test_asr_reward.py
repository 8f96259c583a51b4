from pathlib import Path
from typing import Any

import pytest

from soundraft.params import defaults
from soundraft.rewards import Evidence, TranscriptReward, UnsupervisedReward
from soundraft.runtime import UserError
from soundraft.tasks import asr

TEXTS = ["turn on the light", "turn off the fan"]


def section(**changes: Any) -> dict[str, Any]:
    return defaults().reward.model_dump() | changes


def test_the_reference_kind_scores_against_the_transcript() -> None:
    verifier = asr.build(section(), texts=[])
    assert isinstance(verifier, TranscriptReward)
    assert verifier.verify_samples(["turn on"], Evidence("turn off"))[0].reward == 0.5
    loose = asr.build(section(cer_weight=1.0, guards={"repeats": 1, "length_ratio": 1.0}), texts=[])
    assert loose.verify_samples(["turn on"], Evidence("turn off"))[0].reward == pytest.approx(0.75)
    assert loose.verify_samples(["turn turn"], Evidence("turn off"))[0].reason == "repeated output"


def test_the_unsupervised_kind_knows_the_texts_of_the_start_corpus() -> None:
    verifier = asr.build(section(kind="unsupervised"), texts=TEXTS)
    assert isinstance(verifier, UnsupervisedReward)
    good, bad = verifier.verify_samples(["turn on the fan", "trun no teh nfa"], Evidence())
    assert good.parts == {"agreement": 0.0, "words": 1.0}
    assert good.reward == 0.5
    assert bad.reward is not None
    assert bad.reward < 0.3


def test_an_unsupervised_run_without_texts_says_which_are_missing() -> None:
    said = r"reward.unsupervised, with 0 texts of corpus.start: no text to learn words.*--replay.*replay_dataset"
    with pytest.raises(UserError, match=said):
        asr.build(section(kind="unsupervised"), texts=[])


def test_all_weights_zero_are_told_before_anything_runs(tmp_path: Path) -> None:
    from soundraft.params import ParamsError, load_params
    from tests.pipeline.workshop import with_keys

    weights = dict.fromkeys(section()["unsupervised"]["weights"], 0.0)
    path = tmp_path / "params.yaml"
    path.write_text(with_keys(Path("params.yaml").read_text(), {"reward.unsupervised.weights": weights}))
    with pytest.raises(ParamsError, match=r"reward.unsupervised.weights: all are 0"):
        load_params(path)
    path.write_text(with_keys(Path("params.yaml").read_text(), {"reward.unsupervised.characters_per_s": [25.0, 4.0]}))
    with pytest.raises(ParamsError, match="the wrong way round"):
        load_params(path)
