'use strict';

const assert = require('node:assert/strict');
const { test } = require('node:test');
const { parseManifest } = require('../src/manifest');
const { parse, stringify } = require('../src/yaml');

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
    const data = { version: '1.10', flag: 'true', port: '8080', hex: '0x1F', day: '2024-01-01', big: '12345678901234567890', text: 'plain' };
    const lines = Object.entries(data).map(([key, value]) => `${key}: ${value}`);
    assert.deepEqual(parseManifest(configMap('x', `{${lines.join(', ')}}`))[0].object.data, data);
});

test('values of other kinds are read as kubectl reads them', () => {
    const spec = '{replicas: 3, mode: 0400, on: off, time: 22:30, day: 2024-01-01, none: ~, a: [y, 08, 0x1F, +1_0, .5, 0b11, 1e3]}';
    const deployment = `apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: x}\nspec: ${spec}\n`;
    const read = { replicas: 3, mode: 256, true: false, time: '22:30', day: '2024-01-01', none: null, a: [true, 8, 31, 10, 0.5, 3, 1000] };
    assert.deepEqual(parseManifest(deployment)[0].object.spec, read);
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

test('a ConfigMap has its text from merged maps, aliases and lists too', () => {
    const merged = 'x: &c {port: 8080, code: 010, q: yes}\napiVersion: v1\nkind: ConfigMap\nmetadata: {name: m}\ndata: {<<: *c, z: &z 1.0, a: *z, q: no}\n';
    assert.deepEqual(parseManifest(merged)[0].object.data, { port: '8080', code: '010', z: '1.0', a: '1.0', q: 'no' });
    const listed = `apiVersion: v1\nkind: List\nitems:\n- {apiVersion: v1, kind: ConfigMap, metadata: {name: a}, data: {a: 010}}\n`;
    assert.deepEqual(parseManifest(listed)[0].object.data, { a: '010' });
});

test('what has items is flattened, at any depth, and what is wrong with one names it', () => {
    const typed = '{apiVersion: v1, kind: ConfigMapList, items: [{metadata: {name: b}}, {kind: Secret, apiVersion: v1, metadata: {name: c}}]}';
    const text = `${configMap('a')}---\napiVersion: v1\nkind: List\nmetadata: {resourceVersion: ""}\nitems: [${typed}]\n`;
    assert.deepEqual(
        parseManifest(text).map(({ object: { kind, metadata } }) => [kind, metadata.name]),
        [['ConfigMap', 'a'], ['ConfigMap', 'b'], ['Secret', 'c']],
    );
    assert.match(refusal('{apiVersion: v1, kind: List, items: [{apiVersion: v1, kind: ConfigMap, metadata: {name: a}}, {kind: X}]}'), /^Document 1, item 2, .*no apiVersion/);
    assert.match(refusal('{apiVersion: v1, kind: List, items: [1]}'), /^Document 1, item 1, .*not a Kubernetes object/);
    assert.match(refusal('{apiVersion: v1, kind: List, items: []}'), /manifest is empty/);
});

test('integers of 64 bits keep each digit on the way in and out', () => {
    const text = 'apiVersion: t/v1\nkind: T\nmetadata: {name: a}\nspec: {a: 9007199254740993, b: -9223372036854775808, c: 1, d: 1.5}\n';
    const json = '{"a":9007199254740993,"b":-9223372036854775808,"c":1,"d":1.5}';
    assert.equal(stringify(parseManifest(text)[0].object.spec), json);
    assert.equal(stringify(parse(json)), json);
});

test('an alias is taken wherever it stands, and what stands for itself is refused', () => {
    const keys = Array.from({ length: 120 }, (_, number) => `  key-${number}: *v\n`).join('');
    assert.equal(Object.keys(parseManifest(`x: &v text\n${configMap('many', `\n${keys}`)}`)[0].object.data).length, 120);
    assert.match(refusal(configMap('a', '&a {b: *a}')), /^Document 1 .*\*a in what it stands for/);
    assert.match(refusal(configMap('a', '{b: *nothing}')), /^Document 1 .*no anchor &nothing before it/);
    assert.match(refusal(configMap('a', '{<<: [text]}')), /^Document 1 .*not a map/);
});

test('what JSON lacks is refused', () => {
    for (const spec of ['.inf', '{? [a] : b}', '{1.10: a}', '!!binary YQ==']) {
        assert.match(refusal(`apiVersion: t/v1\nkind: T\nmetadata: {name: a}\nspec: ${spec}\n`), /^Document 1 .*(JSON lacks|not text|not YAML)/);
    }
});

test('files that were put together are read: byte order marks, JSON values in a row', () => {
    const mark = '\uFEFF';
    const joined = [`${mark}${configMap('a')}`, `${mark}${configMap('b')}`].join('---\n') + `${mark}---\n${configMap('c')}`;
    assert.deepEqual(parseManifest(joined).map(({ object }) => object.metadata.name), ['a', 'b', 'c']);
    const json = ['a', 'b'].map((name) => JSON.stringify({ apiVersion: 'v1', kind: 'ConfigMap', metadata: { name } }, null, 2)).join('\n');
    assert.deepEqual(parseManifest(json).map(({ number }) => number), [1, 2]);
});

test('what would take for ever is read in seconds, or refused', () => {
    const started = Date.now();
    const keys = Array.from({ length: 60_000 }, (_, number) => `  key-${number}: value\n`).join('');
    assert.equal(Object.keys(parseManifest(configMap('many', `\n${keys}`))[0].object.data).length, 60_000);
    const level = (name, below) => `${name}: &${name} [${Array(10).fill(below).join(', ')}]\n`;
    const bomb = ['x', ...'abcdefgh'].map((below, index) => (index < 8 ? level('abcdefgh'[index], index ? `*${below}` : below) : '')).join('');
    assert.match(refusal(bomb), /more than 3145728 characters with each alias written out/);
    const aliases = Array.from({ length: 45_000 }, (_, number) => `- &a${number} x\n- *a${number}\n`).join('');
    assert.equal(parseManifest(`${configMap('many')}list:\n${aliases}`)[0].object.list.length, 90_000);
    const merges = `x: &x {${Array.from({ length: 1000 }, (_, number) => `k${number}: v`)}}\n`;
    assert.match(refusal(`${merges}${configMap('merged', `\n${'  <<: *x\n'.repeat(9000)}`)}`), /with each alias written out/);
    assert.match(refusal(`apiVersion: ${'['.repeat(100_000)}`), /nested too deeply|not YAML/);
    assert.match(refusal(configMap('huge', `{a: ${'x'.repeat(4 * 1024 * 1024)}}`)), /takes 3145728 at most/);
    assert.ok(Date.now() - started < 20_000);
});
