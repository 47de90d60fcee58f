"""What a Bicep file comes to is refused where Azure, or the compiler, would refuse the file."""

from pathlib import Path

import pytest

from tests.bicep_expressions import Refused
from tests.bicep_values import deployed

GOOD = """
param size int = 3
param names array = []
var twice = 2
resource one 'Microsoft.Storage/storageAccounts@2023-05-01' = {
  name: 'one'
}
output size int = size
output names array = names
"""


def written(folder: Path, text: str) -> Path:
    """A file with this text."""
    path = folder / "it.bicep"
    path.write_text(text)
    return path


def test_a_file_that_is_right_is_taken(tmp_path: Path):
    """A parameter and an output may share a name."""
    made = deployed(written(tmp_path, GOOD), size=4)
    assert made.outputs == {"size": 4, "names": []}


@pytest.mark.parametrize(
    ("kind", "right", "wrong"),
    [
        ("string", "'a'", "1"),
        ("int", "1", "true"),
        ("int", "1", "'1'"),
        ("bool", "true", "'true'"),
        ("bool", "true", "1"),
        ("object", "{}", "[]"),
        ("array", "[]", "'a'"),
        ("string", "'a'", "null"),
    ],
)
def test_a_value_is_of_its_declared_type(tmp_path: Path, kind: str, right: str, wrong: str):
    """A parameter's default and an output's value."""
    text = "param a {kind} = {a}\noutput b {kind} = {b}\n"
    deployed(written(tmp_path, text.format(kind=kind, a=right, b=right)))
    for name, a, b in (("a", wrong, right), ("b", right, wrong)):
        (folder := tmp_path / name).mkdir()
        with pytest.raises(Refused, match=f"^{name}: is declared {kind}, and not "):
            deployed(written(folder, text.format(kind=kind, a=a, b=b)))


@pytest.mark.parametrize("value", [True, "4", 4.5, None])
def test_a_given_value_is_of_its_declared_type(tmp_path: Path, value: object):
    """As a parameter file has it."""
    with pytest.raises(Refused, match=r"^size: is declared int, and not "):
        deployed(written(tmp_path, GOOD), size=value)


@pytest.mark.parametrize(
    ("name", "again"),
    [
        ("size", "param size int = 4"),
        ("size", "var size = 4"),
        ("twice", "var twice = 3"),
        ("twice", "param twice int = 3"),
        ("one", "resource one 'Microsoft.KeyVault/vaults@2023-07-01' = {\n  name: 'b'\n}"),
        ("one", "var one = 1"),
        ("names", "output names array = names"),
    ],
)
def test_nothing_is_declared_twice(tmp_path: Path, name: str, again: str):
    """Of one name and any kind; outputs have names of their own."""
    with pytest.raises(Refused, match=f"^it.bicep declares {name} twice$"):
        deployed(written(tmp_path, f"{GOOD}{again}\n"))
