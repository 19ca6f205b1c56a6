"""Errors: each class has one exit code, one HTTP status and one reason."""

from __future__ import annotations

import pytest

from coredumpd import errors


def tree(kind: type[errors.CoredumpdError]) -> set[type[errors.CoredumpdError]]:
    return {kind}.union(*(tree(child) for child in kind.__subclasses__()))


def ours() -> list[type[errors.CoredumpdError]]:
    kinds = [kind for kind in tree(errors.CoredumpdError) if kind.__module__ == errors.__name__]
    return sorted(kinds, key=lambda kind: kind.__name__)


@pytest.mark.parametrize("kind", ours(), ids=lambda kind: kind.__name__)
def test_a_status_of_4xx_has_a_reason_of_its_own(kind: type[errors.CoredumpdError]) -> None:
    assert 400 <= kind.http_status < 600
    assert (kind.reason == "InternalError") == (kind.http_status == 500)


@pytest.mark.parametrize("kind", ours(), ids=lambda kind: kind.__name__)
def test_no_error_ends_a_command_successfully(kind: type[errors.CoredumpdError]) -> None:
    assert kind.exit_code == 2 or 64 <= kind.exit_code <= 78


def test_an_error_is_one_sentence() -> None:
    assert str(errors.NotFound("there is no pod 'web-0'")) == "there is no pod 'web-0'"


def test_an_error_about_a_field_names_it_as_its_only_cause() -> None:
    error = errors.Invalid.about("spec.podUID", "is immutable")
    (cause,) = error.causes
    assert (str(error), cause.field, cause.rule) == ("is immutable", "spec.podUID", "is immutable")


def test_wrong_settings_are_listed_below_each_other_with_value_and_rule() -> None:
    causes = (errors.Cause("agent.port", -1, "must be a port"), errors.Cause("x", "y", "unknown"))
    error = errors.SettingsError("config.yaml:", causes)
    assert str(error).splitlines() == [
        "config.yaml:",
        "  agent.port: -1: must be a port",
        "  x: 'y': unknown",
    ]
