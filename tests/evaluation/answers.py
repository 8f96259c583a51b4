"""Models whose predictions are known: transcripts with as many wrong words as asked, labels right as often as asked."""

from typing import Any

import numpy as np

from soundraft.evaluation.results import ModelId, Result
from soundraft.evaluation.scores import Scores, majority, score_labels, score_texts, snapped
from soundraft.metrics.resampling import Bootstrap
from soundraft.metrics.text import VocabularySnapper, normalizer

BOOTSTRAP = Bootstrap(samples=200, seed=0)
CLIPS = 120
IDS = [f"clip{number:03d}" for number in range(CLIPS)]
LABELS = ["anger", "joy", "sad"]
TEXTS = ["turn on the light", "turn off the fan", "open the window", "stop"] * (CLIPS // 4)
SNAPPER = VocabularySnapper(" ".join(TEXTS).split())


def model(name: str, cycle: int = 0) -> ModelId:
    return ModelId("trained" if name in ("raft", "grpo") else name, name, cycle)


def texts(wrong: int, *, ids: list[str] = IDS, references: list[str] = TEXTS) -> Scores:
    """The first word of the first `wrong` clips is wrong."""
    hypotheses = [f"trn {text.partition(' ')[2]}" if at < wrong else text for at, text in enumerate(references)]
    return score_texts(
        ids=ids[: len(references)], references=references, hypotheses=hypotheses, normalizer=normalizer("basic")
    )


def text_result(name: str, cycle: int, wrong: int, **about: Any) -> Result:
    scores = texts(wrong, **about)
    return Result(model(name, cycle), scores, {"snapped": snapped(scores, SNAPPER), "start_corpus": texts(1)})


def labels(share: float, seed: int = 0, *, order: int = 1, names: list[str] = LABELS, **about: Any) -> Scores:
    """Exactly this share of the predictions is right; `order` -1: the rows are the other way round."""
    rng = np.random.default_rng(seed)
    right = np.arange(CLIPS) % 3
    found = np.where(rng.permutation(CLIPS) < share * CLIPS, right, (right + rng.integers(1, 3, CLIPS)) % 3)
    shares = rng.dirichlet(np.ones(3), CLIPS)
    shares[np.arange(CLIPS), found] += 1
    columns = np.zeros((CLIPS, len(names)))
    columns[:, [names.index(label) for label in LABELS]] = shares / 2
    given: dict[str, Any] = {
        "target": "emotion",
        "references": [LABELS[place] for place in right][::order],
        "groups": {"speaker": [f"s{number % 4}" for number in range(CLIPS)][::order], "one": [None] * CLIPS},
    }
    return score_labels(IDS[::order], columns[::order], names, **given | about)


def label_results(start: float, *cycles: float, svm: float = 0.5, **controls: float) -> list[Result]:
    first = labels(start, 50)
    trained = [Result(model("raft", number), labels(share, number)) for number, share in enumerate(cycles, 1)]
    own = [Result(model(name, number), labels(share)) for name, share in controls.items() for number in (1, 2)]
    others = [("majority", majority(["joy", "joy", "sad"], first)), ("svm", labels(svm, 60))]
    return [Result(model("start"), first), *trained, *(Result.baseline(*each) for each in others), *own]
