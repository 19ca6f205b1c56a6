from __future__ import annotations

import subprocess
import sys

import pytest

from coredumpd import errors
from coredumpd.objects import engines
from coredumpd.settings import backends


@pytest.mark.parametrize("url", ["mysql://x", "etcd://host:2379", "", "sqlite:///relative"])
def test_an_unknown_url_is_refused(url: str) -> None:
    with pytest.raises(errors.SettingsError, match="must be a URL sqlite"):
        engines.open_engine(url)


def test_a_password_is_not_sent_without_tls() -> None:
    with pytest.raises(errors.SettingsError, match="needs TLS"):
        engines.open_engine(
            "etcd+http://h:2379/x", backends.EtcdSettings(credentialsDir="/credentials")
        )


def test_etcd_need_not_be_there_yet() -> None:
    engine = engines.open_engine("etcd+http://127.0.0.1:1/x")
    with pytest.raises(errors.Unavailable, match=r"127\.0\.0\.1:1"):
        engine.revision()
    engine.close()


def test_an_engine_is_imported_only_when_it_is_used() -> None:
    code = "import sys; from coredumpd.objects import engines; sys.exit('urllib3' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True, timeout=30)
