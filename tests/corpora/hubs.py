"""Repositories as the hub has them, made here: parquet files with the published columns, and the card beside them."""

import io
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import soundfile
import yaml
from datasets import Audio, ClassLabel, Features, List, Value

from soundraft.runtime import derive_seed
from tests.conftest import tone

STRING, INT, BOOL, FLOAT = Value("string"), Value("int64"), Value("bool"), Value("float64")
Rows = Sequence[Mapping[str, Any]]


def named(names: str) -> list[str]:
    return names.split()


def sound(kind: str = "WAV", seconds: float = 0.1, frequency_hz: float = 440.0, rate_hz: int = 8000) -> bytes:
    stream = io.BytesIO()
    soundfile.write(stream, tone(seconds, rate_hz, 0.3, frequency_hz), rate_hz, format=kind)
    return stream.getvalue()


def audio(name: str, kind: str = "WAV", frequency_hz: float | None = None) -> dict[str, Any]:
    """A recording; each name has a tone of its own."""
    hertz = 200 + derive_seed(name) % 1_000_000 / 1000 if frequency_hz is None else frequency_hz
    return {"bytes": sound(kind, frequency_hz=hertz), "path": name}


def write(
    repo: Path,
    features: Features,
    configs: Mapping[str, Mapping[str, Rows]],
    *,
    converted: bool = False,
    group: int = 10,
    shards: int = 1,
) -> Path:
    """A repository: `configs[config][split]` are its rows, in row groups of `group`.

    `converted`: as the hub's own conversion has it, without a card.
    """
    for config, of_split in configs.items():
        for split, rows in of_split.items():
            folder = repo / config / split if converted else repo / config
            folder.mkdir(parents=True, exist_ok=True)
            for shard, part in enumerate(_parts(rows, shards)):
                name = f"{shard:04d}" if converted else f"{split}-{shard:05d}-of-{shards:05d}"
                table = pa.Table.from_pylist(list(part), schema=features.arrow_schema)
                pq.write_table(table, folder / f"{name}.parquet", row_group_size=group)
    if not converted:
        (repo / "README.md").write_text(f"---\n{yaml.safe_dump(_card(features, configs))}---\n", encoding="utf-8")
    return repo


def _parts(rows: Rows, count: int) -> Iterator[Rows]:
    size = -(-len(rows) // count)
    return (rows[start : start + size] for start in range(0, max(1, len(rows)), max(1, size)))


def _card(features: Features, configs: Mapping[str, Mapping[str, Rows]]) -> dict[str, Any]:
    return {
        "configs": [
            {
                "config_name": config,
                "data_files": [{"split": split, "path": f"{config}/{split}-*"} for split in of_split],
            }
            for config, of_split in configs.items()
        ],
        "dataset_info": [
            {
                "config_name": config,
                "features": features._to_yaml_list(),
                "splits": [
                    {"name": split, "num_examples": len(rows), "num_bytes": 1} for split, rows in of_split.items()
                ],
            }
            for config, of_split in configs.items()
        ],
    }


LIBRISPEECH = Features(
    file=STRING, audio=Audio(sampling_rate=16000), text=STRING, speaker_id=INT, chapter_id=INT, id=STRING
)
COMMON_VOICE = Features(
    client_id=STRING,
    path=STRING,
    audio=Audio(sampling_rate=48000),
    sentence=STRING,
    up_votes=INT,
    down_votes=INT,
    age=STRING,
    gender=STRING,
    accent=STRING,
    locale=STRING,
    segment=STRING,
)
FLEURS = Features(
    id=Value("int32"),
    num_samples=Value("int32"),
    path=STRING,
    audio=Audio(sampling_rate=16000),
    transcription=STRING,
    raw_transcription=STRING,
    gender=ClassLabel(names=["male", "female", "other"]),
    lang_id=ClassLabel(names=["af_za", "am_et", "en_us", "all"]),
    language=STRING,
    lang_group_id=ClassLabel(names=["western_european_we", "eastern_european_ee"]),
)
INTENTS = named(
    "abroad address app_error atm_limit balance business_loan card_issues cash_deposit direct_debit "
    "freeze high_value_payment joint_account latest_transactions pay_bill "
)
MINDS14 = Features(
    path=STRING,
    audio=Audio(sampling_rate=8000),
    transcription=STRING,
    english_transcription=STRING,
    intent_class=ClassLabel(names=INTENTS),
    lang_id=ClassLabel(
        names=named("cs-CZ de-DE en-AU en-GB en-US es-ES fr-FR it-IT ko-KR nl-NL pl-PL pt-PT ru-RU zh-CN")
    ),
)
SPEECH_MASSIVE = Features(
    {
        "id": STRING,
        "locale": STRING,
        "partition": STRING,
        "scenario": INT,
        "scenario_str": STRING,
        "intent_idx": INT,
        "intent_str": STRING,
        "utt": STRING,
        "annot_utt": STRING,
        "worker_id": STRING,
        "slot_method": {"slot": List(STRING), "method": List(STRING)},
        "judgments": {"worker_id": List(STRING), "intent_score": List(Value("int8"))},
        "tokens": List(STRING),
        "labels": List(STRING),
        "audio": Audio(),
        "path": STRING,
        "is_transcript_reported": BOOL,
        "is_validated": BOOL,
        "speaker_id": STRING,
        "speaker_sex": STRING,
        "speaker_age": STRING,
    }
)
AUDIOSET = Features(video_id=STRING, audio=Audio(), labels=List(STRING), human_labels=List(STRING))
WORDS = named(
    "yes no up down left right on off stop go zero one two three four five six seven eight nine bed bird "
    "cat dog happy house marvin sheila tree wow backward forward follow learn visual _unknown_ _silence_ "
)
SPEECH_COMMANDS = Features(
    file=STRING,
    audio=Audio(sampling_rate=16000),
    label=ClassLabel(names=WORDS),
    is_unknown=BOOL,
    speaker_id=STRING,
    utterance_id=Value("int8"),
)
ESC50 = Features(
    filename=STRING,
    fold=INT,
    target=INT,
    category=STRING,
    esc10=BOOL,
    src_file=INT,
    take=STRING,
    audio=Audio(),
)
URBANSOUND8K = Features(
    {
        "audio": Audio(),
        "slice_file_name": STRING,
        "fsID": INT,
        "start": FLOAT,
        "end": FLOAT,
        "salience": INT,
        "fold": INT,
        "classID": INT,
        "class": STRING,
    }
)
EMODB = Features(
    age=Value("float32"),
    gender=ClassLabel(names=["female", "male"]),
    emotion=ClassLabel(names=named("anger boredom disgust fear happiness neutral sadness")),
    audio=Audio(),
)
VOXCELEB = Features(audio=Audio(), id=STRING, speaker_id=STRING)
