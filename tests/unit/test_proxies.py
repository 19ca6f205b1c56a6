from __future__ import annotations

import ipaddress

import hypothesis
import pytest
from hypothesis import strategies as st

from coredumpd import errors, proxies

PROXY = {"HTTPS_PROXY": "http://proxy:3128"}


def is_direct(url: str, no_proxy: str) -> bool:
    return proxies.of_environment({**PROXY, "NO_PROXY": no_proxy}).of(url) is None


@pytest.mark.parametrize(
    ("no_proxy", "direct", "proxied"),
    [
        ("10.96.0.0/12", "https://10.100.3.4:443", "https://10.112.0.1"),
        ("fd00::/8", "https://[fd12::1]:443", "https://[2001:db8::1]"),
        ("10.0.0.1", "https://10.0.0.1", "https://10.0.0.10"),
        ("10.0.0.1:6443", "https://10.0.0.1:6443", "https://10.0.0.1"),
        ("[2001:db8::1]:6443", "https://[2001:db8::1]:6443", "https://[2001:db8::1]"),
        ("example.com", "https://example.com", "https://notexample.com"),
        ("example.com", "https://s3.example.com", "https://example.com.evil"),
        (".example.com", "https://s3.example.com", "https://example.com"),
        ("*.example.com", "https://s3.example.com", "https://example.com"),
        ("example.com:8443", "https://example.com:8443", "https://example.com"),
        ("EXAMPLE.com", "https://Example.COM", "https://example.org"),
        (" a , example.com ,", "https://example.com.", "https://b"),
    ],
)
def test_no_proxy_is_read_as_go_reads_it(no_proxy, direct, proxied):
    assert is_direct(direct, no_proxy)
    assert not is_direct(proxied, no_proxy)


def test_a_star_excludes_everything():
    assert is_direct("https://example.com", "*")


@pytest.mark.parametrize(
    "host",
    [
        "localhost",
        "127.0.0.9",
        "[::1]",
        "169.254.169.254",
        "metadata.google.internal",
        "coredumpd-server.coredumpd.svc",
        "etcd.kube-system.svc.cluster.local",
    ],
)
def test_what_is_near_needs_no_entry(host):
    assert is_direct(f"https://{host}:8443/x", "")


@pytest.mark.parametrize(
    ("environ", "url", "proxy"),
    [
        ({"HTTPS_PROXY": "http://p:1", "HTTP_PROXY": "http://q:2"}, "http://h", "http://q:2"),
        ({"https_proxy": "p"}, "https://h", "http://p:80"),
        ({"HTTPS_PROXY": "https://p"}, "https://h", "https://p:443"),
        ({"ALL_PROXY": "http://[::2]:3"}, "https://h", "http://[::2]:3"),
        ({"HTTPS_PROXY": "", "https_proxy": "http://p:1"}, "https://h", "http://p:1"),
        ({"HTTPS_PROXY": "http://p:1"}, "http://h", None),
        ({}, "https://h", None),
    ],
)
def test_the_scheme_of_the_request_chooses_the_variable(environ, url, proxy):
    found = proxies.of_environment(environ).of(url)
    assert (found.url if found else None) == proxy


def test_a_password_is_in_no_text():
    proxy = proxies.parse("HTTPS_PROXY", "http://me:s%40cret@p:1")
    assert proxy.headers == {"Proxy-Authorization": "Basic bWU6c0BjcmV0"}
    assert "cret" not in f"{proxy!r} {proxy.url}"


@pytest.mark.parametrize("url", ["socks5://p:1", "http://:1/", "http://p:port", "http://[::1"])
def test_a_wrong_proxy_names_the_variable_and_not_its_value(url):
    with pytest.raises(errors.SettingsError, match="HTTPS_PROXY") as caught:
        proxies.of_environment({"HTTPS_PROXY": url + "secret"})
    assert "secret" not in str(caught.value)


@hypothesis.given(st.ip_addresses(), st.integers(0, 128))
def test_every_address_of_a_range_is_asked_directly(address, length):
    network = ipaddress.ip_network(f"{address}/{min(length, address.max_prefixlen)}", strict=False)
    host = f"[{address}]" if address.version == 6 else str(address)
    assert is_direct(f"https://{host}", str(network))


@hypothesis.given(st.text(max_size=40))
def test_any_text_of_no_proxy_is_read(text):
    assert is_direct("https://127.0.0.1", text)
    proxies.of_environment({**PROXY, "NO_PROXY": text}).of("https://[2001:db8::1]:99/x")
