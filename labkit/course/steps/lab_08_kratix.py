"""Lab 08: An API of the platform's own, which the same identity guards."""

from __future__ import annotations

from collections.abc import Iterator

from ...common.display import Finding, shown
from ...kratix.promise import PROMISE_KIND
from ...lab import Lab
from .registry import add_lab
from .shared import AUDITORS, claims_of, deletes, rights, there

_REGISTER = "admin.register_template(lab.kratix.template_file(promise))"

LAB = add_lab("08-kratix", "Kratix: what a platform promises", needs="rbac", lacks=lambda lab: lab.kratix.lacking)


@LAB.step("kratix", "Kratix runs, and the API server can ask it", minutes=2)
def kratix(lab: Lab) -> Iterator[Finding]:
    yield from lab.kratix.findings()


kratix.solution(lambda lab: lab.kratix.start())
kratix.reset(lambda lab: lab.kratix.stop())


@LAB.step("promise", "the Promise is published, with the schema that its file has", minutes=3)
def promise(lab: Lab) -> Iterator[Finding]:
    promise = lab.kratix.team_space
    why = lab.kratix.unavailable(promise)
    yield Finding(not why, f"Promise {promise.name} is {why or 'available'}", "lab.kratix.install(promise)")
    crd = lab.kratix.find("crd", promise.resource)
    same = crd is not None and promise.is_published_by(crd)
    yield Finding(same, f"{promise.resource} {'takes' if same else 'does not take'} what the file says", "lab.kratix.install(promise)")


promise.solution(lambda lab: lab.kratix.install(lab.kratix.team_space))


@promise.reset
def _(lab: Lab) -> None:
    if lab.kratix.is_running():
        lab.kratix.remove(lab.kratix.team_space)


@LAB.step("promise-template", "the portal offers the Promise by the form that its schema makes", minutes=4)
def promise_template(lab: Lab) -> Iterator[Finding]:
    wanted = lab.kratix.template(lab.kratix.team_space).entity
    name = wanted["metadata"]["name"]
    found = [entity for entity in lab.portal.guest().catalog("template").entities if entity["metadata"]["name"] == name]
    yield there(f"template {name}", found, _REGISTER)
    for entity in found:
        same = entity["spec"]["parameters"] == wanted["spec"]["parameters"]
        yield Finding(same, f"its form {'is' if same else 'is not'} the one of the Promise's schema", _REGISTER)


@promise_template.solution
def _(lab: Lab) -> None:
    lab.portal.start()
    admin = lab.portal.sign_in(lab.workshop.administrator.username)
    admin.register_template(lab.kratix.template_file(lab.kratix.team_space))
    admin.sign_out()


@LAB.step("promise-roles", "a group may ask for what the Promise offers, and may publish none", minutes=4)
def promise_roles(lab: Lab) -> Iterator[Finding]:
    username, group = lab.workshop.reader.username, lab.workshop.reading.group
    developer = lab.cluster.api(lab.session(username))
    for resource, allowed in ((lab.kratix.team_space.resource, True), (PROMISE_KIND, False), ("configmaps", False)):
        may = developer.can("create", resource, namespace="default")
        fix = f'lab.kratix.let_request(promise, "{group}") gives the right to ask, and no other'
        yield Finding(may == allowed, f"{username} may {'' if may else 'not '}create {resource}", fix)


@promise_roles.solution
def _(lab: Lab) -> None:
    lab.kratix.let_request(lab.kratix.team_space, lab.workshop.reading.group)


promise_roles.reset(lambda lab: lab.kratix.keep_from_requesting(lab.kratix.team_space, lab.workshop.reading.group))


@LAB.exercise("promise-readers", "the group kube-audit may look at team spaces everywhere, ask for none, and see no Promise", minutes=4)
def promise_readers(lab: Lab) -> Iterator[Finding]:
    """The kind is one of the API server's own now, so a role can name it like any other: promise.resource is its name, which kubectl create
    clusterrole --resource takes as it is. What does the role of those who may ask list besides reading?
    """
    resource = lab.kratix.team_space.resource
    reading = [f"{verb} {resource}" for verb in ("get", "list", "watch")]
    yield from rights(
        lab, claims_of(lab, *AUDITORS), may=reading, may_not=(f"create {resource}", f"delete {resource}", f"get {PROMISE_KIND}")
    )


@promise_readers.solution
def _(lab: Lab) -> None:
    kubectl, resource = lab.cluster.admin_kubectl, lab.kratix.team_space.resource
    kubectl("delete", "--ignore-not-found", "clusterrolebinding/team-space-reader", "clusterrole/team-space-reader")
    kubectl("create", "clusterrole", "team-space-reader", "--verb=get,list,watch", f"--resource={resource}")
    kubectl("create", "clusterrolebinding", "team-space-reader", "--clusterrole=team-space-reader", "--group=kube-audit")


promise_readers.reset(deletes("clusterrolebinding/team-space-reader", "clusterrole/team-space-reader"))


@LAB.step("requests-gone", "what was asked for in the lab is gone again", minutes=2, holds_before="nobody has asked yet")
def requests_gone(lab: Lab) -> Iterator[Finding]:
    left = [request.name for request in lab.kratix.requests(lab.kratix.team_space)]
    yield Finding(not left, f"requests for team spaces: {shown(left)}", 'admin.kubectl("delete", promise.resource, "--all")')


@requests_gone.solution
@requests_gone.reset
def _(lab: Lab) -> None:
    if lab.kratix.requests(lab.kratix.team_space):
        lab.cluster.admin_kubectl("delete", lab.kratix.team_space.resource, "--all")
