"""Words of column names: which sensor, which axis, which unit."""

from __future__ import annotations

import re
import unicodedata
from typing import Literal, NamedTuple

import numpy as np

from otolith.data.units import PER_UNIT, STANDARD_GRAVITY
from otolith.formats.sensor_words import WORDS, Kind

ACC_UNITS = PER_UNIT["acc"] | {"cm/s2": 100 * STANDARD_GRAVITY, "ft/s2": STANDARD_GRAVITY / 0.3048}
GYRO_UNITS = PER_UNIT["gyro"] | {"mdeg/s": 180_000 / np.pi, "rpm": 30 / np.pi}
TIME_UNITS = {"s": 1.0, "ms": 1e-3, "us": 1e-6, "ns": 1e-9, "100us": 1e-4, "100ns": 1e-7}
TIME_UNITS |= {"min": 60.0, "h": 3600.0, "days": 86400.0}

_ACC_WORDS = {
    "g": "g gs g's gforce gn g0 gravities",
    "m/s2": "m/s2 m/s/s m/sec2 m/sec/sec ms2 ms-2 m/ss mps2 m.s-2 msec2 meter/second2 meters/second2 metres/second2 "
    "m/s^2 м/с2",  # noqa: RUF001
    "mg": "mg millig milli-g mgs millig's",
    "cm/s2": "cm/s2 gal cms-2",
    "ft/s2": "ft/s2 ft/sec2",
}
_GYRO_WORDS = {
    "rad/s": "rad/s rads rad/sec rads-1 radians/s radians/sec radian/second radians/second radps rad.s-1 рад/с",  # noqa: RUF001
    "deg/s": "deg/s degs dps deg/sec degree/s degrees/s degree/second degrees/second degs-1 degps degree/sec degrees/sec "
    "deg.s-1 град/с",  # noqa: RUF001
    "mdeg/s": "mdeg/s mdps millidps",
    "rpm": "rpm",
}
_TIME_WORDS = {
    "s": "s sec secs second seconds с сек 秒 초",  # noqa: RUF001
    "ms": "ms мс msec msecs millis millisec milliseconds millisecond",
    "us": "us usec usecs micros microsec microseconds microsecond",
    "ns": "ns nsec nsecs nanos nanosec nanoseconds nanosecond",
    "100us": "100us 0.1ms",
    "100ns": "100ns ticks",
    "min": "min mins minute minutes",
    "h": "h hr hrs hour hours",
    "days": "days day",
}


def words_of(text: str) -> frozenset[str]:
    """Return the words of a text."""
    return frozenset(text.split())


def _by_word(words: dict[str, str]) -> dict[str, str]:
    return {word: unit for unit, said in words.items() for word in said.split()}


_ACC, _GYRO, _TIMES = _by_word(_ACC_WORDS), _by_word(_GYRO_WORDS), _by_word(_TIME_WORDS)
_GYRO_COUNTS = re.compile(r"^(deg/s|rad/s)/(\d+(?:\.\d+)?)$")
_COUNTS = re.compile(r"^g/(\d+(?:\.\d+)?)$")


def acc_factor(unit: str) -> float | None:
    """Return how much one g is in a unit; None for an unknown unit."""
    counts = _COUNTS.match(unit)
    return float(counts[1]) if counts and float(counts[1]) > 0 else ACC_UNITS.get(unit)


def gyro_factor(unit: str) -> float | None:
    """Return how much one rad/s is in a unit; None for an unknown unit."""
    counts = _GYRO_COUNTS.match(unit)
    return GYRO_UNITS[counts[1]] * float(counts[2]) if counts and float(counts[2]) > 0 else GYRO_UNITS.get(unit)


_SPELT = {"\u00c2": "", "°": "deg", "º": "deg", "²": "2", "µ": "u", "μ": "u", "\ufffd": "", "⁻": "-", "\u2212": "-"}


def plain(text: str) -> str:
    """Return text without accents, with the degree sign, the square and the micro sign spelt out."""
    for sign, word in _SPELT.items():
        text = text.replace(sign, word)
    return "".join(c for c in unicodedata.normalize("NFKD", text) if not unicodedata.combining(c))


def fold(text: str) -> str:
    """Return `plain` text in lower case."""
    return plain(text).lower()


def unit_word(text: str, of: Literal["acc", "gyro", "time"]) -> str | None:
    """Return the unit that a word such as `m/(s^2)`, `°/s` or `msec` names; None if it names none of that kind."""
    word = re.sub(r"[\s()\[\]{}^*·_$\\]", "", fold(text)).replace("per", "/").strip(".,:;\"'")
    if of == "time":
        return _TIMES.get(word)
    if of == "gyro":
        return _GYRO.get(word)
    return word if _COUNTS.match(word) else _ACC.get(word)


def is_unit(text: str) -> bool:
    """Return whether a cell of a header names a unit, of any quantity that wearables record."""
    word = re.sub(r"[\s()\[\]^*·_]", "", fold(text))
    known = any(unit_word(text, of) for of in ("acc", "gyro", "time"))
    return known or bool(
        re.fullmatch(
            r"no\.?units?|unitless|none|-|%|deg|degc|c|celsius|lux|mv|v|ut|tesla|gauss|localflux|hpa|kpa|pa|bpm|hz|"
            r"yyyy.*|dd.*|mm/dd.*|hh.*|n/?a|bool|int|float|string|raw|cal",
            word,
        )
    )


_SENSORS: dict[Kind, frozenset[str]] = {
    kind: frozenset(fold(word) for word in words.split()) for kind, words in WORDS.items()
}
_ANGULAR = frozenset(["angular", "ang", "winkel", "угловая", "katowa", "hoek"])
_NEUTRAL = frozenset(["axis", "achse", "axe", "eje", "value", "val", "attr", "data"])
_AXIS = {"x": 0, "y": 1, "z": 2}


class Name(NamedTuple):
    """A column's name, understood.

    Attributes:
        kind: of the sensor.
        axis: 0, 1, 2 for x, y, z; None if the name has no axis.
        key: the other words, with "*" where the axis stands: equal for the axes of one sensor.
        unit: what stands in brackets or, for a last word that is a unit, that word; else "".
        numbered: whether the axis is a number (acc_1, acc_2, acc_3).
    """

    kind: Kind
    axis: int | None
    key: tuple[str, ...]
    unit: str
    numbered: bool = False


def tokens(text: str) -> list[str]:
    """Split a name into lower-case words at punctuation, at changes from small letters to capitals, and around digits."""
    found = []
    for part in re.findall(r"[^\W_]+", plain(text)):
        glued = fold(part)
        if _split_axis(glued) != (glued, None) or glued in _AXIS:
            found += _glue(glued)
            continue
        for word in re.findall(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+|[^\W\d_A-Za-z]+", part):
            found += _glue(fold(word))
    return found


def _glue(word: str) -> list[str]:
    stem, axis = _split_axis(word)
    return [stem, axis] if axis else [word]


def _split_axis(word: str) -> tuple[str, str | None]:
    """Split `accx`, `gfx`, `xacc` into the sensor and the axis."""
    known = set().union(*_SENSORS.values()) | _NEUTRAL | {"g", "m"}
    if len(word) > 1 and word[-1] in _AXIS and word[:-1] in known:
        return word[:-1], word[-1]
    if len(word) > 2 and word[0] in _AXIS and word[1:] in known:
        return word[1:], word[0]
    return word, None


def kind_of(words: list[str]) -> Kind:
    """Return the sensor that words name: gravity and its removal before acceleration, angular velocity before velocity."""
    said = set(words)
    text = " ".join(words)
    turning = said & (_SENSORS["gyro"] - {"w", "as"} if said & _SENSORS["other"] else _SENSORS["gyro"])
    if turning or (said & _ANGULAR and said & {"velocity", "rate", "speed", "vel", "скорость", "predkosc", "snelheid"}):
        return "other" if "acceleration" in said and said & _ANGULAR else "gyro"
    if re.search(r"\b(without|no|excl|excluding|ohne|sans|sin) (g|gravity|grav|gravite|gravedad)\b", text):
        return "linear"
    if re.search(r"\b(with|incl|including|total|mit|avec|con) (g|gravity|grav|gravite|gravedad)\b", text):
        return "acc"
    if said & _SENSORS["linear"] and said & (_SENSORS["acc"] | {"linacc"}):
        return "linear"
    if said & _SENSORS["gravity"]:
        return "gravity"
    if said & _SENSORS["other"]:
        return "other"
    if said & _SENSORS["acc"]:
        return "acc"
    return "g" if "g" in said else "other" if "m" in said else ""


_ANDROID: dict[str, Kind] = {"1": "acc", "4": "gyro", "9": "gravity", "10": "linear"}  # Sensor.TYPE_...


def kind_of_cell(cell: str, column: str) -> Kind:
    """Return the sensor that a cell names, in a column that names the sensor of each row; Android writes numbers."""
    if cell in _ANDROID and {"sensor", "type"} & set(tokens(column)):
        return _ANDROID[cell]
    return kind_of(tokens(cell))


def understand(name: str) -> Name:
    """Return what a column's name says."""
    brackets = re.findall(r"[(\[{]([^)\]}]*(?:\([^)]*\)[^)\]}]*)?)[)\]}]", name)
    bare = re.sub(r"[(\[{][^)\]}]*(?:\([^)]*\)[^)\]}]*)?[)\]}]", " ", name)
    unit = next((b for b in brackets if is_unit(b)), "")
    extra = [word for b in brackets if b != unit for word in tokens(b)]
    words = tokens(bare)
    if not unit and re.search(r"[°º]", bare):
        unit = next((part for part in re.split(r"[\s_]+", bare) if "°" in part or "º" in part), "")
        words = tokens(bare.replace(unit, " "))
    if not unit and (stated := re.search(r"\bin\s+(\S+)\s*$", bare)) and is_unit(stated[1]):
        unit, words = stated[1], tokens(bare[: stated.start()])
    if not unit and len(words) > 1:
        for count in (2, 1):  # acc_x_mg, gyro_x_rad_s, time_ms
            said = [sign.join(words[-count:]) for sign in ("/", "")]
            named = next((word for word in said if any(unit_word(word, of) for of in ("acc", "gyro", "time"))), "")
            if named and len(words) > count and words[-1] not in _AXIS:
                unit, words = named, words[:-count]
                break
    all_words = [*words, *extra]
    places = [n for n, word in enumerate(all_words) if word in _AXIS]
    axis = _AXIS[all_words[places[-1]]] if places else None
    numbered = False
    if (
        axis is None
        and kind_of(all_words) in ("acc", "linear", "gravity", "gyro")
        and all_words[-1] in ("0", "1", "2", "3")
    ):
        places, axis, numbered = [len(all_words) - 1], int(all_words[-1]), True
    key = tuple("*" if places and n == places[-1] else word for n, word in enumerate(all_words))
    kind = kind_of([word for n, word in enumerate(all_words) if not places or n != places[-1]])
    if kind == "" and not unit:  # dps_x, mg_y
        unit = next((word for word in words if unit_word(word, "gyro") or unit_word(word, "acc") == "mg"), "")
    if kind in ("", "g") and unit:
        kind = "gyro" if unit_word(unit, "gyro") else "acc" if unit_word(unit, "acc") else kind
    return Name(kind, axis, key, unit, numbered)


_TIME_ABROAD = (
    "время 時間 時刻 时间 日期 日時 시간 시각 タイムスタンプ 时间戳 czas tid aika zaman zeit.* datum uhrzeit temps "
    "tiempo fecha hora heure tempo"
)
_TIME = re.compile(
    r"^(t|t[_ ]?(s|sec|ms|us|ns)|time.*|timestamp.*|.*timestamps?|minutes|hours|datetime.*|date.*|epoch.*|seconds.*|"
    r"elapsed.*|.*[_ ]time|.*time|utc.*|unix.*|clock.*|sampletimefine.*|ms|millis|micros|msec|sec|ts|stamp|ticks?|"
    rf"local.*time|{fold('|'.join(_TIME_ABROAD.split()))})$"
)
_COUNTER = re.compile(
    r"^(|index|idx|id|no|nr|n|row|sample|samples|counter|packet|packetcounter|count|frame|seq|sequence)$"
)


def is_time(name: str) -> bool:
    """Return whether a column's name says that it holds time stamps."""
    bare = re.sub(r"[(\[].*?[)\]]", "", fold(name)).strip(" _-.")
    words = tokens(re.sub(r"[(\[].*?[)\]]", "", name))
    if understand(name).axis is not None or _COUNTER.match(bare):
        return False
    said = bool(_TIME.match(bare)) or any(
        word in ("time", "timestamp", "datetime", "epoch", "unix", "timestamps") for word in words
    )
    return said and not set(words) & {"zone", "timezone", "uncertainty"}


def time_unit_of(name: str) -> str | None:
    """Return the unit that the name of a time column states, such as `ms` for `epoch (ms)`, `t_ms` or `millis`."""
    name = re.sub(r"[ _-]?of[ _-]?(?:the[ _-]?)?day\b", "", name, flags=re.IGNORECASE)
    if bracket := unit_word(understand(name).unit, "time"):
        return bracket
    words = [word for word in tokens(re.sub(r"[(\[].*?[)\]]", "", name)) if word in _TIMES and word != "s"]
    return _TIMES[words[0]] if len(words) == 1 else None


def is_counter(name: str) -> bool:
    """Return whether a column's name says that it counts rows."""
    bare = re.sub(r"[(\[].*?[)\]]", "", fold(name)).strip(" _-.#:")
    return bool(_COUNTER.match(bare)) or bare.startswith(("unnamed", "packetcounter", "sample number", "sample no"))
