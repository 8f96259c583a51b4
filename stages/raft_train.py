"""raft_train: one RAFT cycle → models/raft/NN/ with the model, every sample (rollouts.parquet) and metrics.

    python stages/raft_train.py --cycle 3

A cycle that data/plan/ calls inactive writes a marker and ends, before anything heavy is imported.
"""

from pathlib import Path

from soundraft import distributed, stage

BASE = Path("models/base")
CHAIN = Path("models/raft")
DATASET = Path("data/dataset")


def main(cycle: int) -> None:
    from soundraft import models
    from soundraft.params import load_params
    from soundraft.tasks import asr_cycle
    from soundraft.tracking import stage_run

    params = load_params()
    rules = asr_cycle.Rules.of(
        params.train.model_dump(), params.reward.model_dump(), texts=asr_cycle.known_texts(DATASET), seed=params.seed
    )
    previous = BASE if cycle == 1 else CHAIN / f"{cycle - 1:02d}"
    with (
        stage_run(f"raft {cycle:02d}", params.leaves()) as tracker,
        distributed.building(CHAIN / f"{cycle:02d}") as out,
    ):
        inputs = asr_cycle.load_inputs(DATASET, models.load_recognizer(previous), rules, cycle=cycle)
        metrics, details = asr_cycle.improve(
            previous, out, inputs, rules, algorithm=params.train.algorithm, cycle=cycle, base=BASE
        )
        tracker.metrics(metrics | details, step=cycle)
        tracker.file(out / "rollouts.parquet")
    if distributed.is_main():
        print(asr_cycle.describe(params.train.algorithm, cycle, metrics))


if __name__ == "__main__":
    stage.run_cycle(main, CHAIN, help_text=__doc__)
