"""Text to speech: text and voice in, codec tokens out; the reward is what a recogniser hears, and how it sounds.

The start model learns the recordings of corpus.start: their codes, their phones with times, their voices. RAFT has it
speak the texts of corpus.target. A clip's answer is speech (`models.codec_lm.Speech`); as a target it is the
recording's own.
"""

import random
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from pathlib import Path
from typing import Any, cast

import numpy as np
import soxr
import torch

from soundraft import distributed, files, runtime
from soundraft.audio import codec, ecdc, io
from soundraft.audio.decoding import decode_batch
from soundraft.audio.features import AudioPerturbation
from soundraft.audio.tokenize import checkpoint_folder
from soundraft.clips.base import Clips, Facts, Featurizer, Loaded
from soundraft.clips.batches import Utterances, decode
from soundraft.corpora.espeak import PHONE_STARTS, PHONES
from soundraft.evaluation.judges import judge
from soundraft.evaluation.results import BEST_OF, CODEC, ORIGINAL, Column, ModelId, Result, last_trained
from soundraft.evaluation.samples import Sample, Sound
from soundraft.evaluation.scores import Scores, score_texts
from soundraft.manifest import Split
from soundraft.metrics.resampling import Bootstrap
from soundraft.metrics.slips import slips
from soundraft.metrics.text import normalizer
from soundraft.models import reading
from soundraft.models.base import Model, ModelError, Recognizer
from soundraft.models.codec_lm import (
    CodecLM,
    Config,
    Network,
    Speech,
    durations_of,
    is_codec_lm,
    load_codec_lm,
    noise_of,
)
from soundraft.models.ctc import CTCAdapter
from soundraft.models.listening import hear, open_recognizer, transcribe
from soundraft.models.reading import align
from soundraft.models.voices import VoiceEncoder
from soundraft.params.sections import Params
from soundraft.rewards.base import Evidence, Verifier, VerifyResult
from soundraft.rewards.speech import SpeechReward
from soundraft.rewards.speech import Spoken as Sounding
from soundraft.runtime import BadClip, UserError
from soundraft.tasks.base import NOT_READ, Data, Task
from soundraft.tasks.lines import Line, read_lines
from soundraft.tracking import Tracker
from soundraft.training.learner import examples_of, fit

KBPS_PER_CODEBOOK = ecdc.FRAMES_PER_S * ecdc.BITS_PER_CODE / 1000
RATE_HZ = ecdc.SAMPLE_RATE_HZ
TEXTS = "texts"  # what the ids of prompts begin with
JUDGE, OTHER = "judge", "other"  # of `Task.others`: what other recognisers hear
SPEAK_CLIPS = 64  # at once, when each is said once
EXAMPLES = 4  # texts of each voice that are kept with the model
SOUND_CLIPS = 6  # test clips whose sounds are kept


@dataclass(frozen=True, eq=False)
class Spoken(Scores):
    """Scores of speech, by what the rewarding recogniser hears; lists are parallel.

    Attributes:
        waves: at 24 kHz, `[N]` each.
        recorded_s: seconds of the recordings of the same texts.
    """

    waves: list[np.ndarray] = field(default_factory=list)
    recorded_s: list[float] = field(default_factory=list)

    @property
    def duration_ratio(self) -> float:
        """Seconds of speech to seconds of the recordings."""
        return sum(map(len, self.waves)) / RATE_HZ / sum(self.recorded_s)


def _duration_ratio(scores: Scores) -> float | None:
    return scores.duration_ratio if isinstance(scores, Spoken) else None


def _slips(scores: Scores, *, names: Sequence[str]) -> float:
    """Words with such slips (`metrics.slips`) to all words of the texts."""
    found = [
        slips(text=text, transcript=said)._asdict() for text, said in zip(scores.known, scores.predictions, strict=True)
    ]
    return sum(each[name] for each in found for name in names) / sum(each["words"] for each in found)


COLUMNS = (
    Column("wer", "WER [95 % interval]", "wer", interval=True,
           entries=("before", "after", "interval", "reduction", ORIGINAL, CODEC, BEST_OF)),
    Column("cer", "CER", "cer", entries=("before", "after", "curve")),
    Column("wer_judge", "second recogniser: WER", "wer", of=JUDGE, interval=True,
           entries=("before", "after", "curve", ORIGINAL, CODEC, BEST_OF)),
    Column("wer_other", "evaluate.judge: WER", "wer", of=OTHER, interval=True,
           entries=("before", "after", "curve", ORIGINAL, CODEC, BEST_OF)),
    Column("skipped", "words skipped", partial(_slips, names=("skipped", "cut_off")), entries=("before", "after")),
    Column("repeated", "said twice", partial(_slips, names=("repeated",)), entries=("before", "after")),
    Column("duration_ratio", "duration ÷ recording", _duration_ratio, "{:.2f}", entries=("before", "after")),
)  # fmt: skip


class Speaking(Task):
    metrics = ("wer", "cer")
    columns = COLUMNS
    reads = ("tts.", "encodec.checkpoint", "encodec.revision", "encodec.bandwidth_kbps")
    target = "text"
    takes_codes = True
    clips_are = "reference"

    def __init__(self, params: Params) -> None:
        super().__init__(params)
        self.options = params.tts
        self.language = params.corpus.target.language or "en"
        self.normalize = normalizer(params.reward.normalizer, self.language)
        self._transcripts: dict[Speech, str] = {}
        self._aligned: tuple[torch.Tensor, tuple[list[str], list[float]]] | None = None
        most = round(params.encodec.bandwidth_kbps / KBPS_PER_CODEBOOK)
        if self.options.codebooks > most:
            raise UserError(
                f"tts.codebooks: got {self.options.codebooks}; encodec.bandwidth_kbps: "
                f"{params.encodec.bandwidth_kbps:g} has {most}"
            )

    @classmethod
    def recognizes(cls, model: str) -> dict[str, Any] | None:
        if not is_codec_lm(Path(model)):
            return None
        config = load_codec_lm(Path(model)).config
        return {
            "task": "tts",
            "tts.units": "phones" if config.script == "espeak" else "letters",
            "tts.codebooks": config.codebooks,
            "encodec.checkpoint": config.codec["checkpoint"],
            "encodec.revision": config.codec["revision"],
        }

    @classmethod
    def is_read(cls, key: str) -> bool:
        return super().is_read(key) or key.startswith(NOT_READ)  # its start model is trained

    def check(self, data: Data) -> list[str]:
        notes = []
        if self._texts:
            notes.append(f"{self.options.texts}: {len(self._texts)} texts without recordings")
        if self.options.units == "phones":
            for corpus in ("start", "target"):
                for split, clips in data.splits(corpus).items():
                    lost = sum(PHONES not in facts for facts in clips.facts)
                    if lost:
                        raise UserError(
                            f"{corpus} {split}: {lost} of {len(clips)} clips have no phones, as the corpus espeak has "
                            "them when it is made for task tts; tts.units: letters takes any recordings"
                        )
        return notes

    def start_model(self, data: Data, out: Path, tracker: Tracker) -> str:
        corpus = "start" if "train" in data.start else "target"
        model = self._build(data.splits(corpus)["train"])
        loaded = data.load(self, model, corpus, "train")
        examples = examples_of(loaded.utterances.features, loaded.utterances.targets)
        report = fit(model, examples, self.params.train, seed=self.params.seed, title="supervised start")
        parameters = sum(weights.numel() for weights in model.model.parameters())
        metrics: dict[str, float] = {
            "parameters": parameters,
            "presentations": report.presentations,
            "final_loss": report.final_loss,
        }
        summary = f"{parameters:,} parameters, {len(model.config.voices)} voices"
        if "validation" in data.splits(corpus):
            scores = self.score(model, data.load(self, model, corpus, "validation"), title="validate start")
            metrics |= {f"{key}_start_validation": scores.value(key) for key in self.metrics}
            summary += f"; WER {scores.value('wer'):.1%} on {len(scores)} validation clips"
        if distributed.is_main():
            model.save(out)
            files.write_json(out / "metrics.json", metrics)
        tracker.metrics(metrics)
        return summary

    def load_model(self, folder: Path) -> CodecLM:
        model = load_codec_lm(folder)
        made, here = model.config.codec, self._codec_identity
        if made["weights"] != here["weights"]:
            raise UserError(
                f"{folder} speaks the codes of {made['checkpoint']}; encodec.checkpoint is {here['checkpoint']}, "
                "another codec"
            )
        return model

    def featurizer(self, model: Model, perturbation: AudioPerturbation | None = None) -> Featurizer:
        speaker = cast(CodecLM, model)

        def compute(samples: np.ndarray, rate_hz: int) -> torch.Tensor:
            wave = io.resample(io.to_mono(samples), rate_hz, RATE_HZ)
            codes = self._codec.encode(wave, self.params.encodec.bandwidth_kbps)
            return torch.from_numpy(codes.T.astype(np.int16))

        def known(facts: Facts) -> torch.Tensor | None:
            codes = facts.get("codes")
            return None if codes is None else torch.tensor(codes)  # a copy: tables are read-only

        def finish(codes: torch.Tensor, facts: Facts) -> torch.Tensor:
            return speaker.prompt(self._timed(codes, facts)[0], _voice_of(facts))

        def answer(codes: torch.Tensor, facts: Facts) -> Speech:
            starts = np.array(self._timed(codes, facts)[1]) * ecdc.FRAMES_PER_S
            own = self._learned_books(codes)
            text = self.normalize(str(facts["text"]))
            return Speech(own, durations_of(starts.tolist(), own.shape[1]), noise_of(facts.get("snr_db")), text)

        depends = {
            "codec": self._codec_identity["weights"],
            "bandwidth_kbps": self.params.encodec.bandwidth_kbps,
            "soxr": soxr.__version__,
        }
        return Featurizer(compute, depends, finish, answer, known)

    def prompts(self, model: Model, seed: int) -> Utterances:
        """Lines of `tts.texts`, each in its voice, or in one of the model's."""
        speaker, rng, found = cast(CodecLM, model), random.Random(seed), Utterances([], [], [])
        for line, text in rng.sample(self._texts, min(len(self._texts), self.options.texts_per_cycle)):
            voice = line.voice or rng.choice(speaker.config.voices)
            try:
                prompt = speaker.prompt(reading.units(text, voice, speaker.config.script), voice)
            except ModelError as error:
                raise UserError(f"tts.texts: {self.options.texts}, text {line.id}: {error}") from error
            asked = Speech(np.empty((0, 0), np.int16), np.empty(0, np.int16), text=self.normalize(text))
            found.add(f"{TEXTS}/{len(found):05d}/{line.id}", asked, prompt)
        return found

    def target_of(self, facts: Facts) -> str | None:
        text = facts.get("text")
        return None if text is None else self.normalize(str(text)) or None

    def write_answer(self, answer: Speech) -> Any:
        return answer.to_json()

    def read_answer(self, value: Any) -> Speech:
        return Speech.from_json(value)

    def describe_answer(self, answer: Speech) -> str:
        """What the recogniser heard."""
        return self._transcripts.get(answer, answer.text)

    def remember(self, answers: Sequence[Speech], transcripts: Sequence[str]) -> None:
        """What the recogniser heard of these answers."""
        self._transcripts |= zip(answers, transcripts, strict=True)

    def verifier(self, data: Data) -> Verifier:
        return self.verifier_alone()

    def verifier_alone(self) -> Verifier:
        """The same; it needs no clips."""
        return _Verifier(self)

    def score(self, model: Model, loaded: Loaded, *, title: str) -> Scores:
        speech = self._spoken(cast(CodecLM, model), loaded.utterances, title)
        return self._heard(loaded, self.waves_of(speech))

    def others(self, data: Data, scores: Scores) -> dict[str, Scores]:
        """What recognisers hear that no reward knows."""
        if not isinstance(scores, Spoken):
            return {}
        return {
            name: judge(
                recognizer, ids=scores.ids, texts=scores.known, waves=scores.waves, rate_hz=RATE_HZ,
                language=self.language,
            )
            for name, recognizer in ((JUDGE, self._judge), (OTHER, self._other)) if recognizer is not None
        }  # fmt: skip

    def untrained(self, test: Loaded) -> dict[str, Scores]:
        """The recordings themselves, and the codec alone."""
        originals = [io.decode(test.clips.audio(place), RATE_HZ) for place in range(len(test.clips))]
        codec = self.waves_of(test.utterances.targets)
        return {ORIGINAL: self._heard(test, originals), CODEC: self._heard(test, codec)}

    def baselines(self, data: Data, test: Loaded, model: Model, like: Scores) -> dict[str, Scores]:
        """Those, and the best of several utterances of the start model."""
        best = self.waves_of(self._best_of(data, test, model))
        return {**self.untrained(test), BEST_OF: self._heard(test, best)}

    def findings(self, results: Sequence[Result], bootstrap: Bootstrap) -> list[str]:
        """What the rewarding recogniser gains and the second one does not is reward hacking."""
        first, last = results[0], last_trained(results)
        if JUDGE not in last.others or first is last:
            return []
        own = last.scores.difference(first.scores, "wer", bootstrap)
        other = last.others[JUDGE].difference(first.others[JUDGE], "wer", bootstrap)
        line = f"WER by the rewarding recogniser {100 * own.difference:+.1f} points, by the second one "
        line += f"{100 * other.difference:+.1f} [{100 * other.low:+.1f} to {100 * other.high:+.1f}], p = "
        line += f"{other.p_value:.2g}"
        if own.high < 0 <= other.high:
            line += ": **what the reward gains the second recogniser does not confirm: reward hacking**"
        return [line + "."]

    def sound_of(self, model: Model, features: Any, answer: Speech) -> tuple[np.ndarray, int]:
        return self.wave_of(answer), RATE_HZ

    def sounds(self, data: Data, models: Sequence[tuple[ModelId, Path]], split: Split) -> list[Sound]:
        """Of the first test clips the recording, the codec alone, and what every model of the run says."""
        start = self.load_model(models[0][1])
        loaded = data.load(self, start, "target", split)
        places = range(min(SOUND_CLIPS, len(loaded.clips)))
        clips = loaded.utterances.part(places)
        spoken = {str(which): (which, self._spoken(self.load_model(folder), clips, f"sounds, {which}"))
                  for which, folder in models if which.of_run}  # fmt: skip
        found = []
        for place in places:
            about = Sample(clips.ids[place], "reference", text=clips.targets[place].text)
            original = io.decode(loaded.clips.audio(place), RATE_HZ)
            found.append(self._sound(replace(about, reason="recording"), original))
            found.append(self._sound(replace(about, reason="codec alone"), self.wave_of(clips.targets[place])))
            for name, (which, speech) in spoken.items():
                own = replace(about, role="prediction", model=name, cycle=which.cycle)
                found.append(self._sound(own, self.wave_of(speech[place])))
        return found

    def wave_of(self, speech: Speech) -> np.ndarray:
        """Samples `[N]` at 24 kHz."""
        return self._codec.decode(speech.codes.astype(np.int64))

    def waves_of(self, speech: Sequence[Speech]) -> list[np.ndarray]:
        """The same of many, faster, to within rounding."""
        return decode_batch(self._codec, [each.codes.astype(np.int64) for each in speech])

    def through_codec(self, samples: np.ndarray, rate_hz: int) -> np.ndarray:
        """What the codec leaves of samples `[N]`, at 24 kHz."""
        codes = self._codec.encode(io.resample(samples, rate_hz, RATE_HZ), self.params.encodec.bandwidth_kbps)
        return self._codec.decode(codes[: self.options.codebooks])

    def hear(self, waves: Sequence[np.ndarray]) -> list[str]:
        """What the rewarding recogniser hears."""
        return transcribe(self.recognizer, waves, RATE_HZ)

    def _sound(self, about: Sample, wave: np.ndarray) -> Sound:
        return Sound(replace(about, transcript=self.hear([wave])[0]), wave, RATE_HZ)

    def _build(self, train: Clips) -> CodecLM:
        """A model with random weights that knows the units and voices of these clips."""
        texts: dict[str, list[Sequence[str]]] = {_voice_of(facts): [] for facts in train.facts}
        for facts in train.facts:
            with suppress(UserError):  # a text that cannot be spoken: `load` rejects its clip with the reason
                texts[_voice_of(facts)].append(self._units(facts))
        examples = {voice: sorted(own, key=len)[-EXAMPLES:] for voice, own in sorted(texts.items())}
        options = self.options
        runtime.seed_torch(self.params.seed)
        return CodecLM(
            Network(
                Config(
                    codebooks=options.codebooks,
                    hidden_size=options.hidden_size,
                    layers=options.layers,
                    attention_heads=options.attention_heads,
                    units=tuple(sorted({unit for own in texts.values() for each in own for unit in each})),
                    voices=tuple(examples),
                    examples=examples,
                    script="espeak" if options.units == "phones" else "letters",
                    codec=self._codec_identity,
                    temperature=options.temperature,
                    noise=min(noise_of(facts.get("snr_db")) for facts in train.facts),
                )
            )
        )

    def _units(self, facts: Facts) -> Sequence[str]:
        if self.options.units == "phones":
            return str(facts.get(PHONES, "")).split()
        return reading.letters(self.normalize(reading.spoken(str(facts["text"]))))

    def _timed(self, codes: torch.Tensor, facts: Facts) -> tuple[Sequence[str], Sequence[float]]:
        """Units of a recording, and where each begins, seconds."""
        if self.options.units == "phones":
            if PHONES not in facts:
                raise BadClip("no phones")
            return str(facts[PHONES]).split(), facts[PHONE_STARTS]
        if (
            self._aligned is None or self._aligned[0] is not codes
        ):  # prompt and answer of a clip ask one after the other
            recognizer = self.recognizer
            if not isinstance(recognizer, CTCAdapter):
                raise UserError("tts.recognizer: letters are found by a CTC recogniser; this one is none")
            wave = self._codec.decode(codes.numpy().T.astype(np.int64))
            text = self.normalize(reading.spoken(str(facts["text"])))
            self._aligned = (codes, align(recognizer, wave, RATE_HZ, text))
        return self._aligned[1]

    def _learned_books(self, codes: torch.Tensor) -> np.ndarray:
        """`[T, …]` → int16 `[K, T]`"""
        if codes.shape[1] < self.options.codebooks:
            raise BadClip(f"{codes.shape[1]} codebooks; tts.codebooks is {self.options.codebooks}")
        return np.ascontiguousarray(codes[:, : self.options.codebooks].numpy().T)

    def _spoken(self, model: CodecLM, clips: Utterances, title: str) -> list[Speech]:
        """One utterance a clip, always the same one."""

        def draw(encoded: Any, ids: list[str]) -> list[Speech]:
            seeds = [runtime.derive_seed("speak", self.params.seed, name) for name in ids]
            drawn = model.sample(encoded, 1, temperature=self.options.temperature, seeds=seeds)
            return [speech for (speech,) in drawn]

        many = self.params.decoding.model_copy(update={"batch_clips": SPEAK_CLIPS})
        return decode(model, clips, draw, many, title=title)

    def _best_of(self, data: Data, test: Loaded, model: Model) -> list[Speech]:
        verifier, clips = self.verifier(data), test.utterances

        def draw(encoded: Any, ids: list[str]) -> Sequence[list[Speech]]:
            seeds = [runtime.derive_seed("best of", self.params.seed, name) for name in ids]
            return model.sample(encoded, self.options.best_of, temperature=self.options.temperature, seeds=seeds)

        chosen = []
        drawn = decode(model, clips, draw, self.params.decoding, title="best of several")
        evidence = [Evidence(*known) for known in zip(clips.targets, test.durations_s, strict=True)]
        for answers, found in zip(drawn, verifier.verify_all(drawn, evidence), strict=True):
            rewards = [-1.0 if each.reward is None else each.reward for each in found]
            chosen.append(answers[int(np.argmax(rewards))])
        return chosen

    def _heard(self, loaded: Loaded, waves: list[np.ndarray]) -> Scores:
        texts = [speech.text for speech in loaded.utterances.targets]
        scores = self._texts_of(loaded.clips.ids, texts, self.hear(waves))
        groups = loaded.clips.groups(but=self.target)
        return Spoken(
            scores.ids, scores.predictions, scores.references, scores.counts, groups=groups, waves=waves,
            recorded_s=loaded.durations_s,
        )  # fmt: skip

    def _texts_of(self, ids: Sequence[str], texts: Sequence[str], heard: Sequence[str]) -> Scores:
        return score_texts(ids=ids, references=texts, hypotheses=heard, normalizer=self.normalize)

    @cached_property
    def _texts(self) -> list[tuple[Line, str]]:
        """The lines of `tts.texts`, each with one of the pieces that it is spoken in."""
        if not self.options.texts:
            return []
        found = []
        for line in read_lines(self.options.texts, ""):
            try:
                found += [(line, piece) for piece in reading.pieces(reading.spoken(line.text))]
            except ModelError as error:
                raise UserError(f"tts.texts: {self.options.texts}, text {line.id}: {error}") from error
        return found

    @cached_property
    def _codec_folder(self) -> Path:
        options = self.params.encodec
        return checkpoint_folder(options.checkpoint, options.revision)

    @cached_property
    def _codec(self) -> codec.Codec:
        return codec.load(self._codec_folder)

    @cached_property
    def _codec_identity(self) -> dict[str, str]:
        options = self.params.encodec
        weights = files.sorted_files(self._codec_folder, [".safetensors"], recursive=False)
        return {
            "checkpoint": options.checkpoint,
            "revision": options.revision,
            "weights": files.content_hash(*weights),
        }

    @cached_property
    def recognizer(self) -> Recognizer:
        """Of the reward."""
        return open_recognizer(self.options.recognizer)

    @cached_property
    def _judge(self) -> Recognizer | None:
        return open_recognizer(self.options.judge) if self.options.judge else None

    @cached_property
    def _other(self) -> Recognizer | None:
        name = self.params.evaluate.judge
        return open_recognizer(name) if name else None


class _Verifier(Verifier):
    """`SpeechReward` of what the task's recogniser hears, when the codec has made sound of it."""

    def __init__(self, task: Speaking) -> None:
        self.task = task
        self.reward = SpeechReward(task.options.reward, language=task.language, hear=self._hear)
        self._encoder = VoiceEncoder() if task.options.reward.weights.consistency else None
        self._voice: tuple[np.ndarray | None, str] = (None, "no recording")  # of the clip's recording, else why not

    def verify_samples(self, hypotheses: Sequence[Any], evidence: Evidence) -> list[VerifyResult]:
        return self.verify_all([hypotheses], [evidence])[0]

    def verify_all(self, hypotheses: Sequence[Sequence[Any]], evidence: Sequence[Evidence]) -> list[list[VerifyResult]]:
        texts = [replace(each, reference=each.reference.text) for each in evidence]
        if self._encoder is None:
            return self.reward.verify_all(hypotheses, texts)
        found = []  # clip by clip: several voices may say one text
        for answers, text, each in zip(hypotheses, texts, evidence, strict=True):
            recording = each.reference
            self._voice = self._embedded(self.task.wave_of(recording)) if recording.frames else (None, "no recording")
            found += self.reward.verify_all([answers], [text])
        return found

    def _hear(self, answers: Sequence[Speech], texts: Sequence[str]) -> list[Sounding]:
        waves = self.task.waves_of(answers)
        heard = hear(self.task.recognizer, waves, RATE_HZ, texts)
        self.task.remember(answers, [each.transcript for each in heard])
        return [Sounding(wave, RATE_HZ, each, *self._similarity(wave)) for wave, each in zip(waves, heard, strict=True)]

    def _similarity(self, wave: np.ndarray) -> tuple[float | None, str]:
        """To the voice of the recording, which has been through the codec, too; else why it cannot be compared."""
        recorded, why = self._voice
        if recorded is None:
            return None, why
        own, why = self._embedded(wave)
        return (None, why) if own is None else (float(own @ recorded), "")

    def _embedded(self, wave: np.ndarray) -> tuple[np.ndarray | None, str]:
        """The voice of a wave, or why it is not known."""
        assert self._encoder is not None
        try:
            return self._encoder.embed(wave, RATE_HZ), ""
        except UserError as error:
            return None, str(error)


def _voice_of(facts: Facts) -> str:
    return str(facts.get("speaker") or "voice")
