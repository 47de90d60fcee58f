"""What a release comes with beside its code: the event types and the templates."""

from pathlib import Path

from notifications.catalogue import Catalogue

ROOT = Path(__file__).parent.parent
SCHEMAS = ROOT / "schemas"
TEMPLATES = ROOT / "templates"


def load_catalogue() -> Catalogue:
    """The event types of this release."""
    return Catalogue.load(SCHEMAS, TEMPLATES)
