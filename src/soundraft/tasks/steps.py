"""The steps of a run that make models, whatever the task: start and cycle.

The stages of the pipeline call them with the dataset that s5 built, `tasks/run.py` with clips from anywhere.
"""

import hashlib
import random
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import xxhash

from soundraft import distributed, files, runtime
from soundraft.clips.base import Clips, Loaded, from_dataset
from soundraft.clips.batches import Utterances
from soundraft.evaluation import samples
from soundraft.evaluation.samples import Sound
from soundraft.evaluation.scores import METRICS
from soundraft.manifest import QUARANTINE_NAME, Split
from soundraft.models.base import Model
from soundraft.models.tuning import tuned
from soundraft.params.sections import Train
from soundraft.tasks.base import Data, Task
from soundraft.tracking import Tracker
from soundraft.training import raft
from soundraft.training.raft import Shards, Target
from soundraft.training.selection import Sample

CODE = ("models", "training", "rewards", "metrics", "clips", "audio")  # on which the samples of a cycle depend
SOUNDS, SOUND_CLIPS = "samples", 6  # where answers are audio: their folder, and of how many clips a cycle keeps all


def dataset_of(task: Task, folder: Path, splits: Sequence[Split], *, for_start: bool = False) -> Data:
    """These splits of a dataset that s5 built; no other one is read.

    Args:
        for_start: read the start corpus alone, which s5 makes a copy of the target where the task has only that one.
    """

    def read(corpus: str) -> dict[Split, Clips]:
        return {split: from_dataset(folder / corpus, split, codes=task.takes_codes) for split in splits}

    if "start" not in task.corpora:
        return Data(read("start" if for_start else "target"))
    return Data({} if for_start else read("target"), read("start"))


def start(task: Task, data: Data, out: Path, tracker: Tracker, *, checked: bool = False) -> str:
    """Write the start model to `out`; what came of it, in a line.

    Args:
        checked: whether `task.check` has passed the clips.
    """
    if data.target and not checked:
        task.check(data)
    runtime.seed_torch(task.params.seed)
    summary = task.start_model(data, out, tracker)
    if distributed.is_main():
        files.write_jsonl(out / QUARANTINE_NAME, map(vars, data.rejected))
    return summary


def cycle(
    task: Task,
    data: Data,
    previous: Path,
    out: Path,
    *,
    number: int,
    base: Path,
    control: str = "",
) -> tuple[dict[str, Any], dict[str, float], str]:
    """Train one cycle on from the model in `previous`; model, rollouts and metrics go to `out`.

    Args:
        base: the start model, from which a divergence is measured.
        control: the algorithm of a control, which learns one answer of each clip and nothing beside it.

    Returns:
        The metrics; more for the tracker, some of which belongs to the machine and into no file; and a line for the
        user.
    """
    model, seed, train = task.load_model(previous), task.params.seed, task.train
    algorithm = control or train.algorithm
    if control:
        train = train.model_copy(update={"reference_weight": 0.0, "kl_weight": 0.0})
    loaded = data.load(task, model, "target", "train")
    asked = task.prompts(model, runtime.derive_seed(seed, "prompts", number))
    durations_s = loaded.durations_s + [0.0] * len(asked)
    target = Target(loaded.utterances + asked, durations_s, loaded.copies)
    replay = _replay(task, data, model, train, number)
    validation = load_validation(task, data, model)
    verifier = task.verifier(data)
    folder = _shards_folder(task, previous, target, replay, algorithm, number)
    shards = Shards(folder, write=task.write_answer, read=task.read_answer)
    runtime.seed_torch(runtime.derive_seed(seed, "adapters", number))
    with tuned(model, train):
        result = raft.run_cycle(
            model,
            algorithm=algorithm,
            cycle=number,
            target=target,
            replay=replay,
            verifier=verifier,
            train=train,
            decoding=task.params.decoding,
            seed=seed,
            shards=shards,
            anchor=task.load_model(base) if train.kl_weight else None,
            augment=task.augment(model, runtime.derive_seed(seed, "cycle", number)),
        )
    task.note_learned(model, target.durations_s)
    metrics = raft.summarize(result)
    if "target" in validation:
        task.after_cycle(model, validation["target"])
    validated = validate(task, model, validation)
    if distributed.is_main():
        model.save(out)
        raft.write(out / "rollouts.parquet", result.samples, target.clips, text=task.describe_answer)
        sounds = [] if control else candidates(task, model, result.samples, target.clips, cycle=number)
        if sounds:
            samples.write(out / SOUNDS, sounds)
        files.write_json(out / "metrics.json", metrics | validated)
    shards.clear()
    return metrics | validated, raft.details(result), _describe(task, algorithm, number, metrics, validation, validated)


def candidates(task: Task, model: Model, drawn: Sequence[Sample], clips: Utterances, *, cycle: int) -> list[Sound]:
    """Where answers are audio: all that a cycle sampled of a few clips, which are chosen by chance."""
    choice = random.Random(runtime.derive_seed(task.params.seed, "sounds", cycle))
    known = sorted({sample.clip for sample in drawn})
    chosen = set(choice.sample(known, min(SOUND_CLIPS, len(known))))
    found = []
    for sample in (sample for sample in drawn if sample.clip in chosen):
        sound = task.sound_of(model, clips.features[sample.clip], sample.answer)
        if sound is None:
            return []
        rewards = {} if sample.reward is None else {"reward": sample.reward}
        about = samples.Sample(
            clips.ids[sample.clip], "candidate", f"{task.train.algorithm} {cycle}", cycle,
            text=task.describe_answer(sample.answer), numbers=rewards | sample.parts,
            kept=sample.kept, reason=sample.reason,
        )  # fmt: skip
        found.append(Sound(about, *sound))
    return found


def load_validation(task: Task, data: Data, model: Model) -> dict[str, Loaded]:
    """The validation clips with features, by corpus."""
    return {name: data.load(task, model, name, "validation") for name in measured_corpora(task, data, "validation")}


def validate(task: Task, model: Model, validation: Mapping[str, Loaded]) -> dict[str, float]:
    """The task's metrics on validation clips, each named after the corpus that they are of."""
    found: dict[str, float] = {}
    for corpus, loaded in validation.items():
        scores = task.score(model, loaded, title=f"validate {corpus}")
        found |= {f"{key}_{corpus}_validation": scores.value(key) for key in task.metrics}
    return found


def measured_corpora(task: Task, data: Data, split: Split) -> list[str]:
    """Those of the task's corpora whose clips of this split are there."""
    return [corpus for corpus in task.corpora if split in data.splits(corpus)]


def _replay(task: Task, data: Data, model: Model, train: Train, number: int) -> Utterances | None:
    """The clips of the start corpus that a cycle replays."""
    if "train" not in data.start or not train.replay_fraction:
        return None
    known = data.load(task, model, "start", "train").utterances
    return known.part(raft.draw_replay(len(known), train, seed=task.params.seed, cycle=number))


def _describe(
    task: Task, algorithm: str, number: int, metrics: Mapping[str, Any], validation: Mapping[str, Loaded],
    validated: Mapping[str, float],
) -> str:  # fmt: skip
    kept, drawn = ("none" if metrics[key] is None else f"{metrics[key]:.2f}" for key in ("reward_kept", "reward_mean"))
    targets = [text for loaded in validation.values() for text in loaded.utterances.targets]
    monitor = METRICS[task.ranked(targets)[0]]
    rates = {name: validated.get(f"{monitor.key}_{name}_validation") for name in task.corpora}
    known = ", ".join(f"{name} {monitor.show(rate)}" for name, rate in rates.items() if rate is not None)
    return (
        f"{algorithm} {number:02d}: kept {metrics['kept_share']:.0%} of the clips, "
        f"their reward {kept} (all samples: {drawn})" + (f"; validation {monitor.title} {known}" if known else "")
    )


def _shards_folder(
    task: Task, previous: Path, target: Target, replay: Utterances | None, algorithm: str, number: int
) -> Path:
    """Of the cache; named by all that decides which samples are drawn: model, clips, numbers and code."""
    root = Path(__file__).resolve().parents[1]
    code = [path for part in CODE for path in sorted((root / part).rglob("*.py"))]
    weights = sorted(path for path in previous.iterdir() if path.is_file())
    numbers = task.params.model_copy(update={"train": task.train.model_copy(update={"cycles": 0})})
    parts = (
        files.content_hash(*code, *weights),
        [_digest(clips) for clips in (target.clips, *target.perturbed)],
        _digest(replay) if replay else "",
        numbers.leaves(),
        algorithm,
        number,
        distributed.world_size(),
    )
    return runtime.cache_root() / "rollouts" / hashlib.sha256(repr(parts).encode()).hexdigest()[:32]


def _digest(clips: Utterances) -> str:
    """Of all that a model may see of them."""
    content = xxhash.xxh3_128(repr((clips.ids, clips.targets)).encode())
    for features in clips.features:
        content.update(features.contiguous().numpy().data)
    return content.hexdigest()
