"""What a cycle improves in audio classification: classifiers, judged by the right label."""

import hashlib
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, cast

from soundraft.audio.perturb import Alteration
from soundraft.dataset.loader import Utterances
from soundraft.evaluation.classification import check_labels, scores
from soundraft.manifest import Split
from soundraft.models.base import Recognizer
from soundraft.models.classifier import AudioClassifier
from soundraft.models.classifier_files import load_classifier
from soundraft.params.sections import Params
from soundraft.rewards.base import Verifier
from soundraft.rewards.labels import LabelReward
from soundraft.runtime import UserError
from soundraft.tasks import classification
from soundraft.tasks.cycle import Rules
from soundraft.tasks.labelled import from_dataset, hear
from soundraft.training.supervised import Augment


class Judged:
    """The `Subject` of a cycle of classification.

    Args:
        target: the fact that is told.
        labels: all there are.
        reward: the section `reward.labels` of the params.
        augment: the section `classification.augment`.
    """

    measured: Sequence[str] = ("target",)
    altered: Sequence[Alteration] = ()

    def __init__(
        self, target: str, labels: Sequence[str], *, reward: Mapping[str, Any], augment: Mapping[str, Any]
    ) -> None:
        self.target = target
        # the samples of a later round depend on how the clips of an earlier one were altered
        told_apart = (target, list(labels), sorted(reward.items()), sorted(augment.items()))
        self.judged_by = hashlib.sha256(repr(told_apart).encode()).hexdigest()
        aliases: dict[str, list[str]] = defaultdict(list)
        for pair in reward["aliases"]:
            label, _, alias = pair.partition("=")
            aliases[label].append(alias)
        names = {key: reward[key] for key in ("ignore_case", "fuzzy_threshold")}
        try:
            self.verifier: Verifier = LabelReward(labels=labels, aliases=aliases, **names)
        except UserError as error:
            raise UserError(f"reward.labels (ignore_case, aliases): {error}") from error
        self._augment = dict(augment)

    def load_model(self, folder: Path) -> Recognizer:
        return load_classifier(folder)

    def load_clips(
        self,
        dataset: Path,
        split: Split,
        recognizer: Recognizer,
        *,
        indices: Sequence[int] | None = None,
        altered: Alteration | None = None,
    ) -> Utterances:
        clips = from_dataset(dataset, split)
        title = f"features {dataset.name}/{split}"
        heard = hear(
            clips if indices is None else clips.part(indices), _classifier(recognizer), target=self.target, title=title
        )
        check_labels(_classifier(recognizer).labels, heard.utterances.texts, split=split)
        return heard.utterances

    def augment(self, recognizer: Recognizer, seed: int) -> Augment | None:
        return classification.augmenter(_classifier(recognizer), self._augment, weights=None, seed=seed)

    def validate(self, recognizer: Recognizer, clips: Utterances, corpus: str) -> dict[str, float]:
        """As the protocol says; by the target's clips the model is also calibrated anew, its weights are others now."""
        classifier = _classifier(recognizer)
        if corpus == "target":
            classification.calibrate(classifier, clips)
        found = scores(classification.answers(classifier, clips, target=self.target, title=f"validate {corpus}"))
        return {f"accuracy_{corpus}_validation": found.accuracy, f"uar_{corpus}_validation": found.macro.recall}

    def describe(self, metrics: Mapping[str, Any]) -> str:
        accuracy, uar = (metrics.get(f"{name}_target_validation") for name in ("accuracy", "uar"))
        return "" if accuracy is None else f"accuracy {accuracy:.1%}, UAR {uar:.1%}"


def rules(params: Params, dataset: Path) -> Rules:
    """Of a cycle of the pipeline, on a dataset that s5 built."""
    target = params.classification.target
    labels = sorted(set(from_dataset(dataset / "target", "train").known_labels(target)))
    subject = Judged(
        target, labels, reward=params.reward.labels.model_dump(), augment=params.classification.augment.model_dump()
    )
    # the start corpus is the target itself: to replay it would be to learn the references beside the samples
    own = {"learning_rate": params.classification.trainer.cycle_learning_rate, "replay_fraction": 0.0}
    return Rules.of(subject, params.train.model_dump() | own, seed=params.seed)


def _classifier(recognizer: Recognizer) -> AudioClassifier:
    return cast(AudioClassifier, recognizer)
