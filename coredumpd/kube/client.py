"""One small asynchronous client: request in, (status, parsed JSON) out.

Built on the transport of `kubernetes.aio` (TLS, kubeconfig, exec plugins, token rotation), without
its generated classes: those cost 80 MiB resident, and the agent's limit is 96. Belongs to one
event loop.
"""

from __future__ import annotations

import asyncio
import datetime
import json
import os
import urllib.parse
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from typing import Any

import aiohttp
from kubernetes.aio import config
from kubernetes.aio.client import api_client, configuration
from kubernetes.aio.config import incluster_config

from coredumpd import errors, proxies
from coredumpd.kube import api

REQUEST_TIMEOUT_S = 15.0
# At a time, which is more than a server has requests in flight. With aiohttp's 100, the reviews of
# one caller's requests would keep those of all others waiting.
CONNECTIONS_MAX = 1024
TOKEN_AGE_S_MAX = 60.0  # the kubelet rotates a token long before it expires
RESPONSE_BYTES_MAX = 64 * 1024 * 1024
_WATCH_SILENCE_S_MAX = 330.0  # a watch is asked for 300 s; a peer silent for longer is gone
_DOWNLOAD_SILENCE_S_MAX = 60.0
_CHUNK_BYTES = 256 * 1024
_CLOSING_S = 0.05  # a TLS transport closes its socket some turns of the loop later
_SERVICE_ACCOUNT_DIR = "/var/run/secrets/kubernetes.io/serviceaccount"
_BY_STATUS: dict[int, type[errors.CoredumpdError]] = {
    400: errors.BadRequest,
    401: errors.Unauthorized,
    403: errors.Forbidden,
    404: errors.NotFound,
    409: errors.Conflict,
    422: errors.Invalid,
}

Query = Mapping[str, str | int | bool]


def in_cluster() -> bool:
    """Does this process run in a pod with a service account?"""
    return bool(os.environ.get("KUBERNETES_SERVICE_HOST")) and os.path.exists(
        f"{_SERVICE_ACCOUNT_DIR}/token"
    )


def own_namespace() -> str | None:
    """The namespace of the pod this process runs in."""
    try:
        with open(f"{_SERVICE_ACCOUNT_DIR}/namespace", encoding="ascii") as file:
            return file.read().strip()
    except FileNotFoundError:
        return None


def kubeconfigs(argument: str | None) -> list[str]:
    """The kubeconfig files that `connect` reads, found as kubectl finds them."""
    if argument is not None:
        return [argument]
    default = os.path.expanduser("~/.kube/config")
    return [path for path in os.environ.get("KUBECONFIG", default).split(os.pathsep) if path]


def _check_kubeconfigs(argument: str | None) -> None:
    """Raises SettingsError when there is none, or `argument` cannot be read."""
    paths = kubeconfigs(argument)
    if argument is None and not any(map(os.path.exists, paths)):
        raise errors.SettingsError(
            f"no kubeconfig: {' and '.join(paths) or '$KUBECONFIG'} does not exist; name one by"
            " --kubeconfig or in the variable KUBECONFIG"
        )
    if argument is not None:
        try:
            with open(argument, "rb"):
                pass
        except OSError as error:
            raise errors.SettingsError(f"kubeconfig {argument}: {error.strerror}") from error


async def connect(kubeconfig: str | None = None, context: str | None = None) -> Client:
    """A client: of `kubeconfig` if given, else in-cluster if possible, else ~/.kube/config.

    In-cluster there is never a proxy: the API server is an address of the cluster's own network.
    Nothing is sent yet. Raises SettingsError when no configuration is found or it is wrong.
    """
    settings = configuration.Configuration()
    # aiohttp would look for proxies and passwords in the environment by itself.
    settings.client_session_kwargs = {"trust_env": False}
    settings.connection_pool_maxsize = CONNECTIONS_MAX
    try:
        if kubeconfig is None and in_cluster():
            loader = incluster_config.InClusterConfigLoader(
                f"{_SERVICE_ACCOUNT_DIR}/token", f"{_SERVICE_ACCOUNT_DIR}/ca.crt"
            )
            loader._token_refresh_period = datetime.timedelta(seconds=TOKEN_AGE_S_MAX)
            loader.load_and_set(settings)
        else:
            _check_kubeconfigs(kubeconfig)
            await config.load_kube_config(kubeconfig, context, settings)
            _choose_proxy(settings)
    except (config.ConfigException, OSError, ValueError, LookupError, TypeError) as error:
        raise errors.SettingsError(f"no way to reach Kubernetes: {error}") from error
    return Client(settings)


def _choose_proxy(settings: configuration.Configuration) -> None:
    """The `proxy-url` of the kubeconfig, else the environment's. Raises SettingsError."""
    if settings.proxy:
        proxy: proxies.Proxy | None = proxies.parse("proxy-url", settings.proxy)
    else:
        proxy = proxies.of_environment().of(settings.host)
    if proxy is not None:
        settings.proxy, settings.proxy_headers = proxy.url, proxy.headers


def default_namespace(kubeconfig: str | None = None, context: str | None = None) -> str:
    """The default namespace of what `connect` connects to with these arguments, as in kubectl.

    Raises SettingsError.
    """
    if kubeconfig is None and in_cluster():
        return own_namespace() or "default"
    _check_kubeconfigs(kubeconfig)
    try:
        contexts, active = config.list_kube_config_contexts(kubeconfig)
        for named in contexts:
            if named["name"] == (context or active["name"]):
                return str(named["context"].get("namespace") or "default")
    except (config.ConfigException, OSError, ValueError, LookupError, TypeError) as error:
        raise errors.SettingsError(f"no way to reach Kubernetes: {error}") from error
    raise errors.SettingsError(f"the kubeconfig has no context {context!r}")


class Client:
    """A connection pool to one API server. Use as `async with`, or `close()` it."""

    def __init__(self, settings: configuration.Configuration) -> None:
        self._settings = settings
        self._api = api_client.ApiClient(settings)
        self.server: str = settings.host

    async def __aenter__(self) -> Client:
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Close every connection. May be called twice."""
        await self._api.close()
        await asyncio.sleep(_CLOSING_S)

    async def request(
        self,
        method: str,
        path: str,
        body: object = None,
        *,
        query: Query | None = None,
        headers: api.Headers = api.JSON,
        timeout_s: float = REQUEST_TIMEOUT_S,
    ) -> tuple[int, Any]:
        """(HTTP status, parsed JSON), status 200 to 299. `path` is absolute and already quoted.

        The answer is JSON, whatever `headers` ask for.

        Raises Unavailable (no connection, timeout, 429, 5xx, not JSON), NotFound, Conflict,
        AlreadyExists, Unauthorized, Forbidden, Invalid, BadRequest or Expired; the message is the
        API server's own.
        """
        timeout = aiohttp.ClientTimeout(total=timeout_s)
        response = await self._send(method, path, body, query, timeout, headers)
        try:
            data = await response.content.read(RESPONSE_BYTES_MAX + 1)
            while chunk := await response.content.read(RESPONSE_BYTES_MAX + 1 - len(data)):
                data += chunk
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise self._unavailable(method, path, error) from error
        finally:
            response.release()
        if len(data) > RESPONSE_BYTES_MAX:
            raise errors.Unavailable(f"{method} {path}: more than {RESPONSE_BYTES_MAX} bytes")
        return response.status, _parse(method, path, response.status, data)

    async def watch(
        self, path: str, *, query: Query | None = None, timeout_s: int = 300
    ) -> AsyncIterator[dict[str, Any]]:
        """Watch events `{"type", "object"}` until the server ends the watch, `timeout_s` at most.

        Raises what `request` raises; Expired when the resourceVersion is too old.
        """
        full = {**(query or {}), "watch": True, "timeoutSeconds": timeout_s}
        timeout = aiohttp.ClientTimeout(
            total=None, sock_connect=REQUEST_TIMEOUT_S, sock_read=_WATCH_SILENCE_S_MAX
        )
        response = await self._send("GET", path, None, full, timeout)
        try:
            if not 200 <= response.status < 300:
                _parse("WATCH", path, response.status, await response.read())
            async for line in response.content:
                event = _json("WATCH", path, line)
                if event.get("type") == "ERROR":
                    _raise("WATCH", path, event.get("object", {}).get("code", 500), event["object"])
                yield event
        except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as error:
            raise self._unavailable("WATCH", path, error) from error
        finally:
            response.close()

    async def stream(self, path: str, *, query: Query | None = None) -> AsyncGenerator[bytes, None]:
        """The bytes of a GET as they arrive, however long that takes; use `contextlib.aclosing`.

        Raises what `request` raises; Unavailable when it is cut before its end.
        """
        timeout = aiohttp.ClientTimeout(
            total=None, sock_connect=REQUEST_TIMEOUT_S, sock_read=_DOWNLOAD_SILENCE_S_MAX
        )
        response = await self._send("GET", path, None, query, timeout)
        try:
            if not 200 <= response.status < 300:
                _parse("GET", path, response.status, await response.read())
            async for chunk in response.content.iter_chunked(_CHUNK_BYTES):
                yield chunk
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise self._unavailable("GET", path, error) from error
        finally:
            response.close()

    async def _send(
        self,
        method: str,
        path: str,
        body: object,
        query: Query | None,
        timeout: aiohttp.ClientTimeout,
        headers: api.Headers = api.JSON,
    ) -> aiohttp.ClientResponse:
        try:
            auth = await self._settings.auth_settings()
            own = {item["key"]: item["value"] for item in auth.values()}
            all_headers = {**api.JSON, **headers, **own, "User-Agent": "coredumpd"}
            url = self._settings.host + path
            if query:
                url += "?" + urllib.parse.urlencode(
                    {
                        name: str(value).lower() if isinstance(value, bool) else value
                        for name, value in query.items()
                    }
                )
            answer = await self._api.rest_client.request(
                method, url, headers=all_headers, body=body, _request_timeout=timeout
            )
        except (aiohttp.ClientError, TimeoutError, OSError, config.ConfigException) as error:
            raise self._unavailable(method, path, error) from error
        response: aiohttp.ClientResponse = answer.response
        return response

    def _unavailable(self, method: str, path: str, error: BaseException) -> errors.Unavailable:
        problem = str(error) or type(error).__name__
        return errors.Unavailable(f"Kubernetes at {self.server}: {method} {path}: {problem}")


def _json(method: str, path: str, data: bytes) -> Any:
    try:
        return json.loads(data)
    except (ValueError, RecursionError) as error:
        raise errors.Unavailable(f"{method} {path}: the answer is not JSON") from error


def _parse(method: str, path: str, status: int, data: bytes) -> Any:
    """The document of a good answer; raises the error of a bad one."""
    if 200 <= status < 300:
        return _json(method, path, data) if data.strip() else None
    try:
        document = json.loads(data)
    except (ValueError, RecursionError):  # an error page of something in between; quoted below
        document = {"message": data[:500].decode("utf-8", "replace").strip()}
    _raise(method, path, status, document if isinstance(document, dict) else {})


def _raise(method: str, path: str, status: int, document: dict[str, Any]) -> None:
    """A metav1.Status as our exception."""
    kind = _BY_STATUS.get(status, errors.Unavailable)
    if document.get("reason") == "AlreadyExists":
        kind = errors.AlreadyExists
    elif status == 410:
        kind = errors.Expired
    message = document.get("message") or f"HTTP {status}"
    details = document.get("details")
    causes = tuple(
        errors.Cause(str(cause.get("field", "")), None, str(cause.get("message", "")))
        for cause in (details.get("causes") or [] if isinstance(details, dict) else [])
        if isinstance(cause, dict)
    )
    raise kind(f"Kubernetes refused {method} {path}: {message}", causes)
