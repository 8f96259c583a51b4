"""The supervised start of audio classification: a classifier trained on the corpus's train split."""

from pathlib import Path

from soundraft import distributed, files
from soundraft.evaluation.classification import scores
from soundraft.evaluation.report import write_csv
from soundraft.manifest import QUARANTINE_NAME
from soundraft.params.sections import Params
from soundraft.tasks.classification import fit
from soundraft.tasks.labelled import from_dataset
from soundraft.tracking import Tracker
from soundraft.training.epochs import EpochRow

CURVES = "learning_curves.csv"


def start(params: Params, dataset: Path, out: Path, tracker: Tracker) -> str:
    """Train on a dataset that s5 built, and write model, curves and metrics; what came of it, for a person."""

    def log(row: EpochRow) -> None:
        tracker.metrics({f"epoch/{name}": value for name, value in row.as_dict().items()}, step=row.epoch)

    fitted = fit(
        from_dataset(dataset, "train"),
        from_dataset(dataset, "validation"),
        params.classification,
        seed=params.seed,
        max_bad_fraction=params.limits.max_bad_fraction,
        after_epoch=log,
    )
    found, report = scores(fitted.validation), fitted.report
    metrics = {
        "accuracy_validation": found.accuracy,
        "uar_validation": found.macro.recall,
        "ece_validation": found.ece,
        "temperature": fitted.classifier.temperature,
        "parameters": sum(weights.numel() for weights in fitted.classifier.model.parameters()),
        "epochs": len(report.history),
        "best_epoch": report.best_epoch,
    }
    if distributed.is_main():
        fitted.classifier.save(out)
        files.write_json(out / "metrics.json", metrics)
        curves = [{key: value for key, value in row.as_dict().items() if key != "seconds"} for row in report.history]
        write_csv(out / CURVES, curves)
        files.write_jsonl(out / QUARANTINE_NAME, map(vars, fitted.rejected))
    tracker.metrics(metrics)
    stopped = "stopped early" if report.stopped_early else "all"
    return (
        f"accuracy {found.accuracy:.1%}, UAR {found.macro.recall:.1%} on {found.clips} validation clips "
        f"(epoch {report.best_epoch} of {len(report.history)}, {stopped})"
    )
