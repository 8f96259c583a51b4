"""evaluate: every model on the test split → reports/evaluate/ (report.md, metrics.json, curves, predictions, errors).

The only stage that touches the test split.
"""

from collections.abc import Iterator
from pathlib import Path

from soundraft import files, models, stage
from soundraft.dataset.loader import Utterances, open_split
from soundraft.evaluation import plots, report
from soundraft.evaluation.recognition import snapped
from soundraft.metrics.text import NORMALIZERS, VocabularySnapper
from soundraft.params import load_params
from soundraft.params.sections import Params
from soundraft.tasks import asr
from soundraft.tracking import Tracker, stage_run

MODELS = Path("models")
DATASET = Path("data/dataset")
OUT = Path("reports/evaluate")
CORPORA = ("target", "start")


def main() -> None:
    params = load_params()
    options = params.evaluate
    bootstrap = report.Bootstrap(options.bootstrap_samples, params.seed)
    with stage_run("evaluate", params.leaves(), last=True) as tracker, files.building(OUT) as out:
        rows = list(evaluate_all(params))
        cycles = {
            int(path.parent.name): files.read_json(path) for path in sorted(MODELS.glob("raft/[0-9][0-9]/metrics.json"))
        }
        table = report.markdown_table(rows, bootstrap)
        files.write_text(out / "report.md", f"{table}\n")
        files.write_json(out / "metrics.json", report.summary(rows, bootstrap))
        report.write_curves(out / "curves.csv", rows, bootstrap)
        report.write_predictions(out / "predictions.parquet", rows)
        report.write_errors(out, report.last_trained(rows), top=options.table_rows)
        plots.plot_wer(out / "wer.png", rows, bootstrap)
        plots.plot_reward(out / "reward.png", cycles)
        track(tracker, rows, cycles, out)
    print(f"\nTest set, {len(rows[0].target.ids)} clips of the target corpus\n\n{table}\n")
    print(f"evaluate: {OUT}/ has report.md, wer.png, reward.png, predictions, confusions and worst clips")


def evaluate_all(params: Params) -> Iterator[report.Row]:
    """Score the start model, every cycle and every control; features are made once, for all models are akin."""
    # a run that reads no transcript of the target knows the words of the start corpus alone
    known = ("start",) if params.reward.kind == "unsupervised" else CORPORA
    words = {text for corpus in known for text in open_split(DATASET / corpus, "train")["text"]}
    normalizer = params.reward.normalizer
    snapper = VocabularySnapper([word for text in words for word in NORMALIZERS[normalizer](text).split()])
    clips: dict[str, Utterances] = {}
    for chain, cycle, folder in model_folders():
        recognizer = models.load_recognizer(folder)
        scored = {}
        for corpus in CORPORA:
            if corpus not in clips:
                clips[corpus] = asr.load_clips(DATASET / corpus, "test", recognizer, normalizer=normalizer)
            title = f"test {corpus}, {chain} {cycle}"
            scored[corpus] = asr.recognize(recognizer, clips[corpus], normalizer=normalizer, title=title)
        algorithm = params.train.algorithm if chain == report.TRAINED else chain
        yield report.Row(chain, algorithm, cycle, scored["target"], snapped(scored["target"], snapper), scored["start"])


def model_folders() -> list[tuple[str, int, Path]]:
    """(chain, cycle, folder) of every model, the start model first; cycles that were not asked for have none."""
    found = [(report.START, 0, MODELS / "base")]
    found += [
        (report.TRAINED, int(path.parent.name), path.parent)
        for path in sorted(MODELS.glob("raft/[0-9][0-9]/config.json"))
    ]
    controls = sorted(MODELS.glob("controls/[0-9][0-9]/*/config.json"))
    found += [(path.parent.name, int(path.parents[1].name), path.parent) for path in controls]
    return found


def track(tracker: Tracker, rows: list[report.Row], cycles: dict[int, dict], out: Path) -> None:
    for row in rows:
        name = "raft" if row.chain in (report.START, report.TRAINED) else row.chain
        rates = {"wer": row.target.wer, "cer": row.target.cer}
        rates |= {"wer_snapped": row.snapped.wer} if row.snapped else {}
        tracker.metrics({f"{name}/{key}": value for key, value in rates.items()}, step=row.cycle)
    for cycle, numbers in cycles.items():
        tracker.missing_metrics({f"raft/{key}": value for key, value in numbers.items()}, step=cycle)
    tracker.files(out)


if __name__ == "__main__":
    stage.run(main)
