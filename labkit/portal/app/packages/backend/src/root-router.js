'use strict';

const { rmSync } = require('node:fs');
const { createServer } = require('node:net');

const { rootHttpRouterServiceFactory } = require('@backstage/backend-defaults/rootHttpRouter');

/** What comes before all of the portal's routes. */
const rootRouter = rootHttpRouterServiceFactory({
    configure({ app, config, server, applyDefaults }) {
        const { host, pathname } = new URL(config.getString('app.baseUrl'));
        const port = config.getNumber('backend.listen.port');
        app.use(forHosts(host, `localhost:${port}`, `127.0.0.1:${port}`));
        app.use(withCookiesOf(config.getString('ske.cookies'), pathname));
        app.use(loggedWithoutQuery);
        applyDefaults();
        server.once('listening', () => listenToo(server, process.env.PORTAL_SOCKET));
    },
});

/** Serve at a socket too, by which a proxy comes: unlike a port, nobody else can take it when this process has ended. */
function listenToo(server, path) {
    if (!path) return;
    // One that was killed leaves it.
    rmSync(path, { force: true });
    createServer(connection => server.emit('connection', connection)).listen(path);
}

/** Only under its own names: a foreign page whose name was made to lead here would be let in as a page of ours. */
function forHosts(...hosts) {
    return (request, response, next) => {
        if (hosts.includes(request.headers.host?.toLowerCase())) return next();
        return response.status(421).type('text').send(`This portal is http://${hosts[0]} and answers to no other name.\n`);
    };
}

/**
 * Have the cookies bear a prefix in the browser, and know no others: all ports of localhost share theirs, and two portals would overwrite
 * each other's. Behind a proxy the portal has a path to itself, and whatever is at the others gets none of them.
 */
function withCookiesOf(prefix, path) {
    const ours = (cookie) => prefix + cookie.replace(/; *path=\/ *(?=;|$)/i, `; Path=${path}`);
    return (request, response, next) => {
        const sent = (request.headers.cookie ?? '').split(/; */).filter((cookie) => cookie.startsWith(prefix));
        request.headers.cookie = sent.map((cookie) => cookie.slice(prefix.length)).join('; ');
        const { writeHead } = response;
        response.writeHead = (...head) => {
            const set = response.getHeader('set-cookie');
            if (set) response.setHeader('set-cookie', [set].flat().map(ours));
            return writeHead.apply(response, head);
        };
        next();
    };
}

// Keycloak sends people back with a code in the query. This listener comes before the one that writes the log.
function loggedWithoutQuery(request, response, next) {
    response.on('finish', () => {
        [request.originalUrl] = request.originalUrl.split('?');
    });
    next();
}

module.exports = { forHosts, loggedWithoutQuery, rootRouter, withCookiesOf };
