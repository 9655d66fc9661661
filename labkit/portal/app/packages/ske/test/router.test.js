'use strict';

const assert = require('node:assert/strict');
const { afterEach, test } = require('node:test');
const { NotAllowedError } = require('@backstage/errors');
const express = require('express');
const { OwnerLabel } = require('../src/owner-label');
const { Refusal } = require('../src/cluster');
const { createRouter } = require('../src/router');

const CLAIMS = { preferred_username: 'user-admin', exp: 1300, groups: ['kube-admin'] };
const CONFIG_MAP = { apiVersion: 'v1', kind: 'ConfigMap', name: 'a', namespace: 'team' };

let server;
afterEach(() => server.close());

// Who calls is Backstage's to say and needs a running backend; the pytest suite has the routes with all of it.
async function serve(answers, { callersType = 'user', label } = {}) {
    const asked = [];
    const people = [];
    const app = express();
    const httpAuth = {
        credentials: async (_, { allow }) => {
            if (!allow.includes(callersType)) throw new NotAllowedError('not for you');
            return { principal: { userEntityRef: 'user:default/user-admin' } };
        },
    };
    const tokens = { of: async (person) => people.push(person) && { token: 'keycloak', claims: CLAIMS }, groupsIn: (claims) => claims.groups };
    const cluster = {
        ownerLabel: new OwnerLabel(label),
        ask: async (token, method, path) => {
            asked.push([token, method, path]);
            if (path === '/api/v1') return { resources: [{ name: 'configmaps', kind: 'ConfigMap', namespaced: true }] };
            if (answers instanceof Error) throw answers;
            return answers;
        },
    };
    app.use(createRouter({ cluster, httpAuth, tokens }));
    app.use((error, _request, response, _next) => response.status(500).json({ name: error.name, message: error.message, refusal: error.refusal }));
    server = app.listen(0, '127.0.0.1');
    await new Promise((resolve) => server.on('listening', resolve));
    const call = async (path, options) => {
        const answer = await fetch(`http://127.0.0.1:${server.address().port}${path}`, { headers: { authorization: 'Bearer backstage' }, ...options });
        const body = await answer.text();
        return { status: answer.status, body: body && JSON.parse(body) };
    };
    const post = (path, body) =>
        call(path, { method: 'POST', body: JSON.stringify(body), headers: { authorization: 'Bearer backstage', 'content-type': 'application/json' } });
    return { asked, call, people, post };
}

test('a session says whose it is and until when, and not the token', async () => {
    const { call, people } = await serve();
    assert.deepEqual((await call('/session')).body, { user: 'user-admin', expires: 1300, groups: ['kube-admin'] });
    assert.deepEqual(people, [{ userRef: 'user:default/user-admin', backstageToken: 'backstage' }]);
});

test("an object is read with the caller's token", async () => {
    const { asked, call } = await serve({ data: { a: 'b' } });
    assert.deepEqual((await call(`/resource?${new URLSearchParams(CONFIG_MAP)}`)).body, { manifest: { data: { a: 'b' } } });
    assert.deepEqual(asked.at(-1), ['keycloak', 'GET', '/api/v1/namespaces/team/configmaps/a']);
});

test("an object is deleted with the caller's token", async () => {
    const { asked, post } = await serve({});
    assert.equal((await post('/delete-resource', CONFIG_MAP)).status, 204);
    assert.deepEqual(asked.at(-1), ['keycloak', 'DELETE', '/api/v1/namespaces/team/configmaps/a']);
});

test("in a cluster that others use, an object that is somebody else's is not deleted", async () => {
    const theirs = await serve({ metadata: { labels: { 'labkit/home': '4712' } } }, { label: 'labkit/home=4711' });
    assert.match((await theirs.post('/delete-resource', CONFIG_MAP)).body.message, /^delete ConfigMap a: it is .* somebody else's/);
    assert.deepEqual(theirs.asked.at(-1), ['keycloak', 'GET', '/api/v1/namespaces/team/configmaps/a']);
    server.close();
    const ours = await serve({ metadata: { labels: { 'labkit/home': '4711' } } }, { label: 'labkit/home=4711' });
    assert.equal((await ours.post('/delete-resource', CONFIG_MAP)).status, 204);
});

test("a refusal keeps the API server's words, and is data besides", async () => {
    const status = { reason: 'Forbidden', message: 'roles "a" is forbidden', details: { kind: 'roles', group: 'rbac.authorization.k8s.io', name: 'a' } };
    const { post } = await serve(new Refusal(403, status, { user: 'dev', verb: 'delete' }));
    assert.deepEqual((await post('/delete-resource', CONFIG_MAP)).body, {
        name: 'NotAllowedError',
        message: 'delete ConfigMap a: 403 Forbidden: roles "a" is forbidden',
        refusal: {
            status: 403,
            reason: 'Forbidden',
            user: 'dev',
            verb: 'delete',
            resource: 'roles.rbac.authorization.k8s.io',
            object: 'a',
            message: 'roles "a" is forbidden',
        },
    });
});

test('no other service may call', async () => {
    const { asked, call } = await serve({}, { callersType: 'service' });
    assert.equal((await call(`/resource?${new URLSearchParams(CONFIG_MAP)}`)).body.name, 'NotAllowedError');
    assert.deepEqual(asked, []);
});

test('a request that lacks a field or leads elsewhere never reaches the cluster', async () => {
    const { asked, post } = await serve({});
    const bad = [{ name: '' }, { kind: undefined }, { apiVersion: undefined }, { name: ['a'] }, { name: '..' }, { name: 'a/b' }, { namespace: '../x' }];
    for (const change of [...bad, { apiVersion: 'v1/../x' }]) {
        assert.equal((await post('/delete-resource', { ...CONFIG_MAP, ...change })).body.name, 'InputError', JSON.stringify(change));
    }
    assert.deepEqual(asked, []);
});
