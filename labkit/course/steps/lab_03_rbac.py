"""Lab 03: What a group may do."""

from __future__ import annotations

from collections.abc import Iterator

from ...cluster.access import kind_and_name
from ...common.display import Finding
from ...lab import Lab
from .registry import add_lab
from .shared import AUDITORS, claims_of, deletes, rights

LAB = add_lab("03-rbac", "RBAC: what a group may do", needs="cluster")


@LAB.step("rbac", "the RBAC objects are as rbac.yaml declares them", minutes=12)
def rbac(lab: Lab) -> Iterator[Finding]:
    wrong = {(each.kind, each.name): str(each) for each in reversed(lab.cluster.rbac.differences())}
    for wanted in lab.cluster.rbac.objects():
        name = kind_and_name(wanted)
        yield Finding(name not in wrong, wrong.get(name, " ".join(name)), "lab.cluster.rbac.apply()")


rbac.solution(lambda lab: lab.cluster.rbac.apply())
rbac.reset(lambda lab: lab.cluster.rbac.remove())


@LAB.exercise("read-configmaps", "the group kube-audit may read ConfigMaps everywhere, and nothing else", minutes=5)
def read_configmaps(lab: Lab) -> Iterator[Finding]:
    """Two objects: a role that lists verbs on resources, and a binding that gives it to a group. Which kind of role holds in every
    namespace? kubectl create clusterrole and kubectl create clusterrolebinding make both; a group need not exist anywhere to be bound.
    """
    reading = ("get configmaps", "list configmaps", "watch configmaps")
    yield from rights(
        lab, claims_of(lab, *AUDITORS), may=reading, may_not=("create configmaps", "get secrets", "list pods", "list namespaces")
    )


@read_configmaps.solution
def _(lab: Lab) -> None:
    kubectl = lab.cluster.admin_kubectl
    kubectl("delete", "--ignore-not-found", "clusterrolebinding/configmap-reader", "clusterrole/configmap-reader")
    kubectl("create", "clusterrole", "configmap-reader", "--verb=get,list,watch", "--resource=configmaps")
    kubectl("create", "clusterrolebinding", "configmap-reader", "--clusterrole=configmap-reader", "--group=kube-audit")


read_configmaps.reset(deletes("clusterrolebinding/configmap-reader", "clusterrole/configmap-reader"))


@LAB.exercise("own-namespace", "the reader may change what is in the namespace dev-home, and nowhere else", minutes=5)
def own_namespace(lab: Lab) -> Iterator[Finding]:
    """A RoleBinding may name a ClusterRole: then its rules hold in the binding's namespace alone. Kubernetes' own role edit is made for
    this. Bind the person, not the group, or everybody in it gets it; which name does the API server know them by?
    """
    dev = lab.realm.preview(lab.workshop.reader.username)
    bindings = "create rolebindings.rbac.authorization.k8s.io"
    yield from rights(lab, dev, "dev-home", may=("create configmaps", "delete configmaps"), may_not=(bindings,))
    yield from rights(lab, dev, "default", may_not=("create configmaps",))
    other = claims_of(lab, "somebody-else@example.com", lab.workshop.reading.group)
    yield from rights(lab, other, "dev-home", may_not=("create configmaps",))


@own_namespace.solution
def _(lab: Lab) -> None:
    kubectl = lab.cluster.admin_kubectl
    name = lab.cluster.identity(lab.realm.preview(lab.workshop.reader.username)).username
    kubectl("delete", "--ignore-not-found", "namespace/dev-home")
    kubectl("create", "namespace", "dev-home")
    kubectl("create", "rolebinding", "dev-home", "--namespace=dev-home", "--clusterrole=edit", f"--user={name}")


own_namespace.reset(deletes("namespace/dev-home"))
