// The one address of a room: JupyterHub's own proxy, set up by the file that is named on the command line.

import { closeSync, constants, fstatSync, openSync, readFileSync, rmSync, statSync } from "node:fs";
import { dirname } from "node:path";
import { createServer } from "node:tls";
import { ConfigurableProxy } from "configurable-http-proxy";

const KEYCLOAK = "/services/keycloak/";

// open(2): not what is behind a file, but the file itself. Node does not name it.
const O_PATH = 0o10000000;
const NOWHERE = "/proc/self/fd/none";

const { hosts, addresses, port, socket, token, authority } = JSON.parse(readFileSync(process.argv[2], "utf8"));
const tls = ([key, certificate]) => ({ key: readFileSync(key), cert: readFileSync(certificate), minVersion: "TLSv1.2" });
const { "127.0.0.1": here, ...elsewhere } = addresses;
const proxy = new ConfigurableProxy({
  authToken: token,
  ssl: tls(here),
  // Who is asked by HTTPS, Keycloak, is verified.
  clientSsl: { ca: readFileSync(authority) },
  xfwd: true,
  // Longer than any client keeps a connection: one that is closed while a client takes it up again fails that request.
  keepAliveTimeout: 75_000,
  // What people read where nothing answers: error.html.
  errorPath: import.meta.dirname,
});

// Who comes by another name may be a page elsewhere, whose own name leads here. Keycloak's own realm is labkit's alone, which asks it directly.
const find = proxy.targetForReq.bind(proxy);
proxy.targetForReq = async (request) => {
  const path = decodeURIComponent(new URL(request.url, "http://any").pathname);
  const allowed = hosts.includes(request.headers.host) && !(path.startsWith(KEYCLOAK) && /\/master([^a-z0-9-]|$)/.test(path));
  return allowed ? find(request) : undefined;
};

// A path is an option of Keycloak's build; there is one build for labs and rooms, so it answers at the root, and is only named by its path.
proxy.on("proxyRequest", (request) => {
  if (request.url.startsWith(KEYCLOAK)) request.url = request.url.slice(KEYCLOAK.length - 1);
});

// A seat may put a link where its socket lay, to a socket that only this process may open. So what lies there is held, whatever is put
// in its place meanwhile, and is asked only if it is a socket of the one whose folder it is in.
const held = (path) => {
  try {
    const file = openSync(path, O_PATH | constants.O_NOFOLLOW);
    // By then it is connected.
    setImmediate(() => closeSync(file));
    const found = fstatSync(file);
    return found.isSocket() && found.uid === statSync(dirname(path)).uid ? `/proc/self/fd/${file}` : NOWHERE;
  } catch {
    return NOWHERE;
  }
};
const options = proxy.proxyOptsForTarget.bind(proxy);
proxy.proxyOptsForTarget = (target) => {
  const found = options(target);
  // Elsewhere no seat has an account of its own.
  if (found.target.socketPath && process.platform === "linux") found.target.socketPath = held(found.target.socketPath);
  return found;
};

const goOn = () => {
  // Somebody who closes a page in the middle of an answer ends that answer, and nobody else's; JupyterHub's own start script has it so too.
  process.on("uncaughtException", (error) => console.error(error));
};

// One that was killed leaves its socket. People come last: then everything answers.
rmSync(socket, { force: true });
proxy.apiServer.listen(socket, () => {
  // The same server at the address by which other machines come, with a certificate that may be another.
  for (const [address, pair] of Object.entries(elsewhere))
    createServer(tls(pair), (each) => proxy.proxyServer.emit("secureConnection", each)).listen(port, address);
  proxy.proxyServer.listen(port, "127.0.0.1", goOn);
});
