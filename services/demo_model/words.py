"""Words of a text: tokens, stems, and what in a question carries its content."""

import re
from functools import lru_cache

_WORD = re.compile(r"[^\W_]+(?:['\u2019][^\W_]+)*")
_SPELLED = re.compile(r"\w(?:[\w./+#-]*\w)?[+#]*")
_POSSESSIVE = re.compile(r"(?<=\w)['\u2019]s\b")
_SENTENCE_START = re.compile(r"(?:[.!?:]\s+|\n\s*)[\"'“(]*$")
_REACH = 10
_IDENTIFIER = re.compile(r"[a-z][A-Z]|[A-Z]{2}|[^\W\d]_|[^\W\d][./]\w|[^\W\d]\d")
_QUOTED = re.compile(r"[\"“`]([^\"”`\n]{2,80})[\"”`]")

_STOP_TEXT = """
a about above after again all also am an and any anybody anyone anything are as at be because been before
being below between both but by can cannot could did do does doing done down during each either else ever
every few for from further get gets give given go goes got had has have having he her here hers him his how
however i if in into is it its itself just know let like long look made make makes many may me might mine
more most much must my need needs no nor not now of off on once one only or other our ours out over own
per please same say says shall she should show so some someone something still such take tell than that the
their theirs them then there these they thing things this those through to too under until up us use used
uses using very want was way we well were what whatever when where whether which while who whom whose why
will with within without would yes you your yours answer cite summarise summarize write document documents
explain describe documentation docs question sentence sentences happen happens mean means work works
"""
STOP_WORDS = frozenset(_STOP_TEXT.split())

_ENDINGS = ("ations", "ation", "ments", "ment", "ings", "ing", "ions", "ion")
_SHORT_ENDINGS = ("ed", "es", "ly", "s", "y")
_MIN_STEM = 4
_MIN_SHORT_STEM = 3


def tokens(text: str) -> list[str]:
    """Words of the text in order, in lower case, without punctuation."""
    return [word.replace("\u2019", "'") for word in _WORD.findall(text.lower())]


@lru_cache(maxsize=8192)
def stem(word: str) -> str:
    """Word without its grammatical ending, so that `retries` and `retry` are one."""
    word = re.sub(r"ie[sd]$", "y", word.removesuffix("'s"))
    for ending in _ENDINGS:
        if word.endswith(ending) and len(word) - len(ending) >= _MIN_STEM:
            return _bare(word[: -len(ending)])
    for ending in _SHORT_ENDINGS:
        if word.endswith(ending) and len(word) - len(ending) >= _MIN_SHORT_STEM and not word.endswith("ss"):
            return _bare(word[: -len(ending)])
    return _bare(word)


def stems(text: str) -> list[str]:
    """Stems of the content words of the text, in order, each once."""
    return list(dict.fromkeys(stem(word) for word in tokens(text) if word not in STOP_WORDS))


def content_words(text: str) -> list[str]:
    """Content words as they are spelled in the text (`pub/sub`, `dapr.yaml`), in order, each stem once."""
    kept: dict[str, str] = {}
    for spelled in _SPELLED.findall(_POSSESSIVE.sub("", text)):
        if any(word not in STOP_WORDS for word in tokens(spelled)):
            kept.setdefault(stem(spelled.lower()), spelled)
    return list(kept.values())


def names(text: str) -> list[str]:
    """What the text calls by name, in order: quoted phrases, identifiers, capitalised words inside a sentence."""
    quoted = list(_QUOTED.finditer(text))
    found = [(match.start(), match[1].strip()) for match in quoted]
    for match in _SPELLED.finditer(text):
        word, at = match[0], match.start()
        if word.lower() in STOP_WORDS or any(phrase.start() <= at < phrase.end() for phrase in quoted):
            continue
        capital = word[0].isupper() and at > 0 and not _SENTENCE_START.search(text[max(0, at - _REACH) : at])
        if capital or _IDENTIFIER.search(word):
            found.append((at, word))
    return list(dict.fromkeys(name for _, name in sorted(found)))


def _bare(stemmed: str) -> str:
    if len(stemmed) <= _MIN_SHORT_STEM:
        return stemmed
    if stemmed[-1] == stemmed[-2] and stemmed[-1] not in "aeiouls":
        return stemmed[:-1]
    return stemmed[:-1] if stemmed[-1] in "ei" else stemmed
