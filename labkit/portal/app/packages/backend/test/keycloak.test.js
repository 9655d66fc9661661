'use strict';

const assert = require('node:assert/strict');
const { after, before, test } = require('node:test');
const { ConfigReader } = require('@backstage/config');
const { encodeOAuthState } = require('@backstage/plugin-auth-node');
const { oidcAuthenticator } = require('@backstage/plugin-auth-backend-module-oidc-provider');
const { startIssuer } = require('../../ske/test/issuer');
const { byAnyKey, comingBack, profileWithKey, retrying, signInResolver } = require('../src/keycloak');

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

test('an ID token counts by whatever key of the realm it is signed, a new one too, and by no secret', async () => {
    const { client } = await byAnyKey(oidcAuthenticator).initialize(options()).promise;
    const claims = { aud: 'c', sub: '1', iat: Math.floor(Date.now() / 1000) };
    await client.validateIdToken(await issuer.token(claims));
    for (const alg of ['ES256', 'PS256', 'EdDSA', 'RS512', 'ES384']) {
        const token = await issuer.token(claims, await issuer.add(alg), { alg, kid: alg });
        await client.validateIdToken(token);
        await assert.rejects(client.validateIdToken(`${token.slice(0, -8)}AAAAAAAA`), /validate JWT signature/);
    }
    await assert.rejects(client.validateIdToken(await issuer.token({ ...claims, aud: 'another' })), /aud mismatch/);
    const bySecret = await issuer.token(claims, Buffer.from('s'.repeat(32)), { alg: 'HS256' });
    const byNothing = `${Buffer.from('{"alg":"none"}').toString('base64url')}.${bySecret.split('.')[1]}.`;
    for (const token of [bySecret, byNothing]) {
        await assert.rejects(client.validateIdToken(token), { name: 'AuthenticationError', message: /signed by (HS256|none).*Choose RS256/ });
    }
});

test("the Backstage token names the person and their groups, and hands on what the token's keeper says", async () => {
    const kept = [];
    const tokens = {
        claimsFor: (...given) => kept.push(given) && { ske_session: 'handle' },
        groupRefsOf: ({ groups }) => groups.map((group) => `group:default/${group}`),
    };
    const result = { fullProfile: { userinfo: { preferred_username: 'User-Admin', groups: ['kube-admin'] } }, session: { accessToken: 'token' } };
    const issued = await signInResolver(tokens)({ result }, { issueToken: async ({ claims }) => claims });
    assert.deepEqual(issued, { sub: 'user:default/user-admin', ent: ['user:default/user-admin', 'group:default/kube-admin'], ske_session: 'handle' });
    assert.deepEqual(kept, [['user:default/user-admin', 'token']]);
});

test('a token is in no message, be it that the portal can not issue its own', async () => {
    const tokens = { claimsFor: () => ({}), groupRefsOf: () => [] };
    const result = { fullProfile: { userinfo: { preferred_username: 'a' } }, session: { accessToken: 'token' } };
    const failing = (words) => signInResolver(tokens)({ result }, { issueToken: () => Promise.reject(new Error(`${words}: '{"tok":"eyJhbGciOi.eyJzdWIi.c2ln"}'`)) });
    await assert.rejects(failing('The resulting token is excessively large'), { name: 'AuthenticationError', message: /^Your Keycloak token does not fit[^{]*$/ });
    await assert.rejects(failing('no key'), { name: 'Error', message: 'no key: \'{"tok":"[token]"}\'' });
});

test('nobody is signed in without a user name', async () => {
    const result = { fullProfile: { userinfo: { name: 'user-admin user-admin' } }, session: { accessToken: 'token' } };
    await assert.rejects(signInResolver({})({ result }, {}), { name: 'AuthenticationError', message: /scope "profile"/ });
});

test('the page gets the key of a new sign-in beside the profile', async () => {
    const { profile } = await profileWithKey({ fullProfile: { userinfo: { name: 'Ada' } }, session: { key: 'k' } });
    assert.deepEqual([profile.displayName, profile.sessionKey], ['Ada', 'k']);
});

test('the way back is to pages of the portal only, at the start and once more at the end', async () => {
    const asked = [];
    const inner = { start: async () => asked.push('start'), frameHandler: async () => asked.push('frame') };
    const provider = comingBack(() => inner)({ appUrl: 'http://localhost:7007' });
    const start = (redirectUrl) => provider.start({ query: { redirectUrl } });
    const frame = (redirectUrl) => {
        const state = encodeOAuthState({ nonce: 'n', env: 'development', flow: 'redirect', redirectUrl });
        return provider.frameHandler({ query: { state } });
    };
    for (const way of [start, frame]) {
        for (const own of [undefined, 'http://localhost:7007/create', 'http://localhost:7007']) await way(own);
        for (const other of [
            'https://example.org/',
            'http://localhost:7008/',
            'https://localhost:7007/',
            'http://localhost:7007@example.org/',
            'http://localhost:7007.example.org/',
            'http:\\\\example.org\\localhost:7007',
            '//example.org/',
            '/create',
            'javascript:alert(1)',
        ]) {
            await assert.rejects(way(other), { name: 'NotAllowedError', message: /leads back to http:\/\/localhost:7007 only/ }, other);
        }
    }
    await assert.rejects(provider.frameHandler({ query: {} }), { name: 'NotAllowedError' });
    assert.deepEqual(asked, ['start', 'start', 'start', 'frame', 'frame', 'frame']);
});
