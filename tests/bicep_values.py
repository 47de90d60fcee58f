"""What a Bicep file makes of its parameters: every resource with its values, as Azure would see it.

A property of a running resource that is not in `RUNNING` is an error, and not a value.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import tree_sitter

from tests.bicep_expressions import GROUP, Expressions, Reference, Refused
from tests.bicep_files import INFRA, key_of, plain_string, text_of, tree

IDENTITY = "the hub's identity"
CLIENT_ID = "22222222-2222-2222-2222-222222222222"

TYPES: Mapping[str, type] = {"string": str, "int": int, "bool": bool, "object": dict, "array": list}
"""Bicep's types, and what their values are here."""

RUNNING: Mapping[tuple[str, str], str] = {
    # type and property: what it is once the resource of that name is there
    ("userAssignedIdentities", "properties.principalId"): IDENTITY,
    ("userAssignedIdentities", "properties.clientId"): CLIENT_ID,
    ("storageAccounts", "properties.primaryEndpoints.blob"): "https://{}.blob.core.windows.net/",
    ("vaults", "properties.vaultUri"): "https://{}.vault.azure.net/",
    ("communicationServices", "properties.hostName"): "{}.communication.azure.com",
    ("domains", "properties.fromSenderDomain"): "{}.azurecomm.net",
    ("components", "properties.ConnectionString"): (
        "InstrumentationKey=12345678-1234-1234-1234-123456789abc;"
        "IngestionEndpoint=https://{}.in.applicationinsights.azure.com/"
    ),
    ("flexibleServers", "properties.fullyQualifiedDomainName"): "{}.postgres.database.azure.com",
    ("flexibleServers", "location"): "where {} is",
    ("sites", "properties.defaultHostName"): "{}.azurewebsites.net",
    ("slots", "properties.defaultHostName"): "{}.azurewebsites.net",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Made:
    """A resource of a deployment.

    Attributes:
        file: The file that declares it.
        symbol: Its name there.
        type: With the provider, without the version.
        version: Of the API.
        name: With its parents' names, slashes between.
        scope: The id of the resource that it is of, where it is an extension of one.
        after: What is said to be there before, by the names in the file.
        body: What it is made with, `name`, `parent`, `scope` and `dependsOn` left out.
    """

    file: str
    symbol: str
    type: str
    version: str
    name: str
    scope: str | None
    after: tuple[str, ...]
    body: dict[str, Any]


@dataclass(slots=True)
class Deployment:
    """Everything that is made, modules' resources among it, and what there is to know of it.

    Attributes:
        resources: In no order.
        outputs: What the file says at the end.
        parameters: What it was given, or has as a default.
        modules: Those that are deployed, by their names in the file.
    """

    resources: list[Made] = field(default_factory=list)
    outputs: dict[str, Any] = field(default_factory=dict)
    parameters: dict[str, Any] = field(default_factory=dict)
    modules: list[str] = field(default_factory=list)

    def all(self, kind: str, symbol: str | None = None) -> list[Made]:
        """Those of a type, or those of them with a name in their file."""
        return [
            each for each in self.resources if each.type == kind and symbol in (None, each.symbol)
        ]

    def one(self, kind: str, symbol: str | None = None) -> Made:
        """The only one."""
        found = self.all(kind, symbol)
        assert len(found) == 1, (kind, symbol, [each.name for each in found])
        return found[0]


def deployed(path: Path = INFRA / "main.bicep", /, **given: Any) -> Deployment:
    """What a file makes of these parameters.

    Raises:
        Refused: A parameter is not there, is missing, or is not allowed; a value is not of its
            declared type; or something is declared twice.
    """
    made = Deployment()
    scope = _Scope(path, given, made)
    scope.run()
    made.outputs = scope.outputs()
    return made


@dataclass(frozen=True, slots=True)
class _Reference(Reference):
    """See `Reference`."""

    scope: "_Scope"
    symbol: str
    local: tuple[tuple[str, Any], ...] = ()

    @property
    def type(self) -> str:
        """With the provider, without the version."""
        return self.scope.type_of(self.symbol)[0]

    @property
    def name(self) -> str:
        """With its parents' names, slashes between."""
        body = self.scope.body_of(self.symbol)
        local = dict(self.local)
        name = str(self.scope.value_at(body["name"], local))
        above = self.scope.value_at(body["parent"], local) if "parent" in body else None
        return f"{above.name}/{name}" if isinstance(above, _Reference) else name

    @property
    def id(self) -> str:
        """As Azure has it."""
        provider, *kinds = self.type.split("/")
        names = self.name.split("/")
        pairs = "/".join(f"{kind}/{name}" for kind, name in zip(kinds, names, strict=True))
        return f"{GROUP}/providers/{provider}/{pairs}"

    def at(self, path: str) -> Any:
        """A property of it: what is known before it runs, or what is said of it in `RUNNING`."""
        if path in ("id", "name"):
            return getattr(self, path) if path == "id" else self.name.rpartition("/")[2]
        known = RUNNING.get((self.type.rpartition("/")[2], path))
        if known is None:
            raise Refused(f"{self.symbol}.{path}: RUNNING knows no such property of {self.type}")
        return known.format(self.name.replace("/", "-"))

    def element(self, place: int) -> "_Reference":
        """See `Reference.element`."""
        local = list(self.scope.times(self.symbol))[place]
        return _Reference(self.scope, self.symbol, tuple(local.items()))


class _Scope(Expressions):
    """One file with its parameters."""

    def __init__(self, path: Path, given: Mapping[str, Any], made: Deployment) -> None:
        super().__init__(path)
        self._given, self._made = dict(given), made
        self._nodes: dict[str, tree_sitter.Node] = {}
        self._modules: dict[str, dict[str, Any]] = {}
        self._limits: dict[str, tree_sitter.Node] = {}
        above = None
        outputs = set[str]()
        for node in tree(path).named_children:
            if node.type.endswith("_declaration"):
                name = text_of(node.named_children[0])
                output = node.type == "output_declaration"
                if name in (outputs if output else self._nodes):
                    raise Refused(f"{path.name} declares {name} twice")
                if output:
                    outputs.add(name)
                else:
                    self._nodes[name] = node
                    if above is not None:
                        self._limits[name] = above
            if node.type != "comment":
                above = node if node.type == "decorators" else None

    def run(self) -> None:
        """Check the parameters and make everything."""
        unknown = set(self._given) - set(self._of("parameter_declaration"))
        if unknown:
            raise Refused(f"{self.path.name} has no parameter {', '.join(sorted(unknown))}")
        for name in self._of("parameter_declaration"):
            self._made.parameters[name] = self.named(name)
            self._check(name, self._made.parameters[name])
        for name in self._of("module_declaration"):
            self._module(name)
        for name in self._of("resource_declaration"):
            self._make(name)

    def _of(self, kind: str) -> list[str]:
        return [name for name, node in self._nodes.items() if node.type == kind]

    # ---------------------------------------------------------------- declarations

    def _check(self, name: str, value: Any) -> None:
        _check_type(name, text_of(self._nodes[name].named_children[1]), value)
        for call in self._limits[name].named_children if name in self._limits else ():
            word = text_of(call).partition("(")[0].lstrip("@")
            if word in ("secure", "description"):
                continue
            limit = self.value_at(_first(call, "arguments").named_children[0], {})
            right = {
                "minLength": lambda limit: len(value) >= limit,
                "maxLength": lambda limit: len(value) <= limit,
                "minValue": lambda limit: value >= limit,
                "maxValue": lambda limit: value <= limit,
                "allowed": lambda limit: value in limit,
            }[word](limit)
            if not right:
                raise Refused(f"{name}: {word} is {limit}, not {value!r}")

    def named(self, name: str) -> Any:
        """See `Expressions.named`.

        Raises:
            Refused: The file declares nothing of that name.
        """
        if name not in self._nodes:
            raise Refused(f"{self.path.name} declares no {name}")
        node = self._nodes[name]
        match node.type:
            case "parameter_declaration":
                if name in self._given:
                    return self._given[name]
                if len(node.named_children) < 3:
                    raise Refused(f"{self.path.name} is not given {name}")
                return self.value_at(node.named_children[2], {})
            case "variable_declaration":
                return self.value_at(node.named_children[1], {})
            case "resource_declaration":
                return _Reference(self, name)
            case _:
                return {"outputs": self._module(name)}

    def type_of(self, symbol: str) -> tuple[str, str]:
        """Type and version of a resource."""
        kind, _, version = plain_string(self._nodes[symbol].named_children[1]).partition("@")
        return kind, version

    def body_of(self, symbol: str) -> dict[str, tree_sitter.Node]:
        """The nodes of a declaration's own properties."""
        found = _first(self._nodes[symbol], "object")
        pairs = [each for each in found.named_children if each.type == "object_property"]
        return {key_of(each.named_children[0]): each.named_children[-1] for each in pairs}

    def times(self, symbol: str) -> Iterator[dict[str, Any]]:
        """The loop's variables for each time that a declaration holds."""
        node = self._nodes[symbol].named_children[-1]
        rounds: list[dict[str, Any]] = [{}]
        if node.type == "for_statement":
            loop, over, node = node.named_children[:3]
            rounds = list(self.rounds(loop, over, {}))
        for local in rounds:
            if node.type != "if_statement" or self.value_at(node.named_children[0], local):
                yield local

    def _make(self, symbol: str) -> None:
        if "existing" in [each.type for each in self._nodes[symbol].children]:
            return
        kind, version = self.type_of(symbol)
        for local in self.times(symbol):
            body = self.body_of(symbol)
            scope = self.value_at(body["scope"], local) if "scope" in body else None
            left_out = ("name", "parent", "scope", "dependsOn")
            made = Made(
                file=self.path.name,
                symbol=symbol,
                type=kind,
                version=version,
                name=_Reference(self, symbol, tuple(local.items())).name,
                after=tuple(
                    map(text_of, body["dependsOn"].named_children if "dependsOn" in body else ())
                ),
                scope=scope.id if isinstance(scope, _Reference) else scope,
                body={k: self.value_at(v, local) for k, v in body.items() if k not in left_out},
            )
            self._made.resources.append(made)

    def _module(self, symbol: str) -> dict[str, Any]:
        """Deploy a module, once; its outputs.

        Raises:
            LookupError: Somebody asks for the outputs of one that is not deployed.
        """
        if symbol not in self._modules:
            for local in self.times(symbol):
                path = self.path.parent / plain_string(self._nodes[symbol].named_children[1])
                given = self.value_at(self.body_of(symbol)["params"], local)
                inner = Deployment()
                scope = _Scope(path, given, inner)
                scope.run()
                self._made.resources += inner.resources
                self._made.modules.append(symbol)
                self._modules[symbol] = scope.outputs()
        return self._modules.get(symbol, {})

    def outputs(self) -> dict[str, Any]:
        """What the file says of what it made."""
        found: dict[str, Any] = {}
        for node in tree(self.path).named_children:
            if node.type == "output_declaration":
                name, kind, *_, value = node.named_children
                found[text_of(name)] = self.value_at(value, {})
                _check_type(text_of(name), text_of(kind), found[text_of(name)])
        return found


def _check_type(name: str, kind: str, value: Any) -> None:
    """Raises `Refused` where a value is not of its declared type; a type is one of `TYPES`."""
    if type(value) is not TYPES[kind]:  # a bool is no int, as for Azure
        raise Refused(f"{name}: is declared {kind}, and not {value!r}")


def _first(node: tree_sitter.Node, kind: str) -> tree_sitter.Node:
    """The first node of a kind in another, in the order of the text; the outermost."""
    found = _find(node, kind)
    assert found is not None, (kind, text_of(node))
    return found


def _find(node: tree_sitter.Node, kind: str) -> tree_sitter.Node | None:
    for each in node.named_children:
        if each.type == kind:
            return each
        inner = _find(each, kind)
        if inner is not None:
            return inner
    return None
