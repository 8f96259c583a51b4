from soundraft.tables import columns, shortened

ROWS = [("name", "what it is"), ("a", "some [words] that go on and on"), ("longer-name", "short")]


def test_columns_stand_under_each_other() -> None:
    assert columns([("a", "1"), ("bcd", "22")], right={1}) == ["a     1", "bcd  22"]
    assert columns([("a", "b"), ("bcd", "")]) == ["a    b", "bcd"]
    assert columns([("x" * 300, "y" * 300)]) == ["x" * 300 + "  " + "y" * 300]


def test_long_cells_go_on_in_the_next_line_and_no_word_is_lost() -> None:
    assert columns(ROWS, width=180) == columns(ROWS)
    lines = columns(ROWS, width=28)
    assert max(map(len, lines)) <= 28
    assert [line.split()[0] for line in lines if not line.startswith(" ")] == ["name", "a", "longer-name"]
    assert " ".join(" ".join(lines).split()) == "name what it is a some [words] that go on and on longer-name short"


def test_words_are_cut_only_when_there_is_no_other_way() -> None:
    rows = [("name", "long"), ("long-name", "longest-of-words")]
    assert columns(rows, width=27) == columns(rows)
    cut = columns(rows, width=20)
    assert max(map(len, cut)) <= 20
    assert cut[1].startswith("long-name  longest")


def test_a_long_list_is_shortened() -> None:
    assert shortened("abc") == "a, b, c"
    assert shortened(map(str, range(12)), joint=" ").endswith("8 9 and 2 more")
