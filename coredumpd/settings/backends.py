"""Settings of the services that the daemons reach over the network: uploads, buckets, etcd.

Tested in: tests/unit/settings/test_sections.py
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

from coredumpd import errors
from coredumpd.settings import values

BUCKET_SCHEMES = ("s3", "gs", "az")


@dataclasses.dataclass(frozen=True)
class UploadSettings:
    """How an agent reaches a server that is its store (`agent.store: https://HOST:PORT`)."""

    caFile: str = values.setting(
        "/etc/coredumpd/tls/ca.crt",
        *values.PATH,
        "PEM certificates of the authority that signed the server's certificate",
    )
    tokenFile: str = values.setting(
        "/var/run/secrets/kubernetes.io/serviceaccount/token",
        *values.PATH,
        "token of the service account, read again for each dump",
    )


@dataclasses.dataclass(frozen=True)
class BucketSettings:
    """How agent and server reach a bucket. Credentials are never here: see docs/store.md."""

    endpoint: str | None = values.setting(
        None,
        *values.ENDPOINT,
        "URL of the store; not set: the cloud's own. http only inside a cluster",
    )
    region: str | None = values.setting(
        None, *values.NAME, "S3 region; not set: that of the environment"
    )
    pathStyle: bool = values.setting(
        True,
        *values.BOOLEAN,
        "S3: true puts the bucket in the path, false in the host name",
    )
    sse: str | None = values.setting(
        None,
        *values.one_of("AES256", "aws:kms", "aws:kms:dsse"),
        "S3 server-side encryption of every object; not set: the bucket's default",
    )
    sseKMSKeyID: str | None = values.setting(
        None,
        *values.named("must be a KMS key id"),
        "the key for `sse` aws:kms and aws:kms:dsse; not set: the account's default",
    )
    account: str | None = values.setting(None, *values.NAME, "Azure storage account")
    caFile: str | None = values.setting(
        None,
        *values.PATH,
        "PEM certificates trusted in addition to the public ones, for a private endpoint",
    )

    def conflicts(self) -> Iterator[errors.Cause]:
        """Each field that contradicts another one."""
        if self.sseKMSKeyID is not None and self.sse not in ("aws:kms", "aws:kms:dsse"):
            rule = "needs bucket.sse aws:kms or aws:kms:dsse"
            yield errors.Cause("bucket.sseKMSKeyID", self.sseKMSKeyID, rule)

    def conflicts_with(self, scheme: str) -> Iterator[errors.Cause]:
        """Each field that has no meaning for a store of this URL scheme."""
        for field, only in (
            ("region", "s3"),
            ("sse", "s3"),
            ("sseKMSKeyID", "s3"),
            ("account", "az"),
        ):
            value = getattr(self, field)
            if value is not None and scheme != only:
                yield errors.Cause(f"bucket.{field}", value, f"is only for {only}:// stores")


@dataclasses.dataclass(frozen=True)
class EtcdSettings:
    """How the server reaches etcd. Each file is read again when it changes."""

    caFile: str | None = values.setting(
        None,
        *values.PATH,
        "PEM certificates of the authority that signed etcd's; not set: the public ones",
    )
    certFile: str | None = values.setting(
        None, *values.PATH, "PEM client certificate chain; needs `keyFile`"
    )
    keyFile: str | None = values.setting(None, *values.PATH, "PEM private key of `certFile`")
    credentialsDir: str | None = values.setting(
        None,
        *values.PATH,
        "directory with the files username and password: a mounted Secret of type"
        " kubernetes.io/basic-auth",
    )

    def conflicts(self) -> Iterator[errors.Cause]:
        """Each field that contradicts another one."""
        if self.certFile is None and self.keyFile is not None:
            yield errors.Cause("etcd.certFile", None, "must be set together with keyFile")
        if self.keyFile is None and self.certFile is not None:
            yield errors.Cause("etcd.keyFile", None, "must be set together with certFile")
