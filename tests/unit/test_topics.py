"""Topic names, and how a broker spells them."""

from pathlib import Path

import pytest
import yaml

from dovecote import topics
from dovecote.errors import ConfigurationError, TooLargeError
from dovecote.topics import Capabilities, checked_pattern, fits, read_capabilities

ROW = Path(__file__).parents[2] / "components/capabilities.yaml"
DOTTED = Capabilities(broker="a", separator=".", group_prefix="", durable=True)
SHARED = Capabilities(broker="b", separator="/", group_prefix="$share/{app_id}/", durable=False)


def test_a_broker_has_its_own_separator() -> None:
    assert DOTTED.spell("agent/query/ask") == "agent.query.ask"
    assert SHARED.spell("agent/query/ask") == "agent/query/ask"


def test_replicas_of_an_app_share_where_the_broker_wants_a_prefix() -> None:
    assert SHARED.subscription(topics.inbox("writer"), "writer") == "$share/writer/agents/writer/inbox"
    assert DOTTED.subscription(topics.inbox("writer"), "writer") == "agents.writer.inbox"


def test_an_app_subscribes_as_often_as_the_broker_wants_and_first_by_the_plain_name() -> None:
    thrice = DOTTED.model_copy(update={"streams": 3})
    assert DOTTED.subscriptions("a/b", "writer") == ["a.b"]
    assert thrice.subscriptions("a/b", "writer") == ["a.b", "a.b#2", "a.b#3"]


@pytest.mark.parametrize("topic", ["", "/", "a//b", "/a", "a/", "Agent/x", "a b", "a.b", "a/#", "a/+", "ä", "a\n"])
def test_an_illegal_topic_is_refused_by_name(topic: str) -> None:
    with pytest.raises(ConfigurationError, match="is not legal") as caught:
        DOTTED.spell(topic)
    assert repr(topic) in str(caught.value)
    assert caught.value.mend


def test_our_own_topics_are_legal() -> None:
    for name in (topics.QUERY_ASK, topics.QUERY_RESPONSE, topics.TASK_EVENTS, topics.DEAD_LETTERS, topics.FAILURES):
        assert DOTTED.spell(name)


def test_each_row_of_the_capability_table_is_whole() -> None:
    for component_type in yaml.safe_load(ROW.read_text()):
        row = read_capabilities(ROW, component_type)
        assert row.spell("a/b") == f"a{row.separator}b"


def test_a_missing_row_is_named_with_those_there_are(tmp_path: Path) -> None:
    file = tmp_path / "capabilities.yaml"
    file.write_text("pubsub.one: {broker: one, separator: '.', group_prefix: '', durable: true}\n")
    with pytest.raises(ConfigurationError, match=r"no row for component type 'pubsub\.two'") as caught:
        read_capabilities(file, "pubsub.two")
    assert "pubsub.one" in caught.value.mend


def test_a_missing_table_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"away\.yaml: cannot be read: No such file"):
        read_capabilities(tmp_path / "away.yaml", "pubsub.one")


@pytest.mark.parametrize(
    "text",
    [
        "pubsub.one: {broker: one}",
        "pubsub.one: {broker: one, separator: '.', group_prefix: '', durable: perhaps}",
        "pubsub.one: {broker: one, separator: '.', group_prefix: '', durable: true, colour: red}",
        "pubsub.one: [",
        "- pubsub.one",
    ],
)
def test_a_wrong_row_names_file_and_row(tmp_path: Path, text: str) -> None:
    file = tmp_path / "capabilities.yaml"
    file.write_text(text)
    with pytest.raises(ConfigurationError, match=r"capabilities\.yaml: row 'pubsub\.one' does not fit"):
        read_capabilities(file, "pubsub.one")


def test_an_event_over_the_brokers_limit_is_refused_with_both_sizes() -> None:
    small = DOTTED.model_copy(update={"max_message_bytes": 1000})
    small.check_size("a/b", "m", 1000)
    with pytest.raises(TooLargeError, match=r"message 'm' to 'a/b' has 1,001 bytes; a takes 1,000") as caught:
        small.check_size("a/b", "m", 1001)
    assert caught.value.mend


@pytest.mark.promise("ARG-12", "MQT-01")
@pytest.mark.parametrize(
    ("pattern", "fitting", "other"),
    [
        ("#", ["agent", "agent/query/ask"], []),
        ("agent/#", ["agent/query", "agent/query/ask"], ["agents/writer/inbox", "my/agent/query"]),
        ("agent/+/ask", ["agent/query/ask"], ["agent/ask", "agent/query/ask/more", "agent/a/b/ask"]),
        ("+/+/inbox", ["agents/writer/inbox"], ["agents/inbox"]),
        ("agent/query/ask", ["agent/query/ask"], ["agent/query/asked"]),
    ],
)
def test_a_plus_is_one_level_and_a_hash_all_that_follow(pattern: str, fitting: list[str], other: list[str]) -> None:
    assert checked_pattern(pattern) == pattern
    assert [topic for topic in [*fitting, *other] if fits(pattern, topic)] == fitting


@pytest.mark.parametrize("pattern", ["", "/agent", "agent/", "#/ask", "agent/#/ask", "agent#", "ag+nt", "Agent/#"])
def test_what_is_no_pattern_is_refused(pattern: str) -> None:
    with pytest.raises(ValueError, match="is no pattern of topics"):
        checked_pattern(pattern)
