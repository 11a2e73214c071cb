"""The symbol set of the speech models: ARPAbet with stress marks, a word boundary, and the punctuation one hears."""

VOWELS = ("AA", "AE", "AH", "AO", "AW", "AY", "EH", "ER", "EY", "IH", "IY", "OW", "OY", "UH", "UW")
CONSONANTS = (
    "B", "CH", "D", "DH", "F", "G", "HH", "JH", "K", "L", "M", "N", "NG", "P", "R", "S", "SH", "T", "TH", "V", "W",
    "Y", "Z", "ZH",
)  # fmt: skip
PHONEMES = (*(vowel + stress for vowel in VOWELS for stress in "012"), *CONSONANTS)

PAD = "_"
START = "^"  # the silence before an utterance
END = "$"  # the silence after it
WORD = " "
PUNCTUATION = (",", ".", "?", "!")

SYMBOLS = (PAD, START, END, WORD, *PUNCTUATION, *PHONEMES)
