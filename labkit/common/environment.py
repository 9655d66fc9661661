"""Which variables a child process gets: groups of names, by who needs them. What no group names reaches no child.

Names count in either case, as tools read them in both: ``HTTPS_PROXY`` and ``https_proxy``, ``NPM_CONFIG_…`` and ``npm_config_…``.
No group holds what changes how a program works (``NODE_OPTIONS``, ``GOFLAGS``, ``DEBUG``), nor a key except for package registries.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from pathlib import Path

EVERYBODY = (
    *("PATH", "HOME", "USER", "LOGNAME", "SHELL", "TERM", "TMPDIR", "TZ", "TZDIR", "LANG", "LANGUAGE"),
    *("LC_ALL", "LC_COLLATE", "LC_CTYPE", "LC_MESSAGES", "LC_MONETARY", "LC_NUMERIC", "LC_TIME"),
    # Where a machine keeps libraries and a person's programs, if not in the usual places.
    *("LD_LIBRARY_PATH", "XDG_CACHE_HOME", "XDG_CONFIG_HOME", "XDG_DATA_HOME", "XDG_RUNTIME_DIR", "XDG_STATE_HOME"),
)
"""What any program needs."""

SERVER = (
    *(*EVERYBODY, "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY"),
    *("SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"),
    *("NODE_EXTRA_CA_CERTS", "GIT_SSL_CAINFO", "NIX_SSL_CERT_FILE"),
)
"""What the lab's servers and other clients of the network get: besides, proxies and the authorities that this machine trusts."""

PORTAL = ("NODE_USE_ENV_PROXY",)
"""What Node needs to ask GitHub through a proxy."""

GO = (*SERVER, "GOPROXY", "GOPRIVATE", "GONOPROXY", "GOSUMDB", "GONOSUMDB", "GOAUTH", "GOENV")
"""What Go needs to fetch modules; what is fetched is compared with ``go.sum``."""

MAVEN = (*SERVER, "JAVA_HOME", "MAVEN_HOME", "M2_HOME", "MAVEN_OPTS", "MAVEN_ARGS")
"""What Maven needs: a Java that knows this machine's authorities, and options that name a mirror or a trust store."""

PIP = (
    *(*SERVER, "PYTHONUSERBASE", "PIP_CONFIG_FILE", "PIP_INDEX_URL", "PIP_EXTRA_INDEX_URL", "PIP_NO_INDEX", "PIP_FIND_LINKS"),
    *("PIP_CERT", "PIP_CLIENT_CERT", "PIP_PROXY", "PIP_TRUSTED_HOST", "PIP_TIMEOUT", "PIP_DEFAULT_TIMEOUT", "PIP_RETRIES"),
    *("PIP_KEYRING_PROVIDER",),
)
"""What pip needs to find an index; what is fetched is compared with pinned digests."""

NPM = (
    *(*SERVER, "NPM_TOKEN", "NODE_AUTH_TOKEN", "NPM_CONFIG_REGISTRY", "NPM_CONFIG_USERCONFIG", "NPM_CONFIG_GLOBALCONFIG"),
    *("NPM_CONFIG_CA", "NPM_CONFIG_CAFILE", "NPM_CONFIG_PROXY", "NPM_CONFIG_HTTP_PROXY", "NPM_CONFIG_HTTPS_PROXY", "NPM_CONFIG_NOPROXY"),
    *("NPM_CONFIG_MAXSOCKETS", "NPM_CONFIG_FETCH_RETRIES", "NPM_CONFIG_FETCH_TIMEOUT", "NPM_CONFIG_REPLACE_REGISTRY_HOST"),
)
"""What npm needs to find a registry, with the tokens that an ``.npmrc`` usually names; what is fetched is compared with the lock."""

DOCKER = (
    *(*SERVER, "DOCKER_HOST", "DOCKER_CONTEXT", "DOCKER_CONFIG", "DOCKER_CERT_PATH", "DOCKER_TLS_VERIFY"),
    *("DOCKER_API_VERSION", "DOCKER_DEFAULT_PLATFORM", "DOCKER_BUILDKIT", "SSH_AUTH_SOCK", "DBUS_SESSION_BUS_ADDRESS"),
)
"""What docker and kind need to reach the person's Docker, be it by SSH, and the store of its credentials."""

KUBECTL = SERVER
"""What kubectl needs in the lab's own kubeconfig, and ``labkit credential``, which it may run."""

EXTERNAL_KUBECTL = (
    *(*KUBECTL, "KUBECONFIG", "DBUS_SESSION_BUS_ADDRESS", "SSH_AUTH_SOCK", "DISPLAY", "WAYLAND_DISPLAY", "BROWSER"),
    *("AWS_PROFILE", "AWS_REGION", "AWS_DEFAULT_REGION", "AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE"),
    *("AZURE_CONFIG_DIR", "AAD_LOGIN_METHOD", "CLOUDSDK_CONFIG", "CLOUDSDK_ACTIVE_CONFIG_NAME", "USE_GKE_GCLOUD_AUTH_PLUGIN"),
)
"""What kubectl needs in a person's own context, which may run a plugin that signs in to a cloud: which account is meant, no key of it."""

KERNEL = (
    *(*GO, *MAVEN, *PIP, *NPM, *DOCKER, *EXTERNAL_KUBECTL, *PORTAL, "LABKIT_*", "KEYCLOAK_HOME", "KUBEBUILDER_ASSETS"),
    *("VIRTUAL_ENV", "JUPYTER_CONFIG_DIR", "JUPYTER_DATA_DIR", "JUPYTER_RUNTIME_DIR", "IPYTHONDIR"),
)
"""What the kernel of a headless run needs, which starts all of these."""


def with_jupyter_of_its_own(folder: Path) -> dict[str, str]:
    """This process's environment without what Python, Jupyter and IPython go by, which then keep settings and data in a folder."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "JUPYTER", "IPYTHON"))}
    return {**kept, **jupyter_in(folder)}


def jupyter_in(folder: Path) -> dict[str, str]:
    """The variables by which Jupyter and IPython keep settings and data in a folder."""
    return {
        "JUPYTER_CONFIG_DIR": str(folder),
        "JUPYTER_DATA_DIR": str(folder / "data"),
        "JUPYTER_RUNTIME_DIR": str(folder / "runtime"),
        "IPYTHONDIR": str(folder / "ipython"),
    }


def prefer_own_libraries() -> None:
    """Have Python look for libraries last where ``PYTHONPATH`` says: other programs' may have other versions."""
    named = {os.path.abspath(place) for place in os.environ.get("PYTHONPATH", "").split(os.pathsep) if place}  # noqa: PTH100 - as site does it
    sys.path.sort(key=lambda place: place in named)


def ask_loopback_directly() -> None:
    """Keep this process and its children from asking a proxy for what runs on this machine; programs read one of the two or the other."""
    both = ("NO_PROXY", "no_proxy")
    hosts = [host.strip() for variable in both for host in os.environ.get(variable, "").split(",") if host.strip()]
    # A star counts only when nothing else is said.
    direct = "*" if "*" in hosts else ",".join(dict.fromkeys([*hosts, "localhost", "127.0.0.1"]))
    os.environ.update(dict.fromkeys(both, direct))


def listed(names: tuple[str, ...], environ: Mapping[str, str] | None = None) -> dict[str, str]:
    """The variables that have one of these names.

    Args:
        names: In capital letters; one that ends with ``*`` stands for all that begin so.
        environ: Where they are taken from; this process's environment when left out.
    """
    whole = {name for name in names if not name.endswith("*")}
    begins = tuple(name[:-1] for name in names if name.endswith("*"))
    there = os.environ if environ is None else environ
    return {name: value for name, value in there.items() if name.upper() in whole or (begins and name.startswith(begins))}
