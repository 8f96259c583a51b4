"""What a run learns from and is measured on: its splits, opened, checked and made ready for a model."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch

from soundraft.audio.perturb import Alteration
from soundraft.corpora.samples import AudioSample
from soundraft.manifest import Rejected, Split, check_bad_fraction
from soundraft.metrics.text import NORMALIZERS
from soundraft.models import ModelError, Recognizer
from soundraft.params.sections import Params
from soundraft.runtime import UserError
from soundraft.tasks import recordings
from soundraft.tasks.recordings import Corpus, Loaded, Source
from soundraft.tasks.trainer_config import learns_transcripts


@dataclass
class RunData:
    """The splits of a run by name: train, and where there are such, validation, test, replay and replay validation.

    Attributes:
        title: what the training corpus is called.
        language: code of its language, where that is known, else empty.
        reads_transcripts: whether training clips need a text; those of the other splits always do.
        notes: what a person should know of how they came about.
        rejected: clips that could not be used, of the splits loaded so far.
    """

    title: str
    language: str
    splits: dict[str, list[AudioSample]]
    reads_transcripts: bool = True
    notes: list[str] = field(default_factory=list)
    rejected: list[Rejected] = field(default_factory=list)
    _loaded: dict[str, Loaded] = field(default_factory=dict)

    def load(self, name: str, recognizer: Recognizer, params: Params, altered: Sequence[Alteration] = ()) -> Loaded:
        """The clips of a split with features; read once.

        Args:
            altered: as of `recordings.load`; the same each time.

        Raises:
            UserError: when more of it is bad than `limits.max_bad_fraction` allows.
        """
        if name not in self._loaded:
            normalize = NORMALIZERS[params.reward.normalizer]
            loaded = recordings.load(
                self.splits[name],
                recognizer,
                normalize,
                title=name,
                altered=altered,
                needs_texts=self.reads_transcripts or name != "train",
            )
            check_bad_fraction(len(loaded.clips), loaded.rejected, params.limits.max_bad_fraction)
            self.rejected += loaded.rejected
            self._loaded[name] = loaded
        return self._loaded[name]

    @property
    def is_loaded(self) -> bool:
        """Whether every split was read, so that `rejected` is complete."""
        return self._loaded.keys() == self.splits.keys()

    def texts(self, name: str, params: Params) -> list[str]:
        """The normalised texts of a split, without those of clips that have none."""
        normalize = NORMALIZERS[params.reward.normalizer]
        return [normalize(sample.text) for sample in self.splits.get(name, []) if sample.text is not None]

    def record(self) -> dict[str, Any]:
        """What tells the data of one run from that of another."""
        return {
            name: {"clips": len(samples), "digest": recordings.digest(samples)} for name, samples in self.splits.items()
        }


def open_run_data(
    dataset: Source,
    validation: Source | None,
    test: Source | None,
    replay: Source | None,
    *,
    limit: int | None,
    seed: int,
    reads_transcripts: bool = True,
) -> RunData:
    """Open what a run needs. A corpus without validation split lends a part of its training clips.

    A run that reads no transcripts takes training clips without text, and goes without validation where none has one.

    Raises:
        UserError: when something is not there, or a split has no clips.
    """
    corpus = recordings.open_source(dataset, limit=limit, seed=seed, unlabelled=not reads_transcripts)
    train = corpus.splits.get("train", [])
    if not train:
        raise UserError(f"{corpus.title}: no training clips; it has {', '.join(corpus.splits)}")
    data = RunData(corpus.title, corpus.language, {}, reads_transcripts)
    others: dict[Split, Source | None] = {"validation": validation, "test": test}
    for split, source in others.items():
        found = _own(corpus, split, data) if source is None else _split_of(source, split, limit, seed)
        if found:
            data.splits[split] = found
    if "validation" not in data.splits:
        train = _lend_validation(train, seed, data)
    if "test" not in data.splits and "validation" in data.splits:
        data.notes.append("no test split: results are on validation, which also chooses the best model")
    elif "test" not in data.splits:
        data.notes.append("no test split: nothing is measured; give test or validation clips with texts")
    data.splits = {"train": train, **data.splits} | _replay_splits(replay, limit, seed)
    if replay is None:
        data.notes.append("no replay dataset: train.replay_fraction is 0, and what the model knew before may be lost")
    for name, samples in data.splits.items():
        recordings.check_names(samples, f"{corpus.title}, {name}")
    return data


def check_spelling(data: RunData, recognizer: Recognizer, params: Params) -> None:
    """Find texts with characters that the model cannot write; a note, or where texts are learned, an error.

    Raises:
        UserError: when the transcripts are to be learned, or those of the replay dataset.
    """
    features = recordings.first_features(data.splits.get("validation", data.splits["train"]), recognizer)
    learned = learns_transcripts(params)
    for name in ("train", "replay"):
        texts = data.texts(name, params)
        lacking = unspellable(recognizer, features, texts)
        count = sum(not lacking.isdisjoint(text) for text in texts)
        if count:
            shown = " ".join(sorted(lacking))
            said = f"{name}: {count} of {len(texts)} texts have characters that the model cannot write: {shown}"
            if name == "replay" or learned:
                raise UserError(f"{said}; reward.normalizer: basic may help")
            data.notes.append(f"{said}; such words always count as errors")


def unspellable(recognizer: Recognizer, features: torch.Tensor, texts: Sequence[str]) -> set[str]:
    """The characters of the texts that the model's vocabulary lacks.

    Args:
        features: of any clip.
    """
    characters = sorted(set("".join(texts)) - {" "})
    return {item for part in _lacking(characters, _can_write(recognizer, features)) for item in part}


def _can_write(recognizer: Recognizer, features: torch.Tensor) -> Callable[[Sequence[str]], bool]:
    def can_write(characters: Sequence[str]) -> bool:
        try:
            with torch.inference_mode():
                recognizer.score([features], [[" ".join(characters)]])
        except ModelError:
            return False
        return True

    return can_write


def _lacking(characters: Sequence[str], can_write: Callable[[Sequence[str]], bool]) -> Iterator[Sequence[str]]:
    """Those that cannot be written, found by halving."""
    if not characters or can_write(characters):
        return
    if len(characters) == 1:
        yield characters
        return
    middle = len(characters) // 2
    yield from _lacking(characters[:middle], can_write)
    yield from _lacking(characters[middle:], can_write)


def _own(corpus: Corpus, split: Split, data: RunData) -> list[AudioSample]:
    """The corpus's own clips of a split; of one that may lack texts those that have one."""
    found = corpus.splits.get(split, [])
    if data.reads_transcripts:
        return found
    labelled = [sample for sample in found if sample.text is not None]
    if len(labelled) < len(found):
        bare = len(found) - len(labelled)
        data.notes.append(f"{split}: {bare} of {len(found)} clips have no text and are left out")
    return labelled


def _lend_validation(train: list[AudioSample], seed: int, data: RunData) -> list[AudioSample]:
    """Draw the validation split from the training clips with a text; what remains of all of them.

    Raises:
        UserError: when they are too few, and the run reads transcripts.
    """
    bare = [] if data.reads_transcripts else [sample for sample in train if sample.text is None]
    labelled = [sample for sample in train if sample.text is not None] if bare else train
    try:
        rest, drawn, by = recordings.draw_validation(labelled, seed)
    except UserError:
        if data.reads_transcripts:
            raise
        data.notes.append(
            f"no validation split, and {len(labelled)} training clips with a text are too few to draw one from: "
            "cycles are not validated, and the last model counts as the best"
        )
        return train
    data.splits["validation"] = drawn
    data.notes.append(
        f"no validation split: {len(drawn)} of the {len(labelled)} training clips{' with a text' if bare else ''} "
        f"were drawn for it, by {by}"
    )
    return [*rest, *bare]


def _split_of(source: Source, name: Split, limit: int | None, seed: int) -> list[AudioSample]:
    """A corpus of the registry gives its split of this name, everything else all that it has."""
    corpus = recordings.open_source(source, limit=limit, seed=seed)
    found = corpus.splits.get(name, []) if _is_named(source) else recordings.all_of(corpus)
    if not found:
        raise UserError(f"{corpus.title}: no {name} clips; it has {', '.join(corpus.splits)}")
    return found


def _is_named(source: Source) -> bool:
    from soundraft.corpora import CORPORA

    return isinstance(source, str) and source in CORPORA


def _replay_splits(replay: Source | None, limit: int | None, seed: int) -> dict[str, list[AudioSample]]:
    if replay is None:
        return {}
    corpus: Corpus = recordings.open_source(replay, limit=limit, seed=seed)
    if not corpus.splits.get("train"):
        raise UserError(f"{corpus.title}: no training clips to replay; it has {', '.join(corpus.splits)}")
    found = {"replay": corpus.splits["train"]}
    return found | ({"replay_validation": corpus.splits["validation"]} if corpus.splits.get("validation") else {})
