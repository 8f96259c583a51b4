"""What a cycle improves in speech recognition: recognisers, judged by their transcripts."""

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from soundraft import models
from soundraft.audio.perturb import Alteration, alterations
from soundraft.dataset.loader import Utterances, open_split
from soundraft.manifest import Split
from soundraft.models import Recognizer
from soundraft.params.sections import Params
from soundraft.tasks import asr, asr_reward
from soundraft.tasks.cycle import Rules
from soundraft.training.supervised import Augment


class Recognition:
    """The `Subject` of a cycle of speech recognition.

    Args:
        reward: the section `reward` of the params.
        texts: transcripts of the start corpus, which the verifier may know.
    """

    measured: Sequence[str] = ("target", "start")

    def __init__(self, reward: Mapping[str, Any], *, texts: Sequence[str]) -> None:
        self.judged_by = hashlib.sha256(repr((sorted(reward.items()), list(texts))).encode()).hexdigest()
        self.verifier = asr_reward.build(reward, texts=texts)
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
        return asr.load_clips(dataset, split, recognizer, normalizer=self.normalizer, indices=indices, altered=altered)

    def augment(self, recognizer: Recognizer, seed: int) -> Augment | None:
        return None

    def validate(self, recognizer: Recognizer, clips: Utterances, corpus: str) -> dict[str, float]:
        scored = asr.recognize(recognizer, clips, normalizer=self.normalizer, title=f"validate {corpus}")
        return {f"wer_{corpus}_validation": scored.wer, f"cer_{corpus}_validation": scored.cer}

    def describe(self, metrics: Mapping[str, Any]) -> str:
        rates = {name: metrics.get(f"wer_{name}_validation") for name in self.measured}
        known = ", ".join(f"{name} {rate:.1%}" for name, rate in rates.items() if rate is not None)
        return f"WER {known}" if known else ""


def rules(params: Params, dataset: Path) -> Rules:
    """Of a cycle of the pipeline, on a dataset that s5 built."""
    texts = list(open_split(dataset / "start", "train")["text"])
    subject = Recognition(params.reward.model_dump(), texts=texts)
    return Rules.of(subject, params.train.model_dump(), seed=params.seed)
