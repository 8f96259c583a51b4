"""s2: normalised clips → EnCodec token files, and the index of how many frames each has."""

import argparse
import functools
import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from soundraft import files
from soundraft.audio import ecdc, io
from soundraft.audio.ecdc import INDEX_NAME, TokenFile
from soundraft.ledger import Entry, Ledger, bring_up_to_date, code_key, holds, item_key, output_hash, what_stays
from soundraft.manifest import QUARANTINE_NAME, Clip, check_bad_fraction, one_per_output
from soundraft.parallel import BadClip
from soundraft.params.sections import BANDWIDTHS_KBPS, Encodec
from soundraft.runtime import UserError

if TYPE_CHECKING:
    from soundraft.audio.codec import Codec

MAKER = "s2_encodec"
TINY = "tiny"
TINY_FOLDER = Path(__file__).resolve().parents[3] / "checkpoints" / "encodec_tiny"


@dataclass(frozen=True)
class Encoding:
    """What s2 does to a clip.

    Attributes:
        checkpoint: `tiny`, a hub id, or a local folder.
        revision: commit, tag or branch of a hub id.
        bandwidth_kbps: 1.5, 3, 6, 12 or 24, for 2 to 32 codebooks.
        container: see `ecdc`.
        suffix: of the token files.
        device: cpu or cuda; a GPU rounds otherwise and may flip a code now and then, so it makes all files anew that a
            CPU made, and the other way round: no folder is of both.
    """

    checkpoint: str
    revision: str
    bandwidth_kbps: float
    container: ecdc.Container
    suffix: str = ecdc.SUFFIX
    device: str = "cpu"

    def __post_init__(self) -> None:
        if not re.fullmatch(r"\.[^/\\\0]+", self.suffix):
            raise UserError(f"a suffix begins with a dot and has no slash: {self.suffix!r}")


@dataclass(frozen=True)
class EncodeSummary:
    clips: int
    made: int
    removed: int
    rejected: int
    frames: int


@dataclass(frozen=True)
class Plan:
    """What encoding a folder would do: clips to write and to skip, token files without a clip, clips without tokens."""

    write: list[Clip]
    skip: list[Clip]
    missing: list[str]
    orphans: list[str]

    def dry_run(self) -> list[str]:
        """The lines of `--dry-run`."""
        told = [f"SKIP {clip.audio_path}" for clip in self.skip] + [f"WRITE {clip.audio_path}" for clip in self.write]
        return [*told, f"{MAKER}: would write {len(self.write)} and skip {len(self.skip)}"]

    def list_missing(self) -> list[str]:
        """The lines of `--list-missing`."""
        told = [f"MISSING {path}" for path in self.missing] + [f"ORPHAN {path}" for path in self.orphans]
        return [*told, f"{MAKER}: {len(self.missing)} token files are missing, {len(self.orphans)} have no audio"]


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


def encode_clips(
    clips: Sequence[Clip],
    source: Path,
    target: Path,
    encoding: Encoding,
    *,
    max_bad_fraction: float,
    overwrite: bool = False,
    owned: bool = False,
) -> EncodeSummary:
    """Encode clips of the folder `source` into `target`.

    Token files that are there from an earlier run, from the same audio by the same model and code, stay; others of
    that run go.

    Args:
        owned: the folder is the pipeline's: whatever else lies there goes, too.

    Raises:
        TooManyBad: when the share of bad clips is above `max_bad_fraction`.
        UserError: when the checkpoint cannot be used.
    """
    files.check_apart(source, target)
    clips, rejected = one_per_output(clips, lambda clip: [token_path(clip, encoding)])
    worker = _Encoder.prepare(source, target, encoding)
    with Ledger(target, MAKER, owned=owned) as ledger:
        done = bring_up_to_date(clips, worker, ledger, title=f"encode {source.name}", anew=overwrite)
        rejected += done.rejected
        check_bad_fraction(len(done.good), rejected, max_bad_fraction)
        rows = [TokenFile(**entry.result) for _, entry in done.good]
        ecdc.write_index(target, rows)
        files.write_jsonl(target / QUARANTINE_NAME, (vars(item) for item in rejected))
        removed = ledger.finish(keep=[INDEX_NAME, QUARANTINE_NAME])
    return EncodeSummary(len(rows), done.made, removed, len(rejected), sum(row.frames for row in rows))


def plan(clips: Sequence[Clip], source: Path, target: Path, encoding: Encoding, *, overwrite: bool = False) -> Plan:
    """What `encode_clips` would do; nothing is written."""
    clips, _ = one_per_output(clips, lambda clip: [token_path(clip, encoding)])
    worker = _Encoder.prepare(source, target, encoding)
    kept = {} if overwrite or not target.is_dir() else what_stays(clips, worker, Ledger(target, MAKER))
    write = [clip for clip in clips if clip.id not in kept]
    skip = [clip for clip in clips if clip.id in kept]
    wanted = {token_path(clip, encoding) for clip in clips}
    present: set[str] = set()
    if target.is_dir():
        present = {path.relative_to(target).as_posix() for path in files.sorted_files(target, [encoding.suffix])}
    return Plan(write, skip, sorted(wanted - present), sorted(present - wanted))


def verify(source: Path, target: Path, encoding: Encoding, *, samples: int) -> int:
    """Encode every so many-th clip again, alone and by the model's own method, and compare.

    Returns:
        The number of clips compared, at most `samples`.

    Raises:
        UserError: naming the token files that differ or cannot be read.
    """
    if samples < 1:
        raise UserError(f"{samples} clips cannot be verified: name 1 or more")
    rows = ecdc.read_index(target)
    chosen = rows[:: max(1, len(rows) // max(1, samples))][:samples]
    codec = load_codec(checkpoint_folder(encoding.checkpoint, encoding.revision), encoding.device)
    wrong = []
    for row in chosen:
        path = target / row.path
        try:
            stored = ecdc.read(path)
        except BadClip as error:
            wrong.append(f"{path}: {error}")
            continue
        wave = _wave(io.read_file(source / row.wav))
        codes = codec.encode_one(wave, encoding.bandwidth_kbps)
        if stored.samples != len(wave) or not np.array_equal(stored.codes, codes):
            wrong.append(f"{path}: not what the codec gives for {row.wav}")
    if wrong:
        raise UserError("\n".join([f"{len(wrong)} of {len(chosen)} token files are wrong", *wrong]))
    return len(chosen)


def token_path(clip: Clip, encoding: Encoding) -> str:
    return ecdc.token_path(clip.audio_path, encoding.suffix)


@dataclass(frozen=True)
class _Encoder:
    """Encodes one clip; picklable, so that worker processes can have it."""

    source: Path
    target: Path
    encoding: Encoding
    folder: Path
    stage_key: str

    @classmethod
    def prepare(cls, source: Path, target: Path, encoding: Encoding) -> "_Encoder":
        folder = checkpoint_folder(encoding.checkpoint, encoding.revision)
        weights = {
            path.name: output_hash(path.read_bytes())
            for path in files.sorted_files(folder, [".json", ".safetensors"], recursive=False)
        }
        options = {"weights": weights, "name": _model_name(encoding)} | {
            key: value for key, value in asdict(encoding).items() if key in ("bandwidth_kbps", "container", "suffix")
        }
        _check_bandwidth(folder, encoding)
        if encoding.device != "cpu":
            options["device"] = encoding.device.partition(":")[0]
        key = code_key(_code_files(), ("torch", "transformers"), options)
        return cls(source.resolve(), target.resolve(), encoding, folder, key)

    def stays(self, job: tuple[Clip, Entry]) -> bool:
        clip, known = job
        return holds(known, self._key(clip, io.read_file(self.source / clip.audio_path)), self.target)

    def __call__(self, clip: Clip) -> Entry:
        data = io.read_file(self.source / clip.audio_path)
        wave = _wave(data)
        codes = load_codec(self.folder, self.encoding.device).encode(wave, self.encoding.bandwidth_kbps)
        return self._write(clip, ecdc.Tokens(codes, len(wave)), self._key(clip, data))

    def _key(self, clip: Clip, data: bytes) -> str:
        """Of the audio and of its name, which the token file takes over."""
        return item_key(self.stage_key, data, clip.audio_path.encode())

    def _write(self, clip: Clip, tokens: ecdc.Tokens, key: str) -> Entry:
        if self.encoding.container == "esf":
            data = ecdc.esf_bytes(tokens)
        else:
            data = ecdc.encodec_bytes(tokens, model_name=_model_name(self.encoding))
        path = token_path(clip, self.encoding)
        files.write_bytes(self.target / path, data)
        row = TokenFile(path, clip.audio_path, tokens.frames, tokens.codes.shape[0], tokens.samples)
        return Entry(clip.id, key, asdict(row), {path: output_hash(data)})


def _model_name(encoding: Encoding) -> str:
    """What the `encodec` container calls the model: `encodec_24khz`, also from a folder of that name, not its path."""
    return Path(encoding.checkpoint).name if encoding.container == "encodec" else ""


def _check_bandwidth(folder: Path, encoding: Encoding) -> None:
    try:
        config = files.read_json(folder / "config.json")
        known = config.get("target_bandwidths", BANDWIDTHS_KBPS)
    except (OSError, ValueError, AttributeError) as error:
        raise UserError(f"no codec in {folder}: {error}") from error
    if encoding.bandwidth_kbps not in known:
        has = ", ".join(map(str, known))
        raise UserError(f"the codec {encoding.checkpoint} has no {encoding.bandwidth_kbps} kbps; it has {has}")


def _code_files() -> list[Path]:
    here = Path(__file__).parent
    return [here / name for name in ("codec.py", "ecdc.py", "io.py", "network.py", "tokenize.py")]


def _wave(data: bytes) -> np.ndarray:
    samples, rate_hz = io.parse(data)
    if rate_hz != ecdc.SAMPLE_RATE_HZ or samples.shape[1] != 1:
        raise BadClip(f"{rate_hz} Hz and {samples.shape[1]} channels; the codec takes 24000 Hz mono, as s1 makes it")
    return np.ascontiguousarray(samples[:, 0])


@functools.lru_cache(maxsize=1)
def load_codec(folder: Path, device: str = "cpu") -> "Codec":
    """The codec in a folder, loaded once per process."""
    import torch

    from soundraft.audio import codec

    torch.set_num_threads(1)  # a clip is too small for two threads: the workers share the clips
    return codec.load(folder, device=device)


def add_options(parser: argparse.ArgumentParser, default: Encodec) -> None:
    """The options of s2 alone."""
    add = parser.add_argument
    add("source", type=Path, metavar="IN", help="folder of 24 kHz mono audio, as s1 makes it")
    add("out", type=Path, metavar="OUT", help="folder for the token files; made when absent")
    add("--checkpoint", default=default.checkpoint, help="tiny, a hub id, or a local folder (%(default)s)")
    add("--revision", default=default.revision, help="commit, tag or branch of a hub id")
    add("--bandwidth", type=float, choices=BANDWIDTHS_KBPS, default=default.bandwidth_kbps, help="kbps (%(default)s)")
    add("--container", choices=["esf", "encodec"], default=default.container, help="kind of .ecdc file (%(default)s)")
    add("--recursive", action=argparse.BooleanOptionalAction, default=True, help="nested folders too (yes)")
    add("--overwrite", action="store_true", help="encode everything again")
    add("--suffix", default=".ecdc", help="ending of the token files (%(default)s)")
    add("--device", choices=["auto", "cuda", "cpu"], default="auto", help="auto: a GPU if there is one")
    add("--dry-run", action="store_true", help="print SKIP or WRITE per file, and write nothing")
    add("--list-missing", action="store_true", help="print missing and orphan tokens; write nothing")
    add("--verify", action="store_true", help="afterwards encode some clips again, alone, and compare")
    add("--verify-samples", type=int, default=20, help="so many of them (%(default)s)")
