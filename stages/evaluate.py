"""evaluate: every model on the test split → reports/evaluate/ (report.md, metrics.json, curves, predictions, errors).

The only stage that touches the test split. What is small and of interest beside the code (report, metrics, curves) is
also in reports/results/, which git keeps.
"""

import shutil
from pathlib import Path

from soundraft import files, stage
from soundraft.evaluation.results import model_folders
from soundraft.params import load_params
from soundraft.tasks import measure, steps
from soundraft.tasks.base import task_of
from soundraft.tracking import stage_run

MODELS = Path("models")
DATASET = Path("data/dataset")
OUT = Path("reports/evaluate")
RESULTS = Path("reports/results")
COMMITTED = ("report.md", "metrics.json", "curves.csv")


def main() -> None:
    params = load_params()
    task = task_of(params)
    data = steps.dataset_of(task, DATASET, ("train", "test"))
    with stage_run("evaluate", params.leaves()) as tracker, files.building(OUT) as out:
        models = model_folders(MODELS, params.train.algorithm)
        _, summary = measure.evaluate(task, data, models, out, tracker)
        left = ", ".join(sorted(path.name for path in out.iterdir()))
    with files.building(RESULTS) as results:
        for name in COMMITTED:
            shutil.copyfile(OUT / name, results / name)
    print(f"\n{summary}\n\nevaluate: {OUT}/ has {left}; git keeps {RESULTS}/")


if __name__ == "__main__":
    stage.run(main, MODELS, DATASET, help_text=__doc__)
