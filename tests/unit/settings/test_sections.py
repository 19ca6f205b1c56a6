from __future__ import annotations

import pytest

from coredumpd import errors
from coredumpd.settings import file


def test_an_empty_configuration_is_all_defaults() -> None:
    settings = file.check({})
    assert settings.policy.hostCrashes == "ignore"
    assert settings.policy.maxSize == 8 << 30
    assert settings.agent.hostDir == "/var/lib/coredumpd"


def test_every_mistake_is_reported_at_once_with_field_value_and_rule() -> None:
    document = {
        "polcy": {},
        "policy": {"maxSize": "8GB", "hostCrashes": "keep"},
        "agent": {"hostDir": "relative", "corePipeLimit": True},
        "server": [],
    }
    with pytest.raises(errors.SettingsError) as caught:
        file.check(document)
    assert {cause.field for cause in caught.value.causes} == {
        "polcy",
        "policy.maxSize",
        "policy.hostCrashes",
        "agent.hostDir",
        "agent.corePipeLimit",
        "server",
    }
    assert "policy.maxSize: '8GB': must be a size" in str(caught.value)


def test_rules_that_concern_several_fields_are_reported_with_all_others() -> None:
    document = {
        "agent": {"store": "gs://cores", "hostDir": "relative"},
        "server": {"store": "gs://cores"},
        "bucket": {"region": "eu-1", "sseKMSKeyID": "k"},
        "etcd": {"certFile": "/tls.crt"},
    }
    with pytest.raises(errors.SettingsError) as caught:
        file.check(document)
    assert {cause.field for cause in caught.value.causes} == {
        "agent.hostDir",
        "bucket.region",
        "bucket.sseKMSKeyID",
        "etcd.keyFile",
    }


def test_an_answer_cannot_be_remembered_for_no_time() -> None:
    with pytest.raises(errors.SettingsError, match=r"tokenCacheTTL: '0': .*more than 0"):
        file.check({"server": {"tokenCacheTTL": "0"}})


def test_a_typo_names_what_is_known() -> None:
    with pytest.raises(errors.SettingsError, match=r"did you mean hostDir\?"):
        file.check({"agent": {"hostdir": "/x"}})
    with pytest.raises(errors.SettingsError, match=r"known here: .*hostDir"):
        file.check({"agent": {"colour": "red"}})


@pytest.mark.parametrize("path", ["", "a", "/a/../b", "/a\nb", 7, None])
def test_a_path_must_be_absolute_and_plain(path: object) -> None:
    with pytest.raises(errors.SettingsError):
        file.check({"agent": {"hostDir": path}})


def test_settings_are_immutable() -> None:
    agent = file.check({}).agent
    with pytest.raises(AttributeError):
        agent.hostDir = "/elsewhere"


@pytest.mark.parametrize(
    "url",
    [
        "sqlite:////var/lib/x.db",
        "etcd://10.0.0.1:2379/coredumpd",
        "etcd://etcd-0.etcd:2379,etcd-1.etcd:2379,[::1]:2379/a/b",
        "etcd+http://127.0.0.1:2379/x",
    ],
)
def test_objects_live_in_sqlite_or_etcd(url: str) -> None:
    assert file.check({"server": {"objects": url}}).server.objects == url


@pytest.mark.parametrize(
    "url",
    [
        "sqlite:///relative.db",
        "etcd://host:2379",
        "etcd://host:2379/",
        "etcd://host/x",
        "etcd://host:0/x",
        "etcd://host:99999/x",
        "etcd://,/x",
        "etcd://host:2379,/x",
        "etcd://user:password@host:2379/x",
        "etcd://host:2379/../x",
        "etcd://host:2379/x?ca=/y",
        "etcds://host:2379/x",
        7,
    ],
)
def test_any_other_place_for_objects_is_refused_with_the_rule(url: object) -> None:
    with pytest.raises(errors.SettingsError, match=r"server\.objects: .*etcd://HOST:PORT"):
        file.check({"server": {"objects": url}})


def test_a_client_certificate_for_etcd_needs_its_key() -> None:
    with pytest.raises(errors.SettingsError, match=r"etcd\.keyFile: .*together with certFile"):
        file.check({"etcd": {"certFile": "/tls.crt"}})
    with pytest.raises(errors.SettingsError, match=r"etcd\.certFile: .*together with keyFile"):
        file.check({"etcd": {"keyFile": "/tls.key"}})
