"""Small words by which languages that share a script are told apart: each list is of its language's commonest."""

from __future__ import annotations

WORDS: dict[str, str] = {
    "en": """the of and to in is that it was for on with as his he be at by i this had not are but from or have an they
    which one you were all her she there would their we him been has when who will no more if out so what up
    about into than can only other do my your could should how any please me hi hello thanks just don't it's
    i'm get need want some them then these did does where why""",
    "de": """der die und in den von zu das mit sich des auf für ist im dem nicht ein eine als auch es an werden aus er
    hat dass sie nach wird bei einer um am sind noch wie einem über einen so zum war haben nur oder aber vor
    zur bis mehr durch man sein wurde ich wir ihr kann mir mich bitte wenn hier keine kein schon sehr was wo""",
    "fr": """de la le et les des en un du une que est pour qui dans par plus pas au sur ne se ce il sont la avec ou son
    aux cette mais comme on elle ses ont nous vous je leur être fait si était sans ces deux même tout bien
    peut entre aussi mon votre c'est n'est d'un d'une l'on qu'il j'ai très""",
    "es": """de la que el en y los del se las por un para con no una su al lo como más pero sus le ya o este sí porque
    esta entre cuando muy sin sobre también me hasta hay donde quien desde todo nos durante todos uno les ni
    contra otros ese eso ante ellos es son fue está tiene puede cómo qué mi usted""",
    "it": """di e il la che in un a per è una del non sono le si da con i al dei come della nel alla più anche gli ha
    lo ma su delle o se ci questo dal questa essere ho era stato loro suo mi perché nella dalla quando molto
    cosa tutti tutto degli sul della dell' hanno sua nei può fare""",
    "pt": """de a o que e do da em um para é com não uma os no se na por mais as dos como mas foi ao ele das tem à seu
    sua ou ser quando muito há nos já está eu também só pelo pela até isso ela entre era depois sem mesmo aos
    ter seus quem nas me esse eles você são às""",
    "nl": """de het een en van ik te dat die in is niet op aan met als voor had er maar om hem dan zou of wat mijn men
    dit zo door over ze zich bij ook tot je mij uit der daar haar naar heb hoe heeft hebben deze u want nog
    zal zij nu ge geen iets worden toch al waren veel meer doen toen moet ben zonder kan hun dus alles onder
    wordt""",
    "sv": """och det att i en jag hon som han på den med var sig för så till är men ett om hade de av icke mig du henne
    då sin nu har inte hans honom skulle hennes där min man ej vid kunde något från ut när efter upp vi dem
    vara vad över än dig kan sina här ha mot alla under någon eller allt mycket sedan ju denna själv detta åt
    utan""",
    "da": """og i jeg det at en den til er som på de med han af for ikke der var mig sig men et har om vi min havde ham
    hun nu over da fra du ud sin dem os op man hans hvor eller hvad skal selv her alle vil blev kunne ind når
    være dog noget ville jo deres efter ned skulle denne end dette mit også under have dig anden hende mine
    meget""",
    "no": """og i jeg det at en et den til er som på de med han av ikke der så var meg seg men ett har om vi min mitt
    ha hadde hun nå over da ved fra du ut sin dem oss opp man kan hans hvor eller hva skal selv sjøl her alle
    vil bli ble blitt kunne inn når være kom noen noe ville dere som deres kun ja etter ned skulle denne også""",
    "fi": """ja on ei se että hän oli joka mutta ne mitä kun niin kuin myös tai ovat jos sitä sen olla hänen minä sinä
    me te he tämä joka nyt vain ole mukaan jo siitä sekä hyvin vielä olen minun sinun voi voit kaikki jossa
    kanssa ennen jälkeen koska miten missä tämän siihen siellä""",
    "pl": """w i na z się do nie że to o jest jak po co za od są przez ale czy tak dla już był jego jej może ich tego
    tym by być jako tylko oraz który która które gdy było była ze ten ta te mnie pan pani mi ma mam jeszcze
    bardzo pod nad przy lub można""",
    "cs": """a se v na je že o s z do i to k ve pro za by ale si po jako jsem jsou byl od jeho tak která které který
    však už nebo jen při co jak ze bylo byla ještě až má být aby není této kdy pak mezi tím před podle také
    než mu jejich nám vás ať proto""",
    "ro": """de și în a la cu pe nu că o un să se din este mai ce care pentru sunt au fost al ca dar lui el ei ale sau
    am după dacă fi prin foarte lor când unei cum această acest între fără despre fost fiind aici""",
    "hu": """a az és hogy nem is egy ez csak de már meg ki mint van volt el én még ha akkor mit ami azt sem vagy
    azonban így kell lehet mert minden nagyon itt lesz után között által szerint ezt pedig aki olyan ezek""",
    "tr": """ve bir bu da de için ile çok ne o daha gibi ama var olarak olan kadar sonra en mi ben sen değil her şey ya
    ki yok oldu benim onun bana nasıl neden biz siz onlar veya ise mı olduğu tarafından""",
    "ru": """и в не на я быть он с что а по это она этот к но они мы весь который из у то за свой от ее так как для вы
    о же все его было или мне если уже при есть нет чтобы может только еще их был бы""",
    "uk": """і в не на я що з до це та як у за він а але від по для є про вона ми ви вони його або так й його було який
    яка які ще вже щоб може тільки при якщо бути їх цей""",
}
SCRIPTS: dict[str, str] = {
    "GREEK": "el",
    "ARABIC": "ar",
    "HEBREW": "he",
    "DEVANAGARI": "hi",
    "HANGUL": "ko",
    "THAI": "th",
    "HIRAGANA": "ja",
    "KATAKANA": "ja",
    "CJK": "zh",
}
"""Scripts that, of the languages told apart, one is written in."""
