"""evaluate: every model on the test split → reports/evaluate/ (report.md, metrics.json, curves, predictions, errors).

The only stage that touches the test split.
"""

from pathlib import Path

from soundraft import files, stage
from soundraft.params import load_params
from soundraft.tasks import asr, classification
from soundraft.tracking import stage_run

MODELS = Path("models")
DATASET = Path("data/dataset")
OUT = Path("reports/evaluate")
EVALUATIONS = {"asr": asr.evaluate, "classification": classification.evaluate}


def main() -> None:
    params = load_params()
    with stage_run("evaluate", params.leaves(), last=True) as tracker, files.building(OUT) as out:
        told = EVALUATIONS[params.task](params, MODELS, DATASET, out, tracker)
        left = ", ".join(sorted(path.name for path in out.iterdir()))
    print(f"\n{told}\n\nevaluate: {OUT}/ has {left}")


if __name__ == "__main__":
    stage.run(main, help_text=__doc__)
