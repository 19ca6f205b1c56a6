from __future__ import annotations

import subprocess
import sys

import pytest

from coredumpd import errors
from coredumpd.settings import backends
from coredumpd.store import engines as stores
from coredumpd.store import uploading
from coredumpd.store.directory import engine


@pytest.mark.parametrize("url", ["file://host/dir", "ftp:///x", "/plain", "file:relative", ""])
def test_a_url_that_no_engine_takes_is_refused(url):
    with pytest.raises(errors.SettingsError, match="file:///DIRECTORY"):
        stores.open_store(url)


def test_a_file_url_is_a_directory_whose_name_may_be_quoted():
    store = stores.open_store("file:///srv/core%20dumps")
    assert isinstance(store, engine.DirectoryStore)
    assert store.root == "/srv/core dumps"


def test_a_target_is_a_server_or_a_store():
    bucket, upload = backends.BucketSettings(), backends.UploadSettings()
    server = stores.open_target("https://coredumpd:8443", bucket, upload)
    assert isinstance(server, uploading.UploadTarget)
    assert isinstance(stores.open_target("file:///srv", bucket, upload), engine.DirectoryStore)


def test_a_directory_store_imports_no_object_store_client():
    script = (
        "import sys; from coredumpd.store import engines; engines.open_store('file:///tmp');"
        "print('obstore' in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "False"
