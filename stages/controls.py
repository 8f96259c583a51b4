"""controls: one cycle of each control → models/controls/NN/{sft,self_training,random}/.

    python stages/controls.py --cycle 3

The code of raft_train, with another way to choose what to learn and as many presentations. The report shows them
beside RAFT: what the references themselves would give, and what is left without a reward.
"""

from pathlib import Path

from soundraft import distributed, stage

BASE = Path("models/base")
CHAIN = Path("models/controls")
DATASET = Path("data/dataset")
CONTROLS = ("sft", "self_training", "random")


def main(number: int) -> None:
    from soundraft.params import load_params
    from soundraft.tasks import asr, classification, steps
    from soundraft.tracking import stage_run

    params = load_params()
    rules = {"asr": asr.rules, "classification": classification.rules}[params.task](params, DATASET)
    rules = rules.of_controls()
    with (
        stage_run(f"controls {number:02d}", params.leaves()) as tracker,
        distributed.building(CHAIN / f"{number:02d}") as out,
    ):
        previous = {name: BASE if number == 1 else CHAIN / f"{number - 1:02d}" / name for name in CONTROLS}
        # all of them take the same features
        inputs = steps.load_inputs(DATASET, rules.subject.load_model(previous[CONTROLS[0]]), rules, cycle=number)
        for control in CONTROLS:
            metrics, _ = steps.improve(
                previous[control], out / control, inputs, rules, algorithm=control, cycle=number, base=BASE
            )
            tracker.metrics({f"{control}/{key}": value for key, value in metrics.items()}, step=number)
            if distributed.is_main():
                print(steps.describe(rules, control, number, metrics))


if __name__ == "__main__":
    stage.run_cycle(main, CHAIN, help_text=__doc__)
