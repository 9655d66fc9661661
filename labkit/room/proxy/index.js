// The one address of a room: JupyterHub's own proxy, set up by the file that is named on the command line.

import { readFileSync } from "node:fs";
import { ConfigurableProxy } from "configurable-http-proxy";

const KEYCLOAK = "/services/keycloak/";

const { address, port, socket, token, key, certificate, authority } = JSON.parse(readFileSync(process.argv[2], "utf8"));
const proxy = new ConfigurableProxy({
  authToken: token,
  ssl: { key: readFileSync(key), cert: readFileSync(certificate), minVersion: "TLSv1.2" },
  // Who is asked by HTTPS, Keycloak, is verified.
  clientSsl: { ca: readFileSync(authority) },
  xfwd: true,
});

// A path is an option of Keycloak's build; there is one build for labs and rooms, so it answers at the root, and is only named by its path.
proxy.on("proxyRequest", (request) => {
  if (request.url.startsWith(KEYCLOAK)) request.url = request.url.slice(KEYCLOAK.length - 1);
});

// Somebody who closes a page in the middle of an answer ends that answer, and nobody else's; JupyterHub's own start script has it so too.
process.on("uncaughtException", (error) => console.error(error));

proxy.apiServer.listen(socket);
proxy.proxyServer.listen(port, address);
