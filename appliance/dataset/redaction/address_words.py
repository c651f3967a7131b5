"""The words that addresses are made of, in some twenty languages. Lower case, no final full stop."""

from __future__ import annotations

import re

from appliance.dataset.redaction.words_of import words_in

US_STATES = {
    "Alabama": "AL", "Alaska": "AK", "Arizona": "AZ", "Arkansas": "AR", "California": "CA", "Colorado": "CO",
    "Connecticut": "CT", "Delaware": "DE", "Florida": "FL", "Georgia": "GA", "Hawaii": "HI", "Idaho": "ID",
    "Illinois": "IL", "Indiana": "IN", "Iowa": "IA", "Kansas": "KS", "Kentucky": "KY", "Louisiana": "LA",
    "Maine": "ME", "Maryland": "MD", "Massachusetts": "MA", "Michigan": "MI", "Minnesota": "MN",
    "Mississippi": "MS", "Missouri": "MO", "Montana": "MT", "Nebraska": "NE", "Nevada": "NV",
    "New Hampshire": "NH", "New Jersey": "NJ", "New Mexico": "NM", "New York": "NY", "North Carolina": "NC",
    "North Dakota": "ND", "Ohio": "OH", "Oklahoma": "OK", "Oregon": "OR", "Pennsylvania": "PA",
    "Rhode Island": "RI", "South Carolina": "SC", "South Dakota": "SD", "Tennessee": "TN", "Texas": "TX",
    "Utah": "UT", "Vermont": "VT", "Virginia": "VA", "Washington": "WA", "West Virginia": "WV",
    "Wisconsin": "WI", "Wyoming": "WY", "District of Columbia": "DC", "Puerto Rico": "PR",
}  # fmt: skip
STATE_CODES = frozenset(code.lower() for code in US_STATES.values()) | words_in(
    "aa ae ap ab bc mb nb nl ns nt nu on pe qc sk yt nsw qld vic tas act"
)
# English: the type comes last.
STREET_TYPES = words_in(
    """
    alley aly avenue ave av avn bend boulevard blvd bridge bypass causeway circle cir close common corner
    corners court courts ct cove crescent cres cresc crossing dale dam drive dr drives estate estates expressway
    expy field fields freeway fwy gardens gdns gate glen green greens grove grv heights hts highway hwy hill
    hills hollow island junction key knoll lake lakes landing lane ln lodge loop mall manor meadow meadows mews
    mill motorway mount mountain parade park parkway pkwy pass path pike pine pines place pl plaza plz point
    port quay rapid ridge rise road rd roads row run shoal shore spring springs spur square sq station stravenue
    stream street st str streets summit terrace ter terr trace track trail trl turnpike tunnel union valley via
    viaduct view village ville vista walk way well wells nagar colony marg chowk
    """
)
# Types that are never a plain word in a sentence that means something else.
SURE_TYPES = words_in(
    """
    avenue ave blvd boulevard street st road rd lane ln drive dr hwy highway pkwy parkway terrace crescent
    """
)
# The type comes first.
PREFIX_TYPES = words_in(
    """
    rua avenida av avda calle callejón paseo plaza carrera cra camino carretera rue avenue boulevard bd allée
    allee chemin route quai impasse place cours passage via viale piazza piazzetta piazzale corso vicolo strada
    largo contrada ul ulica ulice aleja al os osiedle plac trg náměstí nam náměsti travessa praça praca rodovia
    alameda estrada carrer rambla avinguda ronda urbanización urb barrio jalan jl gang strasse straße jr jirón
    šaltinių улица ул проспект пр str bulevardul blvd calea aleea bul
    """
)
# One word that ends so; after it comes a number.
SUFFIX_TYPES = re.compile(
    r"\w{2,}(?:stra(?:ss|ß)e|str|straat|strasse|gasse|weg|allee|platz|damm|ufer|ring|hof|gatan|gata|gatan|gränd|vägen|vagen"
    r"|väg|stigen|backen|vej|vejen|veien|veg|gade|gate|gaten|vænget|toften|parken|krogen|stræde|allé|katu|tie|polku|kuja|raitti"
    r"|laan|plein|dreef|kade|singel|gracht|steeg|straße|utca|útja|tere|körút|braut|stræti|vegur|gerði|brekka|holt|torg|steig"
    r"|plads|bakken|brücke|markt|stieg)\b\.?",
    re.IGNORECASE,
)
# A word of its own after a name.
AFTER_TYPES = words_in(
    """
    utca u út útja tér tere köz körút tänav tn tee puiestee pst katu gatve g gata sokak sk
    """
)
UNITS = words_in(
    """
    apt apartment suite ste unit flat floor fl room rm bldg building block appt étage lgh no
    """
)
BOXES = words_in(
    """
    box postbox postboks postfach pobox psc apo fpo dpo postbus apartado bp cmr
    """
)
PARTICLES = words_in(
    """
    de la le les du des del della delle dei di da do dos das d l van der den von zu zum zur am an im of the and
    y e i nad pod v w na sur sous en et à aan het op ten ter bei by upon saint st
    """
)
NOT_PLACES = words_in(
    """
    january february march april may june july august september october november december jan feb mar apr jun
    jul aug sep sept oct nov dec monday tuesday wednesday thursday friday saturday sunday mon tue wed thu fri
    sat sun am pm utc gmt i kg km cm mm mg ml gb mb kb tb ghz mhz usd eur gbp years year months days hours
    minutes seconds percent
    """
)
# What stands before a place that is somebody's.
CONTEXT_BEFORE = re.compile(
    r"(?:\b(?:live[sd]?|living|resid\w+|locat\w+|address\w*|sen[dt]|ship\w*|deliver\w*|mail\w*|return\w*|mov(?:e[ds]?|ing)"
    r"|arriv\w+|stop|office|house|home|apartment|shop|store|restaurant|corner|side|situated|stay\w*|meet\w*|visit\w*|property"
    r"|wohn\w+|habite\w*|vive|vivo|abit\w+)\b[^.!?\n]{0,60}?)(?:\b(?:at|in|on|to|from|is|was|of|near|by)|:|-)\s*(?:the\s+corner\s+of\s+)?$"
    r"|\b(?:address|residence)\s*[:=-]\s*$|\badd?ress(?:\s+(?:is|was|to))?\s*[:=-]?\s*$",
    re.IGNORECASE,
)
