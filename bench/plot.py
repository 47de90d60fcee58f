"""The rows as a picture: how good each is against its goal, and what those without one are."""

from collections.abc import Sequence
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont
from rows import Row, number

_WIDTH, _LINE, _MARGIN = 1200, 30, 24
_NAMES, _BARS, _VALUES = 250, 500, 402
_LONGEST = 2.0
"""A bar ends where a row is twice as good as its goal."""

_INK, _PALE, _PAPER = "#1c2430", "#8a94a3", "#ffffff"
_MET, _MISSED, _LANE = "#2f8f5b", "#c8502e", "#eef1f5"


def write_png(path: Path, rows: Sequence[Row], title: str) -> None:
    """Draw a bar for each row: the upright line is the goal, right of it is better."""
    height = 2 * _MARGIN + (len(rows) + 2) * _LINE
    image = Image.new("RGB", (_WIDTH, height), _PAPER)
    draw = ImageDraw.Draw(image)
    font, small = ImageFont.load_default(15), ImageFont.load_default(13)
    draw.text((_MARGIN, _MARGIN), title, fill=_INK, font=ImageFont.load_default(18))
    left = _MARGIN + _NAMES
    goal = left + _BARS / _LONGEST
    top = _MARGIN + 2 * _LINE
    draw.text((goal, top - 4), "goal", fill=_PALE, font=small, anchor="mb")
    for index, row in enumerate(rows):
        y = top + index * _LINE
        middle = y + _LINE / 2
        draw.text((_MARGIN, middle), row.name, fill=_INK, font=font, anchor="lm")
        if row.goal is not None:
            draw.rectangle((left, y + 7, left + _BARS, y + _LINE - 7), fill=_LANE)
        if row.score is not None:
            right = left + _BARS * min(max(row.score, 0.0), _LONGEST) / _LONGEST
            colour = _MET if row.met else _MISSED
            draw.rectangle((left, y + 7, max(right, left + 2), y + _LINE - 7), fill=colour)
        draw.text((left + _BARS + 16, middle), _said(row), fill=_INK, font=font, anchor="lm")
    draw.line((goal, top, goal, top + len(rows) * _LINE), fill=_INK, width=1)
    image.save(path, format="PNG")


def _said(row: Row) -> str:
    value = "not measured" if row.value is None else f"{number(row.value)} {row.unit}"
    if row.goal is None:
        return value
    way = "at least" if row.at_least is not None else "at most"  # the font has no signs for it
    return f"{value}, goal {way} {number(row.goal)}"
