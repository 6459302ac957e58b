import pytest

from collectors.mqtt.topic import TopicPattern


@pytest.mark.parametrize(
    ("pattern", "topic", "found"),
    [
        ("plant/+/{characteristic}", "plant/op-20/bore", {"characteristic": "bore"}),
        ("plant/+/{characteristic}", "plant/op-20/bore/x", None),
        ("plant/+/{characteristic}", "plant/op-20", None),
        ("{line}/{characteristic}/#", "l1/bore", {"line": "l1", "characteristic": "bore"}),
        ("{line}/{characteristic}/#", "l1/bore/a/b", {"line": "l1", "characteristic": "bore"}),
        ("{line}/{characteristic}/#", "l1", None),
        ("{characteristic}", "", {"characteristic": ""}),
        ("#", "a/b", {}),
        ("#", "$SYS/x", None),
        ("+/x", "$SYS/x", None),
        ("{a}/x", "$SYS/x", None),
        ("$SYS/{a}", "$SYS/x", {"a": "x"}),
        ("a/b", "a/b", {}),
        ("a/b", "a/B", None),
        ("/+", "/x", {}),
        ("+", "/x", None),
    ],
)
def test_match(pattern: str, topic: str, found: dict[str, str] | None) -> None:
    assert TopicPattern(pattern).match(topic) == found


def test_the_broker_gets_wildcards_for_placeholders() -> None:
    assert TopicPattern("a/{x}/+/{characteristic}/#").filter == "a/+/+/+/#"
