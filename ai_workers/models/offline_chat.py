"""Offline replies to a conversation, from its last message. Pure."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

from ai_workers.models.offline_words import heart_of, quoted, words_of
from notifications.text import one_line, shorten

_EMOJI = {"happy": "😊", "curious": "✨", "neutral": "🙂", "sad": "🤍", "upset": "🙏"}

_MOODS: Sequence[tuple[str, re.Pattern[str]]] = tuple(
    (mood, re.compile(rf"\b(?:{words})", re.IGNORECASE))
    for mood, words in (
        ("upset", "déçu|furieu|énerv|arnaque|rembours|nul\\b|honte|refund|angry|scam|awful|worst"),
        ("sad", "triste|seule?\\b|dur\\b|manque|sad\\b|lonely|miss you|hard time|cry"),
        ("happy", "merci|génial|super|ador|bravo|magnifique|thank|love|great|amazing|awesome"),
    )
)
_CAUTIONS: Sequence[tuple[str, re.Pattern[str]]] = tuple(
    (code, re.compile(pattern, re.IGNORECASE))
    for code, pattern in (
        ("minor", r"\b(?:j['’]ai|i['’]?m|i am) 1[0-7](?: ?(?:ans|years|yo)\b| ?[.,!?]| ?$)"),
        ("threat", r"\b(?:je vais te trouver|tu vas payer|i will find you|you will pay)\b"),
        ("self-harm", r"\b(?:me tuer|suicid\w*|en finir|kill myself|hurt myself)\b"),
        ("personal-data", r"[\w.+-]{1,64}@[\w-]{1,64}\.\w{2,}|(?:\+?\d[ .-]?){9,14}"),
        ("payment-elsewhere", r"\b(?:paypal|cash ?app|venmo|western union|virement|wire me)\b"),
    )
)


def chat(material: Mapping[str, Any], locale: str) -> dict[str, Any]:
    """An answer for `chat.suggest`, from `material["input"]`."""
    given, words = material["input"], words_of("chat", locale)
    last = next(
        (each["text"] for each in reversed(given["messages"]) if each["from"] == "fan"),
        given["messages"][-1]["text"],
    )
    mood = _mood(last)
    fan = given.get("fan", {}).get("name")
    name = one_line(fan) if fan else ""
    return {
        "summary": words["summary"].format(
            name=name or words["fan"], heart=quoted(heart_of(last), locale)
        ),
        "mood": mood,
        "suggestions": _suggestions(given, mood, name, locale),
        "cautions": [
            {"code": code, "message": words["noticed"]}
            for code, pattern in _CAUTIONS
            if pattern.search(last)
        ],
    }


def _mood(text: str) -> str:
    for mood, pattern in _MOODS:
        if pattern.search(text):
            return mood
    return "curious" if "?" in text else "neutral"


def _suggestions(
    given: Mapping[str, Any], mood: str, name: str, locale: str
) -> list[dict[str, Any]]:
    tone, emoji = given.get("tone", "friendly"), given.get("emoji", "few")
    words = words_of("chat", locale)
    openers = words["openers"][mood]
    closers = words["closers"][given.get("goal", "keep-talking")]
    why = words["why"].format(mood=words["moods"][mood])
    found = []
    for place in range(given.get("count", 3)):
        called = f", {name}" if name and place % 2 == 0 else ""
        end = "." if mood in ("sad", "upset", "curious") else ("\u202f!" if locale == "fr" else "!")
        closer = closers[place].replace("{offer}", _offer(given, locale))
        text = f"{openers[place]}{called}{end} {closer}"
        if emoji == "many" or (emoji == "few" and place == 0):
            text += f" {_EMOJI[mood]}"
        found.append({"text": shorten(text, 1_000), "tone": tone, "why": why})
    return found


def _offer(given: Mapping[str, Any], locale: str) -> str:
    offer = given.get("offer")
    if not offer:
        return str(words_of("chat", locale)["offer"])
    name = quoted(shorten(one_line(offer["name"]), 80), locale)
    price = one_line(offer.get("price", ""))
    return f"{name} ({price})" if price else name
