from __future__ import annotations

import pytest

from coredumpd import cli, errors


def test_no_role_shows_the_usage_and_exits_2(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main([]) == 2
    assert "a role is missing" in capsys.readouterr().err


def test_an_unknown_role_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["agnet"]) == 2
    assert "unknown role 'agnet'" in capsys.readouterr().err


@pytest.mark.parametrize("role", ["agent", "server", "store", "download", "demo"])
def test_a_wrong_option_of_any_role_is_reported_with_its_usage(
    role: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main([role, "--no-such-option"]) == 2
    message = capsys.readouterr().err
    assert message.startswith("coredumpd: ")
    assert f"\nusage: coredumpd {role}" in message


def test_a_wrong_option_of_a_subcommand_is_a_usage_error_too(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert cli.main(["agent", "run", "--log", "xml"]) == 2
    assert "\nusage: coredumpd agent run" in capsys.readouterr().err


def test_help_and_version_go_to_stdout(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["--help"]) == 0
    assert cli.main(["--version"]) == 0
    assert capsys.readouterr().out.startswith("usage: coredumpd ROLE")


def subclasses(kind: type[errors.CoredumpdError]) -> set[type[errors.CoredumpdError]]:
    found = {kind}
    for child in kind.__subclasses__():
        found |= subclasses(child)
    return found


def test_every_error_class_has_an_exit_code_a_status_and_a_reason() -> None:
    for kind in subclasses(errors.CoredumpdError):
        assert 0 < kind.exit_code < 128, kind
        assert 400 <= kind.http_status < 600, kind
        assert kind.reason.isalpha(), kind
