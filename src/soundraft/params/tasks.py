"""The tasks by name: the one line that a new task adds to what is here. Imports nothing heavy."""

from dataclasses import dataclass
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
    """

    place: str
    about: str
    corpora: tuple[Literal["start", "target"], ...] = ("target",)
    needs_text: bool = False
    reads: tuple[str, ...] = ()


RECOGNIZER, JUDGE = (f"checkpoints/{name}/model.safetensors" for name in ("recognizer", "judge"))
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
    ),
    "enhancement": TaskEntry(
        "soundraft.tasks.enhancement:SpeechEnhancement",
        "clean speech of corpus.target, mixed with noise, and the section enhancement; corpus.start and model are not "
        "read",
        reads=(RECOGNIZER,),
    ),
    "tts": TaskEntry(
        "soundraft.tasks.tts:Speaking",
        "text to speech: a start model learns the recordings of corpus.start, RAFT has it speak the texts of "
        "corpus.target; section tts",
        corpora=("start", "target"),
        needs_text=True,
        reads=(RECOGNIZER, JUDGE),
    ),
}


def known_task(name: str) -> str:
    if name not in TASKS:
        raise ValueError(f"got {name!r}; allowed: {', '.join(TASKS)}")
    return name
