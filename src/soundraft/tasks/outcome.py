"""What a run came to: the start model and every cycle on one split, as files and as a result for Python code."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from soundraft import distributed, files, models
from soundraft.dataset.loader import Utterances
from soundraft.evaluation import report
from soundraft.evaluation.recognition import Scored, score, snapped
from soundraft.evaluation.report import START, TRAINED, Bootstrap, Row
from soundraft.metrics.significance import Comparison, paired_bootstrap
from soundraft.metrics.text import NORMALIZERS, VocabularySnapper
from soundraft.models.decoding import transcribe

TRANSCRIPTS = "transcripts"


@dataclass(frozen=True)
class Rate:
    """A pooled error rate with its 95 % bootstrap interval, all as shares of the reference words."""

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.value:.1%} [{self.low:.1%}–{self.high:.1%}]"


@dataclass(frozen=True)
class TrainingResult:
    """What a run came to.

    Attributes:
        folder: of the run; report.md in it is for people.
        measured_on: test, or validation where there is no test split; `None` where no clips but those of training
            are there or have texts: then there are no rates and no gain.
        wer_before, wer_after: of the start model and of the last cycle's, on that split.
        gain: how much lower the error rate became, with interval and p value (paired bootstrap over the clips).
        last_model: folder of the last cycle's model; `AutoProcessor` and `AutoModelFor…` load it.
        best_model: folder of the model with the lowest error rate on validation, which may be the start model; without
            validation split the last one.
        cycles: the numbers of each cycle, as in its metrics.json: rewards, kept share, loss, validation WER and CER.
        notes: what a person should know of the data.
    """

    folder: Path
    measured_on: str | None
    wer_before: Rate | None
    wer_after: Rate | None
    gain: Comparison | None
    last_model: Path
    best_model: Path
    cycles: list[dict[str, Any]]
    notes: list[str]


def transcripts_of(folder: Path, split: str, number: int, model: Path, clips: Utterances) -> list[str]:
    """What a model hears in a split; heard once, then read from the run's folder."""
    path = _transcripts_path(folder, split, number)
    if path.is_file():
        texts: list[str] = files.read_json(path)
        return texts
    texts = transcribe(models.load_recognizer(model), clips, title=f"{split}, cycle {number}")
    if distributed.is_main():
        files.write_json(path, texts)
    distributed.wait_for_everyone()
    return texts


def rows_of(
    heard: Mapping[int, Scored], kept: Mapping[int, Scored], *, algorithm: str, vocabulary: Sequence[str]
) -> list[Row]:
    """One row a model, by cycle; 0 is the start model.

    Args:
        heard: the split that is reported.
        kept: validation of the replay dataset; empty where there is none.
        vocabulary: words to which those heard are snapped, for comparison; without any, nothing is snapped.
    """
    snapper = VocabularySnapper(vocabulary) if vocabulary else None
    return [
        Row(
            chain=TRAINED if number else START,
            algorithm=algorithm if number else START,
            cycle=number,
            target=scored,
            snapped=snapped(scored, snapper) if snapper else None,
            start=kept.get(number),
        )
        for number, scored in sorted(heard.items())
    ]


def scored_texts(clips: Utterances, texts: Sequence[str], normalizer: str) -> Scored:
    return score(ids=clips.ids, references=clips.texts, hypotheses=texts, normalizer=NORMALIZERS[normalizer])


def write(
    folder: Path, rows: Sequence[Row], bootstrap: Bootstrap, *, split: str, notes: Sequence[str], top: int
) -> None:
    """report.md, metrics.json, predictions.parquet, curves and errors of a run."""
    table = report.markdown_table(rows, bootstrap)
    clips = len(rows[0].target.ids)
    gained = difference(rows, bootstrap)
    lines = [
        f"# {split.capitalize()} split, {clips} clips",
        "",
        table,
        "",
        f"The last cycle against the start model, by paired bootstrap over the clips: {describe_gain(gained)}.",
        "",
        *(f"- {note}" for note in notes),
    ]
    files.write_text(folder / "report.md", "\n".join(lines).rstrip() + "\n")
    files.write_json(folder / "metrics.json", report.summary(rows, bootstrap) | {"p_value": gained.p_value})
    report.write_predictions(folder / "predictions.parquet", rows)
    report.write_curves(folder / "curves.csv", rows, bootstrap)
    report.write_errors(folder, report.last_trained(rows), top=top)


def write_unmeasured(folder: Path, cycles: Sequence[Mapping[str, Any]], notes: Sequence[str]) -> None:
    """report.md and metrics.json of a run that has no clips to measure on: what its reward said."""
    head = ("cycle", "reward of all samples", "of the kept ones", "clips with a kept one")
    rows = [
        (str(number), *(_number(numbers[key]) for key in ("reward_mean", "reward_kept", "kept_share")))
        for number, numbers in enumerate(cycles, start=1)
    ]
    table = [f"| {' | '.join(cells)} |" for cells in (head, ("---",) * len(head), *rows)]
    lines = ["# Nothing was measured: no clips with texts", "", *table, "", *(f"- {note}" for note in notes)]
    files.write_text(folder / "report.md", "\n".join(lines).rstrip() + "\n")
    files.write_json(folder / "metrics.json", {"cycles": len(cycles), **(cycles[-1] if cycles else {})})


def _number(value: float | None) -> str:
    return "none" if value is None else f"{value:.3f}"


def difference(rows: Sequence[Row], bootstrap: Bootstrap) -> Comparison:
    """Of the start model and the last cycle's."""
    before, after = rows[0].target.words, report.last_trained(rows).target.words
    return paired_bootstrap(before, after, samples=bootstrap.samples, seed=bootstrap.seed)


def describe_gain(gain: Comparison) -> str:
    """Such as `4.2 points lower [3.1–5.5], p = 0.001`."""
    points = [100 * value for value in (gain.difference, gain.low, gain.high)]
    lower = gain.difference >= 0
    middle, low, high = points if lower else (-points[0], -points[2], -points[1])
    return f"{middle:.1f} points {'lower' if lower else 'higher'} [{low:.1f} to {high:.1f}], p = {gain.p_value:.2g}"


def rate(row: Row, bootstrap: Bootstrap) -> Rate:
    return Rate(row.target.wer, *bootstrap.interval(row.target.words))


def _transcripts_path(folder: Path, split: str, number: int) -> Path:
    return folder / TRANSCRIPTS / f"{number:02d}-{split}.json"
