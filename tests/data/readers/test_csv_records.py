import pytest
from raw_files import bad, good
from table_rows import pairs

from refrain.data.readers import raw_rows


# A broken quote
def test_rows_behind_a_quote_that_is_never_closed_are_rows(rows):
    raws = rows("x.csv", 'a,b\n1,2\n3,"4\n5,6\n7,8\n')
    assert (good(raws), bad(raws)) == ([(2, {"a": "1", "b": "2"}), *pairs((4, "5", "6"), (5, "7", "8"))], [3])
    assert "the next line stands for itself" in raws[1].error


@pytest.mark.parametrize("later", ['"9","10"', '9,", and so on"', '9,"say ""hi"""', '9,"two\nlines"', "9,10"])
def test_a_quote_of_a_later_row_does_not_close_a_broken_one(rows, later):
    expected = good(rows("x.csv", f"a,b\n1,2\n3,4\n5,6\n{later}\n11,12\n"))
    raws = rows("x.csv", f'a,b\n1,2\n3,"4\n5,6\n{later}\n11,12\n')
    assert (good(raws), bad(raws)) == ([row for row in expected if row[0] != 3], [3])


def test_a_text_of_lines_that_look_like_rows_is_one_cell(rows):
    text = 'a,b\n1,"x\n2,y\n3,z\n"\n"4\n5,6\n",7\n'
    assert good(rows("x.csv", text)) == pairs((2, "1", "x\n2,y\n3,z\n"), (6, "4\n5,6\n", "7"))


def test_lines_of_a_text_whose_record_is_broken_are_no_rows(rows):
    text = 'a,b\n"0\n",1\n"1"x,"y\ny,z\ny,z"\n2,3\n"4","5"\n'
    raws = rows("x.csv", text)
    assert (good(raws), bad(raws)) == (pairs((2, "0\n", "1"), (7, "2", "3"), (8, "4", "5")), [4])


def test_many_lines_of_a_broken_record_are_no_better_than_two(rows):
    raws = rows("x.csv", 'a,b\n"1"1,"x\n' + "y,z\n" * 12 + '"\n2,3\n4,5\n')
    assert (good(raws), bad(raws)) == (pairs((16, "2", "3"), (17, "4", "5")), [2])


def test_a_table_cut_short_in_one_of_its_texts_leaves_no_half_row(rows):
    raws = rows("x.csv", 'a,b\n1,"x\ny\nz"\n2,"text\n3,4\n5,6\n')
    assert (good(raws), bad(raws)) == (pairs((2, "1", "x\ny\nz")), [5])


def test_no_text_is_taken_to_be_longer_than_those_before_it(rows):
    raws = rows("x.csv", 'a,b\n1,"x\ny"\n2,"text\n' + "3,4\n" * 9)
    assert (good(raws), bad(raws)) == (pairs((2, "1", "x\ny"), *((line, "3", "4") for line in range(5, 14))), [4])


@pytest.mark.parametrize("other", ["caf\udce9,5", "# remark", "7,8,9", '7,say "hi" now', '"7",8"x', '7,8"'])
@pytest.mark.parametrize("broken", ["caf\udce9,5", "# remark", "7,8,9", '7,"say "hi" now"', '7,"8'])
def test_rows_between_broken_ones_are_rows(rows, broken, other):
    if (broken, other) == ('7,"8', '7,8"'):
        return  # together they are a record
    lines = ["a,b", '0,"x\ny"', broken, *["1,2"] * 3, other, *["3,4"] * 3, '5,"x\ny"', "6,7"]
    raws = rows("x.csv", "\n".join(lines).encode("utf-8", "surrogateescape"))
    assert (len(good(raws)), bad(raws)) == (9, [4, 8])


def test_a_stray_quote_and_one_before_a_comma_shift_no_cell(rows):
    raws = rows("x.csv", 'a,b,c\n1,"2,3\n4,5,", and so on"\n6,7,8\n')
    assert [list(value.values()) for _, value in good(raws)] == [["4", "5", ", and so on"], ["6", "7", "8"]]
    assert bad(raws) == [2]


def test_a_record_whose_quote_was_lost_leaves_no_half_row(rows):
    raws = rows("x.csv", 'a,b\n"0\n",1\nx"1",x"\ny,z\nv,w"\n"4","5"\n6,7\n')
    assert good(raws) == pairs((2, "0\n", "1"), (7, "4", "5"), (8, "6", "7"))


def test_a_record_of_too_many_lines_costs_only_itself(rows):
    raws = rows("x.csv", 'a,b\n1,"' + "x\n" * 10_001 + '"\n2,3\n')
    assert (good(raws), bad(raws)) == (pairs((10_004, "2", "3")), [2])


def test_rows_far_behind_a_stray_quote_are_rows(rows):
    lines = [f"{number},{number}\n" for number in range(12_000)]
    raws = rows("x.csv", "".join(["a,b\n", '0,"0\n', *lines]))
    assert (len(good(raws)), bad(raws)) == (12_000, [2])


def test_in_one_column_a_stray_quote_takes_no_more_than_a_text(rows):
    assert bad(rows("x.csv", 'a\n1\n"2\n3\n4\n')) == [3]
    raws = rows("x.csv", 'a\n"1\n2\n3"\n"4\n5\n6\n')
    assert (good(raws), bad(raws)) == ([(2, {"a": "1\n2\n3"})], [5])


def test_measures_in_inches_are_text(rows):
    assert good(rows("x.tsv", 'a\tb\n5\' 11"\t1/2"\n6\'\t"q"\n')) == pairs((2, "5' 11\"", '1/2"'), (3, "6'", "q"))


def test_any_line_end_ends_a_line(rows):
    assert good(rows("x.csv", "a,b\r1,2\n3,4\r\n5,6\r7,8")) == pairs(
        (2, "1", "2"), (3, "3", "4"), (4, "5", "6"), (5, "7", "8")
    )


def test_a_line_is_the_same_wherever_the_file_is_cut_into_chunks():
    text = "\ufeffa,é\r\n\r1,2\n\n3\r".encode()
    whole = list(raw_rows.split_lines([text]))
    assert [(line.number, line.offset, line.text) for line in whole] == [
        (1, 3, "a,é\r\n"), (2, 9, "\r"), (3, 10, "1,2\n"), (4, 14, "\n"), (5, 15, "3\r")
    ]  # fmt: skip
    for cut in range(3, len(text)):
        assert list(raw_rows.split_lines([text[:cut], text[cut:]])) == whole


def test_bytes_that_are_not_utf8_cost_their_record_only(rows):
    raws = rows("x.csv", b'a,b\n1,"x\n\xff\ny"\n3,4\n')
    assert (good(raws), bad(raws)) == (pairs((5, "3", "4")), [2])


def test_a_line_that_is_too_long_costs_itself_only(rows):
    raws = rows("x.csv", "a,b\n1,2\n3," + "x" * (17 << 20) + "\r\n4,5\n")
    assert (good(raws), bad(raws)) == (pairs((2, "1", "2"), (4, "4", "5")), [3])
    assert raws[2].offset == 8 + 2 + (17 << 20) + 2
