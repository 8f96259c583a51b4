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
    rows = [("name", "long"), ("long-name", "longest-of-words")]
    assert wrapped(rows, width=27) == columns(rows)
    assert wrapped(rows, width=20) == ["name       long", "long-name  longest-o", "           f-words"]
    assert max(map(len, wrapped(rows, width=3))) == 9 + 2 + 8, "what cannot be had is as narrow as it gets"
