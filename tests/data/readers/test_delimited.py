"""Tables as they are found: of uneven width, with broken quotes, cut short."""

import pytest
from raw_files import bad, good
from table_rows import pairs


def test_cells_are_text_and_rows_know_their_first_line(rows):
    text = '\ufeffid, text \r\n00123,NA\r\n\r\n"1\n\n2","say ""x"", y"\r\n3,"\u2028"\r\n4,' + "z" * 200_000
    assert good(rows("x.csv", text)) == [
        (2, {"id": "00123", "text": "NA"}),
        (4, {"id": "1\n\n2", "text": 'say "x", y'}),
        (7, {"id": "3", "text": "\u2028"}),
        (8, {"id": "4", "text": "z" * 200_000}),
    ]


def test_a_row_of_another_width_is_an_error_and_never_shifted(rows):
    raws = rows("x.csv", "a,b\n1\n1,2,3\n1,2\n")
    assert (good(raws), bad(raws)) == ([(4, {"a": "1", "b": "2"})], [2, 3])


def test_no_line_of_a_broken_record_passes_for_a_row(rows):
    raws = rows("x.csv", 'a,b\n"1"1,"x\ny,z\n"\n2,3\n"4 "5" 6",7\n8,9\n')
    assert (good(raws), bad(raws)) == ([(5, {"a": "2", "b": "3"}), (7, {"a": "8", "b": "9"})], [2, 6])
    assert "lines 2 to 4" in raws[0].error


def test_a_table_cut_short_anywhere_gives_its_whole_rows_and_at_most_one_error(rows):
    text = '"a","b"\r\n"1,\n2","3"\r\n"x""y","\nz,z\n"\r\n"4","5"\r\n'
    whole = good(rows("x.csv", text))
    assert len(whole) == 3
    for length in range(len('"a","b"'), len(text)):
        if text[:length].endswith('",'):
            continue  # a cell that is missing here reads as an empty one
        raws = rows("x.csv", text[:length])
        assert good(raws) == whole[: len(good(raws))], length
        assert bad(raws) in ([], [raws[-1].line] if raws else [])


def test_a_cell_that_is_not_utf8_costs_its_row(rows):
    raws = rows("x.csv", b"a,b\n1,caf\xe9\n2,caf\xc3\xa9\n")
    assert (good(raws), bad(raws)) == ([(3, {"a": "2", "b": "café"})], [2])


@pytest.mark.parametrize("header", [b"a,a\n", b'"a,b\n', b"caf\xe9\n"])
def test_a_header_that_cannot_be_trusted_is_refused(rows, header):
    with pytest.raises(ValueError, match="line 1: the header"):
        rows("x.csv", header + b"1,2\n")


# Other damage
def test_a_header_that_comes_again_is_no_row(rows):
    raws = rows("x.csv", 'a,b\n1,2\na,b\n\ufeff"a",b\n3,4\n')
    assert (good(raws), bad(raws)) == (pairs((2, "1", "2"), (5, "3", "4")), [3, 4])
    assert "the header once more" in raws[1].error


def test_columns_without_a_name_are_left_out(rows):
    assert good(rows("x.csv", ",a,b,\n0,1,2,\n")) == pairs((2, "1", "2"))
    with pytest.raises(ValueError, match="the header holds no name"):
        rows("x.csv", ",,\n0,1,2\n")


def test_no_text_is_taken_for_anything_else(rows):
    texts = ["NA", "00123", "TRUE", "1e5", "null", "nan", "", " x ", "=1+1", "2020-01-01", "\0", "1\r\n2", "3\n4"]
    text = "a,b\r\n" + "".join(f'{number},"{text}"\r\n' for number, text in enumerate(texts))
    assert [value["b"] for _, value in good(rows("x.csv", text))] == texts


def test_semicolons_in_place_of_commas_or_tabs_are_seen(rows):
    text = '\n"a";b\n"1;5";2,5\n1;2;3\n"x\ny";"z"\n'
    raws = rows("x.csv", text)
    assert good(raws) == [(3, {"a": "1;5", "b": "2,5"}), (5, {"a": "x\ny", "b": "z"})]
    assert bad(raws) == [4]
    assert good(rows("y.csv", "a;b,c\n1;2,3\n")) == [(2, {"a;b": "1;2", "c": "3"})]
    assert good(rows("x.tsv", "a;b\n1;2\n")) == pairs((2, "1", "2"))
