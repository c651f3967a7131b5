"""The words around names: titles, greetings, introductions, and what is no name though it is written like one."""

from __future__ import annotations

import re

from appliance.dataset.redaction.words_of import words_in

PARTICLES = words_in(
    """
    van von de der den del della di da do dos das du la le el al bin ibn ben ter ten zu zum af av st mac o abu e
    y
    """
)
SUFFIXES = words_in(
    """
    jr sr ii iii iv phd md esq
    """
)
TITLES = (
    r"(?:mr|mrs|ms|mx|miss|dr|prof|professor|sir|madam|mister|doctor|rev|reverend|father|sister|brother|capt|captain"
    r"|lt|lieutenant|sgt|sergeant|col|colonel|gen|general|major|judge|senator|president|chancellor|minister|governor|mayor"
    r"|herr|frau|hr|fr|monsieur|madame|mme|mlle|m|señor|señora|sr|sra|srta|signor|signora|don|doña|lord|lady|king|queen|prince"
    r"|princess|saint|uncle|aunt|auntie|grandma|grandpa|officer|agent|nurse|coach|detective|inspector|hon|ambassador|rabbi|imam)"
)
TITLE_BEFORE = re.compile(rf"(?<![\w'’]){TITLES}\.?\s+$", re.IGNORECASE)
# After these, almost anything is a name.
INTRODUCED = re.compile(
    r"(?:\b(?:my|his|her|the|their|your|our|full|first|last|second|middle|maiden|sur|family|given|nick|user's|customer's?|whose|and|no|a|by"
    r"|patient's?|partner's|husband's|wife's|holder's?|name)?\s*(?<![a-z])(?:full\s*|first\s*|last\s*|second\s*|maiden\s*|sur|nick)?names?(?:'s)?\s*(?:is|was|:|=|-|of|are|it'?s)?\s*(?:is\s+)?"
    r"|\bmy\s+names?\s+|\b(?:named|called|calls?|call)\s+(?:me|him|her|as|me\s+as)\s+|\bnamed\s+"
    r"|\b(?:myself)\s+|\bi\s+go\s+by\s+|\bthis\s+is\s+(?:mr|mrs|ms|dr)\.?\s+"
    r"|\b(?:attn|attention|contact|signed|sender|recipient|employee|customer|client|patient|passenger|guest|author|from|cc|bcc|to)\s*:\s*"
    r"|\bnames?\?\s+)$",
    re.IGNORECASE,
)
NOT_A_PERSONS = re.compile(
    r"\b(?:file|domain|product|host|brand|company|business|class|variable|function|method|column|table|field|path|item|model|project|package|module|street"
    r"|city|place|country|event|song|movie|film|show|book|game|app|team|band|device|server|network|user|account|bank|branch|school|shop|store|restaurant|dish"
    r"|drug|medicine|plan|policy|group|channel|topic|tag|key|code|dog|cat|pet)['’]?s?\s*(?:user)?names?\W*(?:is|was|of|are|:|=)?\s*$",
    re.IGNORECASE,
)
# After these, a name is likely, and so is something else.
ADDRESSED = re.compile(
    r"(?:\b(?:this\s+is|i\s+am|i'?m|it'?s|it\s+is|that'?s|here'?s|meet|dear|hi|hello|hey|hai|thanks?|thank\s+you|regards|sincerely|cheers|best|yours"
    r"|truly|wishes|enjoy|bye|welcome|sorry|ask(?:ed)?(?:\s+for)?|speak(?:ing)?\s+(?:to|with)|talk(?:ed|ing)?\s+(?:to|with)|spoke\s+(?:to|with)|under|said|says|told"
    r"|by|with|and|to|for|about|between|met|met\s+with|know|knows|love[sd]?|like[sd]?|miss|see|saw|tell|told|given"
    r"|remind|help|call(?:ed)?|email(?:ed)?|text(?:ed)?|contact(?:ed)?|invite[ds]?|congratulate|featuring|feat\.?|including|starring"
    r"|him|her|kid|son|daughter|wife|husband|friend|brother|sister|boss|partner|colleague|manager|producer|player|director|singer|actor|actress|author"
    r"|writer|engineer|professor|ceo|cto|cfo|chairman|founder|president|secretary|journalist|artist|guitarist|drummer|bassist|frontman|lawyer|attorney"
    r"|nephew|niece|cousin|mother|father|mom|mum|dad|patient|client|customer|employee|user|guardian|of|when|is|does|do|where|why|how|has|did|but)"
    r"[\s,:!.]*|[\"“(]\s*|[-–—]\s*)$",
    re.IGNORECASE,
)
# In lower-case chat only these may introduce a word that no list knows.
SAID_OF_ONESELF = re.compile(
    r"(?:\b(?:this\s+is|i\s+am|i'?m|dear|regards,?|sincerely,?|speaking\s+(?:to|with)|speak\s+(?:to|with)|talk\s+(?:to|with)|sir\s?myself|myself)\s+)$",
    re.IGNORECASE,
)
SPEECH_AFTER = re.compile(
    r"\s*,?\s*(?:said|says|told|tells|asked|asks|wrote|writes|explained|explains|added|adds|replied|answered|noted|argued|claimed|announced"
    r"|recalls?|recalled|insisted|stated|commented|thinks?|thought|believes?|believed|talks|speaks?)\b"
)
SPEECH_BEFORE = re.compile(
    r"[,\"”!?]\s*(?:said|says|asked|asks|explained|explains|added|adds|wrote|writes|replied|replies|answered|noted|argued|recalls"
    r"|recalled|insisted|insists|stated|commented)\s+$"
)
# Only persons do these.
LIFE_AFTER = re.compile(
    r"\s*,?\s*(?:(?:who\s+)?(?:lives?|lived|works?|worked|was\s+born|is\s+born|died|married|moved|joined|retired|graduated|studied"
    r"|teaches|taught|grew\s+up|and\s+I|and\s+(?:his|her)"
    r"|is\s+(?:my|his|her|our)|, who"
    r"|whose)\b)"
)
PERSON_AFTER = re.compile(
    r"\s*,?\s*(?:(?:has|had|is|was|will|would|can|could|did|does|started|went|came|got|gave|given|took|made|played|plays|wants?|wanted"
    r"|likes?|loves?|loved|hates?|needs?|needed|called|sent|met|left|became|served|won|lost|felt|knew|knows|should|must|looked|looks|of\s+[A-Z])\b"
    r"|['’]s\s+[a-z])"
)
FAMILY_BEFORE = re.compile(
    r"\b(?:my|his|her|their|our|your)\s+(?:\w+\s+)?(?:kid|son|daughter|child|wife|husband|spouse|friend|brother|sister|boss|partner|colleague|manager|nephew"
    r"|niece|cousin|mother|father|mom|mum|dad|uncle|aunt|neighbou?r|roommate|girlfriend|boyfriend|fianc[ée]e?|grandson|granddaughter|teacher|lawyer"
    r"|attorney|landlord|assistant|secretary|doctor|patient|client|customer|baby)\s*,?\s+$",
    re.IGNORECASE,
)
ROLE_BEFORE = re.compile(
    r"\b(?:producer|player|director|singer|actor|actress|author|writer|engineer|ceo|cto|cfo|chairman|chairwoman|founder|journalist|artist|guitarist"
    r"|drummer|bassist|frontman|spokes(?:man|woman|person)|reporter|editor|researcher|scientist|composer|poet|painter|driver|pilot|striker|keeper"
    r"|defender|midfielder|champion|star|legend|activist|candidate|mp|congressman|congresswoman|lawyer|attorney|analyst|clerk|guest|host)\s+$",
    re.IGNORECASE,
)
ORGANISATION = words_in(
    """
    inc ltd llc gmbh ag corp corporation co company plc sa srl bv nv oy ab as university college school
    institute bank group holdings partners associates foundation orchestra association society committee council
    ministry department agency hospital clinic church club team fc united party union investments services
    systems solutions technologies technology software labs laboratories media press times post news network
    channel records studios entertainment airlines airways motors energy pharma pharmaceuticals insurance
    financial capital ventures consulting international industries enterprises brothers sons band league cup
    museum library theatre theater hotel restaurant cafe airport station center centre stadium arena hall palace
    castle cathedral street road avenue lane drive boulevard square park bridge river lake mountain mount island
    islands bay beach valley county city state district province region act award awards prize festival magazine
    journal daily weekly show conference summit project program programme system version edition series model
    engine server cloud web site app api office force army navy guard court house
    """
)
NO_NAME = words_in(
    """
    i ok okay yes no hi hello hey thanks thank please sorry dear sir madam user bot agent customer assistant
    system monday tuesday wednesday thursday friday saturday sunday january february march april may june july
    august september october november december christmas easter god lord internet google facebook twitter
    youtube amazon microsoft apple linux windows english german french spanish italian dutch american british
    european african asian chinese japanese indian russian
    zip plz postcode dob tel fax phone email address name fullname request movie video
    android ubuntu python java unix mac oh ah lol omg wow
    haha tv dvd cd pc usb url html http https json xml sql css pdf faq ceo cto cfo usa uk us eu un nasa fbi cia
    nato covid wifi bluetooth atm pin ssn id ip ain't isn't wasn't don't didn't doesn't can't couldn't won't
    wouldn't shouldn't aren't haven't hasn't hadn't weren't i'm i've i'll i'd it's that's there's what's he's
    she's we're you're they're let's
    """
)
# Where a lower-case introduction ends: words that a name is followed by, and that no name is made of.
STOPS = words_in(
    """
    and or but the a an my your his her our their its it is was are were be been am i you he she we they this
    that these those of in on at to for from with by as so if then than not no yes ok okay please plz pls sir
    mam madam here there account fullname acct ac card credit debit ssn number num
    phone email mail address policy
    claim last four digits code id can could would will shall should may might must do does did have has had
    want need like know get got change check lost looking calling trying having going interested facing unable
    ready done fine good great sure sorry thanks thank thankyou hi hello new old also just only very really now
    today how what when where who which why me him us them all any some one two first second name names full
    dont cant im ur u r about after before because bit up out off over one's
    """
)
NOT_PLACE_BEFORE = re.compile(
    r"\b(?:in|at|near|from|toward|towards|across|outside|inside|visit(?:ed|ing)?|of|to|based\s+in|via|through)\s+(?:the\s+)?$",
    re.I,
)
SIGN_OFF = re.compile(
    r"(?:regards|sincerely|cheers|thanks|thank\s+you|best|yours|wishes|love|faithfully|truly|mfg|gr[üu][sß]+e?n?)\s*[,.!-]*\s*\n+\s*$",
    re.I,
)
