"""Who may import whom, how long a module may be, who may read the environment."""

import ast
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent
HOSTS = ("local_app", "function_app")

LAYERS: Mapping[str, tuple[str, ...]] = {
    # Values, decisions and ports: no I/O, nothing of ours below them.
    "core": (
        "notifications",
        "notifications.values",
        "notifications.errors",
        "notifications.retries",
        "notifications.envelope",
        "notifications.events",
        "notifications.directory",
        "notifications.deliveries",
        "notifications.ids",
        "notifications.lanes",
        "notifications.pacing",
        "notifications.failing",
        "notifications.replays",
        "notifications.messages",
        "notifications.broker",
        "notifications.entities",
        "notifications.records",
        "notifications.ports",
        "notifications.dead_letters",
        "notifications.browsing",
        "notifications.tenants",
        "notifications.routing",
        "notifications.tracing",
        "notifications.spans",
        "notifications.text",
        "notifications.formats",
        "notifications.json_limits",
        "notifications.own_ids",
        "notifications.rates",
        "notifications.mailing",
        "notifications.addresses",
        "notifications.crashpoints",
    ),
    # A program's way to a hub. Nothing of the hub is in it but the errors.
    "client": ("notifications.client.*",),
    # What the adapters share: the clock, the file, the vault, the templates, the settings.
    "ground": (
        "notifications.timing",
        "notifications.stopping",
        "notifications.testing",
        "notifications.connections",
        "notifications.database",
        "notifications.statements",
        "notifications.sqlite",
        "notifications.sqlite_file",
        "notifications.postgres",
        "notifications.vault",
        "notifications.owner",
        "notifications.catalogue",
        "notifications.shipped",
        "notifications.template_files",
        "notifications.sandbox",
        "notifications.rendering",
        "notifications.setting_forms",
        "notifications.service_bus_address",
        "notifications.smtp_url",
        "notifications.azure_resource",
        "notifications.secret_files",
        "notifications.settings",
        "notifications.functions_settings",
        "notifications.telemetry.*",
    ),
    # What happens to events: talks to ports only.
    "application": (
        "notifications.intake",
        "notifications.attempts",
        "notifications.dispatcher",
        "notifications.worker",
        "notifications.draining",
        "notifications.drain_turns",
        "notifications.metrics",
        "notifications.sweep",
        "notifications.hub",
        "notifications.endpoints",
        "notifications.outage",
        "notifications.replaying",
        "notifications.tally",
    ),
    # One folder per port, one file per way to do it.
    "adapters": (
        "notifications.bus.*",
        "notifications.stores.*",
        "notifications.channels.*",
        "notifications.http.*",
        "notifications.door.*",
        "notifications.extensions",  # what others, such as the AI workers, are adapters to
    ),
    # The one visible list of adapters.
    "composition": (
        "notifications.bootstrap",
        "notifications.pipeline",
        "notifications.policies",
        "notifications.storage",
        "notifications.sweep_steps",
        "notifications.door_alone",
        "notifications.mails",
        "notifications.auditing",
        "notifications.api",
        "notifications.stores.migrations.*",  # Alembic's entry: knows every table there is
    ),
    # What people and platforms start.
    "hosts": ("notifications.cli.*", "notifications.functions", *HOSTS),
}
ORDER = tuple(LAYERS)

APPLICATION_MAY_ALSO = frozenset({"notifications.timing"})
"""Numbers that grow with time: pure, but for the clock it is given."""

LONGEST = 400

MOST_METHODS = 4


def modules() -> dict[str, Path]:
    """Every module of ours, by name."""
    paths = [*(ROOT / "notifications").rglob("*.py"), *(ROOT / "ai_workers").rglob("*.py")]
    found = {}
    for path in [*paths, *(ROOT / f"{host}.py" for host in HOSTS)]:
        parts = path.relative_to(ROOT).with_suffix("").parts
        found[".".join(parts).removesuffix(".__init__")] = path
    return found


MODULES = modules()
OF_THE_HUB = sorted(name for name in MODULES if not name.startswith("ai_workers"))


def tree(name: str) -> ast.Module:
    """A module's syntax tree."""
    return ast.parse(MODULES[name].read_text("utf-8"))


def imports(name: str) -> set[str]:
    """What a module imports of ours, anywhere in it."""
    found: set[str] = set()
    for node in ast.walk(tree(name)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{name} imports relatively"
            for alias in node.names:
                inner = f"{node.module}.{alias.name}"
                found.add(inner if inner in MODULES else str(node.module))
    return {each for each in found if each in MODULES or each.split(".")[0] == "ai_workers"}


def layer(name: str) -> str:
    """The layer a module belongs to: that of the longest pattern that fits."""
    fits = [
        (len(pattern), each)
        for each, patterns in LAYERS.items()
        for pattern in patterns
        if name == pattern or (pattern.endswith(".*") and f"{name}.".startswith(pattern[:-1]))
    ]
    assert fits, f"{name} belongs to no layer: decide which, and list it"
    return max(fits)[1]


def folder(name: str) -> str:
    """The adapter folder a module is in: `bus`, `stores`, `channels.email`, `http`."""
    parts = name.split(".")[1:]
    return ".".join(parts[:2] if parts[0] == "channels" else parts[:1])


def edges() -> Iterator[tuple[str, str]]:
    """Every import between modules of the hub."""
    for name in OF_THE_HUB:
        for imported in sorted(imports(name)):
            if not imported.startswith("ai_workers"):
                yield name, imported


def test_every_module_belongs_to_one_layer() -> None:
    """A new module is put into a layer on purpose."""
    assert {layer(name) for name in OF_THE_HUB} == set(ORDER)


def test_imports_point_downwards() -> None:
    """Core, client, ground, application, adapters, composition, hosts: never the other way."""
    upwards = [
        f"{name} ({layer(name)}) imports {imported} ({layer(imported)})"
        for name, imported in edges()
        if ORDER.index(layer(imported)) > ORDER.index(layer(name))
    ]
    assert upwards == []


def test_the_application_talks_to_ports_only() -> None:
    """What decides about events knows core and ports, no database, no templates, no settings."""
    others = [
        f"{name} imports {imported}"
        for name, imported in edges()
        if layer(name) == "application"
        and layer(imported) not in ("core", "application")
        and imported not in APPLICATION_MAY_ALSO
    ]
    assert others == []


def test_adapters_of_different_folders_do_not_know_each_other() -> None:
    """Bus, stores, each channel and the API meet in the composition root alone."""
    across = [
        f"{name} imports {imported}"
        for name, imported in edges()
        if layer(name) == layer(imported) == "adapters" and folder(name) != folder(imported)
    ]
    assert across == []


def test_only_commands_use_the_client() -> None:
    """The hub does not talk to itself over HTTP."""
    users = {layer(name) for name, imported in edges() if layer(imported) == "client"}
    assert users <= {"client", "hosts"}


def test_only_composition_and_hosts_import_the_composition_root() -> None:
    """Nobody else can reach the list of adapters."""
    importers = {layer(name) for name, imported in edges() if imported == "notifications.bootstrap"}
    assert importers <= {"composition", "hosts"}


def test_the_hub_does_not_know_the_ai_workers() -> None:
    """`notifications` never imports `ai_workers`; only the hosts put the two together."""
    knowing = [
        name
        for name in OF_THE_HUB
        if name not in HOSTS
        and any(imported.split(".")[0] == "ai_workers" for imported in imports(name))
    ]
    assert knowing == []


def test_the_ai_workers_know_no_adapter_of_the_hub() -> None:
    """The AI workers use what the hub is made of, never how it is put together."""
    reached = [
        f"{name} imports {imported}"
        for name in MODULES
        if name.startswith("ai_workers")
        for imported in imports(name)
        if imported.startswith("notifications") and layer(imported) in ("composition", "hosts")
    ]
    assert reached == []


def test_imports_go_in_no_circle() -> None:
    """A module can be understood from those below it: no two import each other, however far."""
    below = {name: imports(name) - {name} for name in MODULES}
    done: set[str] = set()

    def walk(name: str, path: tuple[str, ...]) -> None:
        assert name not in path, " → ".join((*path[path.index(name) :], name))
        if name not in done:
            for imported in below.get(name, ()):
                walk(imported, (*path, name))
            done.add(name)

    for name in below:
        walk(name, ())
    assert done >= set(MODULES)


@pytest.mark.parametrize("name", sorted(MODULES))
def test_a_module_is_short_enough_to_read(name: str) -> None:
    """No module is over 400 lines."""
    lines = len(MODULES[name].read_text("utf-8").splitlines())
    assert lines <= LONGEST


def test_only_settings_and_hosts_read_the_environment() -> None:
    """Everything else is given what it needs."""
    readers = {
        name
        for name in MODULES
        for node in ast.walk(tree(name))
        if (isinstance(node, ast.Attribute) and node.attr in {"environ", "environb", "getenv"})
        or (
            isinstance(node, ast.ImportFrom)
            and node.module == "os"
            and {alias.name for alias in node.names} & {"environ", "environb", "getenv"}
        )
    }
    assert readers <= {"notifications.settings", *HOSTS}


def test_logic_is_given_time_and_chance() -> None:
    """Core and application call no clock and no dice but those they are handed."""
    callers = [
        f"{name}: {ast.unparse(node)}"
        for name in OF_THE_HUB
        if layer(name) in ("core", "application")
        for node in ast.walk(tree(name))
        if isinstance(node, ast.Attribute)
        and isinstance(node.value, ast.Name)
        and (
            (node.value.id == "time" and node.attr in {"time", "monotonic", "perf_counter"})
            or (node.value.id == "datetime" and node.attr in {"now", "utcnow", "today"})
            or node.value.id in {"random", "secrets"}
        )
    ]
    assert callers == []


PORTS = (
    "notifications.ports",
    "notifications.dead_letters",
    "notifications.browsing",
    "notifications.tenants",
    "notifications.broker",
    "notifications.entities",
    "notifications.mailing",
    "notifications.tracing",
)


def ports() -> dict[str, list[str]]:
    """The public methods of each port."""
    return {
        node.name: [
            each.name
            for each in node.body
            if isinstance(each, ast.FunctionDef | ast.AsyncFunctionDef)
        ]
        for module in PORTS
        for node in tree(module).body
        if isinstance(node, ast.ClassDef)
        and any(isinstance(base, ast.Name) and base.id == "Protocol" for base in node.bases)
    }


def test_a_port_has_at_most_four_methods() -> None:
    """A port that asks for more is two ports."""
    found = ports()
    assert {"Bus", "DeadLetters", "Ledger", "Clock", "ChannelAdapter"} <= set(found)
    assert {name: methods for name, methods in found.items() if len(methods) > MOST_METHODS} == {}


def test_every_method_of_a_port_says_what_it_promises() -> None:
    """The docstring is the contract: none is without."""
    silent = [
        f"{node.name}.{each.name}"
        for module in PORTS
        for node in tree(module).body
        if isinstance(node, ast.ClassDef) and node.name in ports()
        for each in node.body
        if isinstance(each, ast.FunctionDef | ast.AsyncFunctionDef) and not ast.get_docstring(each)
    ]
    assert silent == []
