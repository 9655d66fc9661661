'use strict';

/*
 * Preloaded into a portal (`node --require`), it prints as JSON every permission and every route that the portal's packages have once it is
 * ready, and ends it. No list of Backstage's is asked: what counts is what is made.
 */
const http = require('node:http');
const { createRequire } = require('node:module');

const READY = '/.backstage/health/v1/readiness';
const load = createRequire(`${process.cwd()}/packages/backend/index.js`);
const permissions = new Map();
const mounts = new Map();

function recordPermissions() {
    const common = load('@backstage/plugin-permission-common');
    const { createPermission } = common;
    common.createPermission = (options) => {
        const permission = createPermission(options);
        permissions.set(permission.name, permission);
        return permission;
    };
}

// express-promise-router wraps what it is given so that one no longer sees what it is, and so do applications within applications.
function recordMounts() {
    let inside = false;
    const record = (holder) => {
        const { use } = holder;
        holder.use = function (...args) {
            if (!inside) mounts.set(this, [...(mounts.get(this) ?? []), args.flat(Infinity)]);
            const before = inside;
            inside = true;
            try {
                return use.apply(this, args);
            } finally {
                inside = before;
            }
        };
    };
    const express = load('express');
    record(express.Router);
    record(express.application);
    const name = load.resolve('express-promise-router');
    const PromiseRouter = load(name);
    const recording = (...args) => {
        const router = PromiseRouter(...args);
        record(router);
        return router;
    };
    load.cache[name].exports = Object.assign(recording, { default: recording });
}

function* routesOf(handler, prefix = '') {
    for (const { route } of (handler.stack ?? handler._router?.stack ?? []).filter((layer) => layer.route)) {
        const methods = Object.keys(route.methods).map((method) => (method === '_all' ? 'ANY' : method.toUpperCase()));
        for (const path of [route.path].flat()) for (const method of methods) yield [method, joined(prefix, path)];
    }
    for (const args of mounts.get(handler) ?? []) {
        const path = joined(prefix, typeof args[0] === 'function' ? '' : args[0]);
        for (const child of args.filter((arg) => typeof arg === 'function')) {
            if (child.stack || mounts.has(child)) yield* routesOf(child, path);
            else yield ['ANY', path];
        }
    }
}

const joined = (prefix, path) => `${prefix}${path}`.replaceAll(/\/+/g, '/').replace(/\/$/, '');

function routes(app) {
    const found = [...new Set([...routesOf(app)].map((route) => route.join(' ')))].sort();
    const paths = found.filter((route) => !route.startsWith('ANY ')).map((route) => route.split(' ')[1]);
    // What has routes at or below it is on their way, and answers nobody itself.
    return found.filter((route) => !route.startsWith('ANY ') || !paths.some((path) => `${path}/`.startsWith(`${route.slice(4)}/`)));
}

function whenReady(server, app) {
    const { port } = server.address();
    const asking = setInterval(async () => {
        const { ok } = await fetch(`http://127.0.0.1:${port}${READY}`).catch(() => ({}));
        if (!ok) return;
        clearInterval(asking);
        process.stdout.write(`${JSON.stringify({ permissions: [...permissions.values()], routes: routes(app) })}\n`, () => process.exit());
    }, 200);
}

const { createServer } = http;
http.createServer = (...args) => {
    const server = createServer(...args);
    server.once('listening', () => whenReady(server, args.at(-1)));
    return server;
};
recordPermissions();
recordMounts();
