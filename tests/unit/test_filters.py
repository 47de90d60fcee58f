"""Filters mean what Service Bus documents, whatever is asked of them."""

import string
import timeit
from enum import StrEnum

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from notifications.bus.filters import (
    MAX_CHARACTERS,
    MAX_DEPTH,
    CorrelationFilter,
    FalseFilter,
    Filter,
    FilterError,
    FilterSyntaxError,
    MessageView,
    SqlFilter,
    TrueFilter,
)
from notifications.errors import HuntazeError
from tests.unit.filter_cases import CASES, ERRORS, MESSAGE, SYNTAX_ERRORS, Case


def view(**properties) -> MessageView:
    return MessageView(properties=properties)


def truth(expression: str, message: MessageView = MESSAGE) -> bool | str | None:
    """What a filter says, `error` where it cannot."""
    try:
        return SqlFilter(expression).evaluate(message)
    except FilterError:
        return "error"


# --------------------------------------------------------------------------- the table


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.rule)
def test_each_row_of_the_table_has_its_truth(case: Case):
    """A filter is true, false or unknown as the rule of its row says."""
    assert SqlFilter(case.expression).evaluate(MESSAGE) is case.expected


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.rule)
def test_only_true_matches(case: Case):
    """A subscription takes a message when its filter is true, not when it is unknown."""
    assert SqlFilter(case.expression).matches(MESSAGE) is (case.expected is True)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.rule)
def test_not_turns_each_row_of_the_table_round(case: Case):
    """NOT in front of any filter in parentheses gives the contrary, and unknown for unknown."""
    expected = None if case.expected is None else not case.expected
    assert SqlFilter(f"NOT ({case.expression})").evaluate(MESSAGE) is expected


def test_the_table_has_no_row_twice():
    """The table has at least 150 rows and each names its own rule and its own filter."""
    assert len(CASES) >= 150
    assert len({case.expression for case in CASES}) == len(CASES)
    assert len({case.rule for case in CASES}) == len(CASES)


@pytest.mark.parametrize(("rule", "expression"), ERRORS, ids=[rule for rule, _ in ERRORS])
def test_what_cannot_be_evaluated_is_an_error(rule: str, expression: str):
    """A filter that asks for what is not there fails for the message instead of guessing."""
    with pytest.raises(FilterError):
        SqlFilter(expression).matches(MESSAGE)


def test_an_evaluation_error_tells_no_values():
    """What a message holds does not appear in the error that its evaluation raises."""
    with pytest.raises(FilterError) as caught:
        SqlFilter("secret < 1").matches(view(secret="whsec_sample"))
    assert "whsec_sample" not in str(caught.value)
    assert "string" in str(caught.value)


@pytest.mark.parametrize(
    ("expression", "kinds"),
    [
        ("yes > no", "boolean and boolean"),
        ("text < 2.5", "string and number"),
        ("sys.TimeToLive * 2 = 1", "timedelta and number"),
    ],
)
def test_an_evaluation_error_names_the_kinds(expression: str, kinds: str):
    """An operator that does not exist for two values is refused with their kinds."""
    with pytest.raises(FilterError, match=kinds):
        SqlFilter(expression).matches(MESSAGE)


def test_the_error_for_a_subject_names_the_label():
    """Who asks for sys.Subject is told that Service Bus calls it sys.Label."""
    with pytest.raises(FilterError, match=r"sys\.Label"):
        SqlFilter("sys.Subject = 'a'").matches(MESSAGE)


# --------------------------------------------------------------------------- syntax


@pytest.mark.parametrize(("expression", "position", "expected"), SYNTAX_ERRORS)
def test_a_syntax_error_says_where_and_what(expression: str, position: int, expected: str):
    """What is no filter is refused with the place and with what would have been right there."""
    with pytest.raises(FilterSyntaxError) as caught:
        SqlFilter(expression)
    assert caught.value.position == position
    assert expected in caught.value.expected
    assert str(position) in str(caught.value)
    assert caught.value.expected in str(caught.value)


def test_errors_are_the_hub_s_own():
    """Both errors of filters belong to the hub's error tree."""
    assert issubclass(FilterSyntaxError, HuntazeError)
    assert issubclass(FilterError, HuntazeError)


def test_an_expression_may_have_1024_characters():
    """The longest expression that Service Bus takes is taken, one character more is not."""
    longest = "a = 1".ljust(1024)
    assert SqlFilter(longest).matches(view(a=1))
    with pytest.raises(FilterSyntaxError) as caught:
        SqlFilter(longest + " ")
    assert caught.value.position == MAX_CHARACTERS == 1024


@pytest.mark.parametrize(
    ("before", "inside", "after"),
    [("(", "1", ")"), ("p(", "'text'", ")"), ("-(", "1", ")"), ("NOT (", "1=1", ")")],
)
def test_nesting_is_bounded(before: str, inside: str, after: str):
    """Text nested deeper than the bound is refused as such, however it nests."""
    depth = (MAX_CHARACTERS - len(inside)) // len(before + after) - 4
    with pytest.raises(FilterSyntaxError, match="inside one another"):
        SqlFilter(before * depth + inside + after * depth + " = 1")


def test_nesting_within_the_bound_is_taken():
    """A filter may nest up to the bound; the refusal beyond it says the number."""
    assert SqlFilter("(" * MAX_DEPTH + "1=1" + ")" * MAX_DEPTH).matches(MESSAGE)
    with pytest.raises(FilterSyntaxError, match=str(MAX_DEPTH)) as caught:
        SqlFilter("(" * (MAX_DEPTH + 1) + "1=1" + ")" * (MAX_DEPTH + 1))
    assert caught.value.position == MAX_DEPTH


def test_parentheses_beside_one_another_are_no_nesting():
    """Any number of closed parentheses leaves the bound on nesting as it is."""
    beside = "(1=1) AND " * 40
    assert SqlFilter(beside + "(" * MAX_DEPTH + "1=1" + ")" * MAX_DEPTH).matches(MESSAGE)
    with pytest.raises(FilterSyntaxError, match="inside one another"):
        SqlFilter(beside + "(" * (MAX_DEPTH + 1) + "1=1" + ")" * (MAX_DEPTH + 1))


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("NOT " * 255 + "1=0", True),
        ("0=1" + "+1" * 510, False),
        ("-" * 1001 + "1 = -1", True),
        (" OR ".join(["1=0"] * 145) + " OR 1=1", True),
        (" AND ".join(["1=1"] * 127), True),
        ("1 IN (" + "0," * 500 + "1)", True),
    ],
    ids=["NOT", "+", "-", "OR", "AND", "IN"],
)
def test_long_chains_are_no_nesting(expression: str, expected: bool):
    """A chain as long as an expression can be is evaluated, for it nests nothing."""
    assert SqlFilter(expression).evaluate(MESSAGE) is expected


# --------------------------------------------------------------------------- any text, any message

FRAGMENTS = (
    "a", "b", "[c d]", '"e"', "sys.Label", "user.a", "sys.Nope", "'x'", "''", "'a%'", "1", "2.5",
    "1E3", "9223372036854775807", "TRUE", "FALSE", "NULL", "=", "<>", "!=", "<", "<=", ">", ">=",
    "+", "-", "*", "/", "%", "(", ")", ",", ".", "AND", "OR", "NOT", "IN", "LIKE", "ESCAPE", "IS",
    "EXISTS", "newid()", "p(", "property(", "'", "[", "]", '"', "@", " ",
)  # fmt: skip

texts = st.one_of(
    st.text(max_size=60),
    st.text(alphabet=string.printable, max_size=60),
    st.lists(st.sampled_from(FRAGMENTS), max_size=30).map(" ".join),
    st.lists(st.sampled_from(FRAGMENTS), max_size=30).map("".join),
)
property_values = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(max_size=8),
    st.sampled_from(["x", "a%", "%", "\\", 0, 1, -1, 2**63 - 1, -(2**63), 10**400, 0.0]),
)
messages = st.builds(
    MessageView,
    properties=st.dictionaries(st.sampled_from(["a", "B", "c d", "e", "x"]), property_values),
    system=st.dictionaries(st.sampled_from(["Label", "messageid"]), property_values),
)

names = st.sampled_from(["a", "b", "[c d]", '"e"', "missing", "sys.Label", "sys.To"])
atoms = st.one_of(
    names,
    st.sampled_from(["1", "0", "2.5", "'x'", "'a%'", "''", "TRUE", "NULL", "newid()", "p('a')"]),
)
sums = st.recursive(
    atoms,
    lambda inner: st.one_of(
        st.builds("({} {} {})".format, inner, st.sampled_from("+-*/%"), inner),
        st.builds("(-{})".format, inner),
        st.builds("p({})".format, inner),
    ),
    max_leaves=4,
)
patterns = sums.filter(lambda text: text not in ("1", "0", "2.5", "TRUE"))  # refused when read
tests = st.one_of(
    st.builds("{} {} {}".format, sums, st.sampled_from(["=", "<>", "<", "<=", ">", ">="]), sums),
    st.builds("{} {} ({}, {})".format, sums, st.sampled_from(["IN", "NOT IN"]), sums, sums),
    st.builds("{} {} {}".format, sums, st.sampled_from(["LIKE", "NOT LIKE"]), patterns),
    st.builds("{} {}".format, names, st.sampled_from(["IS NULL", "IS NOT NULL"])),
    st.builds("EXISTS ({})".format, names),
)
conditions = st.recursive(
    tests,
    lambda inner: st.one_of(
        st.builds("({} {} {})".format, inner, st.sampled_from(["AND", "OR"]), inner),
        st.builds("(NOT {})".format, inner),
    ),
    max_leaves=4,
).filter(lambda text: len(text) < 300)


@given(texts)
@example("(" * 1024)
@example("NOT " * 256)
@example("p(" * 400)
@example("a\x00= 1")
@example("\ud800 = 1")
@example("'" * 1024)
def test_any_text_is_a_filter_or_a_syntax_error(text: str):
    """Whatever is given as a filter is read, or refused at a place within it."""
    refused = None
    try:
        SqlFilter(text)
    except FilterSyntaxError as error:
        refused = error
    assert refused is None or (refused.expected and 0 <= refused.position <= len(text))


@given(conditions, messages)
@example("a LIKE b", view(a="x" * 100, b="%" * 2000))
@example("a = 2.5", view(a=10**400))
def test_every_filter_has_a_truth_or_a_filter_error(expression: str, message: MessageView):
    """A filter that was read is true, false, unknown or a filter error for any message."""
    assert truth(expression, message) in (True, False, None, "error")


@given(conditions, messages)
def test_double_negation(expression: str, message: MessageView):
    """NOT NOT changes nothing, unknown included."""
    assert truth(f"NOT (NOT ({expression}))", message) == truth(expression, message)


@given(conditions, conditions, messages)
def test_de_morgan(left: str, right: str, message: MessageView):
    """NOT over AND is OR over NOTs and the reverse, unknown included."""
    assert truth(f"NOT (({left}) AND ({right}))", message) == truth(
        f"NOT ({left}) OR NOT ({right})", message
    )
    assert truth(f"NOT (({left}) OR ({right}))", message) == truth(
        f"NOT ({left}) AND NOT ({right})", message
    )


truths = st.sampled_from([("1=1", True), ("1=0", False), ("missing=1", None)])


def _and(values: list[bool | None]) -> bool | None:
    return False if False in values else None if None in values else True


def _or(values: list[bool | None]) -> bool | None:
    return True if True in values else None if None in values else False


@given(st.lists(st.lists(st.tuples(truths, st.booleans()), min_size=1, max_size=6), min_size=1))
def test_and_or_and_not_obey_the_three_valued_tables(groups: list) -> None:
    """However many conditions are joined, FALSE decides AND, TRUE decides OR, NOT turns round what
    is known, AND binds tighter than OR, and what nothing decides is unknown."""
    groups = groups[:6]
    written = " OR ".join(
        " AND ".join(f"NOT {text}" if negated else text for (text, _), negated in group)
        for group in groups
    )
    found = [
        _and(
            [value if value is None or not negated else not value for (_, value), negated in group]
        )
        for group in groups
    ]
    assert SqlFilter(written).evaluate(MESSAGE) is _or(found)


@given(sums, patterns, messages)
def test_each_operator_has_its_contrary(left: str, right: str, message: MessageView):
    """<>, NOT IN and NOT LIKE say the contrary of =, IN and LIKE, unknown included."""
    for plain, contrary in (
        (f"{left} = {right}", f"{left} <> {right}"),
        (f"{left} IN ({right})", f"{left} NOT IN ({right})"),
        (f"{left} LIKE {right}", f"{left} NOT LIKE {right}"),
    ):
        assert truth(f"NOT {plain}", message) == truth(contrary, message)


@given(st.text(max_size=20), st.text(max_size=20))
def test_string_constants_hold_any_text(constant: str, value: str):
    """A string constant with its quotes doubled equals the text it was made from, and no other."""
    expression = "a = '" + constant.replace("'", "''") + "'"
    assert SqlFilter(expression).matches(view(a=constant))
    assert SqlFilter(expression).matches(view(a=value)) is (constant == value)


@given(st.text(min_size=1, max_size=20))
def test_delimited_names_hold_any_text(name: str):
    """A name in brackets with its closing brackets doubled finds the property of that name."""
    expression = "[" + name.replace("]", "]]") + "] = 1"
    assert SqlFilter(expression).matches(MessageView(properties={name: 1}))


@given(st.text(alphabet="ab%_", max_size=8), st.text(alphabet="ab", max_size=12))
def test_like_agrees_with_its_definition(pattern: str, text: str):
    """LIKE finds what the plain definition of % and _ finds, tried out piece by piece."""

    def like(pattern: str, text: str) -> bool:
        if not pattern:
            return not text
        if pattern[0] == "%":
            return any(like(pattern[1:], text[cut:]) for cut in range(len(text) + 1))
        return bool(text) and pattern[0] in ("_", text[0]) and like(pattern[1:], text[1:])

    assert SqlFilter(f"a LIKE '{pattern}'").matches(view(a=text)) is like(pattern, text)


@given(
    st.lists(st.sampled_from(["a", "b", "%", "_", "!", "!%", "!_", "!!", "!a"]), max_size=8),
    st.text(alphabet="ab%_!", max_size=12),
    st.sampled_from("!a%_\\"),
)
@example(["%", "!"], "!", "!")
def test_like_with_escape_agrees_with_its_definition(
    pieces: list[str], text: str, escape: str
) -> None:
    """Behind the escape character each character is itself, whichever character that is; a pattern
    that ends with it is refused."""
    pattern = "".join(pieces)

    def wanted(pattern: str, text: str) -> bool:
        if not pattern:
            return not text
        head, rest = pattern[0], pattern[1:]
        if head == escape:
            return bool(text) and text[0] == rest[0] and wanted(rest[1:], text[1:])
        if head == "%":
            return any(wanted(rest, text[cut:]) for cut in range(len(text) + 1))
        return bool(text) and head in ("_", text[0]) and wanted(rest, text[1:])

    expression = f"a LIKE '{pattern}' ESCAPE '{escape}'"
    place = 0
    while place < len(pattern):
        place += 2 if pattern[place] == escape else 1
    if place > len(pattern):
        with pytest.raises(FilterSyntaxError):
            SqlFilter(expression)
        return
    assert SqlFilter(expression).matches(view(a=text)) is wanted(pattern, text)


int64 = st.integers(-(2**63), 2**63 - 1)


@given(int64, int64.filter(bool))
@example(-7, 2)
@example(7, -2)
def test_quotient_and_remainder_belong_together(dividend: int, divisor: int):
    """Of integers, (a / b) * b + a % b is a, and the remainder has the sign of a."""
    message = view(a=dividend, b=divisor)
    if (dividend, divisor) == (-(2**63), -1):
        assert truth("a / b = 1", message) == "error"
        return
    assert SqlFilter("(a / b) * b + a % b = a").matches(message)
    assert SqlFilter("a % b = 0 OR (a < 0 AND a % b < 0) OR (a > 0 AND a % b > 0)").matches(message)


# --------------------------------------------------------------------------- time


def seconds(found: Filter, message: MessageView, times: int) -> float:
    """The best of several runs, which is the one least disturbed by others on the machine."""
    return min(timeit.repeat(lambda: found.matches(message), number=times, repeat=7)) / times


def test_a_rule_of_the_hub_costs_at_most_a_microsecond():
    """A rule about a property that the message lacks is evaluated within a microsecond."""
    rule = SqlFilter("hubConsumer IS NULL OR hubConsumer = 'realtime'")
    message = view(type="job.succeeded", tenantId="t", userId="u", jobType="chat.suggest")
    assert rule.matches(message)
    assert seconds(rule, message, 20_000) < 1e-6


@pytest.mark.parametrize("pattern", ["%a" * 500 + "%b", "%" + "_" * 900 + "b", "%a_" * 300 + "%b"])
def test_no_pattern_takes_long(pattern: str):
    """A pattern made to go wrong late is through a property of 32,000 characters in a second."""
    found = SqlFilter("a LIKE pattern")
    message = view(a="a" * 32_000, pattern=pattern)
    assert not found.matches(message)
    assert timeit.timeit(lambda: found.matches(message), number=1) < 1


def test_a_pattern_that_a_message_brings_along_is_bounded():
    """A pattern longer than a filter may be is an evaluation error."""
    message = view(a="a", pattern="%" * 1025)
    assert truth("a LIKE pattern", message) == "error"
    assert SqlFilter("a LIKE pattern").matches(view(a="a", pattern="%" * 1024))


# --------------------------------------------------------------------------- the other filters


def test_true_and_false_filters():
    """TrueFilter takes every message and FalseFilter none."""
    assert TrueFilter().matches(MESSAGE) is True
    assert FalseFilter().matches(MESSAGE) is False


SENT = MessageView(
    properties={"Version": 2, "text": "2", "yes": True, "null": None},
    system={
        "MessageId": "m",
        "CorrelationId": "c",
        "To": "t",
        "ReplyTo": "r",
        "Label": "l",
        "SessionId": "s",
        "ReplyToSessionId": "rs",
        "ContentType": "ct",
    },
)
ALL_SET = {
    "message_id": "m",
    "correlation_id": "c",
    "to": "t",
    "reply_to": "r",
    "label": "l",
    "session_id": "s",
    "reply_to_session_id": "rs",
    "content_type": "ct",
}


def test_a_correlation_filter_takes_what_is_all_equal():
    """A correlation filter takes a message in which everything it sets is equal."""
    assert CorrelationFilter(**ALL_SET, properties={"version": 2, "yes": True}).matches(SENT)


@pytest.mark.parametrize("name", ALL_SET)
def test_a_correlation_filter_refuses_one_difference(name: str):
    """One system property that differs, be it only in case, is enough for a refusal."""
    assert CorrelationFilter(**{name: ALL_SET[name]}).matches(SENT)
    assert not CorrelationFilter(**(ALL_SET | {name: ALL_SET[name].upper()})).matches(SENT)


@pytest.mark.parametrize(
    ("properties", "taken"),
    [
        ({"VERSION": 2}, True),
        ({"version": 2, "text": "2"}, True),
        ({"version": 3}, False),
        ({"version": "2"}, False),
        ({"text": 2}, False),
        ({"yes": 1}, False),
        ({"version": 2, "missing": "x"}, False),
        ({"null": ""}, False),
        ({}, True),
    ],
)
def test_a_correlation_filter_compares_properties(properties: dict, taken: bool):
    """Properties must be there with the same value of the same kind, whatever the case of names."""
    assert CorrelationFilter(properties=properties).matches(SENT) is taken


def test_a_correlation_filter_wants_what_is_not_set():
    """A message that has not set a system property does not equal any value for it."""
    assert not CorrelationFilter(label="l").matches(view())


# --------------------------------------------------------------------------- views


def test_system_properties_are_found_whatever_their_case():
    """A view built with names in another case answers the same."""
    message = MessageView(properties={}, system={"messageid": "m", "LABEL": "l"})
    assert SqlFilter("sys.MessageId = 'm' AND sys.label = 'l'").matches(message)


def test_a_view_may_bring_further_system_properties():
    """A system property that the view brings along exists, listed or not."""
    message = MessageView(properties={}, system={"Broker": "b"})
    assert SqlFilter("sys.broker = 'b'").matches(message)


def test_strings_of_the_hub_s_enumerations_are_strings():
    """A property whose value is a member of a string enumeration compares as that string."""

    class Sample(StrEnum):
        ONE = "one"

    message = view(a=Sample.ONE)
    assert SqlFilter("a = 'one' AND a IN ('one') AND a LIKE 'o%' AND a > 'o'").matches(message)


def test_a_view_does_not_follow_later_changes_of_its_index():
    """Filters see the properties as they were when the view was made."""
    properties = {"a": 1}
    message = MessageView(properties=properties)
    properties["a"] = 2
    assert SqlFilter("a = 1").matches(message)


def test_filters_of_one_expression_are_equal():
    """Two filters of the same expression are equal and say it in their repr."""
    assert SqlFilter("a = 1") == SqlFilter("a = 1")
    assert SqlFilter("a = 1") != SqlFilter("a = 2")
    assert repr(SqlFilter("a = 1")) == "SqlFilter(expression='a = 1')"
