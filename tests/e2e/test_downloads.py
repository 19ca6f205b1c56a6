"""Downloads through a real kube-apiserver, which cuts what it does not take for long-running."""

from __future__ import annotations

import concurrent.futures
import os
import subprocess
import time
from pathlib import Path

import pytest

from tests.e2e.conftest import TENANT_NAMESPACE
from tests.e2e.support import coredump_endpoints, crashing_pods, downloaded_cores
from tests.e2e.support.kubectl import Kubectl
from tests.support.waiting import until

POD = "big"
_HEAP_MIB = 48
_SLOW_S = 180  # three times what kube-apiserver grants an ordinary request
# Random bytes, so that the archive is as long as the heap; buffers on the way hold a few MiB.
_CRASH = f"import ctypes, os; heap = os.urandom({_HEAP_MIB} << 20); ctypes.string_at(0)"


@pytest.fixture(scope="module")
def archive(tenant: Kubectl, tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """What a fast download gives; the pod is gone, its endpoint stays."""
    uid = crashing_pods.crash(
        tenant, TENANT_NAMESPACE, POD, {"app": ["/usr/bin/python3", "-c", _CRASH]}
    )
    coredump_endpoints.create(tenant, TENANT_NAMESPACE, POD, uid)
    until("the dump", lambda: coredump_endpoints.dumps(tenant, TENANT_NAMESPACE, POD), 120)
    crashing_pods.delete(tenant, TENANT_NAMESPACE, POD)
    place = tmp_path_factory.mktemp("fast")
    data = tenant.run(
        "get", f"--raw={coredump_endpoints.path(TENANT_NAMESPACE, POD, 'proxy')}"
    ).stdout
    assert len(data) > _HEAP_MIB << 20
    subprocess.run(["tar", "-xz", "-C", place], input=data, check=True)
    (dump,) = downloaded_cores.unpacked(place)
    downloaded_cores.check_whole(dump)
    return data


def slowly(tenant: Kubectl, path: str, pace: float) -> tuple[bytes, float, str]:
    """What kubectl delivers to somebody who reads `pace` bytes a second: bytes, seconds, stderr."""
    argv = ["kubectl", "get", f"--raw={path}"]
    began = time.monotonic()
    with subprocess.Popen(
        argv, env=tenant.environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as kubectl:
        assert kubectl.stdout is not None
        assert kubectl.stderr is not None
        received = bytearray()
        while chunk := os.read(kubectl.stdout.fileno(), 64 * 1024):
            received += chunk
            due = began + len(received) / pace
            time.sleep(max(0.0, due - time.monotonic()))
        said = kubectl.stderr.read().decode()
    return bytes(received), time.monotonic() - began, said


def test_a_slow_download_completes_on_proxy_and_is_continued_by_offset_on_dump(
    tenant: Kubectl, archive: bytes, tmp_path: Path
) -> None:
    pace = len(archive) / _SLOW_S
    with concurrent.futures.ThreadPoolExecutor() as threads:
        proxy, dump = (
            threads.submit(
                slowly, tenant, coredump_endpoints.path(TENANT_NAMESPACE, POD, name), pace
            )
            for name in ("proxy", "dump")
        )
        whole, seconds, said = proxy.result()
        assert whole == archive, said
        assert seconds >= _SLOW_S * 0.9
        part, seconds, said = dump.result()
    assert len(part) < len(archive), "kube-apiserver does not cut /dump any more: tell the docs"
    assert said
    assert archive.startswith(part)
    file = tmp_path / "coredump.tar.gz"
    file.write_bytes(part)
    rest = f"{coredump_endpoints.path(TENANT_NAMESPACE, POD, 'dump')}?offset={len(part)}"
    command = f"kubectl get --raw='{rest}'>>coredump.tar.gz"
    subprocess.run(["bash", "-c", command], env=tenant.environment(), cwd=tmp_path, check=True)
    assert file.read_bytes() == archive
