from __future__ import annotations

import pytest
from tornado import web

from coredumpd.apiserver.auth import rights
from coredumpd.apiserver.http import application
from coredumpd.apiserver.http import handler as base
from coredumpd.objects import engines
from coredumpd.server import app, cluster, standalone
from coredumpd.store import engines as stores


@pytest.fixture
def served(tmp_path):
    made = app.App(
        app.Outside(
            engine=engines.open_engine(f"sqlite:///{tmp_path}/objects.db"),
            store=stores.open_store(f"file://{tmp_path}"),
            authenticator=standalone.TokenAuthenticator("t"),
            authorizer=standalone.TokenHolderMay(),
            cluster=cluster.NoCluster(),
            checks={},
        )
    )
    yield made
    made.close()


def test_every_route_has_a_policy_and_only_probes_are_for_anybody(served):
    for path, handler, _ in served.routes():
        assert isinstance(handler.policy, rights.Anybody | rights.Path | rights.Resource), path
        if isinstance(handler.policy, rights.Anybody):
            assert path in ("/livez", "/readyz", "/healthz")


def test_a_handler_class_without_a_policy_does_not_start():
    class Careless(base.Handler):
        pass

    with pytest.raises(TypeError, match="Careless declares no policy"):
        application.application([("/x", Careless, {})], None)


def test_a_plain_tornado_handler_does_not_start():
    with pytest.raises(TypeError, match="declares no policy"):
        application.application([("/x", web.RequestHandler, {})], None)


def test_what_no_route_matches_has_a_policy():
    assert isinstance(application.Unknown.policy, rights.Path)
