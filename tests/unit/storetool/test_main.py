from __future__ import annotations

import pytest

from coredumpd import cli


@pytest.mark.parametrize(
    ("words", "code", "problem"),
    [
        ([], 2, "COMMAND"),
        (["polish"], 2, "polish"),
        (["check"], 2, "name a STORE, or --config"),
        (["check", "ftp://x"], 78, "store: 'ftp://x': must be a URL file:///DIRECTORY"),
        (["check", "file:///no/such/store"], 74, "is not there"),
        (["check", "file:///tmp", "--parallel", "0"], 2, "from 1 to 64"),
        (["check", "file:///tmp", "--grace", "soon"], 2, "must be a duration"),
        (["check", "file:///tmp", "--quick", "--decompress"], 2, "not allowed with"),
        (["check", "file:///tmp", "-n", "../x"], 65, "namespace"),
        (["check", "--config", "/no/such.yaml"], 78, "cannot read the configuration"),
        (["repair", "file:///tmp", "--damaged"], 2, "--damaged is for --delete"),
        (["usage", "file:///tmp", "--by", "moon"], 2, "moon"),
        (["migrate", "file:///tmp"], 2, "TO"),
    ],
)
def test_a_mistake_is_one_sentence_and_an_exit_code(words, code, problem, capsys):
    assert cli.main(["store", *words]) == code
    output = capsys.readouterr().err
    assert problem in output
    assert "Traceback" not in output


def test_the_store_of_the_configuration_is_the_default(tmp_path, capsys):
    (tmp_path / "store").mkdir()
    config = tmp_path / "config.yaml"
    config.write_text(f"server: {{store: 'file://{tmp_path}/store'}}\n")
    assert cli.main(["store", "check", "--config", str(config)]) == 0
    assert capsys.readouterr().out == "0 dumps, 0B, 0 findings\n"
