"""Words and signs of dates in several languages, as the shapes of time stamps hold them."""

from __future__ import annotations

import functools
import unicodedata

_MONTHS = """
january jan januar janvier janv enero ene gennaio gen januari janeiro styczen stycznia январь января янв tammikuu \
leden ledna ocak
february feb februar fevrier fevr fev febrero febbraio februari fevereiro luty lutego февраль февраля фев helmikuu \
unor unora subat
march mar marz mrz mars marzo maart mrt marco março marzec marca март марта мар maaliskuu brezen brezna mart
april apr avril avr abril abr aprile kwiecien kwietnia апрель апреля апр huhtikuu duben dubna nisan
may mai mayo maggio mag mei maio maj maja май мая toukokuu kveten kvetna mayis
june jun juni juin junio giugno giu junho czerwiec czerwca июнь июня июн kesakuu cerven cervna haziran
july jul juli juillet juil julio luglio lug julho lipiec lipca июль июля июл heinakuu cervenec cervence temmuz
august aug aout agosto ago agustus augustus augusti sierpien sierpnia август августа авг elokuu srpen srpna agustos
september sep sept septembre septiembre settembre set setembro wrzesien wrzesnia сентябрь сентября сен сент syyskuu \
zari eylul
october oct okt oktober octobre octubre ottobre ott outubro out pazdziernik pazdziernika октябрь октября окт lokakuu \
rijen rijna ekim
november nov novembre noviembre novembro listopad listopada ноябрь ноября ноя нояб marraskuu listopadu kasim
december dec dez dezember decembre diciembre dic dicembre dezembro grudzien grudnia декабрь декабря дек joulukuu \
prosinec prosince aralik
""".strip().splitlines()

ZONES = {"z": 0, "utc": 0, "gmt": 0, "bst": 60, "wet": 0, "west": 60, "cet": 60, "cest": 120, "eet": 120, "eest": 180}
ZONES |= {"est": -300, "edt": -240, "cst": -360, "cdt": -300, "mst": -420, "mdt": -360, "pst": -480, "pdt": -420}
ZONES |= {"mez": 60, "mesz": 120, "jst": 540}
"""Minutes east of UTC."""

_SIGNS = {
    "年": "-",
    "월": "-",
    "月": "-",
    "년": "-",
    "日": " ",
    "일": " ",
    "時": ":",
    "时": ":",
    "点": ":",
    "點": ":",
    "시": ":",
    "분": ":",
    "分": ":",
    "秒": ".",
    "초": ".",
    "上午": "AM",
    "下午": "PM",
    "午前": "AM",
    "午後": "PM",
    "오전": "AM",
    "오후": "PM",
    "\u202f": " ",
    "\u00a0": " ",
    "\u3000": " ",
    "\u2212": "-",
    "\u2013": "-",
    "\uff1a": ":",
    "\uff0e": ".",
    "\uff0f": "/",
}


def _folded(word: str) -> str:
    return "".join(c for c in unicodedata.normalize("NFKD", word.lower()) if not unicodedata.combining(c))


@functools.cache
def _months() -> dict[str, int]:
    return {_folded(word): number for number, line in enumerate(_MONTHS, 1) for word in line.split()}


def month_of(word: str) -> int:
    """Return the number of a month, 1 to 12, named in English or another European language; 0 for another word.

    Args:
        word: its UTF-8 bytes, or those of Windows' Western code page, as Latin-1 text; a full stop at its end is left out.
    """
    raw = word.strip(". ").encode("latin-1")
    for encoding in ("utf-8", "cp1252"):
        try:
            return _months().get(_folded(raw.decode(encoding)), 0)
        except UnicodeDecodeError:
            continue
    return 0


def in_ascii(shape: str) -> str:
    """Return a shape in which signs of East Asian dates, and blanks beyond ASCII, are those of ASCII.

    Args:
        shape: UTF-8 bytes as Latin-1 text; the result has the same length, so that every digit stays in its place.
    """
    if shape.isascii():
        return shape
    for sign, meaning in _SIGNS.items():
        raw = sign.encode().decode("latin-1")
        shape = shape.replace(raw, meaning.ljust(len(raw)))
    return shape
