'use strict';

const { InputError } = require('@backstage/errors');
const express = require('express');
const PromiseRouter = require('express-promise-router').default;
const { checkApiVersion, checkName } = require('./manifest');
const { explained } = require('./refusals');
const { locate } = require('./resources');
const { stringify } = require('./yaml');

/**
 * The routes under /api/ske, all for signed-in users only and with their own rights.
 *
 * - `GET /session`: whose Keycloak token the portal would use, and until when (seconds since 1970).
 * - `GET /resource?apiVersion&kind&name[&namespace]`: one object, as `{manifest}`.
 * - `POST /delete-resource {apiVersion, kind, name, namespace?}`: deletes one object.
 *
 * @param {object} deps
 * @param {import('./cluster').Cluster} deps.cluster
 * @param {import('@backstage/backend-plugin-api').HttpAuthService} deps.httpAuth
 * @param {import('./user-tokens').UserTokens} deps.tokens
 */
function createRouter({ cluster, httpAuth, tokens }) {
    const router = PromiseRouter();
    router.use(express.json());

    const callersToken = async (request) => {
        const { principal } = await httpAuth.credentials(request, { allow: ['user'] });
        const [, backstageToken] = /^Bearer +(\S+)$/i.exec(request.header('authorization') ?? '') ?? [];
        return tokens.of({ userRef: principal.userEntityRef, backstageToken });
    };

    router.get('/session', async (request, response) => {
        const { claims } = await callersToken(request);
        response.json({ user: claims.preferred_username, expires: claims.exp, groups: tokens.groupsIn(claims) });
    });

    router.get('/resource', async (request, response) => {
        const manifest = await actOn(request.query, 'GET', await callersToken(request));
        response.type('json').send(stringify({ manifest }));
    });

    router.post('/delete-resource', async (request, response) => {
        await actOn(request.body, 'DELETE', await callersToken(request));
        response.status(204).end();
    });

    const actOn = async (fields, method, { token }) => {
        const wanted = checked(fields);
        const ask = (verb, path) => cluster.ask(token, verb, path);
        try {
            const resource = await locate((path) => ask('GET', path), wanted);
            if (method === 'DELETE') await cluster.ownerLabel.expectOurs(() => ask('GET', resource.path));
            return await ask(method, resource.path);
        } catch (error) {
            throw explained(`${method === 'GET' ? 'read' : 'delete'} ${wanted.kind} ${wanted.name}`, error);
        }
    };
    return router;
}

function checked({ apiVersion, kind, name, namespace } = {}) {
    for (const [field, value] of Object.entries({ apiVersion, kind, name })) {
        if (typeof value !== 'string' || !value) throw new InputError(`The request has no ${field}: it needs apiVersion, kind and name.`);
    }
    const mistake = (what) => new InputError(`The request ${what}`);
    checkApiVersion(apiVersion, mistake);
    checkName('name', name, mistake);
    if (namespace) checkName('namespace', namespace, mistake);
    return { apiVersion, kind, name, namespace };
}

module.exports = { createRouter };
