'use strict';

const assert = require('node:assert/strict');
const { test } = require('node:test');
const { configureResourceAction } = require('../src/action');

const principal = (type, name) => ({ type, userEntityRef: name });

// Backstage's own auth service needs a running backend; what counts here is what is refused before anything is sent.
function run({ credentials, authenticated, secrets }) {
    const asked = [];
    const auth = {
        isPrincipal: (given, type) => given.principal.type === type,
        authenticate: async () => ({ principal: authenticated }),
    };
    const tokens = {
        of: async (person) => {
            asked.push(person);
            throw new Error('refused');
        },
    };
    const cluster = { ask: () => assert.fail('the cluster was asked') };
    const action = configureResourceAction({ auth, cluster, tokens });
    const context = { getInitiatorCredentials: async () => credentials, secrets, input: { manifest: '' } };
    return { asked, done: action.handler(context) };
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
