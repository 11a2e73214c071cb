"""E-mail addresses, web addresses and file names, said as one would dictate them."""

import re

from wavegen.text.spelling import letters

_WORD_DOMAINS = "com|org|net|edu|gov|info|biz|mil|int|dev|app|blog|shop|online|site|tech|cloud"
_LETTER_DOMAINS = "io|ai|uk|us|de|fr|eu|ca|au|jp|cn|ru|nl|ch|se|no|es|it|tv|co|me|nz|ie|at|be|dk|fi|pl|br|in|gg|fm"
_SUFFIXES = (
    "txt|pdf|docx?|xlsx?|csv|html?|md|py|js|ts|json|ya?ml|toml|exe|zip|gz|wav|mp3|flac|ogg|jpe?g|png|gif|svg|cpp|rs"
)
_EMAIL = r"[\w.+-]+@[A-Za-z0-9-]+(?:\.[A-Za-z0-9-]+)+"
_URL = r"(?:https?://|ftp://|www\.)[^\s<>\"]*[\w/]"
_DOMAIN = (
    rf"[A-Za-z0-9-]+(?:\.[A-Za-z0-9-]+)*\.(?:{_WORD_DOMAINS}|{_LETTER_DOMAINS})\b(?:[/?#][^\s<>\"]*[\w/])?(?!\.?\w)"
)
_FILE = rf"[\w-]+(?:\.[\w-]+)*\.(?:{_SUFFIXES})\b"
_ADDRESS = re.compile(rf"(?<![\w@.+-])(?:{_EMAIL}|{_URL}|{_DOMAIN}|{_FILE})")
_SIGNS = {
    ".": "dot", "@": "at", "/": "slash", "-": "dash", "_": "underscore", "?": "question mark", "=": "equals",
    "&": "and", "#": "hash", "%": "percent", "~": "tilde", ":": "colon", "+": "plus",
}  # fmt: skip
_SPELLED = frozenset(_LETTER_DOMAINS.split("|")) - {"me", "no", "it", "at", "be", "in"} | frozenset(
    str.split("pdf html htm txt csv md py js ts exe gz xls xlsx svg rs cpp www")
)


def say(text: str) -> str:
    """``text`` with every address in it turned into words: "a@b.org" is "a at b dot org"."""
    return _ADDRESS.sub(_dictate, text)


def _dictate(match: re.Match[str]) -> str:
    address = re.sub(r"^(?:https?|ftp)://", "", match[0]).rstrip("/")
    if "@" not in address and re.fullmatch(r"[A-Z]\.[A-Z]{1,2}", address):
        return match[0]  # initials, not a domain
    words = []
    for part in re.findall(r"[A-Za-z]+|\d+|.", address):
        if part in _SIGNS:
            words.append(_SIGNS[part])
        elif part.lower() in _SPELLED or (len(part) == 1 and part.isalpha()):
            words.append(letters(part))
        else:
            words.append(" ".join(part) if part.isdigit() and part[0] == "0" else part)
    return f" {' '.join(words)} "
