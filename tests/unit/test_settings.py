from __future__ import annotations

import pytest

from coredumpd import errors, settings


def test_an_empty_configuration_is_all_defaults() -> None:
    sections = settings.check({})
    assert sections["policy"].hostCrashes == "ignore"
    assert sections["policy"].maxSize == 8 << 30
    assert sections["agent"].hostDir == "/var/lib/coredumpd"


def test_every_mistake_is_reported_at_once_with_field_value_and_rule() -> None:
    document = {
        "polcy": {},
        "policy": {"maxSize": "8GB", "hostCrashes": "keep"},
        "agent": {"hostDir": "relative", "corePipeLimit": True},
        "server": [],
    }
    with pytest.raises(errors.SettingsError) as caught:
        settings.check(document)
    assert {cause.field for cause in caught.value.causes} == {
        "polcy",
        "policy.maxSize",
        "policy.hostCrashes",
        "agent.hostDir",
        "agent.corePipeLimit",
        "server",
    }
    assert "policy.maxSize: '8GB': must be a size" in str(caught.value)


def test_a_typo_names_what_is_known() -> None:
    with pytest.raises(errors.SettingsError, match=r"known here: .*hostDir"):
        settings.check({"agent": {"hostdir": "/x"}})


@pytest.mark.parametrize("path", ["", "a", "/a/../b", "/a\nb", 7, None])
def test_a_path_must_be_absolute_and_plain(path: object) -> None:
    with pytest.raises(errors.SettingsError):
        settings.check({"agent": {"hostDir": path}})


def test_settings_are_immutable() -> None:
    agent = settings.check({})["agent"]
    with pytest.raises(AttributeError):
        agent.hostDir = "/elsewhere"
