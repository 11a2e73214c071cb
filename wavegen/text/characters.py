"""Any Unicode text to the few characters the normaliser works on, or an error that names what English cannot say."""

import re
import unicodedata

from wavegen.errors import InputError

CURRENCY = "£€¥₹₩₽₺₴₪₫₱₦฿₿¢"
KEPT = f"{CURRENCY}°μΩ×÷±≈≠≤≥√∞§¶©←→"  # beyond ASCII, and said by a later step

_QUOTES = {
    **dict.fromkeys("\u2018’\u201a\u201b\u02bc\u02bb\u2032\u00b4\uff07", "'"),
    **dict.fromkeys("“”„‟«»″❝❞\uff02", '"'),
    "\u2039": '"',
    "\u203a": '"',
}
_DASHES = {"\u2010": "-", "\u2011": "-", "\u2012": " — ", "–": "–", "—": " — ", "―": " — ", "⸺": " — ", "−": "-"}
_LETTERS = {
    "ß": "ss", "ẞ": "SS", "æ": "ae", "Æ": "Ae", "œ": "oe", "Œ": "Oe", "ø": "o", "Ø": "O", "đ": "d", "Đ": "D",
    "ð": "th", "Ð": "Th", "þ": "th", "Þ": "Th", "ł": "l", "Ł": "L", "ħ": "h", "Ħ": "H", "\u0131": "i", "ŋ": "ng",
    "Ŋ": "Ng", "ə": "uh", "Ə": "Uh", "ŧ": "t", "Ŧ": "T", "ĸ": "k",
}  # fmt: skip
_SIGNS = {
    "№": " No. ", "™": "", "®": "", "℠": "", "µ": "μ", "\u2044": "/", "\u2215": "/", "\u2236": ":", "…": "... ",
    "•": ", ", "·": " ", "⋅": "*", "Ω": "Ω", "\u2028": "\n", "\u2029": "\n", "\x85": "\n", "\u00ad": "", "¡": "",
    "¿": "", "¦": " ", "‰": " per mille ", "¬": " ", "¨": " ", "¯": " ", "\u00b8": " ",
    "ª": "a", "º": "°", "☞": " ", "∙": " ", "♯": "#", "♭": " flat ", "♮": " natural ",
}  # fmt: skip
_TABLE = str.maketrans({**_QUOTES, **_DASHES, **_LETTERS, **_SIGNS})
_SUPERSCRIPTS = {"⁻": "-", "¹": "1", "²": "2", "³": "3", **{chr(0x2070 + i): str(i) for i in (0, *range(4, 10))}}
_SUPERSCRIPT = re.compile(f"[{''.join(_SUPERSCRIPTS)}]+")
_VULGAR = re.compile(r"(\d?)([¼½¾⅐-⅞↉])")
_GREEK = re.compile(r"[\u0370-\u03ff\u1f00-\u1fff]+")
_DROPPED = {"So", "Sk", "Cf", "Mn", "Me", "Mc", "Cc"}  # emoji, ornaments, marks on letters, joiners, controls


def plain(text: str, keep: str = "") -> str:
    """``text`` in ASCII, the characters of KEPT and of ``keep``, and the dashes – and —.

    Letters lose their accents, quotes become straight, superscripts become "^2", a lone Greek letter its name. Emoji,
    ornaments and invisible characters vanish. Raises InputError naming the first character of any other script.
    """
    if text.isascii():
        return "".join(char if char == "\n" or " " <= char <= "~" else " " for char in text.replace("\r\n", "\n"))
    text = _VULGAR.sub(lambda m: f"{m[1]} {m[2]}", text.translate(_TABLE).replace("\r\n", "\n"))
    text = _SUPERSCRIPT.sub(lambda m: "^" + "".join(_SUPERSCRIPTS[char] for char in m[0]), text)
    text = unicodedata.normalize("NFKC", text).translate(_TABLE)
    text = _GREEK.sub(_greek, text)
    return "".join(char if " " <= char <= "~" or char == "\n" or char in keep else _one(char) for char in text)


def _one(char: str) -> str:
    if char in KEPT or char in "–—":
        return char
    category = unicodedata.category(char)
    if category == "Nd":
        return str(unicodedata.digit(char))
    if category.startswith("Z") or char in "\t\r\x0b\x0c":
        return " "
    if category in _DROPPED or _is_ornament(char):
        return "" if category in {"Cf", "Mn", "Me"} else " "
    base = "".join(part for part in unicodedata.normalize("NFKD", char) if not unicodedata.combining(part))
    if base.isascii() and base:
        return base
    if "Latin" in (name := unicodedata.name(char, "")).title() and (
        letter := re.match(r"LATIN (SMALL|CAPITAL) LETTER ([A-Z])\b", name)
    ):
        return letter[2] if letter[1] == "CAPITAL" else letter[2].lower()
    if base and base[0] in _LETTERS:
        return _LETTERS[base[0]]
    raise InputError(f"the text holds {named(char)}, which English speech cannot say")


def _is_ornament(char: str) -> bool:
    """Whether ``char`` is punctuation for the eye: dingbats, arrows, box drawing, daggers, bullets."""
    return "\u2010" <= char <= "\u205e" or "\u2190" <= char <= "\u21ff" or "\u2300" <= char <= "\u2bff"


def _greek(run: re.Match[str]) -> str:
    letters = run[0]
    if letters in ("μ", "Ω"):
        return letters
    name = re.search(r"LETTER (?:FINAL )?([A-Z]+)$", unicodedata.name(letters[0], ""))
    if len(letters) > 1 or name is None:
        raise InputError(f"the text holds {named(letters[0])}, which English speech cannot say")
    return f" {'lambda' if name[1] == 'LAMDA' else name[1].lower()} "


def named(char: str) -> str:
    """A character with its Unicode name, for error messages."""
    code = f"U+{ord(char):04X}"
    return f"'{char}' ({unicodedata.name(char, code)})" if char.isprintable() else unicodedata.name(char, code)
