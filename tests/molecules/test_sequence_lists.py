"""Lists of sequences: comments, spelling, and what is refused before anything starts."""

import pytest

from timewarp.molecules import read_sequences


def write(tmp_path, text):
    path = tmp_path / "list.txt"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def test_lines_comments_and_order(tmp_path):
    text = "# peptides\n\nGA  # second thoughts\n  AG\r\nAce-A-Nme\n"
    assert read_sequences(write(tmp_path, text)) == ["GA", "AG", "Ace-A-Nme"]
    assert read_sequences(write(tmp_path, "aVK\nc(RGDfV)\nCAAC-NH2:1-4\n")) == ["aVK", "cyclo(RGDfV)", "CAAC-NH2:1-4"]
    assert read_sequences(write(tmp_path, b"\xef\xbb\xbfAG")) == ["AG"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("AG\nAXG\n", r"list\.txt, line 2: unknown amino acid 'X'"),
        ("AG\n\nga\nA\n", r"line 3: lower-case 'g'.*and 1 more such lines"),
        ("AG\nGA\nAG\n", "line 3: AG is already on line 1; remove one of them"),
        ("AG GA\n", "line 1: unknown amino acid ' '"),
        ("# nothing\n", "has no sequences"),
        (b"\xff\xfe\x00A", "not a text file"),
    ],
)
def test_bad_lists_are_refused(tmp_path, text, message):
    with pytest.raises(ValueError, match=message):
        read_sequences(write(tmp_path, text))


def test_no_such_file(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"no such file of sequences: .*nowhere\.txt"):
        read_sequences(tmp_path / "nowhere.txt")
