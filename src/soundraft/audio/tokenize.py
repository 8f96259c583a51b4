"""s2: normalised clips → EnCodec token files, and the index of how many frames each has."""

import functools
import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from soundraft import files, runtime
from soundraft.audio import ecdc, io
from soundraft.audio.ecdc import INDEX_NAME, TokenFile
from soundraft.ledger import Entry, Ledger, Worker, bring_up_to_date, code_key, one_per_output, output_hash, what_stays
from soundraft.manifest import QUARANTINE_NAME, Clip, Rejected
from soundraft.params.sections import BANDWIDTHS_KBPS, Encodec
from soundraft.runtime import BadClip, UserError

if TYPE_CHECKING:
    from soundraft.audio.codec import Codec

TINY = "tiny"
TINY_FOLDER = runtime.shipped("checkpoints/encodec_tiny")


@dataclass(frozen=True)
class EncodeSummary:
    clips: int
    made: int
    removed: int
    rejected: int
    frames: int

    def __str__(self) -> str:
        return (
            f"{self.clips} clips, {self.frames} frames, {self.made} made, {self.removed} removed; "
            f"{self.rejected} rejected (quarantine.jsonl)"
        )


@dataclass(frozen=True)
class Plan:
    """What encoding a folder would do: clips to write and to skip, token files without a clip, clips without tokens."""

    write: list[Clip]
    skip: list[Clip]
    missing: list[str]
    orphans: list[str]


def checkpoint_folder(checkpoint: str, revision: str) -> Path:
    """The folder of a checkpoint; a hub id is downloaded, or found in the cache of earlier downloads.

    Raises:
        UserError: when there is none.
    """
    folder = TINY_FOLDER if checkpoint == TINY else Path(checkpoint)
    if folder.is_dir():
        return folder.resolve()
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HFValidationError

    try:
        found = snapshot_download(checkpoint, revision=revision or None, allow_patterns=["*.json", "*.safetensors"])
    except (OSError, HFValidationError) as error:
        reason = " ".join(str(error).split()).rstrip(".")
        raise UserError(
            f"cannot get the codec {checkpoint!r}: {reason}. It is no local folder either; encodec.checkpoint: tiny "
            "needs no download"
        ) from error
    return Path(found)


@functools.lru_cache(maxsize=1)
def load_codec(folder: Path, device: str = "cpu") -> "Codec":
    """The codec in a folder, loaded once per process."""
    import torch

    from soundraft.audio import codec

    torch.set_num_threads(1)  # a clip is too small for two threads: the workers share the clips
    return codec.load(folder, device=device)


class Encoder(Worker):
    """Encodes a clip.

    Args:
        suffix: of the token files.
        device: cpu or cuda. A GPU rounds otherwise and may flip a code now and then, so no folder is of both: what the
            other one made is made again.

    Raises:
        UserError: when the checkpoint cannot be used.
    """

    def __init__(
        self, source: Path, target: Path, options: Encodec, *, suffix: str = ecdc.SUFFIX, device: str = "cpu"
    ) -> None:
        if not re.fullmatch(r"\.[^/\\\0]+", suffix):
            raise UserError(f"a suffix begins with a dot and has no slash: {suffix!r}")
        self.options, self.suffix, self.device = options, suffix, device
        self.checkpoint = checkpoint_folder(options.checkpoint, options.revision)
        _check_bandwidth(self.checkpoint, options)
        # what the `encodec` container calls the model: `encodec_24khz`, also from a folder of that name, not its path
        self._model_name = Path(options.checkpoint).name if options.container == "encodec" else ""
        super().__init__("s2_encodec", source, target, self._key_of_all_clips())

    def _key_of_all_clips(self) -> str:
        code = [
            Path(__file__).with_name(name) for name in ("codec.py", "containers.py", "ecdc.py", "io.py", "tokenize.py")
        ]
        weights = files.sorted_files(self.checkpoint, [".json", ".safetensors"], recursive=False)
        options = {
            "weights": {path.name: output_hash(path.read_bytes()) for path in weights},
            "bandwidth_kbps": self.options.bandwidth_kbps,
            "container": self.options.container,
            "name": self._model_name,
            "suffix": self.suffix,
            "device": self.device.partition(":")[0],
        }
        return code_key(code, ("torch", "encodec"), options)

    def input_names(self, clip: Clip) -> list[str]:
        return [clip.audio_path]

    def output_names(self, clip: Clip) -> list[str]:
        return [ecdc.token_path(clip.audio_path, self.suffix)]

    def make(self, clip: Clip, inputs: list[bytes]) -> tuple[dict[str, Any], list[bytes]]:
        wave = _wave(inputs[0])
        codes = load_codec(self.checkpoint, self.device).encode(wave, self.options.bandwidth_kbps)
        tokens = ecdc.Tokens(codes, len(wave))
        esf = self.options.container == "esf"
        data = ecdc.esf_bytes(tokens) if esf else ecdc.encodec_bytes(tokens, model_name=self._model_name)
        row = TokenFile(self.output_names(clip)[0], clip.audio_path, tokens.frames, len(codes), tokens.samples)
        return asdict(row), [data]

    def write_lists(self, good: Sequence[tuple[Clip, Entry]], rejected: Sequence[Rejected]) -> list[str]:
        ecdc.write_index(self.target, [TokenFile(**entry.result) for _, entry in good])
        files.write_jsonl(self.target / QUARANTINE_NAME, map(vars, rejected))
        return [INDEX_NAME, QUARANTINE_NAME]


def _wave(data: bytes) -> np.ndarray:
    samples, rate_hz = io.parse(data)
    if rate_hz != ecdc.SAMPLE_RATE_HZ or samples.shape[1] != 1:
        raise BadClip(f"{rate_hz} Hz and {samples.shape[1]} channels; the codec takes 24000 Hz mono, as s1 makes it")
    return np.ascontiguousarray(samples[:, 0])


def _check_bandwidth(folder: Path, options: Encodec) -> None:
    try:
        known = files.read_json(folder / "config.json").get("target_bandwidths", BANDWIDTHS_KBPS)
    except (OSError, ValueError, AttributeError) as error:
        raise UserError(f"no codec in {folder}: {error}") from error
    if options.bandwidth_kbps not in known:
        has = ", ".join(map(str, known))
        raise UserError(f"the codec {options.checkpoint} has no {options.bandwidth_kbps} kbps; it has {has}")


def encode_clips(
    clips: Sequence[Clip],
    encoder: Encoder,
    *,
    max_bad_fraction: float,
    overwrite: bool = False,
    owned: bool = False,
    adopt: bool = False,
) -> EncodeSummary:
    """Encode clips of the encoder's source folder into its target folder.

    Token files that are there from an earlier run, from the same audio by the same model and code, stay; others of
    that run go.

    Args:
        owned: the folder is the pipeline's: whatever else lies there goes, too.
        adopt: as of `Ledger`.

    Raises:
        TooManyBad: when the share of bad clips is above `max_bad_fraction`.
    """
    done = bring_up_to_date(
        clips, encoder, max_bad_fraction=max_bad_fraction, owned=owned, adopt=adopt, overwrite=overwrite
    )
    frames = sum(entry.result["frames"] for _, entry in done.good)
    return EncodeSummary(len(done.good), done.made, done.removed, len(done.rejected), frames)


def plan(clips: Sequence[Clip], encoder: Encoder, *, overwrite: bool = False) -> Plan:
    """What `encode_clips` would do; nothing is written."""
    target = encoder.target
    clips, _ = one_per_output(clips, encoder.output_names)
    kept = {} if overwrite or not target.is_dir() else what_stays(clips, encoder, Ledger(target, encoder.name))
    wanted = {name for clip in clips for name in encoder.output_names(clip)}
    present = set(files.sorted_names(target, [encoder.suffix]))  # none in a folder that is not there
    return Plan(
        write=[clip for clip in clips if clip.id not in kept],
        skip=[clip for clip in clips if clip.id in kept],
        missing=sorted(wanted - present),
        orphans=sorted(present - wanted),
    )


def verify(encoder: Encoder, *, samples: int) -> int:
    """Encode every so many-th clip again, whole and by the model's own method, and compare.

    Returns:
        The number of clips compared, at most `samples`.

    Raises:
        UserError: naming the token files that differ or cannot be read.
    """
    if samples < 1:
        raise UserError(f"{samples} clips cannot be verified: name 1 or more")
    rows = ecdc.read_index(encoder.target)
    chosen = rows[:: max(1, len(rows) // samples)][:samples]
    codec = load_codec(encoder.checkpoint, encoder.device)
    wrong = []
    for row in chosen:
        path = encoder.target / row.path
        try:
            stored = ecdc.read(path)
        except BadClip as error:
            wrong.append(f"{path}: {error}")
            continue
        wave = _wave(files.read_file(encoder.source / row.wav))
        codes = codec.encode_one(wave, encoder.options.bandwidth_kbps)
        if stored.samples != len(wave) or not np.array_equal(stored.codes, codes):
            wrong.append(f"{path}: not what the codec gives for {row.wav}")
    if wrong:
        raise UserError("\n".join([f"{len(wrong)} of {len(chosen)} token files are wrong", *wrong]))
    return len(chosen)
