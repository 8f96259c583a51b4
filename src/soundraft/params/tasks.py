"""The tasks by name: the one line that a new task adds to what is here. Imports nothing heavy."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal


@dataclass(frozen=True)
class TaskEntry:
    """Where a task's class is, and which corpora it takes.

    Attributes:
        place: module and class, as `module:Class`; imported when a run needs it.
        about: a few words for the user.
        corpora: target, and start where the start model learns another corpus.
        needs_text: whether s5 rejects clips without text.
        reads: files of this repository that its stages read beside their code and their data.
        numbers: by stage, keys and sections of the params that it reads beside those that dvc.yaml lists.
    """

    place: str
    about: str
    corpora: tuple[Literal["start", "target"], ...] = ("target",)
    needs_text: bool = False
    reads: tuple[str, ...] = ()
    numbers: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


RECOGNIZER, JUDGE = (f"checkpoints/{name}/model.safetensors" for name in ("recognizer", "judge"))
LABELS = tuple(f"classification.{key}" for key in ("target", "output", "separator"))
CLASSIFIER = tuple(
    f"classification.{key}"
    for key in (
        "inputs", "channel", "audio_file_length_limit_in_s", "level_db", "normalize_by", "features",
        "encoder", "augment",
        "trainer.epochs", "trainer.batch_size", "trainer.learning_rate", "trainer.warmup_share",
        "trainer.final_lr_share", "trainer.weight_decay", "trainer.max_grad_norm", "trainer.early_stop",
        "trainer.average_decay", "trainer.class_weights", "trainer.sampling",
    )
)  # fmt: skip
SPEECH = ("tts", "encodec.checkpoint", "encodec.revision", "encodec.bandwidth_kbps")
MIXTURES = ("corpus.seed", "enhancement.mixing", "enhancement.sample_rate_hz")
NETWORK = tuple(
    f"enhancement.{key}"
    for key in (
        "network", "fft_length", "hop_length", "width", "layers", "bidirectional", "mask_floor", "loss",
        "trainer.epochs", "trainer.batch_size", "trainer.learning_rate", "trainer.warmup_share",
        "trainer.final_lr_share", "trainer.weight_decay", "trainer.max_grad_norm", "trainer.early_stop",
        "trainer.average_decay",
    )
)  # fmt: skip
LEARNED_MASKS = tuple(
    f"enhancement.{key}" for key in ("loss", "trainer.cycle_learning_rate", "candidates", "reward", "recognizer")
)
TASKS = {
    "asr": TaskEntry(
        "soundraft.tasks.asr:Recognition",
        "speech recognition: a start model learns corpus.start, RAFT adapts it to corpus.target",
        corpora=("start", "target"),
        needs_text=True,
    ),
    "classification": TaskEntry(
        "soundraft.tasks.classification:Classification",
        "one corpus, corpus.target, and the section classification; corpus.start and model are not read",
        numbers={
            "train": LABELS + CLASSIFIER,
            "benchmark": LABELS,
            "raft_train": (*LABELS, "classification.trainer.cycle_learning_rate", "classification.augment"),
            "controls": (*LABELS, "classification.trainer.cycle_learning_rate", "classification.augment"),
            "evaluate": (*LABELS, "classification.normalize_by"),
        },
    ),
    "enhancement": TaskEntry(
        "soundraft.tasks.enhancement:SpeechEnhancement",
        "clean speech of corpus.target, mixed with noise, and the section enhancement; corpus.start and model are not "
        "read",
        reads=(RECOGNIZER,),
        numbers={
            "train": MIXTURES + NETWORK,
            "benchmark": (*MIXTURES, "enhancement.measures"),
            "raft_train": MIXTURES + LEARNED_MASKS,
            "controls": MIXTURES + LEARNED_MASKS,
            "evaluate": (
                *MIXTURES,
                "enhancement.fft_length",
                "enhancement.hop_length",
                "enhancement.mask_floor",
                "enhancement.recognizer",
                "enhancement.measures",
            ),
        },
    ),
    "tts": TaskEntry(
        "soundraft.tasks.tts:Speaking",
        "text to speech: a start model learns the recordings of corpus.start, RAFT has it speak the texts of "
        "corpus.target; section tts",
        corpora=("start", "target"),
        needs_text=True,
        reads=(RECOGNIZER, JUDGE),
        numbers=dict.fromkeys(("train", "benchmark", "raft_train", "controls", "evaluate"), SPEECH),
    ),
}


def known_task(name: str) -> str:
    if name not in TASKS:
        raise ValueError(f"got {name!r}; allowed: {', '.join(TASKS)}")
    return name
