'use strict';

const assert = require('node:assert/strict');
const { test } = require('node:test');
const { OwnerLabel } = require('../src/owner-label');
const { Refusal } = require('../src/cluster');
const { configure } = require('../src/configure');

const COLLECTION = '/api/v1/namespaces/default/configmaps';
const OURS = new OwnerLabel('labkit/home=4711');
const MANIFEST = 'apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a, labels: {team: red}}\n';

// Stands in for an API server that has one ConfigMap, or none; the pytest suite has the whole walk in a real cluster.
function apiServer(labels) {
    const written = [];
    const ask = async (method, path, { body } = {}) => {
        if (method !== 'GET') written.push([method, body]);
        if (path === '/api/v1') return { resources: [{ name: 'configmaps', kind: 'ConfigMap', namespaced: true }] };
        if (path === `${COLLECTION}/a` && !labels) throw new Refusal(404, { reason: 'NotFound' });
        return path === `${COLLECTION}/a` ? { metadata: { labels } } : {};
    };
    return { ask, written };
}

test('what is made in a cluster that others use bears our label beside its own', async () => {
    const { ask, written } = apiServer();
    await configure(ask, MANIFEST, { ownerLabel: OURS });
    assert.deepEqual(written.map(([method, { metadata }]) => [method, metadata.labels]), [['POST', { team: 'red', 'labkit/home': '4711' }]]);
});

test('what is ours is changed, and keeps the label', async () => {
    const { ask, written } = apiServer({ 'labkit/home': '4711' });
    await configure(ask, MANIFEST, { ownerLabel: OURS });
    assert.deepEqual(written.at(-1)[1].metadata.labels, { team: 'red', 'labkit/home': '4711' });
    assert.equal(written.at(-1)[0], 'PATCH');
});

test("what is somebody else's is left as it is, with force too", async () => {
    for (const labels of [{ 'labkit/home': '4712' }, { team: 'red' }]) {
        const { ask, written } = apiServer(labels);
        await assert.rejects(configure(ask, MANIFEST, { ownerLabel: OURS, force: true }), /lacks the label labkit\/home=4711, so it is somebody else's/);
        assert.deepEqual(written, []);
    }
});

test('without a label everything may be changed, and nothing is marked', async () => {
    const { ask, written } = apiServer({ team: 'blue' });
    await configure(ask, MANIFEST);
    assert.deepEqual(written.at(-1)[1].metadata.labels, { team: 'red' });
});
