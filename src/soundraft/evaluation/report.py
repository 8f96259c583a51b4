"""From scored test sets to what a person reads: one table, flat metrics, and files for every detail."""

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from soundraft import files
from soundraft.evaluation.scores import Scored
from soundraft.metrics import text as metric
from soundraft.metrics.text import Counts

START = "start"
TRAINED = "trained"  # the chain of cycles, whatever its algorithm
ALGORITHMS = {
    "raft": "RAFT",
    "grpo": "GRPO",
    "mwer": "MWER",
    "sft": "supervised on references",
    "self_training": "greedy self-training",
    "random": "a random one of K, no reward",
}


@dataclass(frozen=True)
class Row:
    """One model on the test clips.

    Attributes:
        chain: "start", "trained" or the name of a control.
        algorithm: by which the model was trained.
        target: the target corpus as the model gives it.
        snapped: the same, each word replaced by the nearest vocabulary word; `None` in all rows without a vocabulary.
        start: the start corpus, to see what was forgotten; `None` in all rows of a run that has none.
    """

    chain: str
    algorithm: str
    cycle: int
    target: Scored
    snapped: Scored | None
    start: Scored | None

    @property
    def label(self) -> str:
        """What a person calls the model."""
        if self.chain == START:
            return "start model"
        return ALGORITHMS[self.algorithm] if self.chain == TRAINED else f"control: {ALGORITHMS[self.algorithm]}"


@dataclass(frozen=True)
class Bootstrap:
    samples: int
    seed: int

    def interval(self, counts: Sequence[Counts]) -> tuple[float, float]:
        return metric.bootstrap_interval(counts, samples=self.samples, seed=self.seed)


def markdown_table(rows: Sequence[Row], bootstrap: Bootstrap) -> str:
    """The table of the report: start and every cycle, then each control after its last cycle."""
    head: tuple[str, ...] = (
        "model",
        "cycle",
        "WER [95 % interval]",
        "CER",
        "sub",
        "del",
        "ins",
        *(("WER, words snapped",) if rows[0].snapped else ()),
        *(("start corpus WER",) if rows[0].start else ()),
    )
    cells = [
        (
            row.label,
            str(row.cycle),
            _rate(row.target.words, bootstrap),
            f"{row.target.cer:.1%}",
            *(str(sum(getattr(count, kind) for count in row.target.words)) for kind in _EDITS),
            *((_rate(row.snapped.words, bootstrap),) if row.snapped else ()),
            *((f"{row.start.wer:.1%}",) if row.start else ()),
        )
        for row in shown_rows(rows)
    ]
    widths = [max(len(line[column]) for line in [head, *cells]) for column in range(len(head))]
    rule = tuple("-" * width for width in widths)
    return "\n".join(
        "| " + " | ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)) + " |"
        for line in [head, rule, *cells]
    )


def shown_rows(rows: Sequence[Row]) -> list[Row]:
    """Every row of start and the trained chain; of a control only the last cycle."""
    last = {row.chain: row.cycle for row in sorted(rows, key=lambda row: row.cycle)}
    shown = [row for row in rows if row.chain in (START, TRAINED) or row.cycle == last[row.chain]]
    order = [START, TRAINED, *ALGORITHMS]
    return sorted(shown, key=lambda row: (order.index(row.chain), row.cycle))


def model_folders(chains: Path) -> list[tuple[str, int, Path]]:
    """(chain, cycle, folder) of every model, the start model first; cycles that were not asked for have none."""
    found = [(START, 0, chains / "base")]
    found += [
        (TRAINED, int(path.parent.name), path.parent) for path in sorted(chains.glob("raft/[0-9][0-9]/config.json"))
    ]
    controls = sorted(chains.glob("controls/[0-9][0-9]/*/config.json"))
    found += [(path.parent.name, int(path.parents[1].name), path.parent) for path in controls]
    return found


def last_trained(rows: Sequence[Row]) -> Row:
    """The last model of the trained chain; the start model when no cycle was trained."""
    return [row for row in rows if row.chain in (START, TRAINED)][-1]


def summary(rows: Sequence[Row], bootstrap: Bootstrap) -> dict[str, Any]:
    """Flat metrics of the whole run: before, after, and what it cost on the start corpus."""
    first = rows[0]
    last = last_trained(rows)
    low, high = bootstrap.interval(last.target.words)
    numbers = {
        "cycles": last.cycle,
        "wer_before": first.target.wer,
        "wer_after": last.target.wer,
        "wer_after_low": low,
        "wer_after_high": high,
        "wer_relative_reduction": 1 - last.target.wer / first.target.wer if first.target.wer else 0.0,
        "cer_after": last.target.cer,
    }
    if first.snapped and last.snapped:
        numbers |= {"wer_snapped_before": first.snapped.wer, "wer_snapped_after": last.snapped.wer}
    if first.start and last.start:
        numbers |= {"wer_start_before": first.start.wer, "wer_start_after": last.start.wer}
    return numbers


def write_curves(path: Path, rows: Sequence[Row], bootstrap: Bootstrap) -> None:
    """`curves.csv`, for `dvc plots`: per cycle all of the trained chain, and the test WER of each control."""
    start = next(row for row in rows if row.chain == START)
    models = {(row.chain, row.cycle): row for row in rows}
    controls = sorted({row.chain for row in rows} - {START, TRAINED})
    lines = []
    for cycle in sorted({row.cycle for row in rows}):
        trained = models.get((TRAINED, cycle), start)
        low, high = bootstrap.interval(trained.target.words)
        line = {"cycle": cycle, "trained": trained.target.wer, "trained_low": low, "trained_high": high}
        line |= {"trained_cer": trained.target.cer}
        line |= {"trained_snapped": trained.snapped.wer} if trained.snapped else {}
        line |= {"trained_start_corpus": trained.start.wer} if trained.start else {}
        line |= {control: models.get((control, cycle), start).target.wer for control in controls}
        lines.append(line)
    write_csv(path, lines)


def write_errors(folder: Path, row: Row, *, top: int) -> None:
    """`confusions.csv` and `worst_clips.csv` of one model."""
    scored = row.target
    pairs = list(zip(scored.references, scored.hypotheses, strict=True))
    write_csv(
        folder / "confusions.csv",
        [{"said": said, "heard": heard, "times": n} for said, heard, n in metric.confusions(pairs, top=top)],
    )
    worst = sorted(range(len(pairs)), key=lambda index: (-scored.words[index].errors, scored.ids[index]))[:top]
    write_csv(
        folder / "worst_clips.csv",
        [
            {
                "id": scored.ids[i],
                "errors": scored.words[i].errors,
                "reference": pairs[i][0],
                "hypothesis": pairs[i][1],
            }
            for i in worst
        ],
    )


def write_predictions(path: Path, rows: Sequence[Row]) -> None:
    """One line per model and test clip: `chain, algorithm, cycle, id, reference, prediction, hits, …`."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    lines = [
        {
            "chain": row.chain,
            "algorithm": row.algorithm,
            "cycle": row.cycle,
            "id": name,
            "reference": said,
            "prediction": heard,
            "hits": count.hits,
            **{kind: getattr(count, kind) for kind in _EDITS},
        }
        for row in rows
        for name, said, heard, count in zip(
            row.target.ids, row.target.references, row.target.hypotheses, row.target.words, strict=True
        )
    ]
    buffer = pa.BufferOutputStream()
    pq.write_table(pa.Table.from_pylist(lines), buffer, compression="zstd")
    files.write_bytes(path, buffer.getvalue().to_pybytes())


def write_csv(path: Path, lines: Sequence[dict[str, Any]]) -> None:
    stream = io.StringIO()
    if lines:
        writer = csv.DictWriter(stream, list(lines[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(lines)
    files.write_text(path, stream.getvalue())


_EDITS = ("substitutions", "deletions", "insertions")


def _rate(counts: Sequence[Counts], bootstrap: Bootstrap) -> str:
    low, high = bootstrap.interval(counts)
    return f"{metric.pooled_rate(counts):.1%} [{low:.1%}–{high:.1%}]"
