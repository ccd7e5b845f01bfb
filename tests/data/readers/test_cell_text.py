"""The text of a cell is the one that a spreadsheet shows."""

from datetime import date, datetime, time, timedelta

import pytest

from refrain.data.readers.cell_text import cell_text

SHOWN = [
    (None, "General", ""),
    ("007", "General", "007"),
    ("a_x000D_\nb_x", "General", "a\r\nb_x"),
    (5, "General", "5"),
    (5.0, "General", "5"),
    (0.1 + 0.2, "General", "0.3"),
    (1e20, "General", "1e+20"),
    (123, "00000", "00123"),
    (2.5, "0", "3"),
    (1.005, "0.00", "1.01"),
    (0.5, "0%", "50%"),
    (0.1234, "0.0%", "12.3%"),
    (1234567.891, "#,##0.00", "1,234,567.89"),
    (-5.5, "#,##0.00;[Red](#,##0.00)", "(5.50)"),
    (-3, "0", "-3"),
    (2, "0.##", "2"),
    (1.5, "0.##", "1.5"),
    (12, '0 "kg"', "12 kg"),
    (5, "[$€-407] #,##0.00", "€ 5.00"),
    (0.75, "# ?/?", "0.75"),
    (12345678, "0.00E+00", "12345678"),
    (True, "General", "TRUE"),
    (date(2024, 3, 1), "d.m.yyyy", "2024-03-01"),
    (datetime(2024, 3, 1), "mm-dd-yy", "2024-03-01"),
    (datetime(2024, 3, 1), "yyyy-mm-dd hh:mm", "2024-03-01 00:00"),
    (datetime(2024, 3, 1, 14, 30, 5), "mm-dd-yy", "2024-03-01 14:30:05"),
    (time(9, 5), "hh:mm", "09:05"),
    (timedelta(hours=30, minutes=5), "[h]:mm:ss", "30:05:00"),
]


@pytest.mark.parametrize("value, number_format, shown", SHOWN, ids=[repr(row[:2]) for row in SHOWN])
def test_a_cell_is_what_is_shown(value, number_format, shown):
    assert cell_text(value, number_format) == shown
