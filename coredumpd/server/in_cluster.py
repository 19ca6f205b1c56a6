"""`coredumpd server --config FILE`: kube-apiserver says who may what."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any, cast

from coredumpd import objects, settings, store
from coredumpd.kube import client
from coredumpd.server import (
    app,
    cluster,
    intake,
    inuse,
    inventory,
    keeper,
    run,
    tenancy,
    trust_source,
)
from coredumpd.web import access, callers

_log = logging.getLogger(__name__)


async def serve(sections: Mapping[str, Any], kubeconfig: str | None) -> None:
    """Serve until told to stop; `sections` as `settings.check` returns. Raises SettingsError."""
    chosen: settings.ServerSettings = sections["server"]
    async with await client.connect(kubeconfig) as kube:
        trust = trust_source.TrustSource(kube)
        stored = inuse.Watched(store.open(chosen.store, sections["bucket"]))
        outside = app.Outside(
            engine=objects.open(chosen.objects, sections["etcd"]),
            store=cast(inventory.Store, tenancy.OwnStore(stored, tenancy.Namespaces(kube))),
            authenticator=callers.ClusterAuthenticator(kube, lambda: trust.current),
            authorizer=access.SubjectAccessReviews(kube),
            cluster=cluster.KubeCluster(kube),
            checks={"trust": trust.check},
            uploads=_uploads(stored, chosen.uploadAccount),
        )
        where = run.Listen(
            address=None,
            port=chosen.port,
            cert_file=chosen.tlsCertFile,
            key_file=chosen.tlsKeyFile,
            connections_max=chosen.connectionsMax,
            send_timeout_s=chosen.sendTimeout,
            shutdown_delay_s=chosen.shutdownDelay,
            shutdown_grace_s=chosen.shutdownGrace,
        )
        _log.info("Kubernetes is at %s", kube.server)
        serving = app.App(outside)
        async with keeper.running(serving, stored, kube, sections):
            await run.serve(
                serving,
                where,
                client_bundle=lambda: trust.current.bundle if trust.current else "",
                refresh=trust.refresh,
            )


def _uploads(stored: inuse.Watched, account: str | None) -> intake.Uploads | None:
    """Nobody may send where no account is named."""
    return None if account is None else intake.Uploads(cast(intake.Store, stored), account)
