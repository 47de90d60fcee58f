"""Making a door what its configuration says."""

from collections.abc import Sequence

from notifications.broker import NamedRule
from notifications.door.config_file import Configured
from notifications.entities import Changes, Entity, Shown, TopicEntity
from notifications.errors import FieldError, InvalidInput


async def apply(wanted: Sequence[Configured], shown: Shown, changes: Changes) -> None:
    """Make it so: add what is missing, change what differs, leave alone what the file has not.

    Raises:
        InvalidInput: A rule is none; says where in the file it stands.
        HuntazeError: See `entities.Changes`.
    """
    topics = {each.entity.path: each.entity for each in shown.topics()}
    for each in wanted:
        try:
            await _apply(each, topics, shown, changes)
        except InvalidInput as error:
            raise InvalidInput(
                [FieldError(f"{each.place}{one.pointer}", one.detail) for one in error.errors]
            ) from error


async def _apply(
    each: Configured, topics: dict[str, TopicEntity], shown: Shown, changes: Changes
) -> None:
    entity = each.entity
    if isinstance(entity, TopicEntity):
        known: Entity | None = topics.get(entity.path)
    else:
        mine = shown.subscriptions(entity.topic)
        known = next((one.entity for one in mine if one.entity.path == entity.path), None)
    if known is None:
        await changes.create(entity, each.rules)
        return
    if known != entity:
        await changes.update(entity)
    if each.rules is not None:
        await _apply_rules(entity.path, each.rules, shown, changes)


async def _apply_rules(
    path: str, wanted: Sequence[NamedRule], shown: Shown, changes: Changes
) -> None:
    rules = shown.rules(path)
    known = {rule.name.casefold(): rule for rule in await rules.all()}
    for rule in wanted:
        before = known.pop(rule.name.casefold(), None)
        if before is None:
            await rules.add(rule)
        elif before != rule:
            await changes.replace(path, rule)
    for name in known:
        await rules.remove(name)
