"""What the answers of the offline model are made of: its own words, and those of others."""

import re
import unicodedata
from collections.abc import Iterable, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import orjson

from notifications.text import one_line, shorten

_WORD = re.compile(r"[^\W_]{4,50}")
_SENTENCE = re.compile(r"[^.!?…]+[.!?…]*")
_COMMON = frozenset(
    (
        "avec", "pour", "dans", "mais", "plus", "tout", "tous", "toute", "toutes", "cette", "nous",
        "vous", "leur", "leurs", "elle", "elles", "sont", "être", "avoir", "fait", "faire", "comme",
        "sans", "chez", "entre", "quand", "aussi", "très", "bien", "depuis", "with", "from", "that",
        "this", "your", "have", "about", "what", "when", "they", "them", "their", "will", "would",
        "there", "these", "those", "into", "more", "most", "some", "just", "like", "video", "vidéo",
    )
)  # fmt: skip


@cache
def words_of(part: str, locale: str) -> Mapping[str, Any]:
    """What the model says in a language, by part: `offline.<locale>.json` beside this module."""
    path = Path(__file__).with_name(f"offline.{locale}.json")
    words: Mapping[str, Any] = orjson.loads(path.read_bytes())[part]
    return words


def keywords(texts: Iterable[str], most: int) -> list[str]:
    """The words that texts are about, lower-case, as they come, none twice."""
    once: dict[str, None] = {}
    for text in texts:
        for word in _WORD.findall(one_line(text).lower()):
            if word not in _COMMON and not word.isdecimal():
                once.setdefault(word)
    return list(once)[:most]


def hashtags(texts: Iterable[str], most: int) -> list[str]:
    """The same as hashtags are written: without accents, without `#`."""
    plain = (
        "".join(each for each in unicodedata.normalize("NFKD", word) if each.isalnum())
        for word in keywords(texts, 3 * most)
    )
    return [word[:50] for word in dict.fromkeys(plain) if word][:most]


def heart_of(text: str, longest: int = 80) -> str:
    """The sentence that a message is about: its last question, else its longest sentence."""
    sentences = [each.strip() for each in _SENTENCE.findall(one_line(text)) if each.strip()]
    asked = [each for each in sentences if each.endswith("?")]
    chosen = asked[-1] if asked else max(sentences, key=len, default=one_line(text))
    return shorten(chosen, longest)


def quoted(text: str, locale: str) -> str:
    """In the quotation marks of the language; those within it are others."""
    if locale == "fr":
        inner = text.replace("«\u00a0", "“").replace("\u00a0»", "”")
        inner = inner.replace("« ", "“").replace(" »", "”")
        return f"«\u00a0{inner}\u00a0»"
    return f"“{text}”"
