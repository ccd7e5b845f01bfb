"""Personal data that has a form: e-mail addresses, telephone numbers and IBANs, each masked by its name."""

import re
from collections.abc import Callable

# Every repetition is bounded or begins where a run begins, so that no text takes more than linear time.
WORD = "A-Za-z0-9\u00c0-\u024f"


EMAIL = re.compile(
    rf"(?<![{WORD}._%+-])[{WORD}._%+-]{{1,64}}+@"
    rf"(?:[{WORD}](?:[{WORD}-]{{0,61}}[{WORD}])?\.){{1,8}}[A-Za-z\u00c0-\u024f]{{2,24}}"
    rf"(?![{WORD}-]|\.[A-Za-z]|:[\w~/])"  # git@host:path is the address of a repository
)


PHONE = re.compile(
    r"(?<![\w.,/+=#-])(?:"
    r"\+[1-9](?:[ ().\-/\u00a0]{0,3}[0-9]){7,14}"  # +49 (0)30 123456
    r"|00[1-9][0-9]{0,2}[ \-/\u00a0](?:[ ().\-/\u00a0]{0,3}[0-9]){6,12}"  # 0049 30 123456
    r"|(?:1[ .\-])?\([2-9][0-9]{2}\)[ \-]?[0-9]{3}[ .\-][0-9]{4}"  # (212) 555-0123
    r"|(?:1[.\-])?[2-9][0-9]{2}([.\-])[0-9]{3}\1[0-9]{4}"  # 212-555-0123
    r"|\(0[1-9][0-9]{0,4}\)[ ]?[0-9]{2,8}(?:[ \-][0-9]{2,8}){0,3}"  # (030) 123456
    r"|0[1-9][0-9]{1,4}(?:[ ]?/[ ]?|[ ])[0-9]{3,8}(?:[ \-][0-9]{2,5}){0,3}"  # 0171/1234567, 020 7946 0958
    r"|(?<![0-9][ .\-])0[1-9]([ .\-])[0-9]{2}(?:\2[0-9]{2}){3}(?!\2[0-9])"  # 01 23 45 67 89
    r"|0[1-9][0-9]{0,2}-[0-9]{3,4}-[0-9]{4}"  # 03-1234-5678
    r")(?![\w/]|[.,\-][0-9])",
    re.ASCII,
)


THOUSANDS = re.compile(r"\+[0-9]{1,3}(?:\.[0-9]{3})+")


IBAN_LENGTHS = (  # of the registry of ISO 13616
    "NO15 BE16 DK18 FI18 FK18 FO18 GL18 NL18 SD18 MK19 SI19 AT20 BA20 EE20 KZ20 LT20 LU20 MN20 XK20 CH21 HR21 LI21 LV21"
    " BG22 BH22 CR22 DE22 GB22 GE22 IE22 ME22 RS22 VA22 AE23 GI23 IL23 IQ23 OM23 SO23 TL23 AD24 CZ24 ES24 MD24 PK24"
    " RO24 SA24 SE24 SK24 TN24 VG24 LY25 PT25 ST25 IS26 TR26 DJ27 FR27 GR27 IT27 MC27 MR27 SM27 AL28 AZ28 BY28 CY28"
    " DO28 GT28 HU28 LB28 NI28 PL28 SV28 BR29 EG29 PS29 QA29 UA29 JO30 KW30 MU30 YE30 MT31 SC31 LC32 RU33"
)


def iban_pattern(entry: str) -> str:
    """The pattern of one country: groups of four, perhaps with one sign between them."""
    groups, last_group = divmod(int(entry[2:]) - 4, 4)
    end = f"[ \u00a0-]?[A-Z0-9]{{{last_group}}}" if last_group else ""
    return f"{entry[:2]}[0-9]{{2}}(?:[ \u00a0-]?[A-Z0-9]{{4}}){{{groups}}}{end}"


IBAN = re.compile(
    rf"(?<![A-Z0-9])(?=[A-Z]{{2}}[0-9])(?:{'|'.join(map(iban_pattern, IBAN_LENGTHS.split()))})(?![A-Z0-9])", re.I | re.A
)


def is_valid_iban(iban: str) -> bool:
    """Whether the checksum of an IBAN is right: modulo 97, with letters as 10 to 35."""
    characters = re.sub("[^A-Za-z0-9]", "", iban)
    return int("".join(str(int(character, 36)) for character in characters[4:] + characters[:4])) % 97 == 1


def is_phone_number(number: str) -> bool:
    """Whether there are as many digits as in a telephone number, and it is no sum with points between its thousands."""
    return 8 <= sum(character.isdigit() for character in number) <= 15 and not THOUSANDS.fullmatch(number)


def accept_any(address: str) -> bool:
    return True


KINDS: dict[str, tuple[re.Pattern[str], Callable[[str], bool]]] = {  # in this order: an account is no number to call
    "email": (EMAIL, accept_any),
    "iban": (IBAN, is_valid_iban),
    "phone": (PHONE, is_phone_number),
}


def mask_pii(text: str, kind: str) -> str:
    """A text with [kind] in the place of all that has the form of that kind; the same object when there is nothing."""
    pattern, is_valid = KINDS[kind]
    if kind == "email" and "@" not in text:
        return text
    return pattern.sub(lambda match: f"[{kind}]" if is_valid(match[0]) else match[0], text)
