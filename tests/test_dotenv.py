"""The ``.env`` file: what a line means, and that no text breaks the reader."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from openalgo_cache.settings.dotenv import parse_dotenv, read_dotenv


@pytest.mark.parametrize(
    "line, value",
    [
        ("A=1", "1"),
        ("A = 1", "1"),
        ("  A=1  ", "1"),
        ("export A=1", "1"),
        ("export   A = 1", "1"),
        ("'A'=1", "1"),
        ("A=", ""),
        ("A=   ", ""),
        ("A=''", ""),
        ('A=""', ""),
        ("A=86400  # 24 hours", "86400"),
        ("A=86400\t# 24 hours", "86400"),
        ("A=   # nothing yet", ""),
        ("A=#hash", "#hash"),
        ("A=pass#word", "pass#word"),
        ("A=two words", "two words"),
        ("A='# no comment'  # a comment", "# no comment"),
        ('A="# no comment"# a comment', "# no comment"),
        ("A=it's", "it's"),
        ("A=a=b=c", "a=b=c"),
        ("A=${B}", "${B}"),
        ("A='C:\\temp\\new'", "C:\\temp\\new"),
        ("A=C:\\temp\\new", "C:\\temp\\new"),
        ('A="one\\ttwo\\nthree"', "one\ttwo\nthree"),
        ('A="a \\"quoted\\" \\\\ word"', 'a "quoted" \\ word'),
        ("A='it\\'s \\\\'", "it's \\"),
        ('A="one\ntwo"', "one\ntwo"),
        ("A='one\n# two'", "one\n# two"),
        ("A=pässwörd €", "pässwörd €"),
    ],
)
def test_a_line_means_what_its_writer_meant(line: str, value: str) -> None:
    """Names, spaces, quotes, escapes and comments are taken off; the rest is the value."""
    file = parse_dotenv(f"BEFORE=x\n{line}\nAFTER=y\n")
    assert file.values == {"BEFORE": "x", "A": value, "AFTER": "y"}
    assert file.unreadable_lines == ()


@pytest.mark.parametrize("line_end", ["\n", "\r\n", "\r"])
def test_any_line_ends_are_read(line_end: str) -> None:
    """Files of Linux, Windows and old Macs mean the same."""
    text = line_end.join(["# a comment", "A=1", "", "B=2 # two", "C='3'", ""])
    assert parse_dotenv(text).values == {"A": "1", "B": "2", "C": "3"}


def test_the_last_line_may_lack_its_end() -> None:
    """A file that an editor left without a final line end is whole."""
    assert parse_dotenv("A=1\nB=2").values == {"A": "1", "B": "2"}


def test_the_last_assignment_counts() -> None:
    """A line further down corrects one further up."""
    assert parse_dotenv("A=1\nA=2\n").values == {"A": "2"}


@pytest.mark.parametrize(
    "line", ["no assignment", "A", "A='not closed", 'A="not closed', "A='x' y", "=1", "A B=1", "export A", 'A="x"y']
)
def test_an_unreadable_line_is_numbered_and_the_others_are_read(line: str) -> None:
    """One bad line costs no other, and its content is not kept: it may be a secret."""
    file = parse_dotenv(f"# first\nB=1\n{line}\nC=2\n")
    assert file.values == {"B": "1", "C": "2"}
    assert file.unreadable_lines == (3,)


def test_a_byte_order_mark_is_no_part_of_the_first_name(tmp_path: Path) -> None:
    """Windows editors put one at the beginning."""
    path = tmp_path / ".env"
    path.write_bytes(b"\xef\xbb\xbfA=1\r\nB=2\r\n")
    assert read_dotenv(path).values == {"A": "1", "B": "2"}


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-be"])
def test_utf_16_is_refused_and_not_misread(tmp_path: Path, encoding: str) -> None:
    """Windows shells write it; read as UTF-8 it would look like a file without settings."""
    path = tmp_path / ".env"
    path.write_bytes("\ufeffA=1\n".encode(encoding) if encoding == "utf-16-be" else "A=1\n".encode(encoding))
    with pytest.raises(UnicodeError):
        read_dotenv(path)


def test_foreign_bytes_in_another_line_do_not_matter(tmp_path: Path) -> None:
    """A comment in Latin-1 does not keep the rest from being read."""
    path = tmp_path / ".env"
    path.write_bytes(b"# caf\xe9\nA=1\nB=caf\xe9\n")
    values = read_dotenv(path).values
    assert values["A"] == "1"
    assert values["B"] == "caf\udce9"


@given(st.text())
def test_no_text_breaks_the_reader(text: str) -> None:
    """Whatever the file holds, there is an answer, and every line number is one of the file."""
    file = parse_dotenv(text)
    lines = text.count("\n") + text.count("\r") + 1
    assert all(1 <= number <= lines for number in file.unreadable_lines)


@given(st.text(st.characters(exclude_characters="\r", exclude_categories=["Cs"])))
def test_every_value_can_be_written_in_single_quotes(value: str) -> None:
    """With the two escapes any text comes back as it was."""
    quoted = value.replace("\\", "\\\\").replace("'", "\\'")
    assert parse_dotenv(f"A='{quoted}'\nB=2").values == {"A": value, "B": "2"}
