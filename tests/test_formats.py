from autoresearch.formats import counted, printable, shortened, span


def test_durations() -> None:
    assert [span(s) for s in (-1, 5, 129, 27960)] == ["0 s", "5 s", "2:09 min", "7 h 46 min"]


def test_counts_agree_with_their_nouns() -> None:
    assert [counted(n, "run") for n in (0, 1, 2, 1234)] == ["0 runs", "1 run", "2 runs", "1,234 runs"]


def test_a_cut_text_is_marked() -> None:
    assert [shortened(text, 4) for text in ("abcd", "abcde", "ab de")] == ["abcd", "abc…", "ab…"]


def test_what_a_terminal_would_obey_becomes_a_blank() -> None:
    assert printable("a\x1b[1mb\n", kept="\n") == "a [1mb\n"
    assert printable("a\nb\u202e") == "a b "
