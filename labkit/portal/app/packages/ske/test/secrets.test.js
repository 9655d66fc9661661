'use strict';

const assert = require('node:assert/strict');
const { createHash } = require('node:crypto');
const { test } = require('node:test');
const { parseManifest } = require('../src/manifest');
const { secretsOf } = require('../src/secrets');

const base64 = (text) => Buffer.from(text).toString('base64');
const token = (claims) => {
    const signature = createHash('sha512').update(JSON.stringify(claims)).digest();
    return ['{"alg":"RS512","kid":"of them all"}', JSON.stringify(claims), signature].map((part) => Buffer.from(part).toString('base64url')).join('.');
};
const BACKSTAGE = token({ sub: 'user:default/user-admin', exp: 1_900_000_000 });
const KEYCLOAK = token({ sub: '4711', preferred_username: 'user-admin' });
const PASSWORD = 'a pässword of a form';
const SECRETS = secretsOf(
    {
        backstageToken: BACKSTAGE,
        password: PASSWORD,
        size: 'large',
        __initiatorCredentials: JSON.stringify({ token: BACKSTAGE, principal: { type: 'user', userEntityRef: 'user:default/user-admin' } }),
    },
    BACKSTAGE,
    KEYCLOAK,
);

const manifest = (data) => `apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\ndata:\n  a: ${data}\n`;
const lines = (text, length) => text.match(new RegExp(`.{1,${length}}`, 'gu')).join('\n    ');

test('a secret in a manifest is found in every form that YAML and Kubernetes invite, and is not repeated', () => {
    const escaped = [...BACKSTAGE].map((letter) => `\\x${letter.charCodeAt(0).toString(16)}`).join('');
    const forms = {
        plain: BACKSTAGE,
        "the initiator's at Keycloak": KEYCLOAK,
        'within text': `Bearer ${BACKSTAGE}, and so on`,
        quoted: JSON.stringify(`the ${PASSWORD}`),
        escaped: `"${escaped}"`,
        folded: `>-\n    ${lines(BACKSTAGE, 40)}`,
        'a literal block': `|\n    ${lines(BACKSTAGE, 40)}`,
        'a quoted one over lines': `"${lines(BACKSTAGE, 40).replaceAll('\n', '\\\n')}"`,
        base64: base64(PASSWORD),
        'base64 within text': JSON.stringify(`Basic ${base64(`user:${BACKSTAGE}`)}`),
        'base64 over lines': `|\n    ${lines(base64(BACKSTAGE), 76)}`,
        'base64 that is escaped': `"${[...base64(BACKSTAGE)].map((letter) => `\\u00${letter.charCodeAt(0).toString(16)}`).join('')}"`,
        'base64 of base64': base64(base64(`{"auth":"${BACKSTAGE}"}`)),
        'a part of it': BACKSTAGE.slice(60, 160),
        'its signature': BACKSTAGE.split('.')[2],
        'a key': `b\n  ? ${BACKSTAGE.slice(0, 200)}\n  : c`,
        'a comment': `b # ${PASSWORD}`,
        'what is no YAML': `"${BACKSTAGE}`,
    };
    for (const [form, data] of Object.entries(forms)) {
        assert.throws(
            () => parseManifest(manifest(data), SECRETS),
            (error) => {
                assert.equal(error.name, 'InputError', form);
                assert.match(error.message, /contains a secret of this task/, form);
                for (const secret of SECRETS) assert.ok(!error.message.includes(secret));
                return true;
            },
            form,
        );
    }
});

test('what is no secret is taken: who started the task, short values, names of secrets, tokens of others', () => {
    for (const data of ['user:default/user-admin', 'large', 'backstageToken', token({ sub: 'other', exp: 1 }), base64('a password of a form')]) {
        assert.equal(parseManifest(manifest(data), SECRETS).length, 1, data);
    }
    assert.deepEqual(secretsOf(), []);
    assert.equal(parseManifest(manifest(BACKSTAGE), secretsOf()).length, 1);
});

test('a large manifest is searched in seconds, be it all base64', () => {
    const started = Date.now();
    parseManifest(manifest(`"${base64(base64('x'.repeat(1_500_000)))}"`), SECRETS);
    assert.ok(Date.now() - started < 20_000);
});
