"""The types beside the component: fresh, and what TypeScript itself makes of them."""

import importlib.util
import re
import shutil
import subprocess
from pathlib import Path
from types import ModuleType

from tests.docs_code import blocks
from tests.node_packages import TYPESCRIPT, install, needs_node

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "notifications" / "http" / "static" / "toasts"
PAGE = ROOT / "docs" / "toasts.md"
COMPONENT = (FOLDER / "huntaze-toasts.js").read_text()
DECLARED = (FOLDER / "huntaze-toasts.d.ts").read_text()


def script() -> ModuleType:
    """`scripts/hub_types.py`."""
    spec = importlib.util.spec_from_file_location("hub_types", ROOT / "scripts" / "hub_types.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_types_are_what_the_api_is() -> None:
    """The committed file is what the script makes of today's OpenAPI document."""
    made = script()
    assert (FOLDER / "hub-types.d.ts").read_text() == made.types_of(made.document())


@needs_node
def test_the_documented_example_is_right_by_its_types(tmp_path: Path) -> None:
    """The React example of the docs compiles as printed, strictly, and so do the types."""
    install(TYPESCRIPT)
    (example,) = blocks("toasts.md", "tsx")
    (tmp_path / "Notifications.tsx").write_text(example)
    for name in ("huntaze-toasts.d.ts", "hub-types.d.ts"):
        shutil.copy(FOLDER / name, tmp_path)
    (tmp_path / "node_modules").symlink_to(TYPESCRIPT / "node_modules")
    options = "--noEmit --strict --jsx react-jsx --module esnext --moduleResolution bundler"
    done = subprocess.run(
        ["node", TYPESCRIPT / "node_modules/typescript/bin/tsc", *options.split(),
         "--target", "es2022", "--lib", "es2023,dom", *sorted(tmp_path.glob("*.ts*"))],
        cwd=tmp_path, capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout


def test_every_event_of_the_component_is_declared_and_documented() -> None:
    """What the component emits, its types and the page name the same events."""
    emitted = set(re.findall(r'#emit\("(huntaze-[a-z]+)"', COMPONENT))
    assert emitted
    assert set(re.findall(r'^  "(huntaze-[a-z]+)": CustomEvent', DECLARED, re.MULTILINE)) == emitted
    assert set(re.findall(r"^\| `(huntaze-[a-z]+)` \|", PAGE.read_text(), re.MULTILINE)) == emitted


def test_every_attribute_of_the_component_is_declared_and_documented() -> None:
    """What the component reads, its types and the page name the same attributes."""
    read = set(re.findall(r'(?:get|has)Attribute\("([a-z-]+)"\)', COMPONENT))
    observed = re.search(r"observedAttributes = \[(.*?)\]", COMPONENT)
    assert observed
    read |= set(re.findall(r'"([a-z-]+)"', observed[1]))
    read -= {"lang", "href", "aria-disabled"}  # other elements' own
    styled = set(re.findall(r":host\(\[([a-z-]+)[\^$]?=", COMPONENT))
    declared = re.search(r"HuntazeToastsAttributes \{(.*?)^\}", DECLARED, re.DOTALL | re.MULTILINE)
    assert declared
    names = set(re.findall(r'^  "?([a-z-]+)"?\?:', declared[1], re.MULTILINE))
    table = PAGE.read_text().partition("## Attributes")[2].partition("\n## ")[0]
    named = {
        name
        for row in re.findall(r"^\| (`.+?) \|", table, re.MULTILINE)
        for name in re.findall(r"`([a-z-]+)`", row)
    }
    assert read | styled == names == named


def test_every_variable_and_part_of_the_component_is_documented() -> None:
    """What can be styled is what the page says can be."""
    page = PAGE.read_text()
    variables = set(re.findall(r"var\((--huntaze-[a-z-]+)", COMPONENT))
    assert variables == set(re.findall(r"`(--huntaze-[a-z-]+)`", page))
    parts = set(re.findall(r'part: "([a-z-]+)"', COMPONENT)) | {"toast-title", "item-title"}
    listed = page.partition("Parts, for")[2].partition(": ")[2].partition("\n")[0]
    assert parts == set(re.findall(r"`([a-z-]+)`", listed))
