'use strict';

const assert = require('node:assert/strict');
const { test } = require('node:test');
const { parseManifest } = require('../src/manifest');

const configMap = (name, data = '{}') => `apiVersion: v1\nkind: ConfigMap\nmetadata: {name: ${name}}\ndata: ${data}\n`;
const refusal = (text) => {
    try {
        parseManifest(text);
    } catch (error) {
        assert.equal(error.name, 'InputError');
        return error.message;
    }
    return assert.fail('it was taken');
};

test('documents are numbered as they stand in the text, empty ones count', () => {
    const text = `${configMap('one')}---\n# nothing here\n---\n${configMap('three')}---\n`;
    assert.deepEqual(
        parseManifest(text).map(({ number, object }) => [number, object.metadata.name]),
        [[1, 'one'], [3, 'three']],
    );
});

test('JSON is a manifest too', () => {
    const object = { apiVersion: 'v1', kind: 'ConfigMap', metadata: { name: 'x', namespace: 'y' }, data: { a: 'b' } };
    assert.deepEqual(parseManifest(JSON.stringify(object)), [{ number: 1, object }]);
});

test("a ConfigMap's data is text as it was written, whatever YAML would read it as", () => {
    const data = { version: '1.10', on: 'true', port: '8080', hex: '0x1F', day: '2024-01-01', big: '12345678901234567890', text: 'plain' };
    const lines = Object.entries(data).map(([key, value]) => `${key}: ${value}`);
    assert.deepEqual(parseManifest(configMap('x', `{${lines.join(', ')}}`))[0].object.data, data);
});

test('numbers of other kinds stay numbers', () => {
    const deployment = 'apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: x}\nspec: {replicas: 3}\n';
    assert.equal(parseManifest(deployment)[0].object.spec.replicas, 3);
});

test('each mistake names its document and what to do', () => {
    const good = configMap('good');
    const cases = [
        ['', /manifest is empty.*at least one/],
        ['# only a comment\n---\n', /manifest is empty/],
        ['apiVersion: v1\nkind: ConfigMap\nmetadata:\n\tname: x\n', /^Document 1 .*line 4[^]*Indent with spaces/],
        [`${good}---\nkind: [\n`, /^Document 2 .*not YAML/],
        [`${good}---\n- a\n- b\n`, /^Document 2 .*not a Kubernetes object.*divided by ---/],
        [`${good}---\njust text\n`, /^Document 2 .*not a Kubernetes object/],
        [`${good}---\nkind: ConfigMap\nmetadata: {name: x}\n`, /^Document 2 .*no apiVersion: add it/],
        [`${good}---\napiVersion: v1\nmetadata: {name: x}\n`, /^Document 2 .*no kind: add it/],
        [`${good}---\napiVersion: v1\nkind: ConfigMap\n`, /^Document 2 .*\(ConfigMap\) has no metadata.name/],
        [configMap(''), /^Document 1 .*\(ConfigMap\) has no metadata.name/],
        [configMap('12'), /^Document 1 .*metadata.name that is not text: put 12 in quotes/],
        ['apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a, name: b}\n', /^Document 1 .*key name twice/],
        ['apiVersion: v1/../secrets\nkind: ConfigMap\nmetadata: {name: a}\n', /^Document 1 .*write v1 or group\/v1/],
    ];
    for (const [text, expected] of cases) assert.match(refusal(text), expected);
});

test('labels are pairs of key and value', () => {
    for (const labels of ['red', '[red]', '1']) {
        assert.match(refusal(`apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a, labels: ${labels}}\n`), /metadata.labels/);
    }
});

test('a name can not lead to another path', () => {
    for (const name of ['".."', '"."', '"a/b"', '"a%2Fb"']) assert.match(refusal(configMap(name)), /can't be one/);
    assert.match(refusal('apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a, namespace: ../x}\n'), /metadata.namespace/);
});

test('aliases are taken in the number that a person writes', () => {
    assert.deepEqual(parseManifest(configMap('few', '{a: &a text, b: *a}'))[0].object.data, { a: 'text', b: 'text' });
});

test('what would take for ever is read in seconds, or refused', () => {
    const started = Date.now();
    const keys = Array.from({ length: 60_000 }, (_, number) => `  key-${number}: value\n`).join('');
    assert.equal(Object.keys(parseManifest(configMap('many', `\n${keys}`))[0].object.data).length, 60_000);
    const level = (name, below) => `${name}: &${name} [${Array(10).fill(below).join(', ')}]\n`;
    assert.match(refusal(`${level('a', 'x')}${level('b', '*a')}${level('c', '*b')}${level('d', '*c')}`), /can't be read/);
    const aliases = Array.from({ length: 45_000 }, (_, number) => `- &a${number} x\n- *a${number}\n`).join('');
    assert.match(refusal(`list:\n${aliases}`), /^Document 1 .*more than 100 aliases: write the values out/);
    assert.match(refusal(configMap('huge', `{a: ${'x'.repeat(4 * 1024 * 1024)}}`)), /takes 3145728 at most/);
    assert.ok(Date.now() - started < 20_000);
});
