// The one address of a room: JupyterHub's own proxy, set up by the file that is named on the command line.

import { closeSync, constants, fstatSync, openSync, readFileSync, rmSync, statSync } from "node:fs";
import { dirname } from "node:path";
import { Agent } from "node:http";
import { createServer } from "node:tls";
import { ConfigurableProxy } from "configurable-http-proxy";
import { guard } from "./guard.js";

// open(2): not what is behind a file, but the file itself. Node does not name it.
const O_PATH = 0o10000000;
const NOWHERE = "/proc/self/fd/none";

const { hosts, addresses, port, socket, token, authority } = JSON.parse(readFileSync(process.argv[2], "utf8"));
const tls = ([key, certificate]) => ({ key: readFileSync(key), cert: readFileSync(certificate), minVersion: "TLSv1.2" });
const { "127.0.0.1": here, ...elsewhere } = addresses;
guard(hosts);
const proxy = new ConfigurableProxy({
  authToken: token,
  // Also before the Hub has told it of any route: who started the proxy anew asks the Hub for that.
  defaultTarget: "http+unix://hub.sock",
  ssl: tls(here),
  // Who is asked by HTTPS, Keycloak, is verified.
  clientSsl: { ca: readFileSync(authority) },
  xfwd: true,
  // Longer than any client keeps a connection: one that is closed while a client takes it up again fails that request.
  keepAliveTimeout: 75_000,
  // What people read where nothing answers: error.html.
  errorPath: import.meta.dirname,
});

// A seat may put a link where its socket lay, to a socket that only this process may open. So what lies there is held, whatever is put
// in its place meanwhile, and is asked only if it is a socket of the one whose folder it is in.
// Each request to a socket has a connection of its own, so that a descriptor's number never leads to what it was before;
// it is closed here, once the answer is there: a seat that closed it first would fail what Node still writes, the end of a body.
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
const agent = new Agent({ keepAlive: false });
proxy.on("proxyRequest", (request) => (request.headers.connection = "keep-alive"));
const options = proxy.proxyOptsForTarget.bind(proxy);
proxy.proxyOptsForTarget = (target) => {
  const found = options(target);
  if (found.target.socketPath) {
    found.agent = agent;
    // Elsewhere no seat has an account of its own.
    if (process.platform === "linux") found.target.socketPath = held(found.target.socketPath);
  }
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
