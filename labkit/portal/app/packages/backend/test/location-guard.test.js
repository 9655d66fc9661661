'use strict';

const assert = require('node:assert/strict');
const { test } = require('node:test');
const { ConfigReader } = require('@backstage/config');
const { LocationGuard, parseQuietly } = require('../src/location-guard');

const guard = LocationGuard.fromConfig(
    new ConfigReader({
        catalog: {
            locations: [
                { type: 'file', target: '/portal/templates/*.yaml' },
                { type: 'url', target: '/etc/hostname' },
            ],
        },
    }),
);
const URL_LOCATION = { type: 'url', target: 'https://github.com/o/r/blob/main/t.yaml' };
const origin = { type: 'url', target: 'https://github.com/o/r/blob/main/all.yaml' };
const check = (annotations) => guard.preProcessEntity({ metadata: { annotations } }, URL_LOCATION, () => {}, origin);

test('a file is read where the configuration names it, and nowhere else', async () => {
    assert.equal(await guard.readLocation({ type: 'file', target: '/portal/templates/*.yaml' }), false);
    assert.equal(await guard.readLocation(URL_LOCATION), false);
    for (const target of ['/portal/templates/a.yaml', '/portal/templates/../secrets/*', '/etc/hostname', '/home/*', 'templates/*.yaml']) {
        await assert.rejects(guard.readLocation({ type: 'file', target }), { name: 'NotAllowedError', message: /does not name it/ }, target);
    }
});

test('a portal without configured files reads none', async () => {
    await assert.rejects(LocationGuard.fromConfig(new ConfigReader({})).readLocation({ type: 'file', target: '/x' }), { name: 'NotAllowedError' });
});

test('an entity may say where it was read, and nothing else of it', async () => {
    const here = `url:${URL_LOCATION.target}`;
    await check(undefined);
    await check({
        'backstage.io/managed-by-location': here,
        'backstage.io/managed-by-origin-location': `url:${origin.target}`,
        'backstage.io/source-location': here,
        'example.com/other': 'file:/etc/passwd',
    });
    const lies = [
        ['backstage.io/source-location', 'file:/home/somebody/x'],
        ['backstage.io/source-location', { $text: './location.txt' }],
        ['backstage.io/managed-by-location', 'file:/x'],
        ['backstage.io/managed-by-origin-location', here],
        ['backstage.io/managed-by-anything', here],
    ];
    for (const [name, value] of lies) await assert.rejects(check({ [name]: value }), { name: 'InputError', message: new RegExp(`${name} is not where`) });
});

test('a mistake in a file is reported by its place, and the file is not quoted', async () => {
    const parsed = async (text) => {
        const results = [];
        for await (const result of parseQuietly({ data: Buffer.from(text), location: { type: 'file', target: '/t.yaml' } })) results.push(result);
        return results;
    };
    const [{ error }] = await parsed('[default]\naws_access_key_id = AKIA\n');
    assert.match(error.message, /^file:\/t.yaml is not YAML at line \d+, column \d+$/);
    assert.match((await parsed('just words'))[0].error.message, /^Expected object at root/);
    assert.deepEqual((await parsed('kind: Template\n'))[0].entity, { kind: 'Template' });
});
