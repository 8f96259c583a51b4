from soundraft.tables import columns, wrapped

ROWS = [("name", "what it is"), ("a", "some words that go on and on"), ("longer-name", "short")]


def test_columns_stand_under_each_other() -> None:
    assert columns([("a", "1"), ("bcd", "22")], right={1}) == ["a     1", "bcd  22"]
    assert columns([("a", "b"), ("bcd", "")]) == ["a    b", "bcd"]


def test_long_cells_go_on_in_the_next_line_and_no_word_is_lost() -> None:
    lines = wrapped(ROWS, width=28)
    assert lines == [
        "name         what it is",
        "a            some words that",
        "             go on and on",
        "longer-name  short",
    ]
    assert wrapped(ROWS, width=180) == columns(ROWS)


def test_words_are_cut_only_when_there_is_no_other_way() -> None:
    tight = wrapped(ROWS, width=18)
    assert max(map(len, tight)) <= 18
    assert [line[:8].strip() for line in tight if line[:8].strip()] == ["name", "a", "longer-n", "ame"]
    assert len(wrapped(ROWS, width=3)) > 4, "what cannot be had is as narrow as it gets"
