"""The verbs about one user: credential, password."""

from __future__ import annotations

import argparse


def credential(args: argparse.Namespace) -> int:
    # kubectl runs this for each command and waits: what is kept is handed over before anything else is imported.
    from ..config.settings import Settings
    from ..identity.credential_cache import CredentialCache

    kept = CredentialCache(Settings.load()).credential(args.user)
    if not kept:
        from ..lab import Lab

        kept = Lab.open().credential(args.user)
    print(kept)
    return 0


def password(args: argparse.Namespace) -> int:
    from ..lab import Lab
    from .output import require_terminal

    user = Lab.open().workshop.user(args.user)
    require_terminal()
    print(user.password.get_secret_value())
    return 0
