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


def main(cycle: int) -> None:
    from soundraft import models
    from soundraft.params import load_params
    from soundraft.tasks import asr_cycle
    from soundraft.tracking import stage_run

    params = load_params()
    rules = asr_cycle.Rules.of(
        params.train.model_dump(), params.reward.model_dump(), texts=asr_cycle.known_texts(DATASET), seed=params.seed
    ).of_controls()
    with (
        stage_run(f"controls {cycle:02d}", params.leaves()) as tracker,
        distributed.building(CHAIN / f"{cycle:02d}") as out,
    ):
        previous = {name: BASE if cycle == 1 else CHAIN / f"{cycle - 1:02d}" / name for name in CONTROLS}
        recognizer = models.load_recognizer(previous[CONTROLS[0]])  # all of them take the same features
        inputs = asr_cycle.load_inputs(DATASET, recognizer, rules, cycle=cycle)
        for control in CONTROLS:
            metrics, _ = asr_cycle.improve(
                previous[control], out / control, inputs, rules, algorithm=control, cycle=cycle, base=BASE
            )
            tracker.metrics({f"{control}/{key}": value for key, value in metrics.items()}, step=cycle)
            if distributed.is_main():
                print(asr_cycle.describe(control, cycle, metrics))


if __name__ == "__main__":
    stage.run_cycle(main, CHAIN, help_text=__doc__)
