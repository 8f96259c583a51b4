"""Recorded speech as LJSpeech lays it out: `metadata.csv` of lines `id|text|normalised text`, and `wavs/ID.wav`.

Made for LJSpeech 1.1 (keithito.com/LJ-Speech-Dataset, public domain); any folder of this form will do. The text is the
normalised one, in which numbers are words. It is one speaker's, and has no splits: they are drawn.
"""

from pathlib import Path

from soundraft.corpora.base import Corpus, CorpusError, CorpusInfo, Fetched, Request, existing_path
from soundraft.corpora.lists import Finding
from soundraft.corpora.recordings import Recordings, open_recordings
from soundraft.manifest import Clip

LIST_NAME, AUDIO = "metadata.csv", "wavs"


def fetch(request: Request, _out: Path) -> Fetched:
    """The listed recordings, where they are; CorpusError when the folder has no list."""
    folder = existing_path(request, f"the folder that holds {LIST_NAME} and {AUDIO}/")
    path = folder / LIST_NAME
    if not path.is_file():
        raise request.error("path", f"{folder} has no {LIST_NAME}")
    clips: dict[str, Clip] = {}
    seen: set[str] = set()
    findings: list[Finding] = []
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
        place, fields = f"{LIST_NAME}:{number}", line.split("|")
        name, text = fields[0].strip(), fields[-1].strip()
        if len(fields) not in (2, 3) or not name or not text:
            findings.append(Finding(place, "no_text", "a line is id|text|normalised text", name))
        elif name in seen:
            findings.append(Finding(place, "duplicate_id", "duplicate id: an earlier line has it", name))
        else:
            seen.add(name)
            clips[place] = Clip(id=name, audio_path=f"{AUDIO}/{name}.wav", text=text)
    if not clips:
        raise CorpusError(f"{path}: no line is id|text|normalised text")
    return open_recordings(Recordings(folder, f"{LIST_NAME} of LJSpeech's form", clips, findings), request)


CORPUS = Corpus(
    CorpusInfo(
        source="your folder of LJSpeech 1.1 (keithito.com/LJ-Speech-Dataset), or one like it",
        task="asr, tts",
        about="Passages read from books by one speaker; metadata.csv of id|text|normalised text.",
        licence="public domain",
        size="13,100 recordings, 24 hours, 22.05 kHz",
        languages="en",
        splits="drawn: it has none",
        columns={"text": "the normalised text, numbers in words"},
        takes=frozenset({"path"}),
        needs=frozenset({"path"}),
    ),
    fetch,
)
