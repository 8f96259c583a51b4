"""Speech enhancement: noisy speech in, clean speech out; the reward is how near the result is to the clean speech."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import soxr
import torch

from soundraft import distributed, files, models, runtime
from soundraft.audio import io
from soundraft.audio.features import AudioPerturbation
from soundraft.audio.waveform import CleanSpeech, Waveform
from soundraft.clips.base import Clips, Facts, Featurizer, Loaded
from soundraft.clips.batches import Utterances, best_answers
from soundraft.clips.mixing import Mixer
from soundraft.clips.opening import TARGET
from soundraft.clips.pairs import check_pair
from soundraft.evaluation.results import NOISY, WIENER, Column, ModelId
from soundraft.evaluation.samples import Sample, Sound
from soundraft.evaluation.scores import METRICS, Scores, score_texts
from soundraft.manifest import Rejected, Split
from soundraft.metrics.resampling import Bootstrap
from soundraft.metrics.signal import LIMIT_DB, MEASURES, Quality, counts_of, si_sdr
from soundraft.metrics.text import normalizer
from soundraft.models.base import Model
from soundraft.models.enhancer import Candidate, CandidateReader, Enhancer, build, is_enhancer, load_enhancer
from soundraft.parallel import BadClip, progress_over
from soundraft.params.sections import Params
from soundraft.rewards.base import Verifier
from soundraft.rewards.enhancement import EnhancementReward
from soundraft.runtime import UserError
from soundraft.tables import markdown
from soundraft.tasks.base import Data, Task
from soundraft.tracking import Tracker
from soundraft.training.learner import Augment, EpochRow, EpochsReport, Example, Validation, examples_of, fit_epochs

COLUMNS = (
    Column("si_sdri", "ΔSI-SDR [95 % interval]", "si_sdri", interval=True,
           entries=("before", "after", "interval", WIENER)),
    Column("si_sdr", "SI-SDR", lambda scores: float(METRICS["si_sdri"].value(scores.counts["si_sdr"].sum(0))),
           "{:.2f} dB", entries=("before", "after", NOISY)),
    Column("estoi", "ESTOI [95 % interval]", "estoi", interval=True, entries=("before", "after", NOISY, WIENER)),
    Column("worse", "clips made worse", "worse", entries=("before", "after", WIENER)),
)  # fmt: skip
MEASURED = {"sdr": "{:.2f} dB", "stoi": "{:.1%}", "pesq": "{:.2f}", "dnsmos": "{:.2f}"}
SNR_STEP_DB = 5
SOUND_CLIPS = 12
ALIKE_DB = 1e-3  # the transform and its inverse change the last bits


class SpeechEnhancement(Task):
    metrics = ("si_sdri", "estoi", "worse")
    clips_are = "reference"
    columns = COLUMNS
    reads = ("enhancement.",)
    rate = "enhancement.trainer.cycle_learning_rate"
    target = TARGET  # of a pair; else the clean speech is the clip itself
    makes_targets = True

    def __init__(self, params: Params) -> None:
        super().__init__(params)
        self.options = params.enhancement
        self.train = params.train.model_copy(update={"learning_rate": self.options.trainer.cycle_learning_rate})
        self._reader = CandidateReader()
        self._talkers: dict[Split, Mapping[str, np.ndarray]] = {}  # the speech of each split that was loaded

    @classmethod
    def recognizes(cls, model: str) -> dict[str, Any] | None:
        """Of ours the options that it was trained with, so that it is measured on such mixtures."""
        if not is_enhancer(Path(model)):
            return None
        options = load_enhancer(Path(model)).options
        return {"task": "enhancement", **{f"enhancement.{key}": value for key, value in options.leaves().items()}}

    @classmethod
    def is_read(cls, key: str) -> bool:
        return super().is_read(key) and key != "train.learning_rate"  # it is trainer.cycle_learning_rate here

    def check(self, data: Data) -> list[str]:
        """That there are clips to choose by, and something to learn."""
        self.options.check_cycles(self.train)
        if not len(data.target.get("validation", [])):
            raise UserError("validation has no clips: the best epoch is found by them")
        return []

    def start_model(self, data: Data, out: Path, tracker: Tracker) -> str:
        """Weights of the epoch with the best SI-SDR on validation."""

        def log(row: EpochRow) -> None:
            tracker.metrics({f"epoch/{name}": value for name, value in vars(row).items()}, step=row.epoch)

        runtime.seed_torch(self.params.seed)
        model = build(self.options)
        validation = data.load(self, model, "target", "validation")
        report = None
        if self.options.learns:
            report = self._fit(model, data.load(self, model, "target", "train"), validation, log)
        scores = self.score(model, validation, title="validate")
        metrics: dict[str, Any] = {f"{key}_validation": scores.value(key) for key in self.metrics}
        metrics |= {
            "parameters": sum(weights.numel() for weights in model.model.parameters() if weights.requires_grad),
            "epochs": len(report.history) if report else 0,
            "best_epoch": report.best_epoch if report else 0,
        }
        if distributed.is_main():
            model.save(out)
            files.write_json(out / "metrics.json", metrics)
            history = report.history if report else []
            rows = [{name: each for name, each in vars(row).items() if name != "seconds"} for row in history]
            files.write_csv(out / "learning_curves.csv", rows)
        tracker.metrics(metrics)
        shown = ", ".join(f"{METRICS[key].title} {METRICS[key].show(scores.value(key))}" for key in self.metrics)
        return f"{self.options.network}: {shown} on {len(scores)} validation clips"

    def load_model(self, folder: Path) -> Model:
        """With the loss and the candidates of the params."""
        return load_enhancer(folder, loss=self.options.loss, candidates=self.options.candidates)

    def featurizer(self, model: Model, perturbation: AudioPerturbation | None = None) -> Featurizer:
        def compute(samples: np.ndarray, rate_hz: int) -> torch.Tensor:
            if not samples.any():
                raise BadClip("silent: every sample is 0")
            return model.extract(io.resample(io.to_mono(samples), rate_hz, model.sample_rate_hz))

        return Featurizer(compute, {**model.features_depend_on(), "soxr": soxr.__version__})

    def target_of(self, facts: Facts) -> bool:
        return True  # it is made of the audio

    def write_answer(self, answer: Candidate) -> Any:
        return answer.to_json()

    def read_answer(self, value: Any) -> Candidate:
        return self._reader.read(value)

    def describe_answer(self, answer: Any) -> str:
        if not isinstance(answer, Candidate):
            return "clean speech"
        return f"mask with noise {np.sqrt(np.mean(answer.noise**2)):.2f}" if answer.noise.size else "mask"

    def verifier(self, data: Data) -> Verifier:
        weights, rate_hz = self.options.reward, self.options.sample_rate_hz
        transcriber = self._recognizer().probabilities if weights.recognizer else None
        return EnhancementReward(weights, rate_hz=rate_hz, transcriber=transcriber)

    def augment(self, model: Model, seed: int) -> Augment | None:
        return Remixing(self._mixer("train", runtime.derive_seed(seed, "remixing")))

    def load(
        self, clips: Clips, model: Model, *, title: str, split: Split = "test", targets: bool = True, **options: Any
    ) -> Loaded:
        """With targets: each clip is mixed with noise, always in the same way, but one that brings its clean speech."""
        loaded = super().load(clips, model, title=title, split=split, targets=targets, **options)
        if not targets:
            return loaded
        mixed = self._mixed(loaded, split, title)
        self._check_bad(len(mixed.clips), mixed.rejected, targets, options.get("max_bad_fraction"))
        return mixed

    def score(self, model: Model, loaded: Loaded, *, title: str) -> Scores:
        answers = best_answers(model, loaded.utterances, self.params.decoding, title=title)
        if not loaded.has_targets:
            quieter = [_quieter(answer.samples, answer.of.noisy) for answer in answers]
            return Scores(loaded.clips.ids, quieter, paths=loaded.clips.paths)
        return self._scores(loaded, answers)

    def columns_of(self, scores: Scores) -> Sequence[Column]:
        more = (Column(key, METRICS[key].title, key, MEASURED[key]) for key in self.options.measures)
        return (*COLUMNS, *more)

    def untrained(self, test: Loaded) -> dict[str, Scores]:
        """The noisy input, and the Wiener filter."""
        filters = {NOISY: self._filter("identity"), WIENER: self._filter("wiener")}
        return {name: self.score(each, test, title=name) for name, each in filters.items()}

    def sections(
        self, data: Data, models: Sequence[tuple[ModelId, Path]], split: Split, bootstrap: Bootstrap
    ) -> list[str]:
        """What a recogniser makes of noisy and of enhanced speech, where transcripts are known."""
        if not self.options.recognizer:
            return []
        chosen = {str(which): self.load_model(place) for which, place in first_and_last(models)}
        loaded = data.load(self, next(iter(chosen.values())), "target", split)
        known = [place for place, facts in enumerate(loaded.clips.facts) if facts.get("text")]
        if not known:
            return []
        return [self._recognized(loaded.clips.part(known), loaded.utterances.part(known), chosen, bootstrap)]

    def sound_of(self, model: Model, features: Any, answer: Any) -> tuple[np.ndarray, int]:
        return answer.samples, model.sample_rate_hz

    def sounds(self, data: Data, models: Sequence[tuple[ModelId, Path]], split: Split) -> list[Sound]:
        """Of the first clip of each kind of noise and SNR: clean, noisy, and as the Wiener filter, the start model and
        the last cycle enhance it.
        """
        chosen = {str(which): (which.cycle, self.load_model(place)) for which, place in first_and_last(models)}
        loaded = data.load(self, next(iter(chosen.values()))[1], "target", split)
        ways = {WIENER: (0, self._filter("wiener")), **chosen}
        pairs = loaded.utterances.part(_one_of_each(loaded.utterances.targets)[:SOUND_CLIPS])
        return [sound for place in range(len(pairs)) for sound in self._sounds_of(pairs.part([place]), ways)]

    def _fit(self, model: Enhancer, train: Loaded, validation: Loaded, log: Any) -> EpochsReport:
        examples = examples_of(train.utterances.features, train.utterances.targets)
        before = _si_sdr(validation.utterances.targets, validation.utterances.features)

        def improvement() -> Validation:
            answers = best_answers(model, validation.utterances, self.params.decoding, title="validate")
            after = _si_sdr(validation.utterances.targets, answers)
            # a silent answer has no SI-SDR, and is worth the least that there is
            pairs = [(one.value, other.value) for one, other in zip(before, after, strict=True)]
            gains = np.array([(-LIMIT_DB if new is None else new) - old for old, new in pairs if old is not None])
            error = gains.std(ddof=1) / np.sqrt(len(gains)) if len(gains) > 1 else 0.0
            return Validation(float(gains.mean()), float(error), -gains)

        return fit_epochs(
            model, examples, self.options.trainer.of_epochs(), seed=self.params.seed, validate=improvement,
            augment=self.augment(model, self.params.seed), after_epoch=log,
        )  # fmt: skip

    def _mixer(self, split: Split, seed: int) -> Mixer:
        rate_hz, talkers = self.options.sample_rate_hz, self._talkers.get(split)
        return Mixer(self.options.mixing, rate_hz=rate_hz, split=split, seed=seed, talkers=talkers)

    def _mixed(self, loaded: Loaded, split: Split, title: str) -> Loaded:
        """The same clips as pairs: features are the noisy speech, targets the clean one."""
        clips, speech = loaded.clips, loaded.utterances.features
        self._talkers[split] = {name: each.numpy() for name, each in zip(clips.ids, speech, strict=True)}
        needed = any(self.target not in facts for facts in clips.facts)
        mixer = self._mixer(split, self.params.corpus.seed) if needed else None
        pairs, kept, rejected = Utterances([], [], []), [], list(loaded.rejected)
        for place in progress_over(range(len(clips)), total=len(clips), title=f"mix {title}", unit="clip"):
            name, facts = clips.ids[place], clips.facts[place]
            try:
                target = self._pair(name, facts, speech[place].numpy(), mixer)
            except (BadClip, FileNotFoundError) as error:
                rejected.append(Rejected(name, clips.paths[place] if clips.paths else name, str(error)))
                continue
            pairs.add(name, target, torch.from_numpy(target.noisy))
            kept.append(place)
        durations_s = [loaded.durations_s[place] for place in kept]
        return replace(loaded, clips=clips.part(kept), utterances=pairs, durations_s=durations_s, rejected=rejected)

    def _pair(self, name: str, facts: Facts, samples: np.ndarray, mixer: Mixer | None) -> CleanSpeech:
        text = {"text": facts["text"]} if facts.get("text") else {}
        if mixer is None or self.target in facts:
            rate_hz = self.options.sample_rate_hz
            clean = io.decode(files.read_file(Path(str(facts[self.target]))), rate_hz)
            check_pair((samples, rate_hz), (clean, rate_hz))
            return CleanSpeech(clean, name=name, noisy=samples, facts=text)
        mixed = mixer.pair(samples, id=name, epoch=0)
        return CleanSpeech(mixed.target, name=name, noisy=mixed.noisy, facts={**mixed.facts, **text}, source=samples)

    def _scores(self, loaded: Loaded, answers: Sequence[Candidate]) -> Scores:
        clips, targets, rate_hz = loaded.clips, loaded.utterances.targets, self.options.sample_rate_hz
        keys = ("estoi", *self.options.measures)
        before = _si_sdr(targets, [target.noisy for target in targets])
        measured: dict[str, list[Quality]] = {key: [] for key in ("si_sdr", "si_sdri", "worse", *keys)}
        shown = []
        for place in progress_over(range(len(clips)), total=len(clips), title="measure", unit="clip"):
            clean, found = targets[place].samples, answers[place].samples
            after = si_sdr(reference=clean, estimate=found)
            gain = _gain(before[place], after)
            measured["si_sdr"].append(after)
            measured["si_sdri"].append(Quality(gain))
            measured["worse"].append(Quality(None if gain is None else float(gain < -ALIKE_DB)))
            for key in keys:
                measured[key].append(MEASURES[key](clean, found, rate_hz))
            shown.append(after.reason if after.value is None else f"{after.value:.2f} dB")
        groups = {**clips.groups(but=""), **_groups(targets)}
        counts = {key: counts_of(values) for key, values in measured.items()}
        references = [_described(target) for target in targets]
        return Scores(clips.ids, shown, references, counts, paths=clips.paths, groups=groups)

    def _recognizer(self) -> "Listener":
        return Listener(self.params)

    def _filter(self, network: Literal["identity", "wiener"]) -> Enhancer:
        return build(self.options.model_copy(update={"network": network}))

    def _sounds_of(self, pair: Utterances, ways: Mapping[str, tuple[int, Model]]) -> list[Sound]:
        """Of one clip."""
        (name,), (target,), rate_hz = pair.ids, pair.targets, self.options.sample_rate_hz
        text = str(target.facts.get("text", ""))
        found = [
            Sound(Sample(name, "reference", text=text), target.samples, rate_hz),
            Sound(Sample(name, "input", text=_described(target), numbers=_numbers(target, target.noisy)), target.noisy,
                  rate_hz),
        ]  # fmt: skip
        for way, (cycle, model) in ways.items():
            (answer,) = best_answers(model, pair, self.params.decoding, title="samples")
            numbers = _numbers(target, answer.samples)
            found.append(Sound(Sample(name, "prediction", way, cycle, numbers=numbers), answer.samples, rate_hz))
        return found

    def _recognized(self, clips: Clips, pairs: Utterances, models: Mapping[str, Model], bootstrap: Bootstrap) -> str:
        """A table of error rates."""
        listener, texts = self._recognizer(), [str(facts["text"]) for facts in clips.facts]
        heard: dict[str, Sequence[np.ndarray]] = {
            "clean speech": [target.samples for target in pairs.targets],
            "noisy speech": [target.noisy for target in pairs.targets],
        }
        for name, model in {"the Wiener filter": self._filter("wiener"), **models}.items():
            answers = best_answers(model, pairs, self.params.decoding, title=f"enhance, {name}")
            heard[f"enhanced by {name}"] = [answer.samples for answer in answers]
        last = list(heard.values())[-1]
        heard["half of that, half noisy"] = [
            0.5 * (one + other.noisy) for one, other in zip(last, pairs.targets, strict=True)
        ]
        scores = {
            name: listener.score(clips.ids, samples, texts, title=f"recognise, {name}")
            for name, samples in heard.items()
        }
        noisy, rows = scores["noisy speech"], []
        for name, found in scores.items():
            metric = found.metrics[0]
            difference = "" if found is noisy else _difference(found, noisy, metric.key, bootstrap)
            rows.append((name, str(found.estimate(metric.key, bootstrap)), difference))
        title = noisy.metrics[0].title
        head = ("speech", f"{title} [95 % interval]", f"{title}, less that of noisy speech")
        about = f"What the recogniser {self.options.recognizer} makes of {len(clips)} clips."
        return "\n\n".join(["## Enhance, then recognise", about, markdown(head, rows)])


class Remixing:
    """Mixes clean speech anew each time that it is learned; a clip that came with its noise stays as it is."""

    def __init__(self, mixer: Mixer) -> None:
        self.mixer = mixer
        self.times: Counter[str] = Counter()

    def __call__(self, batch: Sequence[Example]) -> list[Example]:
        return [self._again(example) for example in batch]

    def _again(self, example: Example) -> Example:
        (answer, *others) = example.group.answers
        if others or not isinstance(answer, CleanSpeech) or answer.source is None:
            return example
        self.times[answer.name] += 1
        mixed = self.mixer.pair(answer.source, id=answer.name, epoch=self.times[answer.name])
        group = replace(example.group, answers=(Waveform(mixed.target),))
        return replace(example, features=torch.from_numpy(mixed.noisy), group=group)


class Listener:
    """A recogniser that is asked about samples at an enhancer's rate."""

    def __init__(self, params: Params) -> None:
        options = params.enhancement
        self.params, self.rate_hz = params, options.sample_rate_hz
        self.model = models.load_recognizer(options.recognizer, language=params.model.language or None)
        self.normalize = normalizer(params.reward.normalizer, params.model.language)

    def score(self, ids: Sequence[str], samples: Sequence[np.ndarray], texts: Sequence[str], *, title: str) -> Scores:
        clips = Utterances(list(ids), list(texts), self._features(samples))
        heard = best_answers(self.model, clips, self.params.decoding, title=title)
        return score_texts(ids=ids, references=texts, hypotheses=heard, normalizer=self.normalize)

    def probabilities(self, samples: Sequence[np.ndarray], text: str) -> list[float]:
        """The geometric mean of the probabilities of a transcript's tokens, of each way to enhance a clip."""
        self.model.model.eval()
        with torch.inference_mode():
            found = self.model.loss(self._features(samples), [[self.normalize(text)]] * len(samples))
        return [float(torch.exp(-each.losses[0])) for each in found]

    def _features(self, samples: Sequence[np.ndarray]) -> list[torch.Tensor]:
        own_hz = self.model.sample_rate_hz
        return [self.model.extract(io.resample(each, self.rate_hz, own_hz)) for each in samples]


def _si_sdr(targets: Sequence[CleanSpeech], found: Sequence[Any]) -> list[Quality]:
    """Of answers, or samples, or features."""
    return [
        si_sdr(reference=target.samples, estimate=np.asarray(getattr(each, "samples", each)))
        for target, each in zip(targets, found, strict=True)
    ]


def first_and_last(models: Sequence[tuple[ModelId, Path]]) -> list[tuple[ModelId, Path]]:
    """The start model, and the last of its cycles."""
    chain = sorted((each for each in models if each[0].of_run), key=lambda each: each[0].cycle)
    return [chain[0], *chain[1:][-1:]]


def _one_of_each(targets: Sequence[CleanSpeech]) -> list[int]:
    """Places of the first clip of each kind of noise and SNR."""
    seen: dict[Any, int] = {}
    for place, target in enumerate(targets):
        seen.setdefault((target.facts.get("noise"), target.facts.get("snr_db")), place)
    return list(seen.values())


def _numbers(target: CleanSpeech, found: np.ndarray) -> dict[str, float]:
    value = si_sdr(reference=target.samples, estimate=found).value
    return {} if value is None else {"si_sdr": value}


def _gain(before: Quality, after: Quality) -> float | None:
    return None if before.value is None or after.value is None else after.value - before.value


def _quieter(enhanced: np.ndarray, noisy: np.ndarray) -> str:
    energy, left = float(noisy @ noisy), float(enhanced @ enhanced)
    return f"{10 * np.log10(max(left, 1e-10 * energy) / energy):.1f} dB" if energy else "silent"


def _groups(targets: Sequence[CleanSpeech]) -> dict[str, list[str | None]]:
    """By noise, SNR and room, as far as they are known."""
    found: dict[str, list[str | None]] = {
        name: [None if target.facts.get(name) is None else str(target.facts[name]) for target in targets]
        for name in ("noise", "room")
    }
    found["snr"] = [_step(target.facts.get("snr_db")) for target in targets]
    return {name: values for name, values in found.items() if any(value is not None for value in values)}


def _step(snr_db: float | None) -> str | None:
    if snr_db is None:
        return None
    low = int(snr_db // SNR_STEP_DB * SNR_STEP_DB)
    return f"{low:+03d} to {low + SNR_STEP_DB:+03d} dB"


def _described(target: CleanSpeech) -> str:
    """The mixture in words, and a hash: results on other mixtures are not compared."""
    facts = target.facts
    noise = f"{facts['noise']} at {facts['snr_db']:.1f} dB, " if facts.get("noise") is not None else ""
    return f"{noise}{target.digest[:8]}"


def _difference(one: Scores, other: Scores, key: str, bootstrap: Bootstrap) -> str:
    middle, low, high = METRICS[key].show_difference(one.difference(other, key, bootstrap))
    return f"{middle} [{low} to {high}]"
