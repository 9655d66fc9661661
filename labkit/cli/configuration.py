"""The verbs about configuration: realm, render, kubeconfig, trust."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from ..common.display import OK
from ..common.errors import TrustError
from ..lab import Lab
from .browsers import stores

_TRUST = """\
The portal sends your browser to Keycloak at {url}, and the browser warns: it does not know who vouches for that address.
That is this lab's own certificate authority, made on your machine:
  {authority}

You can
  go on in spite of the warning   for this one page (Advanced, then Proceed); the name in the address bar must be localhost
  labkit trust --add              have Chromium and Firefox on this machine trust the authority; labkit trust --remove undoes it
  import the file by hand         in the browser's settings, under Certificates, Authorities: the way for any other browser. On macOS
                                  browsers use the keychain: security add-trusted-cert -k ~/Library/Keychains/login.keychain-db FILE,
                                  undone by security remove-trusted-cert FILE

The authority can vouch for localhost and loopback addresses alone, so with its key nobody could pose as any other site to you; and the
key never leaves the lab's folder. The system's own store (for curl and the like) needs no change: whatever labkit runs is told.
"""


def realm(args: argparse.Namespace) -> int:
    lab = Lab.open()
    if args.action == "terraform":
        print(lab.terraform())
        return 0
    if args.action == "apply":
        print(lab.keycloak.start(), lab.realm.apply(), sep="\n\n")
    else:
        print(*lab.keycloak.findings(), sep="\n", end="\n\n")
        print(lab.realm.plan())
    return 0


def render(args: argparse.Namespace) -> int:
    from .render import render

    print(render(Lab.open(), args.folder))
    return 0


def kubeconfig(args: argparse.Namespace) -> int:
    kubeconfig = Lab.open().cluster.kubeconfig
    if not kubeconfig.path.exists():
        print("✘ the lab has no kubeconfig yet\n  fix: labkit up", file=sys.stderr)
        return 1
    if args.merge:
        target = Path("~/.kube/config").expanduser()
        print(f"{OK} {target} now has the contexts {', '.join(kubeconfig.merge_into(target))}; its current context is as it was")
    else:
        print(kubeconfig.path)
    return 0


def trust(args: argparse.Namespace) -> int:
    lab = Lab.open()
    name, authority = f"labkit lab CA {lab.settings.home_id[:8]}", lab.keycloak.ca
    if lab.settings.hosted and not args.remove:
        msg = f"the certificate of {lab.keycloak.url} is not this lab's to vouch for"
        why = "that Keycloak is a hosted one, and the authority behind it could vouch for any other site as well"
        raise TrustError(msg, why=why, fix="ask those who run it, if your browser warns of it")
    for store in stores(Path.home()):
        if args.add:
            store.add(name, authority)
            print(f"{OK} {store.browser} now trusts {name}; restart it if it runs")
        elif args.remove:
            print(f"{OK} {store.browser} {'no longer trusts' if store.remove(name) else 'did not know'} {name}")
    if not args.add and not args.remove:
        print(_TRUST.format(url=lab.keycloak.url, authority=authority))
    return 0
