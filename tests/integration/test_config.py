"""`coredumpd config`, as an administrator runs it before a configuration is used."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

from support.node import agents

WRONG = """\
policy:
  maxSize: 2Gi
  spoolMaxUse: much
agent:
  # the port of metrics
  prot: 9090
  capture: sockets
sever: {}
"""
CONFIG_MAP = """\
apiVersion: v1
kind: ConfigMap
metadata: {name: coredumpd}
data:
  config.yaml: |
"""


def config(kind: str, *words: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        [*agents.program(kind), "config", *words],
        input=stdin,
        capture_output=True,
        text=True,
        env=agents.environment(),
    )
    assert "Traceback" not in done.stderr
    return done


def test_every_mistake_is_reported_with_its_line_in_a_file_and_in_a_config_map(
    kind: str, tmp_path: Path
) -> None:
    file = tmp_path / "config.yaml"
    file.write_text(WRONG)
    refused = config(kind, "check", str(file))
    assert refused.returncode == 78
    lines = refused.stderr.splitlines()
    assert lines[0] == f"coredumpd: {file}: the configuration is wrong:"
    assert "  line 3: policy.spoolMaxUse: 'much': must be a size such as" in refused.stderr
    assert "  line 6: agent.prot: 9090: is not a setting; did you mean port?" in lines
    assert "  line 7: agent.capture: 'sockets': must be one of auto, pipe, socket" in lines
    assert "  line 8: sever: {}: is not a setting; did you mean server?" in lines
    assert len(lines) == 5
    indented = "".join(f"    {line}\n" for line in WRONG.splitlines())
    inner = config(kind, "check", "-", stdin=CONFIG_MAP + indented)
    assert inner.returncode == 78
    assert "  line 8: policy.spoolMaxUse: 'much': must be a size" in inner.stderr
    assert "  line 13: sever: {}" in inner.stderr


def test_a_word_that_yaml_takes_for_another_is_shown_as_it_is_written(kind: str) -> None:
    refused = config(kind, "check", "-", stdin="agent: {capture: on}\npolicy: {maxSize: 1:30}\n")
    assert (
        "line 1: agent.capture: 'on': must be one of auto, pipe, socket"
        " (YAML takes on for True: put it in quotes)"
    ) in refused.stderr
    assert "line 2: policy.maxSize: '1:30': must be a size" not in refused.stderr


def test_a_good_file_is_said_to_be_good_beside_a_bad_one(kind: str, tmp_path: Path) -> None:
    good, bad = tmp_path / "good.yaml", tmp_path / "bad.yaml"
    good.write_text("policy: {maxSize: 2Gi, niceness: 9}\n")
    bad.write_text("policy: [\n")
    done = config(kind, "check", str(good), str(bad), str(tmp_path / "none.yaml"))
    assert done.returncode == 78
    assert done.stdout == f"{good}: ok, 1 settings differ from the default\n"
    assert f"{bad}: not YAML" in done.stderr
    assert "line 2" in done.stderr
    assert f"cannot read the configuration {tmp_path}/none.yaml" in done.stderr


def test_the_schema_is_printed(kind: str) -> None:
    schema = json.loads(config(kind, "schema").stdout)
    assert schema["properties"]["policy"]["properties"]["maxSize"]["default"] == "8Gi"
