"""Starting, rotating, stopping; and standing alone."""

from __future__ import annotations

import contextlib
import http.client
import os
import signal
import ssl
import subprocess
import sys
import threading
from pathlib import Path

import pytest
import yaml
from support import dumps, pki, waiting
from support.node import agents, installed
from support.server import servers

from coredumpd.store import engines as stores

URL = servers.BASE + "/namespaces/team-a/coredumpendpoints"


def listening_on(port: int) -> set[str]:
    """Local addresses that listen on `port`, as /proc/net/tcp writes them (127.0.0.1: 0100007F)."""
    lines = Path("/proc/net/tcp").read_text().splitlines()[1:]
    lines += Path("/proc/net/tcp6").read_text().splitlines()[1:]
    listen = "0A"  # include/net/tcp_states.h; clients have the same port by chance
    sockets = (line.split()[1].split(":") for line in lines if line.split()[3] == listen)
    return {address for address, number in sockets if int(number, 16) == port}


def test_standalone_needs_nothing_but_a_directory(program, tmp_path):
    arguments = ["--standalone", "--data-dir", str(tmp_path / "data"), "--port", "0"]
    with servers.running(program, arguments, tmp_path / "log") as server:
        data = tmp_path / "data"
        stores.open_store(f"file://{data}/store").commit(*dumps.make(b"alone" * 1000))
        assert (data / "token").stat().st_mode & 0o777 == 0o600
        assert (data / "tls.key").stat().st_mode & 0o777 == 0o600
        token = (data / "token").read_text().strip()
        owner = servers.Client(
            server.port, data / "tls.crt", headers={"Authorization": f"Bearer {token}"}
        )
        assert servers.Client(server.port, data / "tls.crt").ask("GET", URL).code == 401
        # The store knows the uid of the pod that crashed.
        made = owner.ask("POST", URL, {"metadata": {"name": "web-0"}, "spec": {}})
        assert made.json["spec"]["podUID"] == dumps.POD_UID
        assert owner.ask("GET", f"{URL}/web-0/dump?container=app").code == 200
        missing = owner.ask("POST", URL, {"metadata": {"name": "web-9"}, "spec": {}})
        assert missing.code == 422
        assert listening_on(server.port) == {"0100007F"}
        assert server.stop() == 0


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (lambda data: data.chmod(0o755), "data: it belongs to uid 0 and has mode 0755"),
        (lambda data: os.chown(data, 12345, -1), "data: it belongs to uid 12345"),
        (
            lambda data: (data / "token").chmod(0o644),
            "token: it belongs to uid 0 and has mode 0644",
        ),
        (lambda data: os.chown(data / "token", 12345, -1), "token: it belongs to uid 12345"),
        (lambda data: (data / "second").hardlink_to(data / "tls.key"), "tls.key: "),
        (lambda data: os.chown(data / "objects.db", 12345, -1), "objects.db: it belongs to"),
        (
            lambda data: (data / "store").chmod(0o777),
            "store: it belongs to uid 0 and has mode 0777",
        ),
        (lambda data: (data.rename(f"{data}2"), data.symlink_to(f"{data}2")), "a symbolic link"),
    ],
)
def test_standalone_refuses_a_directory_or_file_that_is_not_its_callers(
    program, tmp_path, spoil, reason
):
    data = tmp_path / "data"
    arguments = ["--standalone", "--data-dir", str(data), "--port", "0"]
    with servers.running(program, arguments, tmp_path / "log") as server:
        token = (data / "token").read_bytes()
        assert server.stop() == 0
    with servers.running(program, arguments, tmp_path / "log") as server:  # its own is no obstacle
        assert (data / "token").read_bytes() == token
        assert server.stop() == 0
    spoil(data)
    command = [*agents.program(program), "server", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 77
    assert reason in done.stderr
    assert "--data-dir" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_new_certificate_is_served_without_a_restart(world):
    pair = world.directory / "coredumpd.crt", world.directory / "coredumpd.key"
    before = ssl.get_server_certificate(("127.0.0.1", world.server.port))
    fresh = pki.Authority(world.directory, "serving-ca")  # writes a new CA over the old one
    fresh.issue("coredumpd")
    assert pair[0].exists()
    waiting.until(
        "the new certificate",
        lambda: ssl.get_server_certificate(("127.0.0.1", world.server.port)) != before,
        30,
    )
    assert world.proxied().ask("GET", URL).code == 200


def test_a_rotated_proxy_ca_is_believed_and_the_old_one_is_not(world, tmp_path):
    client = world.proxied("rotation")
    old = client.connect()
    old.request("GET", URL, headers=client.headers)
    answer = old.getresponse()
    answer.read()
    assert answer.status == 200
    fresh = pki.Authority(tmp_path, "proxy-ca")
    pair = fresh.issue("front-proxy-client")
    world.kube.publish_trust(**{"requestheader-client-ca-file": fresh.pem})

    def believed() -> bool:
        try:
            return world.client(pair, X_Remote_User="rotation").ask("GET", URL).code == 200
        except (ssl.SSLError, ConnectionError):
            return False

    try:
        waiting.until("the new CA to be believed", believed, 30)
        # The open connection was made under the old CA; its headers are noise from now on.
        old.request("GET", URL, headers=client.headers)
        assert old.getresponse().status == 401
    finally:
        old.close()
        world.kube.publish_trust()
        waiting.until("the CA to be rotated back", lambda: _works(client), 30)


def _works(client: servers.Client) -> bool:
    try:
        return client.ask("GET", URL).code == 200
    except (ssl.SSLError, ConnectionError):
        return False


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"server": {"prot": 1}}, "server.prot"),
        ({"server": {"objects": "mysql://x"}}, "server.objects"),
        ({"server": {"tlsCertFile": "/does/not/exist"}}, "tlsCertFile"),
    ],
)
def test_a_wrong_configuration_is_told_by_field_and_exit_code(world, tmp_path, settings, told):
    base = yaml.safe_load((world.directory / "config.yaml").read_text())["server"]
    base["objects"] = f"sqlite:///{tmp_path}/objects.db"
    config = tmp_path / "config.yaml"
    config.write_text(yaml.safe_dump({"server": base | settings["server"]}))
    program = [sys.executable, "-m", "coredumpd", "server", "--config", str(config)]
    run = subprocess.run(
        [*program, "--kubeconfig", str(world.kube.kubeconfig())],
        capture_output=True,
        text=True,
        cwd=installed.ROOT,
        timeout=60,
    )
    assert run.returncode == 78, run.stderr
    assert told in run.stderr
    assert "Traceback" not in run.stderr


@contextlib.contextmanager
def stopping(program, world, directory, **more):
    """A server of its own beside `world`'s, in the middle of a download; and the answer so far."""
    config = yaml.safe_load((world.directory / "config.yaml").read_text())
    config["server"] |= {"objects": f"sqlite:///{directory}/objects.db", **more}
    config["server"] |= {"store": f"file://{directory}/store"}
    (directory / "store").mkdir()
    (directory / "config.yaml").write_text(yaml.safe_dump(config))
    arguments = ["--config", str(directory / "config.yaml")]
    arguments += ["--kubeconfig", str(world.kube.kubeconfig())]
    with servers.running(program, arguments, directory / "log") as server:
        # Incompressible, and more than socket buffers hold, so the server must still be sending.
        stores.open_store(f"file://{directory}/store").commit(*dumps.make(os.urandom(30_000_000)))
        known = world.proxied("leaver")
        client = servers.Client(server.port, world.ca_file, known.certificate, known.headers)
        body = {"metadata": {"name": "web-0"}, "spec": {"podUID": dumps.POD_UID}}
        assert client.ask("POST", URL, body).code == 201
        with contextlib.closing(client.connect()) as connection:
            connection.request("GET", f"{URL}/web-0/dump", headers=client.headers)
            response = connection.getresponse()
            assert len(response.read(1000)) == 1000
            yield server, client, response


def test_sigterm_fails_readiness_first_while_everything_is_still_served(program, world, tmp_path):
    with stopping(program, world, tmp_path, shutdownDelay="8s") as (server, client, response):
        server.process.send_signal(signal.SIGTERM)
        waiting.until("/readyz to fail", lambda: client.ask("GET", "/readyz").code != 200, 8)
        assert client.ask("GET", "/livez").code == 200
        assert client.ask("GET", URL).code == 200
        assert len(response.read()) + 1000 == int(response.headers["Content-Length"])
        assert server.process.wait(timeout=60) == 0


def test_a_download_longer_than_the_grace_is_cut_and_looks_so(program, world, tmp_path):
    with stopping(program, world, tmp_path, shutdownGrace="1s") as (server, _, response):
        server.process.send_signal(signal.SIGTERM)
        server.process.wait(timeout=60)
        with pytest.raises((http.client.IncompleteRead, OSError)):
            response.read()


def test_a_client_that_stops_reading_is_cut_off_and_a_slow_one_is_not(program, world, tmp_path):
    with stopping(program, world, tmp_path, sendTimeout="2s") as (server, client, response):
        with contextlib.closing(client.connect()) as second:
            headers = {**client.headers, "Audit-Id": "stuck-1"}
            second.request("GET", f"{URL}/web-0/dump", headers=headers)
            assert second.getresponse().status == 200
            ended, taken = [], 1000
            waiter = threading.Thread(target=lambda: ended.append(server.audited("stuck-1", 60)))
            waiter.start()
            while waiter.is_alive():  # as slow as one can be who does not stop
                taken += len(response.read(100_000))
                waiter.join(0.2)
        assert ended[0]["outcome"] == "aborted"
        assert taken + len(response.read()) == int(response.headers["Content-Length"])


def test_sigterm_lets_a_download_finish(program, tmp_path):
    arguments = ["--standalone", "--data-dir", str(tmp_path / "data"), "--port", "0"]
    with servers.running(program, arguments, tmp_path / "log") as server:
        data = tmp_path / "data"
        # Incompressible, and more than socket buffers hold, so the server must still be sending.
        core = os.urandom(30_000_000)
        stores.open_store(f"file://{data}/store").commit(*dumps.make(core))
        headers = {"Authorization": f"Bearer {(data / 'token').read_text().strip()}"}
        owner = servers.Client(server.port, data / "tls.crt", headers=headers)
        owner.ask("POST", URL, {"metadata": {"name": "web-0"}, "spec": {}})
        connection = owner.connect()
        connection.request("GET", f"{URL}/web-0/dump", headers=headers)
        response = connection.getresponse()
        first = response.read(1000)
        server.process.send_signal(signal.SIGTERM)
        rest = response.read()
        connection.close()
        assert len(first) + len(rest) == int(response.headers["Content-Length"])
        assert server.process.wait(timeout=30) == 0
