"""The verbs about one user's access: tokens, passwords, and what a browser trusts."""

from __future__ import annotations

import sys
from argparse import Namespace
from pathlib import Path

from ..common.display import OK
from ..common.errors import NoTerminal, TrustError
from .command import argument, flag, open_lab, verb

_TRUST = Path(__file__).with_name("trust.txt")
"""What a browser's warning means, and the ways to go on."""


@verb(
    one_of=(
        flag("--add", "put the lab's certificate authority into the stores of Chromium and Firefox"),
        flag("--remove", "take it out again"),
    )
)
def trust(args: Namespace) -> None:
    """Have your browsers trust this lab's certificates. Without an option it says what that means and changes nothing."""
    from .browsers import stores

    lab = open_lab()
    name, authority = f"labkit lab CA {lab.settings.folder_id[:8]}", lab.keycloak.ca
    if lab.settings.hosted and not args.remove:
        raise TrustError("certificate-not-ours", url=lab.keycloak.url)
    if not args.add and not args.remove:
        print(_TRUST.read_text(encoding="utf-8").format(url=lab.keycloak.url, authority=authority))
        return
    for store in stores(Path.home()):
        if args.add:
            store.add(name, authority)
            print(f"{OK} {store.browser} now trusts {name}; restart it if it runs")
        else:
            print(f"{OK} {store.browser} {'no longer trusts' if store.remove(name) else 'did not know'} {name}")


@verb(argument("user", metavar="USER", help="a user of the workshop, such as user-dev"))
def credential(args: Namespace) -> None:
    """Print a user's ExecCredential. For kubectl, which runs this as an exec plugin; it holds a token."""
    # kubectl runs this for each command and waits: what is kept is handed over before anything else is imported.
    from ..config.settings import Settings
    from ..identity.credential_cache import CredentialCache

    print(CredentialCache(Settings.load()).credential(args.user) or open_lab(to_look=True).credential(args.user))


@verb(argument("user", metavar="USER", help="a user of the workshop, such as user-admin"))
def password(args: Namespace) -> None:
    """Show a user's password, for signing in by browser.

    To a terminal only: never into a notebook, a file or a pipe, where it would be kept.
    """
    user = open_lab().workshop.user(args.user)
    _require_terminal()
    print(user.password.get_secret_value())


def _require_terminal() -> None:
    """Insist that what is printed is shown to somebody, and not kept.

    Raises:
        NoTerminal: Standard output is none; or it is one that a notebook's kernel made, as ``!`` in a cell does.
    """
    if not sys.stdout.isatty() or _is_below_a_kernel():
        raise NoTerminal("password-needs-terminal")


def _is_below_a_kernel() -> bool:
    import psutil

    for process in psutil.Process().parents():
        try:
            line = process.cmdline()
        except psutil.Error:
            # Another user's, as sudo is: no kernel of ours.
            continue
        if any("ipykernel" in argument for argument in line):
            return True
    return False
