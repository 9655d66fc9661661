// The proxy of a room on Kubernetes: JupyterHub's own, by the options that its Helm chart gives it.

import { guard } from "./guard.js";

guard([new URL(process.env.LABKIT_ROOM_URL).host]);
await import("./node_modules/configurable-http-proxy/bin/configurable-http-proxy");
