"""The check digits of cards, accounts and national numbers. Pure arithmetic; digits and letters in, a truth out."""

from __future__ import annotations

from collections.abc import Sequence

_VERHOEFF_PERMUTATION = (1, 5, 7, 6, 2, 8, 3, 0, 9, 4)


def digits(text: str) -> list[int]:
    """The decimal digits of `text`, in order."""
    return [int(character) for character in text if character in "0123456789"]


def weighted(numbers: Sequence[int], weights: Sequence[int]) -> int:
    """The sum of products; as many numbers as weights are used."""
    return sum(number * weight for number, weight in zip(numbers, weights, strict=False))


def luhn(text: str) -> bool:
    """ISO/IEC 7812-1: cards, Swedish and Canadian numbers."""
    total = 0
    for place, digit in enumerate(reversed(digits(text))):
        doubled = digit * 2 if place % 2 else digit
        total += doubled - 9 if doubled > 9 else doubled
    return total % 10 == 0


def mod97(text: str) -> bool:
    """ISO 7064 MOD 97-10 as IBANs use it: the first four characters moved to the end, letters as 10 to 35."""
    return remainder97(text) == 1


def remainder97(text: str) -> int:
    """What is left of such a number divided by 97: with `00` for its check digits, 98 less that is what they are."""
    moved = text[4:] + text[:4]
    return int("".join(str(int(character, 36)) for character in moved)) % 97


def mod11_10(text: str) -> bool:
    """ISO 7064 MOD 11,10: the German tax number, the Croatian OIB."""
    numbers = digits(text)
    product = 10
    for digit in numbers[:-1]:
        total = (digit + product) % 10 or 10
        product = total * 2 % 11
    return (11 - product) % 10 == numbers[-1]


def verhoeff(text: str) -> bool:
    """Verhoeff's check over the dihedral group of order ten: India's Aadhaar."""
    check = 0
    for place, digit in enumerate(reversed(digits(text))):
        for _ in range(place % 8):
            digit = _VERHOEFF_PERMUTATION[digit]
        check = _dihedral(check, digit)
    return check == 0


def _dihedral(left: int, right: int) -> int:
    """The product in the symmetries of a pentagon: 0 to 4 turn, 5 to 9 mirror."""
    if left < 5:
        return (left + right) % 5 if right < 5 else 5 + (left + right - 5) % 5
    return 5 + (left - 5 - right) % 5 if right < 5 else (left - right) % 5
