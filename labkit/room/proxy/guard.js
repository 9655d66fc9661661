// What guards a room's Keycloak and seats in JupyterHub's own proxy, whoever sets the proxy up.

import { ConfigurableProxy } from "configurable-http-proxy";

const KEYCLOAK = "/services/keycloak/";

// Lets in who comes by one of these names: another may be a page elsewhere, whose own name leads here.
// Keycloak's own realm is labkit's alone, which asks it directly.
export const guard = (hosts) => {
  const find = ConfigurableProxy.prototype.targetForReq;
  ConfigurableProxy.prototype.targetForReq = async function (request) {
    const path = decodeURIComponent(new URL(request.url, "http://any").pathname);
    const allowed = hosts.includes(request.headers.host) && !(path.startsWith(KEYCLOAK) && /\/master([^a-z0-9-]|$)/.test(path));
    const target = allowed ? await find.call(this, request) : undefined;
    // A path is an option of Keycloak's build; there is one build for labs and rooms, so it answers at the root, and is only named by its path.
    if (request.url.startsWith(KEYCLOAK)) request.url = request.url.slice(KEYCLOAK.length - 1);
    return target;
  };
};
