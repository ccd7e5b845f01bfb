"""Where a table begins, and which of its cells the header names."""

import pytest
from raw_files import bad, good
from table_rows import pairs


@pytest.mark.parametrize(
    "above",
    [
        "sep=,\n",
        "# made in May\n",
        "# in May\n# by us, of course\n",
        "Questions of May 2024\n\n",
        "Questions of May,\n",
        '"Made, in May."\n',
    ],
)
def test_lines_above_the_header_are_no_rows(rows, above):
    raws = rows("x.csv", above + "a,b\n1,2\n3,4\n")
    first = above.count("\n") + 2
    assert (good(raws), bad(raws)) == (pairs((first, "1", "2"), (first + 1, "3", "4")), [])


@pytest.mark.parametrize(
    "text",
    [
        "When,What is your name?\n2024-05-01,It is Ann.\n2024-05-02,I am Bo.\n",  # a form, whose questions are names
        "text,label\nYes.,1\nNo.,0\n",
        "Is it wet?,How?\nyes,much\nno,never\n",
        "#question,answer\nfog,cloud\nrain,drops\n",
        "a,b\n1,2\n",
    ],
)
def test_a_header_of_questions_or_short_names_is_a_header(rows, text):
    assert list(rows("x.csv", text)[0].value) == text.partition("\n")[0].split(",")


def test_fields_tell_where_the_header_is(rows):
    text = "Export, 3 May\nWhat?,Why?\nIs it wet?,Is it so?\n"
    assert list(rows("x.csv", text, fields={"question": "What?"})[0].value) == ["What?", "Why?"]


@pytest.mark.parametrize(
    "text, expected",
    [
        ("a,b\n1,2,\n3,4,\n", pairs((2, "1", "2"), (3, "3", "4"))),
        ("a,b\n1,2,,,\n3,x,4,,\n" + "5,6,,,\n" * 9, pairs((2, "1", "2"), *((n, "5", "6") for n in range(4, 13)))),
        ("a,b,\n1,2\n3,4\n", pairs((2, "1", "2"), (3, "3", "4"))),
        ("a,b\n1,2,\n3,\n5,6\n7,8,\n9,0,\n", pairs((2, "1", "2"), (4, "5", "6"), (5, "7", "8"), (6, "9", "0"))),
        ('a,b,,\n"1\n",2,\n3,4\n', pairs((2, "1\n", "2"), (4, "3", "4"))),
        ('a,b\n7,"1\n5,6",2\n0,3,4\n', pairs((2, "1\n5,6", "2"), (4, "3", "4"))),
    ],
)
def test_a_delimiter_more_than_in_the_header_is_an_empty_last_column_or_the_number_of_the_row(rows, text, expected):
    assert good(rows("x.csv", text)) == expected


@pytest.mark.parametrize("text", ["id,a\n1,2,3\n2,3,4\n", "a,b\nx,1,2\ny,3,4\n", "a,b,c\n1,2\n3,4\n"])
def test_a_table_whose_rows_are_all_of_another_width_is_refused(rows, text):
    with pytest.raises(ValueError, match=r"line 1: the header names . columns, and each row below it has . cells"):
        rows("x.csv", text)
    assert len(good(rows("x.csv", text, header=False))) == 2
