"""Lab 06: The portal, which acts as whoever signed in."""

from __future__ import annotations

import re
from collections.abc import Iterator

from ...common.display import Finding, shown
from ...lab import Lab
from ...portal.answers import read_template, ref_of
from .registry import add_lab
from .shared import deletes, gone, there

CONFIG_MAPS = ("test-configmap", "dev-configmap", "in-a-browser")
"""What its cells, and its walk in a browser, have the portal make."""

LAB = add_lab("06-portal", "The portal: acting as whoever signed in", needs="rbac")


@LAB.step("portal", "the portal is ready, and the cluster knows people who come through it", minutes=6)
def portal(lab: Lab) -> Iterator[Finding]:
    yield Finding(lab.portal.is_running(), f"the portal runs at {lab.portal.url}", "lab.portal.start()")
    for username in lab.workshop.access.expected:
        session, declared = lab.portal.sign_in(username), lab.cluster.declared_identity(lab.session(username))
        seen, known = session.whoami(), session.known()
        as_declared = seen.username == declared.username and {*known.groups, "system:authenticated"} == set(declared.groups)
        yield Finding(as_declared, f"{known.user_ref} with {shown(known.groups)} is {seen.username} to the API server", "lab.realm.apply()")
        session.sign_out()


portal.solution(lambda lab: lab.portal.start())
portal.reset(lambda lab: lab.portal.erase())


@LAB.step("template", "the template for a ConfigMap is registered", minutes=4)
def template(lab: Lab) -> Iterator[Finding]:
    known, ref = lab.portal.guest().catalog("template").refs, ref_of(read_template(lab.portal.templates["configmap.yaml"]))
    text = f"{ref} is {'' if ref in known else 'not '}in the catalog"
    yield Finding(ref in known, text, "admin.register_template(…), as in 06-portal.ipynb")


@template.solution
def _(lab: Lab) -> None:
    admin = lab.portal.sign_in(lab.workshop.administrator.username)
    admin.register_template(lab.portal.templates["configmap.yaml"])
    admin.sign_out()


@LAB.exercise("own-template", "a template of your own, team-note, makes a ConfigMap, and has made one for the administrator", minutes=10)
def own_template(lab: Lab) -> Iterator[Finding]:
    """Begin with the template lab.portal.templates["configmap.yaml"]: yaml.safe_load gives it as a mapping.
    Another name and title, other parameters, the manifest that your action gets; write it to a file and hand that to
    admin.register_template.
    """
    known = {entity["metadata"]["name"]: entity for entity in lab.portal.guest().catalog("template").entities}
    template = known.get("team-note", {})
    yield there("template:default/team-note", template, "admin.register_template(FILE)")
    if template:
        actions = [step["action"] for step in template["spec"]["steps"]]
        yield Finding("ske:configure-resource" in actions, f"its steps are {shown(actions)}", "one with ske:configure-resource")
        form = template["spec"].get("parameters", [])
        pages = form if isinstance(form, list) else [form]
        required = [name for page in pages for name in page.get("required", ())]
        yield Finding(bool(required), f"its form insists on {shown(required)}", "a parameter under required")
        put_in = re.findall(r"\$\{\{.*?\}\}", str(template["spec"]["steps"]))
        raw = [each for each in put_in if "parameters" in each and "dump" not in each]
        fix = "${{ parameters.NAME | dump }}: without dump, a colon in what people type breaks the YAML"
        yield Finding(not raw, f"its steps put in without | dump: {shown(raw)}", fix)
    made = lab.cluster.admin_kubectl("get", "configmap", "team-note", "--ignore-not-found", "-o", "jsonpath={.data}").output.strip()
    fix = 'admin.run_template("template:default/team-note", {…})'
    yield Finding(bool(made), f"ConfigMap team-note {'holds ' + made if made else 'is not there'}", fix)


@own_template.solution
def _(lab: Lab) -> None:
    import json

    import yaml

    template = yaml.safe_load(lab.portal.templates["configmap.yaml"].read_bytes())
    template["metadata"] |= {"name": "team-note", "title": "A note of a team"}
    text = {"title": "What to remember", "type": "string", "maxLength": 200}
    template["spec"]["parameters"] = [{"title": "The note", "required": ["text"], "properties": {"text": text}}]
    manifest = (
        "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: team-note, namespace: default}\ndata: {text: ${{ parameters.text | dump }}}\n"
    )
    template["spec"]["steps"] = [{"id": "note", "name": "Note it", "action": "ske:configure-resource", "input": {"manifest": manifest}}]
    template["spec"]["output"] = {}
    file = lab.settings.folder / "team-note.yaml"
    file.write_text(json.dumps(template))
    author = lab.portal.sign_in(lab.workshop.administrator.username)
    author.run_template(author.register_template(file), {"text": "the portal has no rights of its own"})


own_template.reset(deletes("configmap/team-note"))


@LAB.step(
    "portal-objects",
    "the lab's own ConfigMaps, made through the portal, are gone again",
    minutes=10,
    holds_before="nobody has made them yet",
)
def portal_objects(lab: Lab) -> Iterator[Finding]:
    return gone(lab, "ConfigMap", CONFIG_MAPS)


portal_objects.reset(portal_objects.solution(deletes(*(f"configmap/{name}" for name in CONFIG_MAPS))))
