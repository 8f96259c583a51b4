"""A small corpus with everything s5 takes, made without a model: six clips, two a split, random codes."""

from pathlib import Path

import numpy as np

from soundraft import files
from soundraft.audio import ecdc, io
from soundraft.audio.ecdc import TokenFile, token_path, write_index
from soundraft.dataset.build import Built, build_dataset
from soundraft.dataset.rows import Form, Sources
from soundraft.manifest import MANIFEST_NAME, SPLITS, Clip, write_manifest
from soundraft.params import defaults
from soundraft.params.sections import Materialize
from soundraft.sidecar import audit, format
from tests.conftest import tone

CODEBOOKS = 4
NAMES = ("rms_db", "pitch")


class Corpus:
    """Folders as the pipeline has them."""

    def __init__(self, root: Path) -> None:
        self.wavs, self.tokens, self.cond = (root / name for name in ("normalized", "tokens", "sidecars"))
        self.summary = root / "audit.json"

    def sources(self) -> Sources:
        return Sources(self.tokens, self.cond, self.wavs, self.wavs / MANIFEST_NAME)

    def audit(self) -> None:
        done = audit.audit(self.tokens, self.cond, audit.Expectations(defaults().audit))
        audit.write_summary(self.summary, done)

    def build(self, out: Path, materialize: Materialize = "copy", *, bad: float = 0.0) -> Built:
        """As the pipeline does, less the audit."""
        form = Form("toy", materialize, codec="tiny", needs_text=True, all_splits=True)
        return build_dataset(self.sources(), out, form, max_bad_fraction=bad)


def seconds(index: int) -> float:
    return 0.2 + 0.1 * index


def codes_of(index: int) -> np.ndarray:
    """Codes [K, T] of clip `index`."""
    frames = ecdc.frames_of(round(seconds(index) * ecdc.SAMPLE_RATE_HZ))
    return np.random.default_rng(index).integers(0, ecdc.CODEBOOK_SIZE, (CODEBOOKS, frames))


def cond_of(index: int) -> np.ndarray:
    """Conditioning float16 [T, D]."""
    return np.random.default_rng(index + 100).normal(size=(codes_of(index).shape[1], len(NAMES))).astype(np.float16)


def corpus(root: Path, texts: dict[str, str | None] | None = None) -> Corpus:
    """Clips "0" to "5" of 0.2 to 0.7 s, with these texts in place of theirs; one in another container, one dotted."""
    made = Corpus(root)
    clips, rows = [], []
    for index in range(6):
        name = f"{SPLITS[index % 3]}/{index}{'_x.0' if index == 3 else ''}.wav"
        samples = round(seconds(index) * 24000)
        io.write_wav(made.wavs / name, tone(seconds(index), 24000), 24000)
        tokens = ecdc.Tokens(codes_of(index), samples)
        data = ecdc.encodec_bytes(tokens) if index == 2 else ecdc.esf_bytes(tokens)
        files.write_bytes(made.tokens / token_path(name), data)
        row = TokenFile(token_path(name), name, tokens.frames, CODEBOOKS, samples)
        rows.append(row)
        sidecar = format.Sidecar(cond_of(index), NAMES, {"note": index})
        format.write(f"{made.cond}/{row.name}{format.SUFFIX}", sidecar)
        text = (texts or {}).get(str(index), f"text {index}")
        clips.append(
            Clip(id=str(index), audio_path=name, text=text, duration=seconds(index), sample_rate=24000, speaker="s",
                 split=SPLITS[index % 3])
        )  # fmt: skip
    write_index(made.tokens, rows)
    write_manifest(made.wavs, clips, [])
    return made


def tree_hash(folder: Path) -> str:
    """Of names and bytes."""
    listed = sorted(path for path in folder.rglob("*") if path.is_file())
    return f"{[path.relative_to(folder).as_posix() for path in listed]} {files.content_hash(*listed)}"
