"""Lists of names, places and plain words, out of two permissively licensed packages: Faker and zxcvbn (both MIT).

Loaded when first asked for, some tens of milliseconds. All in lower case.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache

from appliance.dataset.redaction.words_of import words_in

# English words that also are names and that the lists hold as names alone: told apart by their surroundings.
_WORDS_TOO = words_in(
    """
    ace al alto amber angel april ariel art asia august aurora autumn ben berry bill bliss bob bond brook brown
    buck bud buddy cameo candy carol cash chance charity chase cherish china chip christian clay cliff coco cole
    cook coral crystal daisy dale dash dawn dean deb destiny don dusty earl ebony eden essence eve ever faith
    fay fern flora fox frank gale gay gene ginger grace grant gray guy hazel heath heather heaven herb holly
    honey hope hunter iris iron ivory ivy jack jade jean jewel jimmy john joy june justice lance lane lark
    laurel lily long love loyal lucky luna mace major male mark marsh mason max may mercy mike miles min misty
    moses muse nick nova olive opal page paris park patience pearl penny piper poppy price princess queen rain
    randy ray red reed rich river rob robin rocky rod rose royal ruby rusty sage sandy scarlet scout sea see
    shade shell sherry sky son song star stone storm sue summer sun sunny tab tad teddy temple terra tiny tom
    trinity trip tuesday victor viola violet virginia wade ward warren west will win wing winter wise wood woody
    young india israel jordan georgia chad kenya austin dallas houston madison brooklyn sydney florence
    sienna carolina dakota savannah cheyenne phoenix orlando lincoln jackson charlotte denver
    angle dung meta easter magnolia maple
    pinkie echo prudence golden link dick cherry precious lady duke harsh forum indie harmony ganga sunshine melody
    cookie cute dear honesty liberty noble prince sir tea case ok even hai sim van mai ha an in my so to no do go be
    he we me banks add edit brain green willow express driver hill london
    """
)
_SKIPPED = {
    "ja_JP",
    "zh_CN",
    "zh_TW",
    "ko_KR",
    "th_TH",
    "vi_VN",
}  # written without spaces, or shorter than a word
_LETTERS = 2


@dataclass(frozen=True)
class Gazetteers:
    """What the finders look words up in; every word in lower case.

    Attributes:
        first_names, last_names: of some sixty languages.
        common_first: those of English-speaking countries, by census.
        places: cities, states and countries; names of several words too.
        place_words: the words of `places` that are of one word.
        countries, states: as they stand in an address.
        words: rank of a plain English word, 0 the commonest.
    """

    first_names: frozenset[str]
    last_names: frozenset[str]
    common_first: frozenset[str]
    places: frozenset[str]
    place_words: frozenset[str]
    countries: frozenset[str]
    states: frozenset[str]
    words: dict[str, int]

    def is_word(self, word: str, rank: int = 40_000) -> bool:
        """Whether `word` (lower case) is a plain English word among the `rank` commonest."""
        found = self.words.get(word)
        if found is None:
            for ending in ("s", "ed", "ing", "ly", "d"):
                if word.endswith(ending) and len(word) - len(ending) > 2:
                    found = self.words.get(word[: -len(ending)])
                    if found is not None:
                        break
        return found is not None and found < rank

    def is_first(self, word: str) -> bool:
        """Whether it is a given name and no plain word."""
        return word in self.first_names and not self.is_plain(word)

    def is_last(self, word: str) -> bool:
        """Whether it is a family name and no plain word."""
        return word in self.last_names and not self.is_plain(word)

    def is_plain(self, word: str) -> bool:
        """Whether it reads as a plain word even where a list of names holds it."""
        return word in _WORDS_TOO or (word in self.words and word not in self.common_first)


def _provider_lists(package: str, beginnings: tuple[str, ...], locales: Iterable[str] = ()) -> set[str]:
    """Every string in the lists of Faker's providers whose attributes begin so."""
    found: set[str] = set()
    root = importlib.import_module(f"faker.providers.{package}")
    for module in pkgutil.iter_modules(root.__path__):
        if module.name in _SKIPPED or (locales and module.name not in locales):
            continue
        provider = importlib.import_module(f"faker.providers.{package}.{module.name}").Provider
        for name in dir(provider):
            if name.startswith(beginnings) and "format" not in name:
                values = getattr(provider, name)
                if isinstance(values, (list, tuple, dict)):
                    found.update(value for value in values if isinstance(value, str))
    return found


def _single(values: Iterable[str]) -> set[str]:
    """The values in lower case, each word of theirs that is of some length."""
    words = {word for value in values for word in value.lower().replace("’", "'").split()}
    return {
        word for word in words if len(word) > _LETTERS and word.replace("-", "").replace("'", "").isalpha()
    }


@cache
def gazetteers() -> Gazetteers:
    """The lists, made once."""
    from zxcvbn.frequency_lists import FREQUENCY_LISTS

    from appliance.dataset.redaction.address_words import US_STATES

    english = ("en_US", "en_GB", "en_IE", "en_NZ", "en_IN")
    census = {*FREQUENCY_LISTS["female_names"], *FREQUENCY_LISTS["male_names"]}
    words: dict[str, int] = {}
    for name in ("english_wikipedia", "us_tv_and_film"):
        for rank, word in enumerate(FREQUENCY_LISTS[name]):
            words[word] = min(rank, words.get(word, rank))
    cities = {city.lower() for city in _provider_lists("address", ("cities", "city_names", "localities"))}
    countries = {name.lower() for name in _provider_lists("address", ("countries",), ("en_US", "en"))}
    import faker.providers.address as plain

    countries |= {str(name).lower() for name in plain.Provider.countries}
    countries |= {"uk", "usa", "u.s.a.", "england", "scotland", "wales", "holland"}
    states = {name.lower() for name in US_STATES}
    places = cities | countries | states
    return Gazetteers(
        first_names=frozenset(
            _single(_provider_lists("person", ("first_names", "first_romanized"))) | census
        ),
        last_names=frozenset(
            _single(_provider_lists("person", ("last_names", "last_romanized", "unisex_last", "male_last")))
            | set(FREQUENCY_LISTS["surnames"])
        ),
        common_first=frozenset(census | _single(_provider_lists("person", ("first_names",), english))),
        places=frozenset(places),
        place_words=frozenset(place for place in places if " " not in place),
        countries=frozenset(countries),
        states=frozenset(states),
        words=words,
    )
