'use strict';

const assert = require('node:assert/strict');
const { after, before, test } = require('node:test');
const { ConfigReader } = require('@backstage/config');
const jose = require('jose');
const { SessionVault } = require('../src/session-vault');
const { UserTokens } = require('../src/user-tokens');
const { startIssuer } = require('./issuer');

const ADMIN = 'user:default/user-admin';
const DEV = 'user:default/user-dev';

let issuer;
before(async () => {
    issuer = await startIssuer();
});
after(() => issuer.stop());

function userTokens(identity = {}, vault = new SessionVault()) {
    return new UserTokens(new ConfigReader({ ske: { identity: { issuer: issuer.url, audience: 'kube', ...identity } } }), vault);
}

// Only its claims are read: whose Backstage token it is, Backstage has verified before.
const backstageToken = (claims) => new jose.UnsecuredJWT(claims).encode();

test('a signed-in person gets their own token back, through a handle that does not hold it', async () => {
    const tokens = userTokens();
    const token = await issuer.token();
    const claims = tokens.claimsFor(ADMIN, token);
    assert.deepEqual(Object.keys(claims), ['ske_session']);
    assert.ok(!JSON.stringify(claims).includes(token.split('.')[2]));
    const found = await tokens.of({ userRef: ADMIN, backstageToken: backstageToken(claims) });
    assert.equal(found.token, token);
    assert.equal(found.claims.preferred_username, 'user-admin');
});

test("somebody else's handle is worth nothing", async () => {
    const tokens = userTokens();
    const claims = tokens.claimsFor(ADMIN, await issuer.token());
    const stolen = tokens.of({ userRef: DEV, backstageToken: backstageToken(claims) });
    await assert.rejects(stolen, { name: 'AuthenticationError', message: /no Keycloak token for this session of user:default\/user-dev/ });
});

test("somebody else's token is refused, however it was sent", async () => {
    const token = await issuer.token();
    const refused = { name: 'NotAllowedError', message: /belongs to user-admin, and this is user:default\/user-dev/ };
    await assert.rejects(userTokens().of({ userRef: DEV, keycloakToken: token }), refused);
    const byClaim = userTokens({ userToken: 'claim' });
    await assert.rejects(byClaim.of({ userRef: DEV, backstageToken: backstageToken({ tok: token }) }), refused);
});

test('a token without a user name is nobody\'s', async () => {
    const token = await issuer.token({ preferred_username: undefined });
    await assert.rejects(userTokens().of({ userRef: ADMIN, keycloakToken: token }), { name: 'NotAllowedError' });
});

test('who has no Keycloak token is asked to sign in', async () => {
    for (const token of [undefined, backstageToken({ sub: 'user:development/guest' }), 'nonsense']) {
        await assert.rejects(userTokens().of({ userRef: 'user:development/guest', backstageToken: token }), {
            name: 'AuthenticationError',
            message: /has no Keycloak token here.*Sign in through Keycloak/,
        });
    }
});

test('a token in the claim counts only where the setting says so', async () => {
    const token = await issuer.token();
    const carried = backstageToken({ tok: token });
    await assert.rejects(userTokens().of({ userRef: ADMIN, backstageToken: carried }), { name: 'AuthenticationError' });
    const byClaim = userTokens({ userToken: 'claim' });
    assert.deepEqual(byClaim.claimsFor(ADMIN, token), { tok: token });
    assert.equal((await byClaim.of({ userRef: ADMIN, backstageToken: carried })).token, token);
});

test('a token that does not hold is refused, and the refusal does not repeat it', async () => {
    const { privateKey: otherKey } = await jose.generateKeyPair('RS256');
    const past = Math.floor(Date.now() / 1000) - 10;
    const cases = {
        'has expired': await issuer.token({ exp: past }),
        'made for kube \\(ERR_JWT_CLAIM_VALIDATION_FAILED': await issuer.token({ aud: 'account' }),
        'ERR_JWT_CLAIM_VALIDATION_FAILED': await issuer.token({ iss: 'https://elsewhere' }),
        'ERR_JWS_SIGNATURE_VERIFICATION_FAILED': await issuer.token({}, otherKey),
        'ERR_JWS_INVALID': 'nonsense',
        'ERR_JWT_CLAIM_VALIDATION_FAILED\\)': await issuer.token({ exp: undefined }),
        'ERR_JOSE_NOT_SUPPORTED|ERR_JWKS': new jose.UnsecuredJWT({ preferred_username: 'user-admin' }).encode(),
    };
    for (const [why, token] of Object.entries(cases)) {
        await assert.rejects(userTokens().of({ userRef: ADMIN, keycloakToken: token }), (error) => {
            assert.equal(error.name, 'AuthenticationError');
            assert.match(error.message, new RegExp(why));
            assert.ok(!error.message.includes(token));
            return true;
        });
    }
});

test("an issuer that is silent is named, and asked again the next time", async () => {
    const tokens = userTokens();
    const token = await issuer.token();
    issuer.ready = false;
    await assert.rejects(tokens.of({ userRef: ADMIN, keycloakToken: token }), { name: 'ServiceUnavailableError', message: /503.*Start Keycloak/ });
    issuer.ready = true;
    assert.equal((await tokens.of({ userRef: ADMIN, keycloakToken: token })).token, token);
});

test('sign-out drops the token of that session alone', async () => {
    const vault = new SessionVault();
    const tokens = userTokens({}, vault);
    tokens.claimsFor(ADMIN, await issuer.token({ sid: 'one' }));
    tokens.claimsFor(ADMIN, await issuer.token({ sid: 'two' }));
    tokens.forget(await issuer.token({ sid: 'one' }));
    assert.equal(vault.size, 1);
    tokens.forget('nonsense');
    assert.equal(vault.size, 1);
});

test("of somebody's Keycloak groups those count that the configuration names, to the letter", () => {
    const groups = ['kube-dev', 'Kube-Admin', 'team:x', 'team-x', '/kube-admin'];
    assert.deepEqual(userTokens({ groups: ['kube-dev', 'kube-admin'] }).groupRefsOf({ groups }), ['group:default/kube-dev']);
    const renamed = userTokens({ groups: ['kube-dev'], groupsClaim: 'teams' });
    assert.deepEqual(renamed.groupRefsOf({ groups: ['kube-dev'], teams: groups }), ['group:default/kube-dev']);
    assert.deepEqual(renamed.groupsIn({ groups }), []);
    assert.deepEqual(userTokens().groupRefsOf({ groups }), []);
});

test('sign-out ends each token of the session that was issued before, wherever it is kept, and none that came after', async () => {
    const now = Math.floor(Date.now() / 1000);
    const tokens = userTokens({ userToken: 'claim' });
    const [before, after, other] = await Promise.all([
        issuer.token({ sid: 'one', iat: now - 60 }),
        issuer.token({ sid: 'one', iat: now + 60 }),
        issuer.token({ sid: 'two', iat: now - 60 }),
    ]);
    const ways = (token) => [
        { userRef: ADMIN, backstageToken: backstageToken(tokens.claimsFor(ADMIN, token)) },
        { userRef: ADMIN, keycloakToken: token },
    ];
    for (const person of ways(before)) await assert.doesNotReject(tokens.of(person));
    tokens.forget(before);
    for (const person of ways(before)) await assert.rejects(tokens.of(person), { name: 'AuthenticationError', message: /was signed out. Sign in again/ });
    for (const person of [...ways(after), ...ways(other)]) await assert.doesNotReject(tokens.of(person));
});
