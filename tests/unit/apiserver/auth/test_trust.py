from __future__ import annotations

import asyncio
import datetime
import logging

import pytest

from coredumpd import errors
from coredumpd.apiserver.auth import certificates, trust

PEM = certificates.self_signed(datetime.datetime.now(datetime.UTC))[0].decode()
DATA = {
    "client-ca-file": PEM,
    "requestheader-client-ca-file": PEM,
    "requestheader-allowed-names": '["front-proxy-client"]',
    "requestheader-username-headers": '["X-Remote-User"]',
    "requestheader-group-headers": '["X-Remote-Group"]',
    "requestheader-extra-headers-prefix": '["X-Remote-Extra-"]',
}


def test_the_config_map_says_whom_to_trust_and_by_which_headers():
    reading = trust.parse(DATA)
    assert (len(reading.client_cas), len(reading.proxy_cas)) == (1, 1)
    assert reading.allowed_names == ("front-proxy-client",)
    assert reading.user_headers == ("x-remote-user",)
    assert reading.extra_prefixes == ("x-remote-extra-",)
    assert reading.bundle.count("BEGIN CERTIFICATE") == 2


def test_an_empty_config_map_trusts_no_certificate():
    reading = trust.parse({})
    assert (reading.client_cas, reading.proxy_cas) == ((), ())
    assert not reading.bundle.strip()


def test_every_key_that_cannot_be_used_is_named():
    data = {"client-ca-file": "x", "requestheader-allowed-names": "{}"}
    with pytest.raises(errors.SettingsError) as raised:
        trust.parse(data)
    assert [cause.field for cause in raised.value.causes] == [
        "client-ca-file",
        "requestheader-allowed-names",
    ]


class Kube:
    def __init__(self, *answers):
        self.answers = list(answers)

    async def request(self, method, path, body=None, *, timeout_s=0.0):
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return 200, answer


def test_a_failed_reading_leaves_the_last_one_in_force(caplog):
    source = trust.TrustSource(
        Kube(
            errors.Unavailable("gone"), {"data": DATA}, errors.Unavailable("gone"),
            {"data": {"client-ca-file": "x"}}, {"data": {}},
        )
    )  # fmt: skip

    async def scenario():
        await source.refresh()
        assert source.bundle == ""
        with pytest.raises(errors.Unavailable, match="not read yet"):
            await source.check()
        await source.refresh()
        await source.check()
        for _ in range(2):
            await source.refresh()
            assert source.current == trust.parse(DATA)
        await source.refresh()
        assert source.current == trust.parse({})

    with caplog.at_level(logging.WARNING):
        asyncio.run(scenario())
    messages = [record.getMessage() for record in caplog.records]
    assert len([one for one in messages if "the last reading stands" in one]) == 3
    # The certificate of these tests is a server's, and no authority for clients.
    assert len([one for one in messages if "its clients are refused" in one]) == 2
