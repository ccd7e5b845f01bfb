"""E-mail addresses, telephone numbers and IBANs are masked; what only looks like them is not."""

import time

import pytest

from refrain.data.cleaning import pii

EMAILS = [
    "ann@example.org",
    "Ann.O-Neil+news_1%x@mail.example.co.uk",
    "jürgen@müller.de",
    "x@163.com",
    "a@b-c.museum",
]
NO_EMAILS = [
    "@ann",
    "ann@home",
    "ann@example.o",
    "ann@.org",
    "ann@-example.org",
    "a@1.2",
    "git@github.com:fog/cloud.git",
    "3 @ 1.50",
    f"{'a' * 65}@example.org",
    "import @app.route",
]
IBANS = [
    "DE89370400440532013000",
    "DE89 3704 0044 0532 0130 00",
    "de89 3704 0044 0532 0130 00",
    "GB29 NWBK 6016 1331 9268 19",
    "NO93 8601 1117 947",
    "FR14\u00a02004\u00a01010\u00a00505\u00a00001\u00a03M02\u00a0606",
    "MT84 MALT 0110 0001 2345 MTLC AST0 01S",
    "BR15-0000-0000-0000-1093-2840-814P2",
]
NO_IBANS = [
    "DE88 3704 0044 0532 0130 00",  # checksum
    "DE89 3704 0044 0532 0130 0",
    "DE893704004405320130001",
    "XDE89370400440532013000",
    "US64 SVBK US6S 3300 9586 9",  # a country without IBANs
    "ISO 9001 and IEC 60601",
    "DEADBEEF00112233445566",
]
PHONES = [
    "+4915112345678",
    "+49 (0)30 901820",
    "+1 (212) 555-0123",
    "+1-212-555-0123",
    "+33 6 12 34 56 78",
    "+48 512 345 678",
    "0049 30 901820",
    "(212) 555-0123",
    "1-212-555-0123",
    "212.555.0123",
    "(030) 901820",
    "030 901820",
    "0171/1234567",
    "0171 123 45 67",
    "020 7946 0958",
    "01 23 45 67 89",
    "06.12.34.56.78",
    "03-1234-5678",
]
NO_PHONES = [
    "1984",
    "2023-01-05",
    "05.12.2023",
    "05.12.2023 14:30",
    "05-12-2023",
    "05/12/2023",
    "2024-05-01 12:00:00",
    "1984-2024",
    "4915112345678",
    "1234567890",
    "0123456789",
    "0000-0002-1825-0097",
    "978-0-306-40615-7",
    "0-306-40615-2",
    "0306406152",
    "ISSN 0378-5955",
    "3.141592653589793",
    "192.168.100.200",
    "10.0.0.255",
    "$1,234,567.89",
    "1 000 000 000",
    "+1.000.000.000",
    "+12 %",
    "1+12345678",
    "x = 12 + 30000",
    "GPS 52.520008, 13.404954",
    "4111 1111 1111 1111",
    "01 02 03 04 05 06 07",
    "order 2024-000123-45",
    "order #0171 1234567",
    "007",
    "00:12:34",
    "555-0123",
    "1-800",
    "123-45-6789",
    "https://example.org/0171/1234567",
    "call-0171-1234-5678-extra",
]


@pytest.mark.parametrize(
    "kind, text",
    [("email", text) for text in EMAILS] + [("iban", text) for text in IBANS] + [("phone", text) for text in PHONES],
)
def test_what_has_the_form_is_masked_wherever_it_stands(kind, text):
    frames = ["{}", "Write to {}.", "({})", "a {}, b", "{}\n{}", "„{}“", "联系{}谢谢"]
    for frame in frames[: None if kind == "email" else -1]:
        assert pii.mask_pii(frame.replace("{}", text), kind) == frame.replace("{}", f"[{kind}]")


@pytest.mark.parametrize(
    "kind, text",
    [("email", text) for text in NO_EMAILS]
    + [("iban", text) for text in NO_IBANS]
    + [("phone", text) for text in NO_PHONES],
)
def test_what_only_looks_like_it_stays(kind, text):
    for frame in ["{}", "It is {}.", "({})", "a {}, b", "{}\n{}"]:
        assert pii.mask_pii(frame.replace("{}", text), kind) == frame.replace("{}", text)


def test_words_around_an_account_stay():
    text = "IBAN: DE89 3704 0044 0532 0130 00 BIC COBADEFFXXX, NO93 8601 1117 947 2024"
    assert pii.mask_pii(text, "iban") == "IBAN: [iban] BIC COBADEFFXXX, [iban] 2024"


@pytest.mark.heavy
@pytest.mark.parametrize("kind", pii.KINDS)
@pytest.mark.parametrize(
    "piece",
    ["a", "1", ".", "@", " ", "a.", "a@", "a@b.", "0 ", "01 ", "0171 ", "0171/", "+1", "+1 ", "(0", "01-", "212-",
     "DE89", "DE89 ", "NO93 8601 ", "A1", "-", "a@a.a"],
)  # fmt: skip
def test_a_megabyte_of_anything_takes_less_than_a_second(kind, piece):
    text = piece * (250_000 // len(piece))
    start = time.process_time()
    for probe in (text, f"x@{text}", f"{text}@x.org", f"+{text}"):
        pii.mask_pii(probe, kind)
    assert time.process_time() - start < 1
