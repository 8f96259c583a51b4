"""s5: normalised audio, tokens and sidecars → a Hugging Face `DatasetDict`, with a card and a list of bad clips.

Columns: `id, wav (bytes, path), audio (the token file's path), cond (the sidecar's npy), text, label, speaker,
metadata (JSON), duration (s), sample_rate (Hz), frames, codebooks, features`; paths are relative to the dataset. With
`embed` the codes and the conditioning stand in the tables instead: `codes [T][K], cond [T][D], meta`. The bytes on disk
depend on nothing but the clips.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import xxhash

from soundraft import files
from soundraft.audio.token_index import TokenFile
from soundraft.dataset import card, rows, table
from soundraft.dataset.card import SplitFacts
from soundraft.dataset.materialize import COND_SUBDIR, Found, Store
from soundraft.dataset.rows import Part, Sources
from soundraft.manifest import QUARANTINE_NAME, SPLITS, Rejected, check_bad_fraction
from soundraft.parallel import BadClip, Failure, map_clips, progress_over
from soundraft.params.sections import Materialize
from soundraft.runtime import UserError
from soundraft.sidecar import audit, content, listing


@dataclass(frozen=True)
class Form:
    """What the dataset looks like.

    Attributes:
        name: what its card calls it.
        codec: what its card says of the codec's checkpoint; empty when nobody knows.
        needs_text: clips without text are set aside.
        split: of clips whose manifest names none; `None` sets them aside.
        all_splits: train, validation and test must have clips.
    """

    name: str
    materialize: Materialize
    tokens_subdir: str = "tokens"
    codec: str = ""
    needs_text: bool = False
    split: str | None = None
    all_splits: bool = False

    def __post_init__(self) -> None:
        if self.split == COND_SUBDIR:
            raise UserError(f"no split can be called {COND_SUBDIR}: the sidecars have that folder")
        if Path(self.tokens_subdir).name != self.tokens_subdir or self.tokens_subdir in (*SPLITS, self.split, ".."):
            raise UserError(
                f"the token folder is a plain name that no split has, such as tokens: {self.tokens_subdir!r}"
            )


@dataclass(frozen=True)
class Built:
    """What came of it."""

    splits: dict[str, SplitFacts]
    rejected: list[Rejected]


def build_dataset(
    sources: Sources, folder: Path, form: Form, *, max_bad_fraction: float, home: Path | None = None,
    audited: Path | None = None,
) -> Built:  # fmt: skip
    """Make the dataset in `folder`, which is empty or absent.

    Args:
        home: where it will be read, when `folder` is moved there afterwards.
        audited: summary of an audit that these tokens and sidecars must have passed.

    Raises:
        TooManyBad: when the share of clips without text, split, token file or sidecar is above `max_bad_fraction`.
        UserError: when a split that must be there has no clips, or the audit failed or is of something else.
    """
    tokens = listing.list_clips(
        sources.tokens, sources.cond_suffix, tokens_suffix=sources.tokens_suffix, recursive=sources.recursive
    )
    parts, rejected = rows.join(sources, tokens, needs_text=form.needs_text, split=form.split)
    unseen = audited is None or not audit.found_nothing(audited)
    store = Store(
        sources.tokens, sources.cond, sources.cond_suffix, folder, home or folder, form.materialize,
        form.tokens_subdir, open_tokens=unseen or form.materialize == "embed",
    )  # fmt: skip
    folder.mkdir(parents=True, exist_ok=True)
    store.prepare(tokens[0])
    found = _take(store, tokens, {part.token.path for part in parts}, title=f"tokens of {form.name}")
    if audited is not None:
        audit.check_passed(audited, content.folder_hash((path, item.stored) for path, item in found.items()))
    good, bad = _usable(parts, found)
    rejected = sorted(rejected + bad, key=lambda item: (item.id, item.path))
    check_bad_fraction(len(good), rejected, max_bad_fraction)
    splits = {}
    for split in _splits(good, form):
        chosen = [part for part in good if part.split == split]
        splits[split] = _write_split(sources, store, split, chosen, found, title=f"pack {form.name}/{split}")
    table.write_dict(folder, list(splits))
    card.write(folder, form.name, form.materialize, splits, codec=form.codec)
    files.write_jsonl(folder / QUARANTINE_NAME, map(vars, rejected))
    return Built(splits, rejected)


def _take(store: Store, tokens: Sequence[TokenFile], wanted: set[str], *, title: str) -> dict[str, Found]:
    """Every clip's files, by the path of its token file; those of wanted clips are now in their place."""
    jobs = [(token, token.path in wanted) for token in tokens]
    results = map_clips(store.take, jobs, title=title)
    return {
        token.path: Found("", problem=result.reason) if isinstance(result, Failure) else result
        for token, result in zip(tokens, results, strict=True)
    }


def _usable(parts: Sequence[Part], found: dict[str, Found]) -> tuple[list[Part], list[Rejected]]:
    """Clips whose files are in order, and the others."""
    problems = [(part, found[part.token.path].problem) for part in parts]
    bad = [Rejected(part.clip.id, part.token.path, problem) for part, problem in problems if problem]
    return [part for part, problem in problems if not problem], bad


def _splits(parts: Sequence[Part], form: Form) -> list[str]:
    """The splits that have clips: train, validation, test, then others by name."""
    named = {part.split for part in parts}
    absent = [split for split in SPLITS if split not in named]
    if form.all_splits and absent:
        raise UserError(
            f"{form.name}: no clips in the {absent[0]} split; training and evaluation need train, validation and test"
        )
    return [*(split for split in SPLITS if split in named), *sorted(named - set(SPLITS))]


def _write_split(
    sources: Sources, store: Store, split: str, parts: Sequence[Part], found: dict[str, Found], *, title: str
) -> SplitFacts:
    facts = SplitFacts(table.columns(store.materialize))
    whole = xxhash.xxh3_128()
    with table.SplitWriter(store.folder / split, facts.columns) as writer:
        for part in progress_over(parts, total=len(parts), title=title, unit="clip"):
            item = found[part.token.path]
            wav = rows.wav_of(sources, part.clip)
            row = rows.plain_row(part, item.names) | {"wav": wav}
            stored, size_bytes = _add_tokens(row, store, part, item)
            audio = wav["bytes"] if wav else None
            whole.update(rows.row_hash(row, audio, stored).encode())
            writer.add(row, size_bytes + len(audio or b""))
            facts.count(row, part.clip.task if sources.manifest else None)
        facts.hash = whole.hexdigest()
        writer.finish(split, fingerprint_of(facts.hash, store))
    facts.bytes = writer.bytes
    return facts


def fingerprint_of(content_hash: str, store: Store) -> str:
    """By content and by where the files are named to be: two forms of one dataset are not one for a cache."""
    where = store.materialize, *store.prefixes
    return xxhash.xxh3_64_hexdigest(f"{content_hash} {' '.join(where)}".encode())


def _add_tokens(row: dict[str, Any], store: Store, part: Part, item: Found) -> tuple[str, int]:
    """Put codes and conditioning, or their paths, into a row; the hash of what is stored, and the bytes in the row."""
    if store.materialize != "embed":
        row["audio"], row["cond"] = (*store.relative(part.token), None)[:2]
        return item.stored, 200
    try:
        inside = store.embedded(part.token)
    except BadClip as error:  # it was in order a moment ago
        raise UserError(f"{part.token.path} changed while the dataset was built: {error}") from error
    row |= {"codes": inside.codes, "cond": inside.cond, "meta": inside.meta}
    return inside.hash(), inside.codes.nbytes + inside.cond.nbytes + len(inside.meta) + 200
