"""Kind C: programs get a listed environment. B02, B41 and B67 hold for every variable that no list names, so each group is looked at."""

from __future__ import annotations

import pytest

from labkit.common import environment

GROUPS = {name: group for name, group in vars(environment).items() if name.isupper() and isinstance(group, tuple)}

FOR_OTHER_PROGRAMS = (
    *("DEBUG", "DEBUG_PORT", "DEBUG_MODE", "KC_DEBUG", "KC_DB", "KC_HOSTNAME", "KC_OPTS", "KEYCLOAK_ADMIN", "CONFIG_ARGS", "SERVER_OPTS"),
    *("JAVA", "JAVA_OPTS", "JAVA_OPTS_APPEND", "JAVA_ADD_OPENS", "JAVA_TOOL_OPTIONS", "_JAVA_OPTIONS", "JDK_JAVA_OPTIONS", "CLASSPATH"),
    *("QUARKUS_HTTP_PORT", "QUARKUS_PROFILE", "PRINT_ENV", "NODE_OPTIONS", "NODE_PATH", "NODE_ENV", "NODE_TLS_REJECT_UNAUTHORIZED"),
    *(
        "BACKEND_SECRET",
        "APP_CONFIG_backend_listen_port",
        "LOG_LEVEL",
        "ETCD_NAME",
        "ETCD_DATA_DIR",
        "ETCDCTL_API",
        "GODEBUG",
        "GOTRACEBACK",
    ),
    *("PYTHONPATH", "PYTHONSTARTUP", "PYTHONHOME", "JUPYTER_PATH", "JUPYTERLAB_DIR", "LD_PRELOAD", "BASH_ENV", "ENV", "KUBE_EDITOR"),
)


@pytest.mark.parametrize("name", GROUPS)
def test_no_group_of_variables_hands_on_what_is_meant_for_others(name: str) -> None:
    """B02, B41, B67: DEBUG opened a debugger in Keycloak, JAVA replaced labkit's Java, DEBUG=* had the portal log tokens."""
    assert environment.listed(GROUPS[name], dict.fromkeys(FOR_OTHER_PROGRAMS, "x")) == {}
