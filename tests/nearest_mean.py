"""A task that the house does not have: speaker recognition by the nearest mean spectrum, all of it in this file."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file, save

from soundraft import files
from soundraft.audio import io
from soundraft.audio.features import AudioPerturbation
from soundraft.clips.base import Facts, Featurizer, Loaded, label_of
from soundraft.clips.batches import decode
from soundraft.evaluation.results import Column
from soundraft.evaluation.scores import Scores, majority, score_labels
from soundraft.models.base import LogProbs, by_clip, rows_of_clips
from soundraft.models.base import Model as AnyModel
from soundraft.params.tasks import TaskEntry
from soundraft.rewards.labels import LabelReward
from soundraft.tasks.base import Data, Task
from soundraft.tracking import Tracker

NAME = "speaker"
BANDS = 64


class NearestMean:
    """The mean log spectrum of each speaker; a clip is the nearer one's the more likely."""

    sample_rate_hz = 8000
    takes_masking = False

    def __init__(self, labels: Sequence[str]) -> None:
        self.labels = list(labels)
        self.model: Any = torch.nn.Embedding(len(labels), BANDS)

    def extract(self, samples: np.ndarray) -> torch.Tensor:
        spectrum = np.abs(np.fft.rfft(samples, 2 * BANDS * 16))[1:]
        return torch.from_numpy(np.log(1e-3 + spectrum.reshape(BANDS, -1).mean(1))[None].astype(np.float32))

    def features_depend_on(self) -> dict[str, Any]:
        return {"nearest mean": BANDS}

    def encode(self, features: Sequence[torch.Tensor]) -> torch.Tensor:
        with torch.inference_mode():
            return self._log_probs(features)

    def best(self, encoded: torch.Tensor) -> list[str]:
        return [self.labels[index] for index in encoded.argmax(1).tolist()]

    def sample(self, encoded: torch.Tensor, count: int, *, temperature: float, seeds: Sequence[int]) -> list[list[str]]:
        drawn = []
        for log_probs, seed in zip(encoded, seeds, strict=True):
            generator = torch.Generator().manual_seed(seed)
            indices = torch.multinomial(torch.softmax(log_probs / temperature, 0), count, True, generator=generator)
            drawn.append([self.labels[index] for index in indices.tolist()])
        return drawn

    def can_learn(self, answer: str) -> bool:
        return answer in self.labels

    def loss(self, features: Sequence[torch.Tensor], answers: Sequence[Sequence[str]]) -> Sequence[LogProbs]:
        indices = torch.tensor([self.labels.index(answer) for group in answers for answer in group])
        chosen = self._log_probs(features)[rows_of_clips(answers), indices]
        ones = torch.ones_like(indices)
        return by_clip(LogProbs(chosen, ones, ones.bool()), answers)

    def save(self, folder: Path) -> None:
        files.write_json(folder / "config.json", {"labels": self.labels})
        files.write_bytes(folder / "means.safetensors", save({"means": self.model.weight.detach().contiguous()}))

    def _log_probs(self, features: Sequence[torch.Tensor]) -> torch.Tensor:
        clips = torch.stack([clip.mean(0) for clip in features])
        return torch.log_softmax(-torch.cdist(clips, self.model.weight).square(), 1)


class SpeakerRecognition(Task):
    metrics = ("accuracy",)
    columns = (Column("accuracy", "accuracy [95 % interval]", "accuracy", interval=True),)
    target = "speaker"

    @classmethod
    def recognizes(cls, model: str) -> dict[str, Any] | None:
        return {"task": NAME} if (Path(model) / "means.safetensors").is_file() else None

    def start_model(self, data: Data, out: Path, tracker: Tracker) -> str:
        model = NearestMean(sorted(set(data.target["train"].known_labels("speaker"))))
        clips = data.load(self, model, "target", "train").utterances
        with torch.no_grad():
            for index, label in enumerate(model.labels):
                own = [features for features, text in zip(clips.features, clips.targets, strict=True) if text == label]
                model.model.weight[index] = torch.cat(own).mean(0)
        model.save(out)
        files.write_json(out / "metrics.json", {"speakers": len(model.labels)})
        return f"{len(model.labels)} speakers"

    def load_model(self, folder: Path) -> NearestMean:
        model = NearestMean(files.read_json(folder / "config.json")["labels"])
        model.model.load_state_dict({"weight": load_file(folder / "means.safetensors")["means"]})
        return model

    def featurizer(self, model: AnyModel, perturbation: AudioPerturbation | None = None) -> Featurizer:
        def compute(samples: np.ndarray, rate_hz: int) -> torch.Tensor:
            return model.extract(io.resample(io.to_mono(samples), rate_hz, model.sample_rate_hz))

        return Featurizer(compute, model.features_depend_on())

    def target_of(self, facts: Facts) -> str | None:
        return label_of(facts.get("speaker"))

    def verifier(self, data: Data) -> LabelReward:
        labels = sorted(set(data.target["train"].known_labels("speaker")))
        return LabelReward(self.params.reward.labels, labels=labels)

    def score(self, model: Any, loaded: Loaded, *, title: str) -> Scores:
        rows = decode(model, loaded.utterances, lambda encoded, _: list(encoded.exp().double().numpy()),
                      self.params.decoding, title=title)  # fmt: skip
        references = loaded.utterances.targets if loaded.has_targets else None
        return score_labels(loaded.clips.ids, np.stack(rows), model.labels, target="speaker", references=references)

    def baselines(self, data: Data, test: Loaded, model: AnyModel, like: Scores) -> dict[str, Scores]:
        return {"majority": majority(data.target["train"].known_labels("speaker"), like)}


ENTRY = TaskEntry("tests.nearest_mean:SpeakerRecognition", "speaker recognition by the nearest mean")  # the one line
