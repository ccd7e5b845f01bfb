"""Characters that a terminal obeys instead of showing them, and signs in their place."""

PICTURES = {code: chr(0x2400 + code) for code in range(32) if chr(code) not in "\n\t"} | {0x7F: "\u2421"}  # ␛ and ␍
CURSOR = range(0x80, 0xA0)  # C1: what ESC and a letter say, in one character
TURNING = (*range(0x202A, 0x202F), *range(0x2066, 0x206A))  # of text from left to right or back, embedded or isolated
SIGNS = PICTURES | {code: f"<U+{code:04X}>" for code in (*CURSOR, *TURNING)}


def escape_controls(text: str) -> str:
    """A text that moves no cursor and turns no other text; line breaks, tabs, joiners and direction marks are kept."""
    return text.translate(SIGNS)
