"""National numbers of persons: the form that each country gives them, and its check digits."""

from __future__ import annotations

import datetime
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from appliance.dataset.redaction.checksums import digits, luhn, mod11_10, verhoeff, weighted
from appliance.dataset.redaction.spans import Span

_NIF = "TRWAGMYFPDXBNJZSQVHLCKE"
_ODD = dict(
    zip(
        "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ",
        (1, 0, 5, 7, 9, 13, 15, 17, 19, 21, 1, 0, 5, 7, 9, 13, 15, 17, 19, 21, 2, 4, 18, 20, 11, 3, 6, 8,
         12, 14, 16, 10, 22, 25, 24, 23),
        strict=True,
    )
)  # fmt: skip
_CONTEXT_CHARACTERS = 60


@dataclass(frozen=True)
class NationalId:
    """One country's number.

    Attributes:
        what: its name, for the reason that is reported.
        pattern: its form.
        holds: whether the compact text (no separators, upper case) is one.
        alone: the score without a word near it that names it; below the threshold it needs one.
        words: a pattern of such words.
    """

    what: str
    pattern: re.Pattern[str]
    holds: Callable[[str], bool]
    alone: float
    words: re.Pattern[str]


def _date(year: int, month: int, day: int) -> bool:
    try:
        datetime.date(year, month, day)
    except ValueError:
        return False
    return True


def _short_date(text: str, order: str) -> bool:
    """Whether six digits are a date; `order` says how, as `ymd`. The century is open, so 2000 stands for it."""
    parts = {letter: int(text[place * 2 : place * 2 + 2]) for place, letter in enumerate(order)}
    return _date(2000 + parts["y"] % 100, parts["m"], parts["d"]) or (
        _date(1900 + parts["y"], parts["m"], parts["d"])
    )


def _us_ssn(text: str) -> bool:
    area, group, serial = text[:3], text[3:5], text[5:]
    return area not in {"000", "666"} and group != "00" and serial != "0000" and len(set(text)) > 1


def _nino(text: str) -> bool:
    return text[:2] not in {"BG", "GB", "NK", "KN", "TN", "NT", "ZZ"}


def _nhs(text: str) -> bool:
    numbers = digits(text)
    check = 11 - weighted(numbers, range(10, 1, -1)) % 11
    return check != 10 and check % 11 == numbers[9] and len(set(text)) > 2


def _de_tax(text: str) -> bool:
    counts = sorted((text[:10].count(digit) for digit in set(text[:10])), reverse=True)
    return text[0] != "0" and counts[0] in {2, 3} and sum(n > 1 for n in counts) == 1 and mod11_10(text)


def _fr_nir(text: str) -> bool:
    body = text[:13].replace("2A", "19").replace("2B", "18")
    month = int(text[3:5])
    return (1 <= month <= 12 or 20 <= month <= 42 or month >= 50) and 97 - int(body) % 97 == int(text[13:])


def _es_nif(text: str) -> bool:
    number = {"X": "0", "Y": "1", "Z": "2"}.get(text[0], text[0]) + text[1:-1]
    return _NIF[int(number) % 23] == text[-1]


def _it_cf(text: str) -> bool:
    total = 0
    for place, character in enumerate(text[:15]):
        even = int(character) if character.isdigit() else ord(character) - ord("A")
        total += even if place % 2 else _ODD[character]
    return chr(ord("A") + total % 26) == text[15]


def _nl_bsn(text: str) -> bool:
    numbers = digits(text)
    return (weighted(numbers, range(9, 1, -1)) - numbers[8]) % 11 == 0 and len(set(text)) > 2


def _be_rrn(text: str) -> bool:
    check = int(text[9:])
    return 97 - int(text[:9]) % 97 == check or 97 - int("2" + text[:9]) % 97 == check


def _ch_ahv(text: str) -> bool:
    numbers = digits(text)
    return (10 - weighted(numbers, (1, 3) * 6) % 10) % 10 == numbers[12]


def _at_svnr(text: str) -> bool:
    numbers = digits(text)
    check = weighted(numbers, (3, 7, 9, 0, 5, 8, 4, 2, 1, 6)) % 11
    return numbers[3] == check and _short_date(text[4:], "dmy")


def _pl_pesel(text: str) -> bool:
    numbers = digits(text)
    check = (10 - weighted(numbers, (1, 3, 7, 9, 1, 3, 7, 9, 1, 3)) % 10) % 10
    return check == numbers[10] and _date(2000 + int(text[:2]), int(text[2:4]) % 20, int(text[4:6]))


def _se_pnr(text: str) -> bool:
    return _short_date(text[-10:-4], "ymd") and luhn(text[-10:])


def _no_fnr(text: str) -> bool:
    numbers = digits(text)
    first = (11 - weighted(numbers, (3, 7, 6, 1, 8, 9, 4, 5, 2)) % 11) % 11
    second = (11 - weighted(numbers, (5, 4, 3, 2, 7, 6, 5, 4, 3, 2)) % 11) % 11
    return _short_date(text[:6], "dmy") and [first, second] == numbers[9:]


def _fi_hetu(text: str) -> bool:
    check = "0123456789ABCDEFHJKLMNPRSTUVWXY"[int(text[:6] + text[-4:-1]) % 31]
    return _short_date(text[:6], "dmy") and check == text[-1]


def _pt_nif(text: str) -> bool:
    numbers = digits(text)
    check = 11 - weighted(numbers, range(9, 1, -1)) % 11
    return text[0] in "1235689" and (0 if check > 9 else check) == numbers[8]


def _ie_pps(text: str) -> bool:
    extra = 0 if len(text) == 8 or text[8] == "W" else ord(text[8]) - 64
    total = weighted(digits(text[:7]), range(8, 1, -1)) + 9 * extra
    return "WABCDEFGHIJKLMNOPQRSTUV"[total % 23] == text[7]


def _br_cpf(text: str) -> bool:
    numbers = digits(text)
    first = weighted(numbers, range(10, 1, -1)) * 10 % 11 % 10
    second = weighted(numbers, range(11, 1, -1)) * 10 % 11 % 10
    return [first, second] == numbers[9:] and len(set(text)) > 1


def _au_tfn(text: str) -> bool:
    return weighted(digits(text), (1, 4, 3, 7, 5, 8, 6, 9, 10)) % 11 == 0


def _always(_text: str) -> bool:
    return True


def _known(
    what: str, form: str, holds: Callable[[str], bool], alone: float, words: str, case: bool = False
) -> NationalId:
    return NationalId(
        what,
        re.compile(rf"(?<![\w.,/-])(?:{form})(?![\w]|[.,/-]\d)", 0 if case else re.IGNORECASE),
        holds,
        alone,
        re.compile(words, re.IGNORECASE),
    )


_SOCIAL = r"\bssn\b|social\s+security|\bitin\b|tax(?:payer)?\s+(?:id|number)|\btin\b"
NATIONAL_IDS: tuple[NationalId, ...] = (
    _known("a US social security number", r"\d{3}-\d{2}-\d{4}", _us_ssn, 0.85, _SOCIAL),
    _known("a US social security number", r"\d{3}[ .]?\d{2}[ .]?\d{4}", _us_ssn, 0.2, _SOCIAL),
    _known(
        "a UK national insurance number",
        r"[A-CEGHJ-PR-TW-Z][A-CEGHJ-NPR-TW-Z] ?\d{2} ?\d{2} ?\d{2} ?[A-D]", _nino, 0.75,
        r"\bnino\b|national\s+insurance|\bni\s+(?:number|no)",
    ),
    _known("a UK NHS number", r"\d{3}[ -]?\d{3}[ -]?\d{4}", _nhs, 0.2, r"\bnhs\b"),
    _known(
        "a German tax number", r"\d{2} ?\d{3} ?\d{3} ?\d{3}", _de_tax, 0.3,
        r"steuer|\bidnr\b|tax\s+(?:id|number)|\btin\b",
    ),
    _known(
        "a French social security number",
        r"[12] ?\d{2} ?(?:0[1-9]|[1-9]\d) ?(?:\d{2}|2[AB]) ?\d{3} ?\d{3} ?\d{2}", _fr_nir, 0.85,
        r"\bnir\b|s[ée]curit[ée]\s+sociale|\binsee\b|social\s+security",
    ),
    _known(
        "a Spanish NIF or NIE", r"(?:\d{8}|[XYZ]-?\d{7})[ -]?[A-HJ-NP-TV-Z]", _es_nif, 0.8,
        r"\bnif\b|\bdni\b|\bnie\b|identidad",
    ),
    _known(
        "an Italian tax code", r"[A-Z]{6} ?\d{2}[ABCDEHLMPRST]\d{2} ?[A-Z]\d{3}[A-Z]", _it_cf, 0.95,
        r"codice\s+fiscale",
    ),
    _known(
        "a Dutch BSN", r"\d{4}[ .]?\d{2}[ .]?\d{3}", _nl_bsn, 0.2,
        r"\bbsn\b|burgerservice|\bsofi|citizen\s+service",
    ),
    _known(
        "a Belgian national number", r"\d{2}\.?\d{2}\.?\d{2}[- ]?\d{3}[. ]?\d{2}", _be_rrn, 0.6,
        r"rijksregister|registre\s+national|\brrn\b|\bnrn\b|national\s+number",
    ),
    _known("a Swiss AHV number", r"756[. ]?\d{4}[. ]?\d{4}[. ]?\d{2}", _ch_ahv, 0.9, r"\bahv|\bavs\b"),
    _known(
        "an Austrian social security number", r"\d{4} ?\d{6}", _at_svnr, 0.3,
        r"\bsv[- ]?n(?:umme)?r|sozialversicherung|social\s+security",
    ),
    _known("a Polish PESEL", r"\d{11}", _pl_pesel, 0.45, r"\bpesel\b"),
    _known(
        "a Swedish personal number", r"(?:19|20)?\d{6}[-+]\d{4}", _se_pnr, 0.75,
        r"person(?:al)?\s?(?:nummer|number)|samordnings",
    ),
    _known("a Norwegian birth number", r"\d{6} ?\d{5}", _no_fnr, 0.6, r"f[øo]dselsnummer|personnummer"),
    _known("a Finnish personal code", r"\d{6}[-+ABCDEFYXWVU]\d{3}[0-9A-Y]", _fi_hetu, 0.9, r"henkil[öo]|hetu"),
    _known(
        "a Danish CPR number", r"\d{6}-\d{4}", lambda text: _short_date(text[:6], "dmy"), 0.5,
        r"\bcpr\b|personnummer",
    ),
    _known("a Portuguese NIF", r"\d{3} ?\d{3} ?\d{3}", _pt_nif, 0.2, r"\bnif\b|contribuinte"),
    _known("an Irish PPS number", r"\d{7}[A-W][A-IW]?", _ie_pps, 0.75, r"\bpps"),
    _known("a Brazilian CPF", r"\d{3}\.\d{3}\.\d{3}-\d{2}|\d{11}", _br_cpf, 0.3, r"\bcpf\b"),
    _known("a Brazilian CPF", r"\d{3}\.\d{3}\.\d{3}-\d{2}", _br_cpf, 0.9, r"\bcpf\b"),
    _known(
        "a Canadian SIN", r"\d{3}[ -]?\d{3}[ -]?\d{3}", luhn, 0.3, r"\bsin\b|social\s+insurance",
    ),
    _known("an Indian Aadhaar number", r"[2-9]\d{3}[ -]?\d{4}[ -]?\d{4}", verhoeff, 0.4, r"a+dh?aa?r|\buid"),
    _known("an Indian PAN", r"[A-Z]{3}[ABCFGHLJPT][A-Z]\d{4}[A-Z]", _always, 0.75, r"\bpan\b", case=True),
    _known("an Australian TFN", r"\d{3} ?\d{3} ?\d{3}", _au_tfn, 0.2, r"\btfn\b|tax\s+file"),
)  # fmt: skip


def compact(known: NationalId, text: str) -> str:
    """The number without its separators, in upper case; a Finnish code's separator tells the century and stays."""
    return text.upper() if known.holds is _fi_hetu else re.sub(r"[ .+-]", "", text).upper()


def find_national_ids(text: str, before: str = "") -> Iterator[Span]:
    """National numbers whose check digits hold; the weaker forms only beside a word that names them.

    Args:
        text: where to look.
        before: what was said before it.
    """
    if sum(character.isdigit() for character in text) < 6:
        return
    for known in NATIONAL_IDS:
        for match in known.pattern.finditer(text):
            if not known.holds(compact(known, match.group())):
                continue
            near = text[max(0, match.start() - _CONTEXT_CHARACTERS) : match.end() + _CONTEXT_CHARACTERS // 2]
            named = bool(known.words.search(near) or known.words.search(before[-_CONTEXT_CHARACTERS:]))
            score = 0.95 if named else known.alone
            yield Span(match.start(), match.end(), "national_id", score, known.what)
