"""The texts that benchmarks read."""

import gzip
from pathlib import Path

from benchmarks.texts import corpus_of, load_corpus, passages, words_of, zipf_corpus


def test_generated_text_is_the_same_for_one_seed_and_as_long_as_asked() -> None:
    one, again, other = (zipf_corpus(1000, seed=seed) for seed in (1, 1, 2))
    assert one == again
    assert one.lines != other.lines
    assert one.num_words == 1000


def test_generated_words_follow_zipf() -> None:
    words = words_of(" ".join(zipf_corpus(20_000, seed=3, num_distinct=100).lines))
    assert 1.6 < words.count("a") / words.count("b") < 2.4


def test_a_beginning_ends_with_the_line_that_reaches_the_number_of_words() -> None:
    corpus = corpus_of("t", ["one two", "", "three four", "five"])
    assert corpus.num_words == 5
    assert corpus.first(3).lines == ("one two", "three four")
    assert corpus.first(2).num_words == 2
    assert corpus.first(99) == corpus


def test_text_of_the_data_folder_is_used_where_it_is_long_enough(tmp_path: Path) -> None:
    (tmp_path / "text").mkdir()
    with gzip.open(tmp_path / "text" / "kjv.txt.gz", "wt") as file:
        file.write("In the Beginning\n\nGod created\n")
    environ = {"SAGE_DATA": str(tmp_path)}
    whole = load_corpus(None, seed=1, environ=environ)
    assert (whole.name, whole.lines) == ("kjv", ("in the beginning", "god created"))
    assert load_corpus(2, seed=1, environ=environ).lines == ("in the beginning",)
    assert load_corpus(50, seed=1, environ=environ).name == "zipf(13000, seed 1)"


def test_without_data_the_text_is_generated(tmp_path: Path) -> None:
    assert load_corpus(10, seed=1, environ={"SAGE_DATA": str(tmp_path)}).name.startswith("zipf")


def test_passages_are_lines_joined_to_a_length() -> None:
    assert passages(["abc", "def", "ghi", "jkl", "m"], num_chars=6) == ["abc def", "ghi jkl"]
