'use strict';

const assert = require('node:assert/strict');
const { test } = require('node:test');
const { configureResourceAction } = require('../src/action');
const { Refusal, Unreachable } = require('../src/cluster');

const principal = (type, name) => ({ type, userEntityRef: name });

// Backstage's own auth service needs a running backend; what counts here is what is refused before anything is sent.
function run({ credentials, authenticated, secrets, manifest = '', token, ask = () => assert.fail('the cluster was asked') }) {
    const logged = [];
    const asked = [];
    const auth = {
        isPrincipal: (given, type) => given.principal.type === type,
        authenticate: async () => ({ principal: authenticated }),
    };
    const tokens = {
        of: async (person) => {
            asked.push(person);
            if (token) return { token };
            throw new Error('refused');
        },
    };
    const cluster = { ask };
    const action = configureResourceAction({ auth, cluster, tokens });
    const logger = { error: (...line) => logged.push(line) };
    const context = { getInitiatorCredentials: async () => credentials, secrets, input: { manifest }, logger };
    return { asked, logged, done: action.handler(context) };
}

test('a task that no person started is refused: the portal has no rights of its own', async () => {
    for (const credentials of [{ principal: principal('service') }, { principal: principal('none') }, { principal: principal('user', 'user:default/x') }]) {
        const { asked, done } = run({ credentials });
        await assert.rejects(done, { name: 'NotAllowedError', message: /Only a signed-in user/ });
        assert.deepEqual(asked, []);
    }
});

test('whose task it is, the verified Backstage token says', async () => {
    const { asked, done } = run({
        credentials: { principal: principal('user', 'user:default/claimed'), token: 'backstage' },
        authenticated: principal('user', 'user:default/real'),
        secrets: { keycloakToken: 'own', backstageToken: 'never this one' },
    });
    await assert.rejects(done, /refused/);
    assert.deepEqual(asked, [{ userRef: 'user:default/real', backstageToken: 'backstage', keycloakToken: 'own' }]);
});

test('neither a secret of the task nor a token that it acts with gets into the cluster', async () => {
    const person = principal('user', 'user:default/x');
    const given = { credentials: { principal: person, token: 'the-backstage-token' }, authenticated: person, token: 'the-keycloak-token' };
    for (const secret of ['the-backstage-token', 'the-keycloak-token', 'from-the-form']) {
        const manifest = `{apiVersion: v1, kind: ConfigMap, metadata: {name: a}, data: {a: ${secret}}}`;
        const { done } = run({ ...given, secrets: { own: 'from-the-form' }, manifest });
        await assert.rejects(done, { name: 'InputError', message: /contains a secret of this task/ });
    }
});

test("the API server's refusal is in the task's log as data, and no other failure is", async () => {
    const person = principal('user', 'user:default/x');
    const given = { credentials: { principal: person, token: 'the-backstage-token' }, authenticated: person, token: 'the-keycloak-token' };
    const manifest = '{apiVersion: v1, kind: ConfigMap, metadata: {name: a}}';
    const failing = (error) => run({ ...given, manifest, ask: async () => Promise.reject(error) });
    const refused = failing(new Refusal(403, { reason: 'Forbidden', message: 'no' }, { user: 'dev', verb: 'get' }));
    await assert.rejects(refused.done, { name: 'NotAllowedError' });
    const refusal = { status: 403, reason: 'Forbidden', user: 'dev', verb: 'get', resource: '', object: '', message: 'no' };
    assert.deepEqual(refused.logged, [["the API server's refusal", { refusal }]]);
    const silent = failing(new Unreachable('https://localhost:6443', 'connect ECONNREFUSED'));
    await assert.rejects(silent.done, { name: 'ServiceUnavailableError' });
    assert.deepEqual(silent.logged, []);
});
