"""Letters said one by one. A letter stands for its own name, but "a" would be the article, so that one is "ay"."""


def letters(word: str) -> str:
    """ "USA" is "u s ay", ready for the dictionary, which has every single letter by its name."""
    return " ".join("ay" if letter == "a" else letter for letter in word.lower())
