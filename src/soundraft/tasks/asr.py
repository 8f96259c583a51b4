"""Speech recognition: audio in, text out; the reward is 1 − WER, or what can be checked without transcripts."""

import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import soxr
import torch

from soundraft import distributed, files, models
from soundraft.audio import io
from soundraft.audio.features import AudioPerturbation, perturbations
from soundraft.clips.base import Clips, Facts, Featurizer, Loaded
from soundraft.clips.batches import decode
from soundraft.evaluation.results import Column
from soundraft.evaluation.scores import METRICS, RAW, Scores, rescored, score_texts, snapped
from soundraft.metrics.text import VocabularySnapper, are_unspaced, is_english, normalizer
from soundraft.models import checkpoints, ctc
from soundraft.models.base import Model, Recognizer
from soundraft.models.tuning import tuned
from soundraft.models.whisper import WhisperAdapter
from soundraft.params.sections import ALONE, GENERATING, Params, Train
from soundraft.rewards import transcript_verifier
from soundraft.rewards.base import Verifier
from soundraft.runtime import BadClip, UserError
from soundraft.tasks.base import Data, Task
from soundraft.tracking import Tracker
from soundraft.training.learner import FitReport, examples_of, fit

SPARE_S = 12  # behind the longest clip: with 6 s Whisper tiny.en repeated itself in 10 of 120 clips, with 11 s in one
# what each text normalisation makes equal, and which are worth a try where another one was used
_MADE_EQUAL = {
    "basic": "upper and lower case and punctuation",
    "spoken-digits": "numbers, which one side has in digits and the other in words",
    "whisper-english": "spelling, contractions and fillers",
    "whisper-multilingual": "punctuation and words in brackets",
}
_NEXT = {
    "none": ("basic", "spoken-digits", "whisper-english"),
    "basic": ("spoken-digits", "whisper-english"),
    "whisper-english": ("spoken-digits",),
    "whisper-multilingual": ("spoken-digits",),
    "spoken-digits": ("whisper-english",),
}
_ENGLISH = ("spoken-digits", "whisper-english")


def _short_clips(model: Model, data: Data) -> list[str]:
    """A note where all clips fill little of a Whisper's window."""
    if not isinstance(model, WhisperAdapter) or model.window_s is None:
        return []
    known = [float(facts.get("duration") or math.inf) for clips in data.target.values() for facts in clips.facts]
    longest_s = max(known, default=math.inf)
    if longest_s == math.inf:  # a length is not known
        return []
    window_s = math.ceil(longest_s) + SPARE_S
    if window_s > 0.6 * model.window_s:
        return []
    return [
        f"the longest clip lasts {longest_s:.1f} s of the model's window of {model.window_s:.0f} s: "
        f"model.window_s={window_s} would take about {window_s / model.window_s:.0%} of the time"
    ]


def columns_by(first: str, second: str) -> tuple[Column, ...]:
    """The columns of a report whose headline is WER or CER."""
    head, other = METRICS[first].title, METRICS[second].title

    def edits(key: str, place: int) -> Column:
        return Column(key, key, lambda scores: scores.counts[METRICS[first].counts][:, place].sum(), "{}", entries=())

    return (
        Column(first, f"{head} [95 % interval]", first, interval=True,
               entries=("before", "after", "interval", "reduction")),
        Column(second, other, second, entries=("after", "curve")),
        *(edits(key, place) for place, key in enumerate(("sub", "del", "ins"), start=1)),
        Column(f"{first}_snapped", f"{head}, words snapped", first, of="snapped", interval=True,
               entries=("before", "after", "curve")),
        Column(f"{first}_start", f"start corpus {head}", first, of="start_corpus",
               entries=("before", "after", "curve")),
    )  # fmt: skip


class Recognition(Task):
    metrics = ("wer", "cer")
    columns = columns_by("wer", "cer")
    reads = ("model.revision", "model.language", "model.window_s", "limits.max_clip_s")
    target = "text"

    def __init__(self, params: Params) -> None:
        super().__init__(params)
        self.language = params.model.language or params.corpus.target.language
        self.normalize = normalizer(params.reward.normalizer, self.language)
        reward = params.reward
        self.needs_targets = reward.kind != "unsupervised" or learns_transcripts(params.train)
        if reward.kind == "unsupervised" and reward.unsupervised.weights.stability:
            self.perturbed = perturbations(reward.perturbation)

    @classmethod
    def recognizes(cls, model: str) -> dict[str, Any] | None:
        return {"task": "asr", "model.checkpoint": model, "train.epochs": 0}

    @classmethod
    def started_from(cls, model: str | None) -> dict[str, Any]:
        return ALONE | ({} if model is None else {"model.checkpoint": model})

    def check(self, data: Data) -> list[str]:
        """Transcripts with characters that the model cannot write: a note, or where they are learned, an error."""
        model = self.initial_model()
        notes = []
        for name, clips in (("train", data.target["train"]), ("replay", data.start.get("train"))):
            texts = self._texts(clips)
            missing = {letter for letter in set("".join(texts)) - {" "} if not model.can_learn(letter)}
            count = sum(not missing.isdisjoint(text) for text in texts)
            if not count:
                continue
            found = f"{name}: {count} of {len(texts)} texts have characters that the model cannot write: "
            found += " ".join(sorted(missing))
            if name == "replay" or learns_transcripts(self.params.train):
                raise UserError(f"{found}; reward.normalizer: basic may help")
            notes.append(f"{found}; such words always count as errors")
        return notes + _short_clips(model, data)

    def start_model(self, data: Data, out: Path, tracker: Tracker) -> str:
        model = self.initial_model()
        report = self._train_start(data, model) if self.params.train.epochs else None
        metrics: dict[str, float | None] = {}
        parameters = sum(weights.numel() for weights in model.model.parameters())
        summary = f"{parameters:,} parameters"
        if "validation" in data.start:
            validation = data.load(self, model, "start", "validation")
            scores = self.score(model, validation, title="validate start")
            metrics |= {f"{key}_start_validation": scores.value(key) for key in self.metrics}
            first = METRICS[self.ranked(scores.known)[0]]
            summary = (
                f"{first.title} {scores.value(first.key):.1%} on {len(scores)} validation clips of the start corpus"
            )
        metrics |= {
            "parameters": parameters,
            "presentations": report.presentations if report else 0,
            "final_loss": report.final_loss if report else None,
        }
        if distributed.is_main():
            model.save(out)
            files.write_json(out / "metrics.json", metrics)
        tracker.metrics(metrics)
        return summary

    def initial_model(self) -> Model:
        """The checkpoint, or the network that `scratch` builds."""
        options = self.params.model
        return ctc.build(options.scratch) if options.checkpoint == "scratch" else self.open_model(options.checkpoint)

    def suited(self) -> dict[str, Any]:
        """A model that writes token by token pays for each sample."""
        options = self.params.model
        name = checkpoints.place_of(options.checkpoint)
        config = checkpoints.config_of(name, options.revision or None)
        return GENERATING if config.is_encoder_decoder else {}

    def load_model(self, folder: Path) -> Model:
        return models.load_recognizer(folder)

    def open_model(self, name: str) -> Model:
        options = self.params.model
        return models.load_recognizer(
            name,
            revision=options.revision or None,
            language=options.language or None,
            window_s=options.window_s,
        )

    def usual(self, model: Model) -> dict[str, Any]:
        """Whisper's own text normalisation, by which its figures are published."""
        if not isinstance(model, WhisperAdapter):
            return {}
        return {"reward.normalizer": "whisper-english" if is_english(model.language) else "whisper-multilingual"}

    def featurizer(self, model: Model, perturbation: AudioPerturbation | None = None) -> Featurizer:
        rate_hz, longest_s = model.sample_rate_hz, self.params.limits.max_clip_s

        def compute(samples: np.ndarray, source_hz: int) -> torch.Tensor:
            if len(samples) > longest_s * source_hz:
                seconds = len(samples) / source_hz
                raise BadClip(f"{seconds:.0f} s long; the longest clip is {longest_s:g} s (limits.max_clip_s)")
            mono = io.resample(io.to_mono(samples), source_hz, rate_hz)
            return model.extract(perturbation.apply(mono) if perturbation else mono)

        change = perturbation.name if perturbation else ""
        versions = {"sample_rate_hz": rate_hz, "soxr": soxr.__version__}
        return Featurizer(compute, {**model.features_depend_on(), "perturbation": change, **versions})

    def target_of(self, facts: Facts) -> str | None:
        text = facts.get("text")
        return None if text is None else self.normalize(str(text))

    def verifier(self, data: Data) -> Verifier:
        texts = [str(text) for text in data.start["train"].values("text") if text] if data.start else []
        try:
            return transcript_verifier(self.params.reward, texts=texts, language=self.language)
        except UserError as error:
            where = f"reward.unsupervised, with {len(texts)} texts of the start corpus"
            hint = "without the pipeline the replay dataset (--replay, replay_dataset) is the start corpus"
            raise UserError(f"{where}: {error}; {hint}") from error

    def score(self, model: Model, loaded: Loaded, *, title: str) -> Scores:
        recognizer, decoding = cast(Recognizer, model), self.params.decoding

        def transcribe(encoded: Any, _: Sequence[str]) -> list[str]:  # as `soundraft transcribe` does
            return recognizer.best_with_fallback(encoded, decoding.fallback)

        texts = decode(recognizer, loaded.utterances, transcribe, decoding, title=title)
        if not loaded.has_targets:
            return Scores(loaded.clips.ids, texts, paths=loaded.clips.paths)
        scores = score_texts(
            ids=loaded.clips.ids, references=loaded.utterances.targets, hypotheses=texts, normalizer=self.normalize
        )
        raw = [str(facts.get("text") or "") for facts in loaded.clips.facts], texts
        return replace(scores, raw=dict(zip(RAW, raw, strict=True)))

    def hints(self, scores: Scores) -> list[str]:
        hint = spelling_hint(scores, self.ranked(scores.known)[0], self.params.reward.normalizer, self.language)
        return [hint] if hint else []

    def ranked(self, targets: Sequence[str]) -> Sequence[str]:
        return sorted(self.metrics, key="cer".__ne__) if are_unspaced(targets) else self.metrics

    def columns_of(self, scores: Scores) -> Sequence[Column]:
        return columns_by(*self.ranked(scores.known))

    def note_learned(self, model: Model, durations_s: Sequence[float]) -> None:
        cast(Recognizer, model).note_learned(durations_s)

    def others(self, data: Data, scores: Scores) -> dict[str, Scores]:
        """The words, each snapped to the nearest word of the training texts; nothing where words have no spaces."""
        # a run that reads no transcript of the target has the words of the start corpus alone
        known = [data.start.get("train"), data.target.get("train") if self.needs_targets else None]
        words = {word for clips in known for text in self._texts(clips) for word in text.split()}
        if not words or are_unspaced(scores.known):
            return {}
        return {"snapped": snapped(scores, VocabularySnapper(sorted(words)))}

    def _texts(self, clips: Clips | None) -> list[str]:
        """The normalised transcripts of those clips that have one."""
        found = [] if clips is None else [self.target_of(facts) for facts in clips.facts]
        return [text for text in found if text is not None]

    def _train_start(self, data: Data, model: Model) -> FitReport:
        """Teach the model the start corpus, `train.epochs` times."""
        options = self.params.train
        loaded = data.load(self, model, "start", "train")
        clips = loaded.utterances
        if self.params.model.checkpoint == "scratch":  # random weights must all learn
            full = options.lora.model_copy(update={"rank": 0})
            options = options.model_copy(update={"lora": full, "freeze": "none"})
        with tuned(model, options):
            examples = examples_of(clips.features, clips.targets)
            self.note_learned(model, loaded.durations_s)
            return fit(model, examples, options, seed=self.params.seed, title="supervised start")


def learns_transcripts(train: Train) -> bool:
    """Whether the transcripts of the training clips go into the loss."""
    return train.algorithm == "sft" or train.reference_weight > 0


def spelling_hint(scores: Scores, key: str, used: str, language: str = "") -> str:
    """Which text normalisation takes away at least half of an error rate, and its rate with it; empty where none does.

    Args:
        scores: of transcripts, with their raw texts.
        key: of the error rate.
        used: the text normalisation by which they were scored.
        language: of the texts, empty where it is not known.
    """
    metric, found = METRICS[key], ""
    lowest = before = scores.value(key)
    for other in _NEXT[used] if before else ():
        if other in _ENGLISH and language and not is_english(language):
            continue
        again = rescored(scores, normalizer(other, language))
        if again.value(key) <= lowest / 2:
            lowest, found = again.value(key), other
    if not found:
        return ""
    return (
        f"most errors are {_MADE_EQUAL[found]}: {metric.title} is {metric.show(lowest)} with --normalizer {found} "
        f"(reward.normalizer), {metric.show(before)} with {used}"
    )
