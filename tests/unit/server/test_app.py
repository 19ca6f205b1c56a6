from __future__ import annotations

from typing import Any

import pytest

from coredumpd.apiserver.auth import rights
from coredumpd.apiserver.http import probes
from coredumpd.kube import events
from coredumpd.objects import engines
from coredumpd.server import app, cluster, kinds, standalone
from coredumpd.server.dumps import in_use
from coredumpd.server.retention import evictor, facts, quota
from coredumpd.server.uploads import (
    admission,
    event_rate,
    event_reports,
    intake,
    origin,
    senders,
)
from coredumpd.settings import sections
from coredumpd.store import engines as stores

GROUP = "/apis/coredump.fujitsu.com"
BASE = f"{GROUP}/v1alpha1"
NAMESPACE = f"{BASE}/namespaces/(?P<namespace>[^/]+)"
PATH = rights.Path()


def resource(plural: str, subresource: str = "") -> rights.Resource:
    return rights.Resource("coredump.fujitsu.com", "v1alpha1", plural, subresource)


RIGHTS = {
    r"/apis/?": PATH,
    rf"{GROUP}/?": PATH,
    rf"{BASE}/?": PATH,
    r"/openapi/v2": PATH,
    r"/openapi/v3/?": PATH,
    f"/openapi/v3{BASE}": PATH,
    "/livez": rights.Anybody(),
    "/readyz": rights.Anybody(),
    "/healthz": rights.Anybody(),
    r"/version/?": PATH,
    "/metrics": PATH,
    f"{BASE}/coredumpendpoints": resource("coredumpendpoints"),
    f"{NAMESPACE}/coredumpendpoints": resource("coredumpendpoints"),
    f"{NAMESPACE}/coredumpendpoints/(?P<name>[^/]+)": resource("coredumpendpoints"),
    f"{NAMESPACE}/coredumpendpoints/(?P<name>[^/]+)/dump": resource("coredumpendpoints", "dump"),
    f"{NAMESPACE}/coredumpendpoints/(?P<name>[^/]+)/proxy": resource("coredumpendpoints", "proxy"),
    f"{BASE}/coredumps": resource("coredumps"),
    f"{NAMESPACE}/coredumps": resource("coredumps"),
    f"{NAMESPACE}/coredumps/(?P<name>[^/]+)": resource("coredumps"),
    f"{NAMESPACE}/coredumps/(?P<name>[^/]+)/dump": resource("coredumps", "dump"),
    f"{NAMESPACE}/coredumps/(?P<name>[^/]+)/proxy": resource("coredumps", "proxy"),
    f"{NAMESPACE}/coredumps/(?P<name>[^/]+)/proxy/core": resource("coredumps", "proxy"),
    f"{NAMESPACE}/coredumps/(?P<name>[^/]+)/backtrace": resource("coredumps", "backtrace"),
    "/agent/v1/dumps/(?P<namespace>[^/]+)/(?P<pod_uid>[^/]+)/(?P<container>[^/]+)/(?P<id>[^/]+)": (
        PATH
    ),
    "/agent/v1/events": PATH,
}


class Kube:
    async def request(self, *_: Any, **__: Any) -> tuple[int, Any]:
        raise AssertionError("no test asks Kubernetes")


async def write_event(*_: str) -> None:
    raise AssertionError("no test writes Events")


@pytest.fixture
def server(tmp_path):
    """A whole server, to which agents may send dumps."""
    store = stores.open_store(f"file://{tmp_path}")
    account = "system:serviceaccount:coredumpd:agent"
    kube = cluster.KubeCluster(Kube())
    sent_by = senders.Senders(kube, account, unbound=False)
    facts_of = facts.Facts(store)
    notifier = quota.Notifier(store, write_event)
    room = admission.Admission(
        in_use.CountingStore(store),
        evictor.Evictor(in_use.CountingStore(store), facts_of, notifier),
        sections.RetentionSettings(),
        0,
        admission.Effects(write_event),
    )
    reports = event_reports.EventReports(
        kube, sent_by, event_rate.Rate(60), write_event, events.Events(None, None)
    )
    whole = app.App(
        app.Outside(
            engine=engines.open_engine(f"sqlite:///{tmp_path}/objects.db"),
            store=store,
            authenticator=standalone.TokenAuthenticator("t"),
            authorizer=standalone.TokenHolderMay(),
            cluster=cluster.NoCluster(),
            checks={},
            uploads=intake.Uploads(
                store, sent_by, origin.Origins(kube, store), room, events=reports
            ),
        )
    )
    yield whole
    whole.close()


def test_every_route_demands_the_rights_of_this_table(server):
    table = [(route.path, route.rights) for route in server.routes()]
    assert dict(table) == RIGHTS
    assert len(table) == len(RIGHTS)


def test_only_probes_are_for_anybody(server):
    for route in server.routes():
        if isinstance(route.rights, rights.Anybody):
            assert route.handler is probes.Probe, route.path


def test_each_subresource_that_is_advertised_has_a_route_and_a_right_of_its_own(server):
    demanded = {route.rights for route in server.routes()}
    for kind in kinds.API_GROUP.kinds:
        for subresource in kind.subresources:
            assert resource(kind.plural, subresource.name) in demanded
