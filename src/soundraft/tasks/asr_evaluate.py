"""Every model of a run of speech recognition on the test split."""

from collections.abc import Iterator
from pathlib import Path

from soundraft import files, models
from soundraft.dataset.loader import Utterances, open_split
from soundraft.evaluation import plots, report
from soundraft.evaluation.recognition import snapped
from soundraft.metrics.text import NORMALIZERS, VocabularySnapper
from soundraft.params.sections import Params
from soundraft.tasks import asr
from soundraft.tracking import Tracker

CORPORA = ("target", "start")


def evaluate(params: Params, chains: Path, dataset: Path, out: Path, tracker: Tracker) -> str:
    """Write tables, curves, predictions and errors of all models in `chains`; the table, for a person."""
    options = params.evaluate
    bootstrap = report.Bootstrap(options.bootstrap_samples, params.seed)
    rows = list(_evaluate_all(params, chains, dataset))
    cycles = {
        int(path.parent.name): files.read_json(path) for path in sorted(chains.glob("raft/[0-9][0-9]/metrics.json"))
    }
    table = report.markdown_table(rows, bootstrap)
    files.write_text(out / "report.md", f"{table}\n")
    files.write_json(out / "metrics.json", report.summary(rows, bootstrap))
    report.write_curves(out / "curves.csv", rows, bootstrap)
    report.write_predictions(out / "predictions.parquet", rows)
    report.write_errors(out, report.last_trained(rows), top=options.table_rows)
    plots.plot_wer(out / "error.png", rows, bootstrap)
    plots.plot_reward(out / "reward.png", cycles)
    _track(tracker, rows, cycles, out)
    return f"Test set, {len(rows[0].target.ids)} clips of the target corpus\n\n{table}"


def _evaluate_all(params: Params, chains: Path, dataset: Path) -> Iterator[report.Row]:
    """Score the start model, every cycle and every control; features are made once, for all models are akin."""
    # a run that reads no transcript of the target knows the words of the start corpus alone
    known = ("start",) if params.reward.kind == "unsupervised" else CORPORA
    words = {text for corpus in known for text in open_split(dataset / corpus, "train")["text"]}
    normalizer = params.reward.normalizer
    snapper = VocabularySnapper([word for text in words for word in NORMALIZERS[normalizer](text).split()])
    clips: dict[str, Utterances] = {}
    for chain, cycle, folder in report.model_folders(chains):
        recognizer = models.load_recognizer(folder)
        scored = {}
        for corpus in CORPORA:
            if corpus not in clips:
                clips[corpus] = asr.load_clips(dataset / corpus, "test", recognizer, normalizer=normalizer)
            title = f"test {corpus}, {chain} {cycle}"
            scored[corpus] = asr.recognize(recognizer, clips[corpus], normalizer=normalizer, title=title)
        algorithm = params.train.algorithm if chain == report.TRAINED else chain
        yield report.Row(chain, algorithm, cycle, scored["target"], snapped(scored["target"], snapper), scored["start"])


def _track(tracker: Tracker, rows: list[report.Row], cycles: dict[int, dict], out: Path) -> None:
    for row in rows:
        name = "raft" if row.chain in (report.START, report.TRAINED) else row.chain
        rates = {"wer": row.target.wer, "cer": row.target.cer}
        rates |= {"wer_snapped": row.snapped.wer} if row.snapped else {}
        tracker.metrics({f"{name}/{key}": value for key, value in rates.items()}, step=row.cycle)
    for cycle, numbers in cycles.items():
        tracker.missing_metrics({f"raft/{key}": value for key, value in numbers.items()}, step=cycle)
    tracker.files(out)
