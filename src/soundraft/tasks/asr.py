"""Speech recognition: where its models, metrics and data meet."""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from soundraft import distributed, files, models, runtime
from soundraft.audio import io
from soundraft.audio.features import Alteration, alterations
from soundraft.clips.batches import Utterances, load_utterances, open_split, shuffled_batches
from soundraft.clips.decoding import transcribe
from soundraft.evaluation import plots, report
from soundraft.evaluation.benchmark import measure
from soundraft.evaluation.results import Result, model_folders
from soundraft.evaluation.scores import Scores, score_texts, snapped
from soundraft.manifest import Split
from soundraft.metrics.resampling import Bootstrap
from soundraft.metrics.text import NORMALIZERS, VocabularySnapper
from soundraft.models import Recognizer, ctc
from soundraft.models.tuning import Tuning, tuned
from soundraft.params.sections import Params
from soundraft.rewards import transcript_verifier
from soundraft.rewards.base import Verifier
from soundraft.runtime import UserError
from soundraft.tasks.steps import Rules
from soundraft.tracking import Tracker
from soundraft.training.learner import Augment, FitReport, Masking, Optimizing, Schedule, fit, spoken


def load_clips(
    dataset: Path,
    split: Split,
    recognizer: Recognizer,
    *,
    normalizer: str,
    indices: Sequence[int] | None = None,
    altered: Alteration | None = None,
) -> Utterances:
    """Clips of a dataset with the features that this recogniser takes, and their texts normalised.

    Args:
        altered: what is done to the samples before, for copies that are to be recognised beside the clips.
    """

    def extract(samples: np.ndarray) -> torch.Tensor:
        return recognizer.extract(altered.apply(samples) if altered else samples)

    clips = load_utterances(
        dataset,
        split,
        sample_rate_hz=recognizer.sample_rate_hz,
        extract=extract,
        depends={**recognizer.features_depend_on(), "altered": altered.name if altered else ""},
        indices=indices,
    )
    return replace(clips, texts=[NORMALIZERS[normalizer](text) for text in clips.texts])


def recognize(recognizer: Recognizer, clips: Utterances, *, normalizer: str, title: str) -> Scores:
    """Greedy transcripts of the clips, scored against their texts."""
    return score_texts(
        ids=clips.ids,
        references=clips.texts,
        hypotheses=transcribe(recognizer, clips, title=title),
        normalizer=NORMALIZERS[normalizer],
    )


# The verifier of a speech recognition run, from its params and what may be known of its language.


_REPLAY = "--replay on the command line, replay_dataset in Python"


def build(reward: Mapping[str, Any], *, texts: Sequence[str]) -> Verifier:
    """The verifier that the section `reward` of the params describes.

    Args:
        reward: the section, as a dict.
        texts: transcripts of the start corpus, for words and language of `kind: unsupervised`; never those of the
            target, which such a run must not know.

    Raises:
        UserError: when it is unsupervised with parts that need texts, and the start corpus has none.
    """
    try:
        return transcript_verifier(reward, texts=texts)
    except UserError as error:
        where = f"reward.unsupervised, with {len(texts)} texts of corpus.start"
        raise UserError(f"{where}: {error}; a run by name takes them from its replay dataset ({_REPLAY})") from error


# Speech recognition before RAFT: quality of the start model, its speed and memory on this machine.


def baseline(params: Params, model: Path, dataset: Path) -> tuple[dict[str, float], dict[str, Any], str]:
    """Quality, what the machine has to do with it, and both for a person."""
    options = params.benchmark
    normalizer = params.reward.normalizer
    recognizer = models.load_recognizer(model)
    quality: dict[str, float] = {}
    for corpus in ("start", "target"):
        clips = load_clips(dataset / corpus, "validation", recognizer, normalizer=normalizer)
        scored = recognize(recognizer, clips, normalizer=normalizer, title=f"validate {corpus}")
        quality |= scored.values(f"{corpus}_validation")
    table = open_split(dataset / "target", "validation").select_columns("wav")
    rows = table.select(range(min(options.clips, len(table))))
    waves = [io.decode(row["wav"]["bytes"], recognizer.sample_rate_hz) for row in rows]
    speed = vars(measure(recognizer, waves, warmup=options.warmup, repeats=options.repeats))
    machine = speed | {"peak_memory_gib": runtime.peak_memory_bytes() / 2**30}
    told = (
        f"WER start {quality['wer_start_validation']:.1%}, target {quality['wer_target_validation']:.1%} "
        f"(validation); real-time factor {machine['real_time_factor']:.4f} one by one, "
        f"{machine['batched_real_time_factor']:.4f} batched; latency p50 {1000 * machine['latency_p50_s']:.0f} ms, "
        f"p95 {1000 * machine['latency_p95_s']:.0f} ms"
    )
    return quality, machine, told


# The supervised start of speech recognition: a small network from scratch, or a pretrained checkpoint.


def start(params: Params, dataset: Path, out: Path, tracker: Tracker) -> str:
    """Train on a dataset that s5 built, and write model and metrics; what came of it, for a person."""
    recognizer = _open_model(params)
    report = _train(params, dataset, recognizer) if params.train.epochs else None
    clips = load_clips(dataset, "validation", recognizer, normalizer=params.reward.normalizer)
    scored = recognize(recognizer, clips, normalizer=params.reward.normalizer, title="validate")
    metrics = {
        **scored.values("start_validation"),
        "parameters": sum(weights.numel() for weights in recognizer.model.parameters()),
        "presentations": report.presentations if report else 0,
        "final_loss": report.final_loss if report else None,
    }
    if distributed.is_main():
        recognizer.save(out)
        files.write_json(out / "metrics.json", metrics)
    tracker.metrics(metrics)
    return f"WER {scored.value('wer'):.1%} on {len(clips)} validation clips of the start corpus"


def _open_model(params: Params) -> Recognizer:
    if params.model.checkpoint == "scratch":
        return ctc.build(**params.model.scratch.model_dump())
    options = params.model
    return models.load_recognizer(
        options.checkpoint, revision=options.revision or None, language=options.language or None
    )


def _train(params: Params, dataset: Path, recognizer: Recognizer) -> FitReport:
    """Teach the recogniser the start corpus, `train.epochs` times."""
    options = params.train
    clips = load_clips(dataset, "train", recognizer, normalizer=params.reward.normalizer)
    batches = [
        batch
        for epoch in range(options.epochs)
        for batch in shuffled_batches(
            clips.lengths,
            options.supervised.batch_size,
            seed=runtime.derive_seed(params.seed, "epoch", epoch),
        )
    ]
    random_weights = params.model.checkpoint == "scratch"  # they must all learn
    lora = options.lora.model_dump()
    tuning = Tuning.of(
        lora=lora | {"rank": 0} if random_weights else lora,
        freeze="none" if random_weights else options.freeze,
        gradient_checkpointing=options.gradient_checkpointing,
        precision=options.precision,
    )
    with tuned(recognizer, tuning):
        return fit(
            recognizer,
            spoken(clips.features, clips.texts),
            batches,
            schedule=Schedule(options.supervised.learning_rate, options.warmup_share, options.final_lr_share),
            optimizing=Optimizing(options.weight_decay, options.max_grad_norm, options.gradient_accumulation_steps),
            masking=Masking(**options.masking.model_dump()),
            title="supervised start",
        )


# What a cycle improves in speech recognition: recognisers, judged by their transcripts.


class Recognition:
    """The `Subject` of a cycle of speech recognition.

    Args:
        reward: the section `reward` of the params.
        texts: transcripts of the start corpus, which the verifier may know.
    """

    measured: Sequence[str] = ("target", "start")

    def __init__(self, reward: Mapping[str, Any], *, texts: Sequence[str]) -> None:
        self.judged_by = hashlib.sha256(repr((sorted(reward.items()), list(texts))).encode()).hexdigest()
        self.verifier = build(reward, texts=texts)
        self.altered: Sequence[Alteration] = ()
        if self.verifier.needs_perturbed:
            self.altered = alterations(**reward["perturbation"])
        self.normalizer: str = reward["normalizer"]

    def load_model(self, folder: Path) -> Recognizer:
        return models.load_recognizer(folder)

    def load_clips(
        self,
        dataset: Path,
        split: Split,
        recognizer: Recognizer,
        *,
        indices: Sequence[int] | None = None,
        altered: Alteration | None = None,
    ) -> Utterances:
        return load_clips(dataset, split, recognizer, normalizer=self.normalizer, indices=indices, altered=altered)

    def augment(self, recognizer: Recognizer, seed: int) -> Augment | None:
        return None

    def validate(self, recognizer: Recognizer, clips: Utterances, corpus: str) -> dict[str, float]:
        scored = recognize(recognizer, clips, normalizer=self.normalizer, title=f"validate {corpus}")
        return scored.values(f"{corpus}_validation")

    def describe(self, metrics: Mapping[str, Any]) -> str:
        rates = {name: metrics.get(f"wer_{name}_validation") for name in self.measured}
        known = ", ".join(f"{name} {rate:.1%}" for name, rate in rates.items() if rate is not None)
        return f"WER {known}" if known else ""


def rules(params: Params, dataset: Path) -> Rules:
    """Of a cycle of the pipeline, on a dataset that s5 built."""
    texts = list(open_split(dataset / "start", "train")["text"])
    subject = Recognition(params.reward.model_dump(), texts=texts)
    return Rules.of(subject, params.train.model_dump(), seed=params.seed)


# Every model of a run of speech recognition on the test split.


CORPORA = ("target", "start")


def evaluate(params: Params, chains: Path, dataset: Path, out: Path, tracker: Tracker) -> str:
    """Write tables, curves, predictions and errors of all models in `chains`; returns the table for the user."""
    bootstrap = Bootstrap(params.evaluate.bootstrap_samples, params.seed)
    results = list(_evaluate_all(params, chains, dataset))
    cycles = {
        int(path.parent.name): files.read_json(path) for path in sorted(chains.glob("raft/[0-9][0-9]/metrics.json"))
    }
    table = report.table(results, report.TEXT_COLUMNS, bootstrap)
    top = params.evaluate.table_rows
    report.write(out, results, report.TEXT_COLUMNS, bootstrap, text=f"{table}\n", top=top)
    plots.plot_error(out / "error.png", results, report.TEXT_COLUMNS, bootstrap)
    plots.plot_reward(out / "reward.png", cycles)
    report.track(tracker, results, report.TEXT_COLUMNS)
    for cycle, numbers in cycles.items():
        tracker.missing_metrics({f"raft/{key}": value for key, value in numbers.items()}, step=cycle)
    tracker.files(out)
    return f"Test set, {len(results[0].scores)} clips of the target corpus\n\n{table}"


def _evaluate_all(params: Params, chains: Path, dataset: Path) -> Iterator[Result]:
    """Score the start model, every cycle and every control; features are made once, for all models are akin."""
    # a run that reads no transcript of the target knows the words of the start corpus alone
    known = ("start",) if params.reward.kind == "unsupervised" else CORPORA
    words = {text for corpus in known for text in open_split(dataset / corpus, "train")["text"]}
    normalizer = params.reward.normalizer
    snapper = VocabularySnapper([word for text in words for word in NORMALIZERS[normalizer](text).split()])
    clips: dict[str, Utterances] = {}
    for model, folder in model_folders(chains, params.train.algorithm):
        recognizer = models.load_recognizer(folder)
        scored = {}
        for corpus in CORPORA:
            if corpus not in clips:
                clips[corpus] = load_clips(dataset / corpus, "test", recognizer, normalizer=normalizer)
            title = f"test {corpus}, {model.chain} {model.cycle}"
            scored[corpus] = recognize(recognizer, clips[corpus], normalizer=normalizer, title=title)
        others = {"snapped": snapped(scored["target"], snapper), "start_corpus": scored["start"]}
        yield Result(model, scored["target"], others)
