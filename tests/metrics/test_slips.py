import pytest

from soundraft.metrics.slips import Slips, duration_ratio, slips

TEXT = "turn the lamp on in the kitchen"


@pytest.mark.parametrize(
    ("transcript", "expected"),
    [
        (TEXT, Slips(7, 0, 0, 0, 0)),
        ("turn the lamp lamp on in the kitchen", Slips(7, 1, 0, 0, 0)),
        (f"{TEXT} {TEXT}", Slips(7, 7, 0, 0, 0)),
        ("turn the on in the kitchen", Slips(7, 0, 1, 0, 0)),
        ("turn the lamp on", Slips(7, 0, 0, 3, 1)),
        ("", Slips(7, 0, 0, 7, 1)),
        ("turn the lamp blue on in the kitchen", Slips(7, 0, 0, 0, 0)),  # another word is no repeat
    ],
)
def test_words_said_again_left_out_and_cut_off(transcript: str, expected: Slips) -> None:
    assert slips(text=TEXT, transcript=transcript) == expected


def test_nothing_to_compare_with_is_refused() -> None:
    with pytest.raises(ValueError, match="empty"):
        slips(text="", transcript="one")
    assert duration_ratio(spoken_s=1.0, reference_s=2.0) == 0.5
    with pytest.raises(ValueError, match="reference"):
        duration_ratio(spoken_s=1.0, reference_s=0.0)
