"""Money, percentages and measures as words."""

import re

from wavegen.text import numbers

WHOLE = r"\d{1,3}(?:,\d{3})+|\d+"
NUMBER = rf"(?:(?:{WHOLE})(?:\.\d+)?|\.\d+)"
_MIXED = rf"(?:\d+ \d+/\d+|\d+/\d+|{NUMBER})"
_START = r"(?<![\w.,/])"

_CURRENCIES = {  # one, many, the hundredth, the hundredths
    "$": ("dollar", "dollars", "cent", "cents"),
    "£": ("pound", "pounds", "penny", "pence"),
    "€": ("euro", "euros", "cent", "cents"),
    "¥": ("yen", "yen", "", ""),
    "₹": ("rupee", "rupees", "paisa", "paise"),
    "₩": ("won", "won", "", ""),
    "₽": ("ruble", "rubles", "kopeck", "kopecks"),
    "₺": ("lira", "liras", "", ""),
    "₴": ("hryvnia", "hryvnias", "", ""),
    "₪": ("shekel", "shekels", "", ""),
    "₫": ("dong", "dong", "", ""),
    "₱": ("peso", "pesos", "centavo", "centavos"),
    "₦": ("naira", "naira", "", ""),
    "฿": ("baht", "baht", "", ""),
    "₿": ("bitcoin", "bitcoins", "", ""),
    "¢": ("cent", "cents", "", ""),
}
_COUNTRIES = {
    "US": "u s ", "C": "canadian ", "CA": "canadian ", "A": "australian ", "AU": "australian ", "NZ": "new zealand ",
    "HK": "hong kong ", "S": "singapore ",
}  # fmt: skip
_CODES = {"USD": "$", "EUR": "€", "GBP": "£", "JPY": "¥"}
_SCALES = {
    "k": "thousand",
    "m": "million",
    "mn": "million",
    "mil": "million",
    "b": "billion",
    "bn": "billion",
    "tn": "trillion",
}
_SHORT_SCALES = "|".join(sorted(_SCALES, key=len, reverse=True))
_SCALE = rf"(?:\s?(?P<scale>thousand|million|billion|trillion)\b|(?P<short>{_SHORT_SCALES})\b)?"
_SIGN = f"[{re.escape(''.join(_CURRENCIES))}]"
_MONEY = re.compile(
    rf"(?P<article>\b[Aa]n?\s)?(?P<minus>(?<!\w)-\s?)?(?:\b(?P<country>{'|'.join(_COUNTRIES)}))?(?P<sign>{_SIGN})\s?"
    rf"(?P<number>{NUMBER})(?:\s?[-–]\s?{_SIGN}?(?P<until>{NUMBER}))?{_SCALE}(?P<noun>[\s-](?=[a-z]))?",
    re.IGNORECASE,
)
_MONEY_AFTER = re.compile(
    rf"{_START}(?P<number>{NUMBER}){_SCALE}\s?(?P<sign>{_SIGN}|(?:{'|'.join(_CODES)})\b)", re.IGNORECASE
)
_LONE_SIGN = re.compile(_SIGN)
_PERCENT = re.compile(r"\s?%")

_UNITS = {  # one, many
    "mm": ("millimeter", "millimeters"), "cm": ("centimeter", "centimeters"), "m": ("meter", "meters"),
    "km": ("kilometer", "kilometers"), "nm": ("nanometer", "nanometers"), "μm": ("micrometer", "micrometers"),
    "ft": ("foot", "feet"), "yd": ("yard", "yards"), "mi": ("mile", "miles"), "in.": ("inch", "inches"),
    "mg": ("milligram", "milligrams"), "μg": ("microgram", "micrograms"), "g": ("gram", "grams"),
    "kg": ("kilogram", "kilograms"), "lb": ("pound", "pounds"), "lbs": ("pound", "pounds"), "oz": ("ounce", "ounces"),
    "ml": ("milliliter", "milliliters"), "mL": ("milliliter", "milliliters"), "cl": ("centiliter", "centiliters"),
    "dl": ("deciliter", "deciliters"), "l": ("liter", "liters"), "L": ("liter", "liters"), "gal": ("gallon", "gallons"),
    "qt": ("quart", "quarts"), "ha": ("hectare", "hectares"), "sq": ("square", "square"), "cu": ("cubic", "cubic"),
    "ns": ("nanosecond", "nanoseconds"), "μs": ("microsecond", "microseconds"), "ms": ("millisecond", "milliseconds"),
    "s": ("second", "seconds"), "sec": ("second", "seconds"), "min": ("minute", "minutes"), "h": ("hour", "hours"),
    "hr": ("hour", "hours"), "hrs": ("hour", "hours"), "yr": ("year", "years"), "yrs": ("year", "years"),
    "mph": ("mile per hour", "miles per hour"), "kph": ("kilometer per hour", "kilometers per hour"),
    "kmh": ("kilometer per hour", "kilometers per hour"), "rpm": ("revolution per minute", "revolutions per minute"),
    "fps": ("frame per second", "frames per second"), "bpm": ("beat per minute", "beats per minute"),
    "kt": ("knot", "knots"), "Hz": ("hertz", "hertz"), "kHz": ("kilohertz", "kilohertz"),
    "MHz": ("megahertz", "megahertz"), "GHz": ("gigahertz", "gigahertz"), "THz": ("terahertz", "terahertz"),
    "dB": ("decibel", "decibels"), "dBA": ("decibel", "decibels"), "bit": ("bit", "bits"),
    "kB": ("kilobyte", "kilobytes"), "KB": ("kilobyte", "kilobytes"), "MB": ("megabyte", "megabytes"),
    "GB": ("gigabyte", "gigabytes"), "TB": ("terabyte", "terabytes"), "PB": ("petabyte", "petabytes"),
    "KiB": ("kibibyte", "kibibytes"), "MiB": ("mebibyte", "mebibytes"), "GiB": ("gibibyte", "gibibytes"),
    "kbps": ("kilobit per second", "kilobits per second"), "Mbps": ("megabit per second", "megabits per second"),
    "Gbps": ("gigabit per second", "gigabits per second"), "px": ("pixel", "pixels"),
    "dpi": ("dot per inch", "dots per inch"),
    "W": ("watt", "watts"), "mW": ("milliwatt", "milliwatts"), "kW": ("kilowatt", "kilowatts"),
    "MW": ("megawatt", "megawatts"), "GW": ("gigawatt", "gigawatts"), "kWh": ("kilowatt hour", "kilowatt hours"),
    "MWh": ("megawatt hour", "megawatt hours"), "V": ("volt", "volts"), "mV": ("millivolt", "millivolts"),
    "kV": ("kilovolt", "kilovolts"), "mA": ("milliamp", "milliamps"), "mAh": ("milliamp hour", "milliamp hours"),
    "Ω": ("ohm", "ohms"), "kΩ": ("kiloohm", "kiloohms"), "MΩ": ("megaohm", "megaohms"),
    "J": ("joule", "joules"), "kJ": ("kilojoule", "kilojoules"), "cal": ("calorie", "calories"),
    "kcal": ("kilocalorie", "kilocalories"), "Pa": ("pascal", "pascals"), "hPa": ("hectopascal", "hectopascals"),
    "kPa": ("kilopascal", "kilopascals"), "MPa": ("megapascal", "megapascals"), "psi": ("p s i", "p s i"),
    "°C": ("degree celsius", "degrees celsius"), "°F": ("degree fahrenheit", "degrees fahrenheit"),
    "° C": ("degree celsius", "degrees celsius"), "° F": ("degree fahrenheit", "degrees fahrenheit"),
    "°": ("degree", "degrees"),
}  # fmt: skip
_DOTTED = frozenset(
    str.split("ft yd mi lb lbs oz gal qt sec min hr hrs yr yrs sq cu")
)  # may end in a full stop of their own
_POWERS = {"^2": "square ", "^3": "cubic ", "": ""}
_UNIT = "|".join(re.escape(unit) for unit in sorted(_UNITS, key=len, reverse=True))
_MEASURE = re.compile(
    rf"(?P<article>\b[Aa]n?\s)?(?:(?<![\w)])(?P<minus>-))?{_START}(?:(?P<low>{NUMBER})(?:-|\s?–\s?))?(?P<number>{_MIXED})(?P<joint>\s?|-)(?P<shape>(?:sq|cu)\.?\s)?(?P<unit>{_UNIT})"
    rf"(?P<power>\^[23])?(?P<per>/(?P<over>{_UNIT})(?P<overpower>\^[23])?)?(?![\w°^/])(?!'\w)(?P<stop>\.(?=\s*[a-z,;]))?"
)
_FEET_INCHES = re.compile(r"(?<![\w.,])(\d+)'\s?(\d+)\"")


def say_money(sentence: str) -> str:
    """ "$3.50" is "three dollars and fifty cents", "£2.5m" "two point five million pounds", "a $5 bill" "a five dollar
    bill"."""
    sentence = _MONEY.sub(_money, sentence)
    sentence = _MONEY_AFTER.sub(_money_after, sentence)
    return _LONE_SIGN.sub(lambda m: f" {_CURRENCIES[m[0]][0]} ", sentence)


def say_measures(sentence: str) -> str:
    """ "5 km" is "five kilometers", "20°C" "twenty degrees celsius", "a 5-km run" "a five kilometer run"."""
    sentence = _FEET_INCHES.sub(_feet_inches, sentence)
    sentence = _MEASURE.sub(_measure, sentence)
    return _PERCENT.sub(" percent ", sentence).replace("°", " degrees ").replace("μ", " mu ").replace("Ω", " omega ")


def _money(match: re.Match[str]) -> str:
    country = _COUNTRIES[match["country"].upper()] if match["country"] else ""
    adjective = bool(match["article"] and match["noun"])
    words = _sum(match["number"], match["until"], match["scale"] or match["short"], match["sign"], country, adjective)
    noun = match["noun"] or ""
    minus = "minus " if match["minus"] else ""
    return f"{match['article'] or ''}{minus}{words}{' ' if noun else ''}"


def _money_after(match: re.Match[str]) -> str:
    sign = match["sign"].upper()
    return _sum(match["number"], None, match["scale"] or match["short"], _CODES.get(sign, sign), "", adjective=False)


def _sum(number: str, until: str | None, scale: str | None, sign: str, country: str, adjective: bool) -> str:
    one, many, cent, cents = _CURRENCIES[sign]
    amount = numbers.spoken(number) + (f" to {numbers.spoken(until)}" if until else "")
    if scale:
        amount += f" {_SCALES.get(scale.lower(), scale)}"
    whole, _, part = number.replace(",", "").partition(".")
    if cent and len(part) == 2 and not (scale or until or adjective):
        return _coins(int(whole or 0), int(part), (f"{country}{one}", f"{country}{many}"), (cent, cents))
    single = adjective or (number == "1" and not (scale or until))
    return f"{amount} {country}{one if single else many}"


def _coins(whole: int, part: int, notes: tuple[str, str], coins: tuple[str, str]) -> str:
    said = [
        f"{numbers.cardinal(count)} {names[count != 1]}" for count, names in ((whole, notes), (part, coins)) if count
    ]
    return " and ".join(said) or f"zero {notes[1]}"


def _feet_inches(match: re.Match[str]) -> str:
    feet, inches = (numbers.cardinal(part) for part in match.groups())
    return f"{feet} {'foot' if feet == 'one' else 'feet'} {inches} {'inch' if inches == 'one' else 'inches'}"


def _measure(match: re.Match[str]) -> str:
    number, unit = match["number"], match["unit"]
    single = (
        (number == "1" and not match["low"])
        or ("/" in number and " " not in number)
        or bool(match["article"])
        or match["joint"] == "-"
    )
    shape = {"s": "square ", "c": "cubic "}[match["shape"][0]] if match["shape"] else _POWERS[match["power"] or ""]
    minus = "minus " if match["minus"] else ""
    low = f"{numbers.spoken(match['low'])} to " if match["low"] else ""
    words = f"{match['article'] or ''}{minus}{low}{numbers.spoken(number)} {shape}{_UNITS[unit][not single]}"
    if match["over"]:
        words += f" per {_UNITS[match['over']][0]}" + {"^2": " squared", "^3": " cubed"}.get(
            match["overpower"] or "", ""
        )
    dotted = match["stop"] and unit not in _DOTTED
    return f"{words}." if dotted else words
