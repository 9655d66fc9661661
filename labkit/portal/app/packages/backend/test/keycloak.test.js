'use strict';

const assert = require('node:assert/strict');
const { after, before, test } = require('node:test');
const { ConfigReader } = require('@backstage/config');
const { oidcAuthenticator } = require('@backstage/plugin-auth-backend-module-oidc-provider');
const { startIssuer } = require('../../ske/test/issuer');
const { forgetting, retrying, signInResolver } = require('../src/keycloak');

let issuer;
before(async () => {
    issuer = await startIssuer();
});
after(() => issuer.stop());

const options = () => ({
    callbackUrl: 'http://localhost/callback',
    config: new ConfigReader({ metadataUrl: `${issuer.url}/.well-known/openid-configuration`, clientId: 'c', clientSecret: 's', prompt: 'auto' }),
});

test('sign-in works once Keycloak is there, though it was not when the portal started', async () => {
    issuer.ready = false;
    const authenticator = retrying(oidcAuthenticator);
    const state = authenticator.initialize(options());
    const input = { req: { method: 'GET', url: '/start', session: {} }, scope: 'openid', state: 'x' };
    await assert.rejects(authenticator.start(input, state), { name: 'ServiceUnavailableError', message: /503.*then sign in again/ });
    issuer.ready = true;
    const { url } = await authenticator.start(input, state);
    assert.ok(url.startsWith(`${issuer.url}/authorize?`), url);
});

test('a mistake in the configuration still ends the start', () => {
    assert.throws(() => retrying(oidcAuthenticator).initialize({ config: new ConfigReader({}) }), /clientId/);
});

test("the Backstage token names the person and their groups, and hands on what the token's keeper says", async () => {
    const kept = [];
    const tokens = {
        claimsFor: (...given) => kept.push(given) && { ske_session: 'handle' },
        groupRefsOf: (groups) => groups.map((group) => `group:default/${group}`),
    };
    const result = { fullProfile: { userinfo: { preferred_username: 'User-Admin', groups: ['kube-admin'] } }, session: { accessToken: 'token' } };
    const issued = await signInResolver(tokens)({ result }, { issueToken: async ({ claims }) => claims });
    assert.deepEqual(issued, { sub: 'user:default/user-admin', ent: ['user:default/user-admin', 'group:default/kube-admin'], ske_session: 'handle' });
    assert.deepEqual(kept, [['user:default/user-admin', 'token']]);
});

test('nobody is signed in without a user name', async () => {
    const result = { fullProfile: { userinfo: { name: 'user-admin user-admin' } }, session: { accessToken: 'token' } };
    await assert.rejects(signInResolver({})({ result }, {}), { name: 'AuthenticationError', message: /scope "profile"/ });
});

test('sign-out drops the token even if Keycloak can not be told', async () => {
    const forgotten = [];
    const silent = { logout: async () => assert.fail('no answer') };
    const authenticator = forgetting({ forget: (token) => forgotten.push(token) }, silent);
    await assert.rejects(authenticator.logout({ refreshToken: 'refresh' }, {}));
    await assert.doesNotReject(forgetting({}, { logout: async () => {} }).logout({}, {}));
    assert.deepEqual(forgotten, ['refresh']);
});
