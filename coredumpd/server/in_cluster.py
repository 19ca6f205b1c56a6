"""`coredumpd server --config FILE`: kube-apiserver decides which caller may do what.

Tested in: tests/integration/server/test_lifecycle.py
"""

from __future__ import annotations

import functools
import logging
import socket

from coredumpd.apiserver.auth import authentication, authorization
from coredumpd.apiserver.auth import trust as trusts
from coredumpd.apiserver.http import fairness, life
from coredumpd.kube import client, events
from coredumpd.objects import engines
from coredumpd.server import app, leading
from coredumpd.server import cluster as clusters
from coredumpd.server.downloads import archive
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

_log = logging.getLogger(__name__)


async def serve(settings: sections.Settings, kubeconfig: str | None) -> None:
    """Serve until a signal ends it. Raises SettingsError."""
    server = settings.server
    async with await client.connect(kubeconfig) as kube:
        trust = trusts.TrustSource(kube)
        store = in_use.CountingStore(stores.open_store(server.store, settings.bucket))
        cluster = clusters.KubeCluster(kube)
        recorder = events.Events(kube, socket.gethostname())
        outside = app.Outside(
            engine=engines.open_engine(server.objects, settings.etcd),
            store=store,
            authenticator=authentication.ClusterAuthenticator(
                kube, lambda: trust.current, server.tokenCacheTTL
            ),
            authorizer=authorization.SubjectAccessReviews(
                kube, lifetime_s=server.authorizationCacheTTL
            ),
            cluster=cluster,
            checks={"trust": trust.check},
            uploads=_uploads(store, cluster, settings, kube, recorder),
            pacing=archive.Pacing(server.downloadMinRate, server.downloadRateWindow),
            connections_max=server.connectionsMax,
            limits=fairness.Limits(server.watchesMax, server.downloadsMax, server.requestsMax),
            sending_bytes_max=server.sendMax,
            object_limits=settings.objectLimits,
        )
        options = life.Options(
            address=None,
            port=server.port,
            cert_file=server.tlsCertFile,
            key_file=server.tlsKeyFile,
            send_timeout_s=server.sendTimeout,
            shutdown_delay_s=server.shutdownDelay,
            shutdown_grace_s=server.shutdownGrace,
            refresh_every_s=server.reloadInterval,
        )
        _log.info("Kubernetes is at %s", kube.server)
        serving = app.App(outside)
        async with leading.running(serving, store, kube, cluster, settings, recorder):
            await life.serve(
                serving,
                options,
                client_bundle=lambda: trust.bundle,
                refresh=trust.refresh,
            )


def _uploads(
    store: in_use.CountingStore,
    cluster: clusters.KubeCluster,
    settings: sections.Settings,
    kube: client.Client,
    recorder: events.Events,
) -> intake.Uploads | None:
    """Without an account, no agent may send dumps."""
    server, account = settings.server, settings.server.uploadAccount
    if account is None:
        return None
    agents = senders.Senders(cluster, account, unbound=server.uploadUnboundTokens)
    return intake.Uploads(
        store,
        agents,
        origin.Origins(cluster, store),
        admission.Admission(
            store,
            evictor.Evictor(store, facts.Facts(store), quota.Notifier(store, recorder.pod)),
            settings.retention,
            server.storeKeepFree,
            admission.Effects(recorder.pod),
        ),
        intake.Limits(server.uploadsMax, server.uploadMinRate, server.uploadRateWindow),
        event_reports.EventReports(
            cluster,
            agents,
            event_rate.Rate(server.eventsPerMinute),
            functools.partial(events.put, kube),
            recorder,
        ),
    )
