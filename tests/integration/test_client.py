"""`coredumpd list|info|watch|rm` against a real server, from source and frozen, and as a plugin."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from support import dumps
from support.node import agents, installed
from support.server import servers, standalone

# Whatever is only words and requests is tested once; the rest on the frozen executable, too.
FROM_SOURCE = pytest.mark.parametrize("kind", ["source"], indirect=True)


class World(standalone.Standalone):
    """The server, and the command of one who may use it."""

    def __init__(self, kind: str, directory: Path, server: servers.Server) -> None:
        super().__init__(directory, server)
        self.program = agents.program(kind)
        self.directory = directory

    def put(self, content: bytes = b"core", **fields: object) -> str:
        """Store a dump; returns its name, once the server lists it."""
        made = dumps.make(content, **fields)
        self.commit(*made)
        return made[0].id

    def command(self, verb: str, *words: str) -> list[str]:
        return [*self.program, verb, "--kubeconfig", str(self.kubeconfig), *words]

    def call(self, verb: str, *words: str) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            self.command(verb, *words),
            capture_output=True,
            text=True,
            env=agents.environment(),
            timeout=60,
        )
        assert "Traceback" not in done.stderr, done.stderr
        return done

    def run(self, verb: str, *words: str) -> str:
        done = self.call(verb, *words)
        assert done.returncode == 0, done.stderr
        return done.stdout


@pytest.fixture
def world(kind: str, tmp_path: Path) -> Iterator[World]:
    with standalone.running(tmp_path) as server:
        yield World(kind, tmp_path, server)


def test_the_list_is_that_of_kubectl_oldest_crash_first_and_in_every_form(world):
    new = world.put(pid=2, time="2026-09-21T15:00:00.000Z", signal={"number": 6, "name": "SIGABRT"})
    old = world.put(pid=1, time="2026-09-21T14:00:00.000Z")
    other = world.put(namespace="team-b", pid=3, podName="db-0")
    lines = world.run("list", "-n", "team-a").splitlines()
    assert lines[0].split()[:4] == ["NAME", "POD", "CONTAINER", "SIGNAL"]
    assert [line.split()[0] for line in lines[1:]] == [old, new]
    assert lines[2].split()[1:4] == ["web-0", "app", "SIGABRT"]
    assert "IMAGE" in world.run("list", "-n", "team-a", "-o", "wide").splitlines()[0]
    assert "NAME" not in world.run("list", "-n", "team-a", "--no-headers")
    everywhere = world.run("list", "-A").splitlines()
    assert everywhere[0].startswith("NAMESPACE")
    assert {line.split()[0] for line in everywhere[1:]} == {"team-a", "team-b"}
    document = json.loads(world.run("list", "-A", "-o", "json"))
    assert {item["metadata"]["name"] for item in document["items"]} == {old, new, other}
    assert yaml.safe_load(world.run("list", "-A", "-o", "yaml")) == document
    selected = world.run("list", "-A", "-l", "coredump.fujitsu.com/signal=SIGABRT", "-o", "name")
    assert selected == f"coredump.coredump.fujitsu.com/{new}\n"
    nothing = world.call("list", "-n", "team-b", "web-0")
    assert (nothing.returncode, nothing.stdout) == (0, "")
    assert "no dumps of pod web-0 in namespace team-b" in nothing.stderr


@FROM_SOURCE
def test_a_workload_names_the_dumps_of_all_its_pods(world):
    hash = {"pod-template-hash": "5d4f"}
    replica_set = {"kind": "ReplicaSet", "name": "shop-5d4f"}
    world.put(pid=1, podName="shop-5d4f-a", owner=replica_set, podLabels=hash)
    world.put(pid=2, podName="shop-5d4f-b", owner=replica_set, podLabels=hash)
    world.put(pid=3, podName="db-0", owner={"kind": "StatefulSet", "name": "db"})
    world.put(pid=4, podName="shop-cart-5d4f-a", owner={"kind": "ReplicaSet", "name": "shop-cart"})

    def pods(*words: str) -> list[str]:
        items = json.loads(world.run("list", "-n", "team-a", "-o", "json", *words))["items"]
        return [item["status"]["podName"] for item in items]

    assert sorted(pods("deploy/shop")) == ["shop-5d4f-a", "shop-5d4f-b"]
    assert pods("sts/db") == ["db-0"]
    assert sorted(pods("statefulset/db", "pod/shop-5d4f-b")) == ["db-0", "shop-5d4f-b"]


def test_info_is_the_newest_crash_on_one_screen_with_the_way_on(world):
    world.put(pid=1, time="2026-09-21T14:00:00.000Z")
    new = world.put(bytes(4096), pid=2, time="2026-09-21T15:00:00.000Z", image="local/shop:7")
    page = world.run("info", "-n", "team-a", "web-0")
    for line in (
        f"Dump       {new} in namespace team-a",
        "Pod        web-0, uid 0a1b2c3d-1111-2222-3333-444455556666, container app",
        "Image      local/shop:7",
        "Program    /bin/crasher, pid 2",
        "Signal     SIGSEGV",
        "Core       4KiB of memory, 38B stored",
        f"  coredumpd download -n team-a --id {new}",
    ):
        assert line in page.splitlines(), page
    assert f"  no backtrace of coredump team-a/{new}: it has not been analysed" in page.splitlines()
    assert "(this is the newest of 2)" in page
    assert json.loads(world.run("info", "-n", "team-a", new, "-o", "json"))["kind"] == "Coredump"
    missing = world.call("info", "-n", "team-a", "web-1")
    assert missing.returncode == 66
    assert "no dumps of pod web-1 in namespace team-a" in missing.stderr


@FROM_SOURCE
def test_what_a_tenant_wrote_reaches_no_terminal_as_it_is(world):
    process = {"pid": 1, "comm": "\x1b[2Jx", "exe": "/bin/\x1b]0;x\x07"}
    name = world.put(pid=1, process=process)
    for words in (("info", name), ("list",)):
        assert "\x1b" not in world.run(words[0], "-n", "team-a", *words[1:])


@FROM_SOURCE
def test_watch_prints_each_new_dump_and_none_that_was_there(world):
    old = world.put(pid=1)
    with subprocess.Popen(
        world.command("watch", "-n", "team-a"),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=agents.environment() | {"PYTHONUNBUFFERED": "1"},
    ) as watcher:
        try:
            assert "waiting for dumps of any pod in namespace team-a" in watcher.stderr.readline()
            new = world.put(pid=2)
            words = watcher.stdout.readline().split()
        finally:
            watcher.send_signal(signal.SIGINT)
        assert words[1:] == ["team-a/web-0", "app", "SIGSEGV", "/bin/crasher", new]
        rest, log = watcher.communicate(timeout=30)
        assert (watcher.returncode, rest) == (130, "")
        assert old not in rest
        assert "Traceback" not in log


@FROM_SOURCE
def test_rm_deletes_the_dump_that_is_named_and_several_only_with_all(world):
    first, second = world.put(pid=1), world.put(pid=2)
    refused = world.call("rm", "-n", "team-a", "web-0")
    assert refused.returncode == 2
    assert "pod web-0 has 2 dumps: name the one to delete, or add --all" in refused.stderr
    assert world.run("rm", "-n", "team-a", first) == (
        f"coredump.coredump.fujitsu.com/{first} deleted\n"
    )
    assert world.run("list", "-n", "team-a", "-o", "name").split("/")[1].strip() == second
    world.run("rm", "-n", "team-a", "--all", "web-0")
    assert world.run("list", "-n", "team-a", "-o", "name") == ""
    assert world.call("rm", "-n", "team-a", second).returncode == 66


@FROM_SOURCE
@pytest.mark.parametrize(
    ("words", "problem"),
    [
        (("info", "svc/web"), "no kind 'svc' has dumps"),
        (("info", "Web_0"), "'Web_0' is not a name in Kubernetes"),
        (("rm",), "the following arguments are required: TARGET"),
        (("list", "-o", "xml"), "invalid choice: 'xml'"),
    ],
)
def test_a_mistake_in_the_words_is_named_with_the_rule(world, words, problem):
    done = world.call(*words)
    assert done.returncode == 2
    assert problem in done.stderr


@pytest.fixture
def plugins(kind: str, tmp_path: Path) -> Path:
    """A directory of PATH with the two files that kubectl looks for."""
    directory = tmp_path / "bin"
    directory.mkdir()
    script = f"#!{sys.executable}\nfrom coredumpd import cli\nraise SystemExit(cli.main())\n"
    for name in ("kubectl-coredump", "kubectl_complete-coredump"):
        if kind == "frozen":
            (directory / name).symlink_to(installed.FROZEN)
        else:
            (directory / name).write_text(script)
            (directory / name).chmod(0o755)
    return directory


def test_kubectl_runs_it_as_a_plugin_with_a_tenants_commands_and_completes_names(world, plugins):
    name = world.put(pid=1)
    environment = agents.environment() | {"PATH": f"{plugins}:{os.environ['PATH']}"}
    environment["KUBECONFIG"] = f"{world.directory}/server/kubeconfig"

    def kubectl(*words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            ["kubectl", "coredump", *words], capture_output=True, text=True, env=environment
        )

    assert kubectl("--help").stdout.startswith("usage: kubectl coredump COMMAND")
    assert "usage: kubectl coredump list" in kubectl("list", "--help").stdout
    assert "usage: kubectl coredump download" in kubectl("download", "--help").stdout
    assert name in kubectl("list", "-n", "team-a").stdout
    refused = kubectl("agent")
    assert refused.returncode == 2
    assert "unknown command 'agent'" in refused.stderr

    def complete(*words: str) -> list[str]:
        done = subprocess.run(
            [plugins / "kubectl_complete-coredump", *words],
            capture_output=True,
            text=True,
            env=environment,
            check=True,
        )
        *candidates, end = done.stdout.splitlines()
        assert end == ":4"
        return candidates

    assert complete("") == ["download", "info", "list", "rm", "watch"]
    assert complete("li") == ["list"]
    assert complete("list", "--no") == ["--no-headers"]
    assert complete("info", "-n", "team-a", "") == ["web-0", name]
    assert complete("info", "-n", "team-a", "w") == ["web-0"]
    assert complete("info", "--context", "none", "") == []
