import datetime
import json
import re

from hypothesis import given
from hypothesis import strategies as st

from soundraft.models.longform import WRITERS, Segment, clock

SEGMENTS = [
    Segment(0.0, 1.5, "one two"),
    Segment(61.0006, 3723.9996, "drei – vier"),
    Segment(3723.9996, 3730.25, "a --> b"),
]


def test_subtitles_are_subrip_to_the_letter() -> None:
    assert WRITERS["srt"](SEGMENTS) == (
        "1\n00:00:00,000 --> 00:00:01,500\none two\n"
        "\n"
        "2\n00:01:01,001 --> 01:02:04,000\ndrei – vier\n"
        "\n"
        "3\n01:02:04,000 --> 01:02:10,250\na -> b\n"
    )
    assert WRITERS["srt"]([]) == ""


@given(st.integers(0, 359_999_999))
def test_the_clock_is_that_of_datetime(milliseconds: int) -> None:
    written = clock(milliseconds / 1000)
    assert re.fullmatch(r"\d\d:[0-5]\d:[0-5]\d,\d{3}", written)
    hours, minutes, seconds, rest = (int(part) for part in re.split("[:,]", written))
    expected = datetime.timedelta(milliseconds=milliseconds)
    assert datetime.timedelta(hours=hours, minutes=minutes, seconds=seconds, milliseconds=rest) == expected


def test_text_and_json_hold_every_segment() -> None:
    assert WRITERS["txt"](SEGMENTS) == "one two\ndrei – vier\na --> b\n"
    read = json.loads(WRITERS["json"](SEGMENTS))
    assert read["text"] == "one two drei – vier a --> b"
    assert read["segments"][1] == {"start_s": 61.001, "end_s": 3724.0, "text": "drei – vier"}
    assert json.loads(WRITERS["json"]([])) == {"text": "", "segments": []}
