'use strict';

const assert = require('node:assert/strict');
const { test } = require('node:test');
const { KEY_HEADER, SignIns, keeping } = require('../src/sign-ins');

const tokens = (name, seconds) => ({
    session: { accessToken: `access ${name}`, refreshToken: `refresh ${name}` },
    fullProfile: { tokenset: { refresh_expires_in: seconds } },
});

// What Keycloak's part would be: it takes the newest refresh token only.
function signedIn({ logout = async () => {} } = {}) {
    const clock = { now: 1000 };
    const forgotten = [];
    const asked = [];
    const keycloak = {
        authenticate: async () => tokens('1', 1800),
        refresh: async ({ refreshToken }) => {
            asked.push(refreshToken);
            return tokens(`${Number(refreshToken.at(-1)) + 1}`, 1800);
        },
        logout: async ({ refreshToken }) => {
            asked.push(`end ${refreshToken}`);
            return logout();
        },
    };
    const signIns = new SignIns(() => clock.now);
    const authenticator = keeping(signIns, { forget: (token) => forgotten.push(token) }, keycloak);
    const from = (refreshToken, key) => ({ refreshToken, req: { get: (name) => (name === KEY_HEADER ? key : undefined) } });
    return { asked, authenticator, clock, forgotten, from, signIns };
}

test('the cookie gets a handle and the page a key, both made by chance, and neither is a token', async () => {
    const { authenticator, signIns } = signedIn();
    const [one, two] = [(await authenticator.authenticate({})).session, (await authenticator.authenticate({})).session];
    assert.equal(one.accessToken, 'access 1');
    assert.equal(new Set([one.refreshToken, one.key, two.refreshToken, two.key]).size, 4);
    for (const name of [one.refreshToken, one.key]) assert.match(name, /^[\w-]{43}$/);
    assert.equal(signIns.size, 2);
});

test('handle and key together renew, again and again, with the newest refresh token, and no key is given out once more', async () => {
    const { asked, authenticator, from } = signedIn();
    const { refreshToken: handle, key } = (await authenticator.authenticate({})).session;
    for (const name of ['2', '3']) {
        assert.deepEqual((await authenticator.refresh(from(handle, key))).session, { accessToken: `access ${name}`, refreshToken: handle });
    }
    assert.deepEqual(asked, ['refresh 1', 'refresh 2']);
});

test('two renewals at once go one after the other', async () => {
    const { asked, authenticator, from } = signedIn();
    const { refreshToken: handle, key } = (await authenticator.authenticate({})).session;
    await Promise.all([authenticator.refresh(from(handle, key)), authenticator.refresh(from(handle, key))]);
    assert.deepEqual(asked, ['refresh 1', 'refresh 2']);
});

test('a handle without its key renews nothing and signs nobody out', async () => {
    const { asked, authenticator, forgotten, from, signIns } = signedIn();
    const one = (await authenticator.authenticate({})).session;
    const two = (await authenticator.authenticate({})).session;
    for (const key of [undefined, '', 'made-up', two.key, one.refreshToken]) {
        await assert.rejects(authenticator.refresh(from(one.refreshToken, key)), { name: 'AuthenticationError', message: /Sign in again/ });
        await authenticator.logout(from(one.refreshToken, key));
    }
    await assert.rejects(signedIn().authenticator.refresh(from(one.refreshToken, one.key)), { name: 'AuthenticationError' });
    assert.deepEqual([asked, forgotten, signIns.size], [[], [], 2]);
});

test('sign-out ends the sign-in and tells Keycloak', async () => {
    const { asked, authenticator, forgotten, from } = signedIn();
    const { refreshToken: handle, key } = (await authenticator.authenticate({})).session;
    await authenticator.logout(from(handle, key));
    assert.deepEqual([asked, forgotten], [['end refresh 1'], ['access 1']]);
    await assert.rejects(authenticator.refresh(from(handle, key)), { name: 'AuthenticationError' });
});

test('sign-out drops the token even if Keycloak can not be reached, and can be tried again', async () => {
    const { asked, authenticator, forgotten, from } = signedIn({ logout: async () => assert.fail('no answer') });
    const { refreshToken: handle, key } = (await authenticator.authenticate({})).session;
    await assert.rejects(authenticator.logout(from(handle, key)), /no answer/);
    assert.deepEqual(forgotten, ['access 1']);
    await assert.rejects(authenticator.logout(from(handle, key)), /no answer/);
    assert.deepEqual(asked, ['end refresh 1', 'end refresh 1']);
});

test('what has expired in Keycloak is kept no longer', async () => {
    const { authenticator, clock, from, signIns } = signedIn();
    const { refreshToken: handle, key } = (await authenticator.authenticate({})).session;
    clock.now += 1000;
    await authenticator.refresh(from(handle, key));
    clock.now += 1000;
    await authenticator.authenticate({});
    assert.equal(signIns.size, 2);
    clock.now += 1000;
    await authenticator.authenticate({});
    assert.equal(signIns.size, 2);
});
