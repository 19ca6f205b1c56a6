"""A 2 GiB stored core over TLS: our server, and nginx serving the same file with the same cipher.

Beside it the ancestor's way, tar and gzip -6 for every download, in CPU seconds per GiB of memory
dumped; we compressed once, at the crash. The client is curl for both, and costs both the same.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import statistics
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from isal import isal_zlib
from support import dumps, waiting
from support.server import servers

from bench import processes, report
from coredumpd.formats import record as records

NEEDS = ("nginx", "curl")
STORED_BYTES = 2 * 2**30
BLOCK_BYTES = 64 * 2**20
ROUNDS = 3
CIPHER = "TLS_AES_256_GCM_SHA384"
THROUGHPUT_BAR = 0.6
CPU_BAR = 1 / 30
FIRST_BYTE_MS_MAX = 50.0
MANY = 200
PART_BYTES = 32 * 2**20
GROWN_MIB_MAX = 256.0  # half of the memory that deploy.sh gives a server
SLOWEST_BAR = 1.5  # of the median
LISTED_MS_MAX = 1000.0
SAMPLE_BYTES = 256 * 2**20
URL = servers.BASE + "/namespaces/team-a/coredumpendpoints"
NGINX = """
daemon off; worker_processes 1; pid {dir}/nginx.pid; error_log {dir}/nginx.log;
events {{ worker_connections 64; }}
http {{
  access_log off; client_body_temp_path {dir}/body; proxy_temp_path {dir}/proxy;
  fastcgi_temp_path {dir}/fastcgi; uwsgi_temp_path {dir}/uwsgi; scgi_temp_path {dir}/scgi;
  server {{
    listen 127.0.0.1:{port} ssl; root {root};
    ssl_certificate {cert}; ssl_certificate_key {key}; ssl_protocols TLSv1.3;
  }}
}}
"""


def run() -> Iterator[report.Line]:
    with tempfile.TemporaryDirectory(prefix="cd-bench-") as name:
        directory = Path(name)
        (directory / "data").mkdir(mode=0o700)
        core = store_core(directory / "data" / "store")
        kind = "frozen" if servers.installed.FROZEN.exists() else "source"
        arguments = ["--standalone", "--data-dir", str(directory / "data"), "--port", "0"]
        with (
            servers.running(kind, arguments, directory / "log") as server,
            nginx(directory, core.parent) as port,
        ):
            url = prepare(server, directory / "data")
            peer_url = f"https://127.0.0.1:{port}/core.gz"
            auth = f"Authorization: Bearer {(directory / 'data' / 'token').read_text().strip()}"
            ca = directory / "data" / "tls.crt"
            download(peer_url, ca, auth)  # both read from the page cache from now on
            before = processes.cpu_s(server.process.pid)
            ours, peer = [], []
            for _ in range(ROUNDS):
                peer.append(download(peer_url, ca, auth))
                ours.append(download(url, ca, auth))
            spent = (processes.cpu_s(server.process.pid) - before) / ROUNDS
            peer_rate = statistics.median(size / took for size, took, _ in peer)
            rate = statistics.median(size / took for size, took, _ in ours)
            first = statistics.median(first for _, _, first in ours) * 1000
            crowd = many(server, url, ca, auth)
        theirs, ratio = ancestor(directory)
    per_gib = spent / (STORED_BYTES / 2**30) / ratio
    yield report.Line("download nginx", f"{peer_rate / 2**20:.0f} MiB/s")
    yield report.Line(
        "download", f"{rate / 2**20:.0f} MiB/s", rate / peer_rate, at_least=THROUGHPUT_BAR
    )
    yield report.Line(
        "download first byte", f"{first:.1f} ms", first / FIRST_BYTE_MS_MAX, at_most=1.0
    )
    yield from crowd
    yield report.Line("download CPU, tar + gzip -6", f"{theirs:.2f} s/GiB of memory")
    yield report.Line(
        "download CPU", f"{per_gib:.2f} s/GiB of memory", per_gib / theirs, at_most=CPU_BAR
    )


def store_core(root: Path) -> Path:
    """A store with one dump whose core.gz has STORED_BYTES; returns that file."""
    _, entry, _ = dumps.make(b"placeholder")
    entry.raw["core"] |= {"storedSize": STORED_BYTES, "size": STORED_BYTES}
    place = root / str(entry.key())
    place.mkdir(parents=True)
    block = os.urandom(BLOCK_BYTES)
    with (place / "core.gz").open("wb") as file:
        for _ in range(STORED_BYTES // BLOCK_BYTES):
            file.write(block)
    (place / "meta.json").write_bytes(records.CrashRecord(entry.raw).encode())
    return place / "core.gz"


def prepare(server: servers.Server, data: Path) -> str:
    """Create the endpoint; the URL of its archive."""
    token = (data / "token").read_text().strip()
    headers = {"Authorization": f"Bearer {token}"}
    client = servers.Client(server.port, data / "tls.crt", headers=headers)
    reply = client.ask("POST", URL, {"metadata": {"name": "web-0"}, "spec": {}})
    assert reply.code == 201, reply.body
    return f"https://127.0.0.1:{server.port}{URL}/web-0/dump"


@contextlib.contextmanager
def nginx(directory: Path, root: Path) -> Iterator[int]:
    """nginx on a port of its own, serving `root` with the standalone server's key pair."""
    port = servers.free_port()
    config = directory / "nginx.conf"
    data = directory / "data"
    text = NGINX.format(
        dir=directory, port=port, root=root, cert=data / "tls.crt", key=data / "tls.key"
    )
    config.write_text("user root;\n" + text if os.geteuid() == 0 else text)
    program = shutil.which("nginx") or "/usr/sbin/nginx"
    process = subprocess.Popen([program, "-c", str(config), "-e", str(directory / "nginx.log")])
    try:
        waiting.until("nginx", (directory / "nginx.pid").exists, 10)
        yield port
    finally:
        process.terminate()
        process.wait()


def download(url: str, ca: Path, auth: str) -> tuple[int, float, float]:
    """(bytes, seconds, seconds to the first byte)."""
    out = subprocess.run(
        ["curl", "-sS", "--fail", "--cacert", str(ca), "-H", auth, "--tls13-ciphers", CIPHER,
         "--tlsv1.3", "-o", "/dev/null", "-w", "%{json}", url],
        capture_output=True, check=True,
    ).stdout  # fmt: skip
    statistic = json.loads(out)
    return (
        statistic["size_download"],
        statistic["time_total"],
        statistic["time_starttransfer"],
    )


def many(server: servers.Server, url: str, ca: Path, auth: str) -> list[report.Line]:
    """MANY clients at once, each after the first PART_BYTES; somebody lists meanwhile."""
    alone = processes.family_peak_bytes(server.process.pid)
    lists = []
    listing = url.rsplit("/", 2)[0]
    with subprocess.Popen(
        ["curl", "-sS", "--fail", "--cacert", str(ca), "-H", auth, "--http1.1", "-Z",
         "--no-progress-meter", "--parallel-immediate", "--parallel-max", str(MANY),
         "-r", f"0-{PART_BYTES - 1}",
         "-w", "%{time_total} %{size_download}\\n", *["-o", "/dev/null", url] * MANY],
        stdout=subprocess.PIPE, text=True,
    ) as clients:  # fmt: skip
        while clients.poll() is None:
            lists.append(download(listing, ca, auth)[1] * 1000)
            time.sleep(0.05)
        assert clients.stdout is not None
        transfers = [line.split() for line in clients.stdout.read().splitlines()]
    assert [int(size) for _, size in transfers] == [PART_BYTES] * MANY
    times_s = sorted(float(seconds) for seconds, _ in transfers)
    grown = (processes.family_peak_bytes(server.process.pid) - alone) / 2**20
    fair, listed = times_s[-1] / statistics.median(times_s), statistics.median(lists)
    name = f"download, {MANY} at once"
    return [
        report.Line(f"{name}: memory grown", f"{grown:.0f} MiB", grown / GROWN_MIB_MAX, at_most=1),
        report.Line(f"{name}: slowest", f"{times_s[-1]:.1f} s", fair, at_most=SLOWEST_BAR),
        report.Line(f"{name}: a list", f"{listed:.0f} ms", listed / LISTED_MS_MAX, at_most=1),
    ]


def real_memory(size: int) -> bytes:
    """`size` bytes of this interpreter's own memory, full of small objects, as a core is."""
    kept = [{"id": n, "name": f"object {n}", "at": (n * 0.5, n)} for n in range(size // 400)]
    parts, left = [], size
    with open("/proc/self/mem", "rb", buffering=0) as memory:
        for line in Path("/proc/self/maps").read_text().splitlines():
            span, rights, *_, name = f"{line} -".split(maxsplit=5)
            if not rights.startswith("rw") or name.startswith(("[v", "/dev")) or left <= 0:
                continue
            first, last = (int(number, 16) for number in span.split("-"))
            memory.seek(first)
            with contextlib.suppress(OSError):  # unmapped since
                parts.append(memory.read(min(last - first, left)))
                left -= len(parts[-1])
    del kept
    return b"".join(parts)


def ancestor(directory: Path) -> tuple[float, float]:
    """(CPU seconds of `tar c | gzip -6` per GiB of memory, memory per byte that we store)."""
    memory = real_memory(SAMPLE_BYTES)
    core = directory / "core"
    core.write_bytes(memory)
    begun = os.times()
    subprocess.run(f"tar -C {directory} -c core | gzip -6 >/dev/null", shell=True, check=True)
    ended = os.times()
    spent = ended.children_user - begun.children_user
    spent += ended.children_system - begun.children_system
    compressed = isal_zlib.compress(memory, 1)
    return spent / (len(memory) / 2**30), len(memory) / len(compressed)
