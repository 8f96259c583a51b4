from pathlib import Path

import pytest
from dvc.utils.serialize import modify_yaml

from soundraft.corpora import CORPORA
from soundraft.evaluation import results
from soundraft.metrics.text import NORMALIZERS
from soundraft.params import ParamsError, by_key, load_params
from soundraft.params.__main__ import with_comments
from soundraft.params.base import fields_of, is_section
from soundraft.params.sections import Params
from soundraft.rewards import TASKS
from soundraft.training.raft import ALGORITHMS
from tests.pipeline.workshop import with_keys

PARAMS = Path("params.yaml")


def broken(tmp_path: Path, changes: dict[str, object]) -> str:
    """The message for params.yaml with these dotted keys changed."""
    path = tmp_path / "params.yaml"
    path.write_text(with_keys(PARAMS.read_text(), changes))
    with pytest.raises(ParamsError) as caught:
        load_params(path)
    return str(caught.value)


def test_all_problems_are_reported_at_once(tmp_path: Path) -> None:
    message = broken(
        tmp_path,
        {"train.cycles": "x", "train.learning_rate": "much", "train.temprature": 1.0, "limits.max_bad_fraction": 2.0},
    )
    assert message.startswith("4 problems")
    assert "train.cycles: got 'x'; allowed: valid integer" in message
    assert "train.learning_rate: got 'much'; allowed: valid number" in message
    assert "train.temprature: unknown key; did you mean train.temperature?" in message
    assert "limits.max_bad_fraction: got 2.0; allowed: less than or equal to 1" in message


def test_a_power_of_ten_is_a_number_as_for_dvc(tmp_path: Path) -> None:
    path = tmp_path / "params.yaml"
    text, written = PARAMS.read_text(), "  min_lr: 1.0e-5\n"
    assert text.count(written) == 1
    path.write_text(text.replace(written, "  min_lr: 1e-5\n"))
    assert load_params(path) == load_params(PARAMS)


def test_too_many_cycles_and_a_missing_key_are_reported_with_the_rest(tmp_path: Path) -> None:
    path = tmp_path / "params.yaml"
    path.write_text(PARAMS.read_text().replace("  cycles: 4\n", "  cycles: 13\n").replace("seed: 0\n", "", 1))
    with pytest.raises(ParamsError, match=r"2 problems(.|\n)*seed: missing(.|\n)*cycles.yaml lists 12 cycles"):
        load_params(path, listed_cycles=12)


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"corpus.target.name": "esppeak"}, "corpus.target.name: got 'esppeak'; allowed: 'espeak', 'fsdd', "),
        ({"corpus.target.columns": ["sentence"]}, "corpus.target.columns.0: got 'sentence'"),
        ({"train.epochs": 0}, "model.checkpoint is scratch"),
        ({"model.scratch.hidden_size": 97}, "not a multiple of attention_heads"),
        ({"corpus.espeak.target.pitch": [90, 10]}, "the wrong way round"),
        ({"train.kl_weight": 0.1}, "kl_weight: raft has no such term"),
        ({"train.algorithm": "grpo", "train.samples_per_prompt": 1}, "train.samples_per_prompt: got 1; grpo, mwer"),
        ({"reward.kind": "unsupervised", "train.samples_per_prompt": 1}, "train.samples_per_prompt: got 1"),
        (
            {"reward.kind": "unsupervised", "train.reference_weight": 0.5},
            "train.reference_weight learns the",
        ),
        ({"train.masking.stripes": 1}, "train.masking.stripes: unknown key; renamed to train.masking.masks"),
        ({"train.epochs": True}, "train.epochs: got True; allowed: valid integer"),
        ({"train.keep_top_percent": 0.5}, "write 50"),
        ({"train.keep_top_percent": -1.0}, "train.keep_top_percent: got -1"),
        ({"limits.max_bad_fraction": 30}, "write 0.3"),
        ({"train.replay_fraction": 25.0}, "write 0.25"),
        ({"train.lr_decay_per_cycle": 85.0}, "write 0.85"),
        ({"train.learning_rate": float("nan")}, "train.learning_rate: got nan"),
        ({"train.min_lr": 1e9}, "train.min_lr: got 1e+09, which is above train.learning_rate"),
        ({"task": "classification", "train.min_lr": 1e-3}, "classification.trainer.cycle_learning_rate"),
        ({"reward.labels.aliases": {"yes": "yeah"}}, "[yes=yeah]"),
        ({"corpus.target.labels": "yes"}, "[yes]"),
    ],
)
def test_each_contradiction_has_a_clear_message(tmp_path: Path, changes: dict[str, object], expected: str) -> None:
    assert expected in broken(tmp_path, changes)


def test_options_are_found_by_the_names_of_their_keys() -> None:
    options = {"cycles": 6, "wer_threshold": 0.2, "seed": 1, "reward.labels.ignore_case": True, "temperature": None}
    found = by_key(options.items())
    expected = {"train.cycles": 6, "reward.wer_threshold": 0.2, "seed": 1, "reward.labels.ignore_case": True}
    assert found == expected
    with pytest.raises(ParamsError, match=r"train\.cycles is given twice"):
        by_key([("cycles", 6), ("train.cycles", 6)])


def test_an_experiment_leaves_every_other_byte_of_the_file_as_it_is(tmp_path: Path) -> None:
    copy = tmp_path / "params.yaml"
    copy.write_bytes(PARAMS.read_bytes())
    with modify_yaml(copy) as values:  # what `dvc exp run -S` does
        values["train"]["cycles"] = 4
    assert copy.read_text() == PARAMS.read_text()


def test_the_comments_are_the_descriptions_of_the_keys() -> None:
    assert PARAMS.read_text() == with_comments(PARAMS.read_text()), "python -m soundraft.params writes them"
    assert [key for key, field in fields_of(Params) if not (field.description or is_section(field))] == []


def test_allowed_names_are_the_registered_names() -> None:
    schema = load_params().model_json_schema()["$defs"]
    assert schema["CorpusChoice"]["properties"]["name"]["enum"] == list(CORPORA)
    assert schema["RewardParams"]["properties"]["normalizer"]["enum"] == list(NORMALIZERS)
    assert load_params().task in TASKS
    assert schema["Train"]["properties"]["algorithm"]["enum"] == list(ALGORITHMS) == list(results.ALGORITHMS)
