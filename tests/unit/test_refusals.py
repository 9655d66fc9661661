"""What kubectl and the API server say, and which error that becomes. Every message was printed by kubectl 1.37.2 on a real lab."""

from __future__ import annotations

from pathlib import Path

import pytest

from labkit.cluster.kubectl import Kubectl
from labkit.cluster.refusals import forbidden
from labkit.common.errors import ApiUnreachable, ClusterError, Forbidden, Unauthorized

PATCH = r"""Error from server (Forbidden): error when applying patch:
{"data":{"k":"forbidden: User \"someone\""},"metadata":{"annotations":{}}}
to:
Resource: "/v1, Resource=configmaps", GroupVersionKind: "/v1, Kind=ConfigMap"
Name: "m-test", Namespace: "default"
for: "STDIN": error when patching "STDIN": configmaps "m-test" is forbidden: User "user-dev@kratix.io" cannot patch resource "configmaps" \
in API group "" in the namespace "default"
"""
CREATE = (
    'Error from server (Forbidden): namespaces is forbidden: User "user-dev@kratix.io" cannot create resource "namespaces" in API group ""'
)
RAW = 'Error from server (Forbidden): forbidden: User "user-dev@kratix.io" cannot get path "/metrics"'
REFUSED = """E1123 23:23:21.758137   18907 memcache.go:381] "Couldn't get current server API group list" \
err="Get \\"https://localhost:29999/api\\": dial tcp 127.0.0.1:29999: connect: connection refused"
The connection to the server localhost:29999 was refused - did you specify the right host or port?"""


def program_kubectl(tmp_path: Path, script: str) -> Kubectl:
    """A stand-in for the program only: provoking all of its messages needs several broken servers."""
    program = tmp_path / "kubectl"
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)
    (tmp_path / "kubeconfig").touch()
    return Kubectl(lambda: program, tmp_path / "kubeconfig", tmp_path / "kubectl-cache")


def test_before_the_cluster_was_ever_started_that_is_said_and_not_kubectls_words_about_a_file(tmp_path: Path) -> None:
    kubectl = program_kubectl(tmp_path, "echo asked")
    (tmp_path / "kubeconfig").unlink()
    with pytest.raises(ClusterError, match="has not been started yet") as refused:
        kubectl.run("admin", "get", "namespaces")
    assert "lab.cluster.start()" in refused.value.fix


def kubectl_that_says(tmp_path: Path, said: str) -> Kubectl:
    (tmp_path / "said").write_text(said)
    return program_kubectl(tmp_path, f"cat '{tmp_path}/said' >&2\nexit 1")


@pytest.mark.parametrize("said", [CREATE, RAW, PATCH, f"W1123 a warning first\n{CREATE}"], ids=["create", "path", "patch", "warning"])
def test_a_403_names_the_user_wherever_in_the_answer_it_stands(tmp_path: Path, said: str) -> None:
    with pytest.raises(Forbidden) as caught:
        kubectl_that_says(tmp_path, said).run("user-dev", "create", "namespace", "test-ns")
    assert caught.value.user == "user-dev@kratix.io"
    assert caught.value.what == f"$ kubectl --context user-dev create namespace test-ns\n{said.strip()}"
    assert "03-rbac" in caught.value.fix


@pytest.mark.parametrize(
    ("said", "kind"),
    [
        ("error: You must be logged in to the server (Unauthorized)", Unauthorized),
        ('Unable to connect to the server: failed to refresh token: oauth2: "invalid_grant" "Session not active"', Unauthorized),
        (REFUSED, ApiUnreachable),
        ('Error from server (NotFound): namespaces "refresh" not found', ClusterError),
        ('Error from server (NotFound): namespaces "Unauthorized" not found', ClusterError),
        ("Unable to connect to the server: tls: failed to verify certificate: x509: certificate signed by unknown authority", ClusterError),
        ("error: exactly one NAME is required, got 0\nSee 'kubectl create namespace -h' for help and examples", ClusterError),
        ("no", ClusterError),
    ],
)
def test_another_failure_becomes_the_error_of_its_kind(tmp_path: Path, said: str, kind: type[ClusterError]) -> None:
    with pytest.raises(ClusterError) as caught:
        kubectl_that_says(tmp_path, said).run("user-dev", "get", "namespaces")
    assert type(caught.value) is kind
    assert said in caught.value.what


def test_a_refusal_that_names_nobody_has_an_empty_user() -> None:
    assert forbidden("no", "namespaces is forbidden").user == ""


def test_a_kubectl_that_gives_no_answer_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("labkit.cluster.kubectl._TIMEOUT_SECONDS", 0.2)
    with pytest.raises(ClusterError, match=r"no answer within 0\.2 s") as caught:
        program_kubectl(tmp_path, "exec sleep 60").run("user-dev", "get", "pods")
    assert "labkit status" in caught.value.fix


def test_kubectl_gets_the_labs_kubeconfig_the_context_and_a_cache_of_its_own(tmp_path: Path) -> None:
    shows = program_kubectl(tmp_path, 'echo "$KUBECACHEDIR" "$KUBERC"\nprintf "%s\\n" "$@"\ncat')
    answer = shows.run("user-dev", "apply", "-f", "-", stdin="{}")
    lines = [f"{tmp_path}/kubectl-cache off", "apply", f"--kubeconfig={tmp_path}/kubeconfig", "--context", "user-dev", "-f", "-", "{}"]
    assert answer.output.splitlines() == lines
    assert str(answer).startswith("$ kubectl --context user-dev apply -f -\n")
