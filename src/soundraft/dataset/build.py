"""s5: normalised audio, tokens and sidecars → a Hugging Face `DatasetDict`, with a card and a list of rejected clips.

Columns: `id, wav (bytes, path), audio (the token file's path), cond (the sidecar's npy), text, label, speaker,
metadata (JSON), duration (s), sample_rate (Hz), frames, codebooks, features`; paths are relative to the dataset. With
`embed` the codes and the conditioning stand in the tables instead: `codes [T][K], cond [T][D], meta`. The bytes on
disk depend on nothing but the clips.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import xxhash
import yaml
from huggingface_hub import DatasetCard, RepoCard
from huggingface_hub.repocard_data import CardData

from soundraft import files
from soundraft.audio import ecdc
from soundraft.audio.ecdc import TokenFile
from soundraft.dataset import rows, table
from soundraft.dataset.rows import Form, Found, Part, Sources, Store
from soundraft.dataset.table import Feature
from soundraft.manifest import QUARANTINE_NAME, SPLITS, Rejected, check_bad_fraction
from soundraft.parallel import Failure, map_clips, progress_over
from soundraft.params.sections import Materialize
from soundraft.runtime import BadClip, UserError
from soundraft.sidecar import audit, listing

CARD_NAME = "README.md"
HASHES_KEY = "content_hashes"
TASK_CATEGORIES = {
    "asr": "automatic-speech-recognition",
    "classification": "audio-classification",
    "tts": "text-to-speech",
    "enhancement": "audio-to-audio",
}
MEANINGS = {
    "id": "name of the clip",
    "wav": "the audio: `bytes` of a file, and the `path` it had; empty where only tokens were given",
    "audio": "path of the token file (`.ecdc`), relative to this folder",
    "codes": "EnCodec codes [T][K]: frames, then codebooks",
    "text": "transcript",
    "label": "class",
    "speaker": "who speaks",
    "metadata": "whatever else is known of the clip, as JSON",
    "duration": "seconds",
    "sample_rate": "Hz, of the audio",
    "frames": f"T, {ecdc.FRAMES_PER_S} a second",
    "codebooks": "K",
    "features": "names of the D conditioning features, in the order of the columns of `cond`",
    "meta": "the sidecar's json: schema_version, fps, names, norm (min, max, mean, std of each feature)",
}
COND_MEANINGS = {  # by whether it stands in the tables
    True: "conditioning [T][D]: frames, then features",
    False: "path of the conditioning (`.npy`, [T, D]), relative to this folder; its `.json` lies beside it",
}
FILES: dict[Materialize, str] = {
    "copy": "Token files and sidecars lie in this folder as copies: it can be moved as a whole.",
    "link": "Token files and sidecars lie in this folder as hard links: it can be copied as a whole.",
    "none": "Token files and sidecars lie elsewhere: the paths hold as long as neither they nor this folder move.",
    "embed": "Codes and conditioning stand in the tables: nothing else is needed, and they can be streamed.",
}
_TABLES_ALONE = "Only the tables go there, not the files that `audio` and `cond` name: build with `embed`"
_UPLOAD = ", or upload this whole folder with `hf upload you/name . --repo-type dataset`."
PUBLISHING: dict[Materialize, str] = {
    "copy": _TABLES_ALONE + _UPLOAD,
    "link": _TABLES_ALONE + _UPLOAD,
    "none": f"{_TABLES_ALONE} to publish.",
    "embed": "Codes and conditioning go along, since they are in the tables.",
}
CARD = """---
{{ card_data }}
---

# {{ form.name }}

EnCodec tokens with frame-aligned conditioning. {{ files }}

| split | clips | hours | frames | content hash (xxh3-128) |
|---|---:|---:|---:|---|
{% for name, split in splits.items() -%}
| {{ name }} | {{ split.clips }} | {{ "%.3f" % (split.seconds / 3600) }} | {{ split.frames }} | `{{ split.hash }}` |
{% endfor -%}
{% set all = splits.values() -%}
| all | {{ all | sum("clips") }} | {{ "%.3f" % (all | sum("seconds") / 3600) }} | {{ all | sum("frames") }} | |

## Columns

| column | type | holds |
|---|---|---|
{% for name, type in types.items() -%}
| `{{ name }}` | {{ type }} | {{ meanings[name] }} |
{% endfor %}
## Tokens and conditioning

EnCodec, {{ tokens.SAMPLE_RATE_HZ }} Hz, {{ tokens.FRAMES_PER_S }} frames a second
{%- if form.codec %}, checkpoint `{{ form.codec }}`{% endif %}.
{%- for count, clips in codebooks %}{{ "," if not loop.first }} {{ count }} codebooks (
{{- count * tokens.FRAMES_PER_S * tokens.BITS_PER_CODE / 1000 }} kbps): {{ clips }} clips{% endfor %}.

{% if features -%}
| feature | clips |
|---|---:|
{% for name, clips in features -%}
| {{ name }} | {{ clips }} |
{% endfor -%}
{% else -%}
No conditioning features.
{% endif %}
## Use

```python
import datasets

dataset = datasets.load_from_disk("this/folder")
```

To publish it, which never happens by itself:

```python
dataset.push_to_hub("you/name")
```

{{ publishing }}
"""


@dataclass
class SplitFacts:
    """What is counted while a split is written."""

    columns: dict[str, Feature]
    clips: int = 0
    seconds: float = 0.0
    frames: int = 0
    bytes: int = 0
    hash: str = ""
    features: Counter[str] = field(default_factory=Counter)
    codebooks: Counter[int] = field(default_factory=Counter)
    tasks: set[str] = field(default_factory=set)

    def count(self, row: Mapping[str, Any], task: str | None) -> None:
        self.clips += 1
        self.seconds += row["duration"]
        self.frames += row["frames"]
        self.features.update(row["features"])
        self.codebooks[row["codebooks"]] += 1
        if task is not None:
            self.tasks.add(task)


@dataclass(frozen=True)
class Built:
    """What became of the clips."""

    splits: dict[str, SplitFacts]
    rejected: list[Rejected]

    def __str__(self) -> str:
        sizes = ", ".join(f"{split} {facts.clips}" for split, facts in self.splits.items())
        return f"{sizes}; {len(self.rejected)} rejected"


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
    )[: sources.max_files]
    parts, rejected = rows.join(sources, tokens, form)
    unseen = audited is None or not audit.found_nothing(audited)
    store = Store(sources, form, folder, home or folder, open_tokens=unseen)
    folder.mkdir(parents=True, exist_ok=True)
    store.check_links(tokens[0])
    found = _take(store, tokens, {part.token.path for part in parts})
    if audited is not None:
        audit.check_passed(audited, listing.folder_hash((path, item.stored) for path, item in found.items()))
    problems = {path: item.problem for path, item in found.items() if item.problem}
    whole = [part.token for part in parts if part.token.path not in problems]
    unlike = listing.unlike({token.path: (token.codebooks, found[token.path].names) for token in whole})
    for token in whole:
        if token.path in unlike:
            store.discard(token)
    problems |= unlike
    good = [part for part in parts if part.token.path not in problems]
    rejected += [
        Rejected(part.clip.id, part.token.path, problems[part.token.path])
        for part in parts
        if part.token.path in problems
    ]
    rejected.sort(key=lambda item: (item.id, item.path))
    check_bad_fraction(len(good), rejected, max_bad_fraction)
    splits = {
        split: _write_split(store, split, [part for part in good if part.split == split], found)
        for split in _splits(good, form)
    }
    table.write_dict(folder, list(splits))
    write_card(folder, form, splits)
    files.write_jsonl(folder / QUARANTINE_NAME, map(vars, rejected))
    return Built(splits, rejected)


def _take(store: Store, tokens: Sequence[TokenFile], wanted: set[str]) -> dict[str, Found]:
    """The files of every clip, by the path of its token file; those of wanted clips are now in their place."""
    jobs = [(token, token.path in wanted) for token in tokens]
    results = map_clips(store.take, jobs, title=f"tokens of {store.form.name}")
    return {
        token.path: Found("", problem=result.reason) if isinstance(result, Failure) else result
        for token, result in zip(tokens, results, strict=True)
    }


def _splits(parts: Sequence[Part], form: Form) -> list[str]:
    """The splits that have clips: train, validation, test, then others by name."""
    named = {part.split for part in parts}
    absent = [split for split in SPLITS if split not in named]
    if form.all_splits and absent:
        raise UserError(
            f"{form.name}: no clips in the {absent[0]} split; training and evaluation need train, validation and test"
        )
    return [*(split for split in SPLITS if split in named), *sorted(named - set(SPLITS))]


def _write_split(store: Store, split: str, parts: Sequence[Part], found: dict[str, Found]) -> SplitFacts:
    sources, form = store.sources, store.form
    facts = SplitFacts(table.columns(form.materialize))
    whole = xxhash.xxh3_128()
    title = f"pack {form.name}/{split}"
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
        # by content and by where the files are named to be: two forms of one dataset are not one for a cache
        where = " ".join((form.materialize, *store.prefixes))
        writer.finish(split, xxhash.xxh3_64_hexdigest(f"{facts.hash} {where}".encode()))
    facts.bytes = writer.bytes
    return facts


def _add_tokens(row: dict[str, Any], store: Store, part: Part, item: Found) -> tuple[str, int]:
    """Put codes and conditioning, or their paths, into a row; the hash of what is stored, and the bytes in the row."""
    if store.form.materialize != "embed":
        row["audio"], row["cond"] = (*store.relative(part.token), None)[:2]
        return item.stored, 200
    try:
        inside = store.embedded(part.token)
    except BadClip as error:  # it was in order a moment ago
        raise UserError(f"{part.token.path} changed while the dataset was built: {error}") from error
    row |= {"codes": inside.codes, "cond": inside.cond, "meta": inside.meta}
    return inside.hash(), inside.codes.nbytes + inside.cond.nbytes + len(inside.meta) + 200


def write_card(folder: Path, form: Form, splits: Mapping[str, SplitFacts]) -> None:
    facts = list(splits.values())
    columns = facts[0].columns
    tasks = sorted({TASK_CATEGORIES[task] for each in facts for task in each.tasks & set(TASK_CATEGORIES)})
    sizes = [{"name": split, "num_bytes": each.bytes, "num_examples": each.clips} for split, each in splits.items()]
    header: dict[str, Any] = {
        "pretty_name": form.name,
        **({"task_categories": tasks} if tasks else {}),
        "dataset_info": {
            "features": [{"name": column} | _yaml_feature(feature) for column, feature in columns.items()],
            "splits": sizes,
            "dataset_size": sum(each.bytes for each in facts),
        },
        HASHES_KEY: {split: each.hash for split, each in splits.items()},
    }
    codebooks: Counter[int] = sum((each.codebooks for each in facts), Counter())
    features: Counter[str] = sum((each.features for each in facts), Counter())
    card = RepoCard.from_template(
        CardData(**header),
        template_str=CARD,
        form=form,
        files=FILES[form.materialize],
        publishing=PUBLISHING[form.materialize],
        splits=splits,
        types={name: _type_name(feature) for name, feature in columns.items()},
        meanings=MEANINGS | {"cond": COND_MEANINGS["codes" in columns]},
        tokens=ecdc,
        codebooks=sorted(codebooks.items()),
        features=sorted(features.items()),
    )
    files.write_text(folder / CARD_NAME, f"{card}\n")


def read_hashes(folder: Path) -> dict[str, str]:
    """The content hash of each split, as the card states it.

    Raises:
        UserError: when there is no card of ours.
    """
    path = folder / CARD_NAME
    try:
        hashes = DatasetCard(path.read_text(encoding="utf-8")).data.to_dict()[HASHES_KEY]
        return {str(split): str(value) for split, value in hashes.items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError, yaml.YAMLError) as error:
        raise UserError(f"{path}: no card with {HASHES_KEY} in its header") from error


def _yaml_feature(feature: Feature) -> dict[str, Any]:
    """A column's type as `datasets` writes it into cards."""
    if feature["_type"] == "Audio":
        return {"dtype": {"audio": {"decode": feature["decode"]}}}
    if feature["_type"] == "List":
        inner = _yaml_feature(feature["feature"])
        return {"list": inner.get("dtype", inner)}
    return {"dtype": feature["dtype"]}


def _type_name(feature: Feature) -> str:
    if feature["_type"] == "List":
        return f"list of {_type_name(feature['feature'])}"
    return "audio file" if feature["_type"] == "Audio" else str(feature["dtype"])


def check_replaceable(out: Path, sources: Sources) -> None:
    """Raise UserError when `out` holds something else than a dataset, or what the dataset is made of."""
    for source in filter(None, (sources.tokens, sources.cond)):
        if not source.is_dir():
            raise UserError(f"no such folder: {source}")
        files.check_apart(source, out)
    if sources.wavs is not None and sources.wavs.resolve().is_relative_to(out.resolve()):
        raise UserError(f"{sources.wavs} lies in {out}, which would be replaced")
    if out.exists() and not (out.is_dir() and (not any(out.iterdir()) or (out / table.DICT_NAME).is_file())):
        raise UserError(f"{out} is there and is no dataset: name a new or an empty folder")


def check_keeps_splits(out: Path, splits: Sequence[str]) -> None:
    """Raise UserError when the dataset in `out` has a split that the new one lacks."""
    if not (out / table.DICT_NAME).is_file():
        return
    lost = [split for split in table.read_splits(out) if split not in splits]
    if lost:
        raise UserError(
            f"{out} has the split {lost[0]}, which this build does not make: name another folder, remove that one, or "
            "give a --manifest that says which clip belongs to which split"
        )
