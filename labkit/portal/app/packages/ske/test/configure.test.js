'use strict';

const assert = require('node:assert/strict');
const { test } = require('node:test');
const { Refusal, Unreachable } = require('../src/cluster');
const { configure } = require('../src/configure');

const CORE = {
    resources: [
        { name: 'configmaps', kind: 'ConfigMap', namespaced: true },
        { name: 'namespaces', kind: 'Namespace', namespaced: false },
        { name: 'namespaces/status', kind: 'Namespace', namespaced: false },
        { name: 'pods', kind: 'Pod', namespaced: true },
        { name: 'pods/eviction', kind: 'Eviction', namespaced: true },
    ],
};
const RBAC = { resources: [{ name: 'roles', kind: 'Role', namespaced: true }] };
const USUAL = {
    'GET /api/v1': CORE,
    'GET /apis/rbac.authorization.k8s.io/v1': RBAC,
    'GET /api/v1/namespaces/default': {},
    'GET /api/v1/namespaces/team': {},
};

// Stands in for an API server where the order of requests and rare answers matter; the real one is asked in the pytest suite.
function apiServer(answers) {
    const asked = [];
    const bodies = {};
    const ask = async (method, path, { body, type } = {}) => {
        const request = `${method} ${path.replace('fieldManager=backstage-ske', 'ours')}`;
        asked.push(request);
        bodies[request] = { body, type };
        const queue = [{ ...USUAL, ...answers }[request] ?? new Refusal(404, { reason: 'NotFound', message: `no ${path}` })].flat();
        const answer = queue[Math.min(asked.filter((earlier) => earlier === request).length, queue.length) - 1];
        if (answer instanceof Error) throw answer;
        return answer;
    };
    return { ask, asked, bodies };
}

const configMap = (name, namespace = 'default') => `apiVersion: v1\nkind: ConfigMap\nmetadata: {name: ${name}, namespace: ${namespace}}\n`;
const COLLECTION = '/api/v1/namespaces/default/configmaps';
const EXISTS = new Refusal(409, { reason: 'AlreadyExists', message: 'configmaps "a" already exists' });
const WORDS = 'configmaps is forbidden: User "dev" cannot create resource "configmaps"';
const FORBIDDEN = new Refusal(
    403,
    { reason: 'Forbidden', message: WORDS, details: { kind: 'configmaps', name: 'b' } },
    { user: 'dev', verb: 'create' },
);
const entries = (...operations) => operations.map(([manager, operation]) => ({ manager, operation }));

test('an object that is not there is created with one POST', async () => {
    const { ask, asked, bodies } = apiServer({ [`POST ${COLLECTION}?ours`]: {} });
    assert.deepEqual(await configure(ask, 'apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\n'), ['configmaps/default/a']);
    assert.deepEqual(asked, ['GET /api/v1', 'GET /api/v1/namespaces/default', `GET ${COLLECTION}/a`, `POST ${COLLECTION}?ours`]);
    assert.equal(bodies[`POST ${COLLECTION}?ours`].body.metadata.name, 'a');
});

test('kinds of a group and kinds without a namespace have their own paths and ids', async () => {
    const text = `apiVersion: v1\nkind: Namespace\nmetadata: {name: new}\n---\napiVersion: rbac.authorization.k8s.io/v1\nkind: Role\nmetadata: {name: r, namespace: new}\n`;
    const { ask, asked } = apiServer({
        'POST /api/v1/namespaces?ours': {},
        'POST /apis/rbac.authorization.k8s.io/v1/namespaces/new/roles?ours': {},
    });
    assert.deepEqual(await configure(ask, text), ['namespaces/new', 'roles.rbac.authorization.k8s.io/new/r']);
    assert.equal(asked.filter((request) => request === 'GET /api/v1/namespaces/new').length, 1, 'a namespace that the manifest itself makes need not be there before');
});

test('who may change an object needs no right to create one, and who may only create needs none to look', async () => {
    const path = `${COLLECTION}/a`;
    const changing = apiServer({ [`GET ${path}`]: { metadata: {} }, [`PATCH ${path}?ours&force=false`]: {} });
    await configure(changing.ask, configMap('a'));
    assert.ok(!changing.asked.some((request) => request.startsWith('POST')));
    const creating = apiServer({ [`GET ${path}`]: FORBIDDEN, [`POST ${COLLECTION}?ours`]: {} });
    assert.deepEqual(await configure(creating.ask, configMap('a')), ['configmaps/default/a']);
});

test('a name that the API server makes is in the id, and each run makes one', async () => {
    const { ask } = apiServer({ [`POST ${COLLECTION}?ours`]: [{ metadata: { name: 'tool-1' } }, { metadata: { name: 'tool-2' } }, FORBIDDEN] });
    const text = 'apiVersion: v1\nkind: ConfigMap\nmetadata: {generateName: tool-}\n';
    assert.deepEqual(await configure(ask, text), ['configmaps/default/tool-1']);
    assert.deepEqual(await configure(ask, text), ['configmaps/default/tool-2']);
    await assert.rejects(configure(ask, text), /^NotAllowedError: Document 1 \(ConfigMap tool-… in namespace default\) was refused/);
});

const WIDGETS = `apiVersion: apiextensions.k8s.io/v1\nkind: CustomResourceDefinition\nmetadata: {name: widgets.t.example}\nspec: {group: t.example, scope: Namespaced, names: {kind: Widget, plural: widgets}, versions: [{name: alpha1}]}\n`;

test('a kind that the manifest itself brings is served before its object is written, wherever it stands', async () => {
    const all = { resources: [{ name: 'widgets', kind: 'Widget', namespaced: true }] };
    const missing = new Refusal(404, { reason: 'NotFound' });
    const { ask, asked } = apiServer({
        'GET /apis/apiextensions.k8s.io/v1': { resources: [{ name: 'customresourcedefinitions', kind: 'CustomResourceDefinition', namespaced: false }] },
        'POST /apis/apiextensions.k8s.io/v1/customresourcedefinitions?ours': {},
        'GET /apis/t.example/alpha1': [missing, missing, { resources: [] }, all],
        'POST /apis/t.example/alpha1/namespaces/default/widgets?ours': {},
    });
    const widget = 'apiVersion: t.example/alpha1\nkind: Widget\nmetadata: {name: w}\n';
    assert.deepEqual(await configure(ask, `${widget}---\n${WIDGETS}`), ['widgets.t.example/default/w', 'customresourcedefinitions.apiextensions.k8s.io/widgets.t.example']);
    assert.equal(asked.filter((request) => request === 'GET /apis/t.example/alpha1').length, 4);
    assert.match(asked.at(-1), /^POST .*widgets/);
    await assert.rejects(configure(ask, `${WIDGETS}---\n${widget.replace('alpha1', 'beta1')}`), /knows no apiVersion t.example\/beta1.*\n?Nothing was changed/);
});

test('an object that is there is applied, after our own first write was made an applied one', async () => {
    const path = `${COLLECTION}/a`;
    const { ask, asked, bodies } = apiServer({
        [`GET ${path}`]: { metadata: { resourceVersion: '7', managedFields: entries(['kubectl', 'Update'], ['backstage-ske', 'Update']) } },
        [`PATCH ${path}?ours`]: {},
        [`PATCH ${path}?ours&force=false`]: {},
    });
    await configure(ask, configMap('a'));
    assert.deepEqual(asked.slice(-3), [`GET ${path}`, `PATCH ${path}?ours`, `PATCH ${path}?ours&force=false`]);
    assert.deepEqual(bodies[`PATCH ${path}?ours`].body, [
        { op: 'replace', path: '/metadata/resourceVersion', value: '7' },
        { op: 'replace', path: '/metadata/managedFields/1/operation', value: 'Apply' },
    ]);
    assert.equal(bodies[`PATCH ${path}?ours&force=false`].type, 'application/apply-patch+yaml');
});

test('two tasks at once do not stumble over each other', async () => {
    const path = `${COLLECTION}/a`;
    const { ask } = apiServer({
        [`POST ${COLLECTION}?ours`]: EXISTS,
        [`GET ${path}`]: [
            new Refusal(404, { reason: 'NotFound' }),
            { metadata: { resourceVersion: '7', managedFields: entries(['backstage-ske', 'Update']) } },
            { metadata: { resourceVersion: '8', managedFields: entries(['backstage-ske', 'Apply']) } },
        ],
        [`PATCH ${path}?ours`]: new Refusal(409, { reason: 'Conflict', message: 'the object has been modified' }),
        [`PATCH ${path}?ours&force=false`]: {},
    });
    assert.deepEqual(await configure(ask, configMap('a')), ['configmaps/default/a']);
});

test("another manager's fields are named with the manager, and force takes them over", async () => {
    const path = `${COLLECTION}/a`;
    const conflict = new Refusal(409, {
        reason: 'Conflict',
        message: 'Apply failed with 1 conflict: conflict with "kubectl-edit" using v1: .data.colour',
        details: { causes: [{ reason: 'FieldManagerConflict', message: 'conflict with "kubectl-edit" using v1', field: '.data.colour' }] },
    });
    const { ask, asked } = apiServer({
        [`GET ${path}`]: { metadata: { managedFields: entries(['kubectl-edit', 'Update']) } },
        [`PATCH ${path}?ours&force=false`]: conflict,
        [`PATCH ${path}?ours&force=true`]: {},
    });
    await assert.rejects(configure(ask, configMap('a')), {
        name: 'ConflictError',
        message:
            'Document 1 (ConfigMap a in namespace default) was refused: 409 Conflict: .data.colour is set by kubectl-edit. ' +
            'Leave these fields out, or take them over with "force: true" in the template\'s step.',
    });
    await configure(ask, configMap('a'), { force: true });
    assert.equal(asked.at(-1), `PATCH ${path}?ours&force=true`);
});

test('nothing is written before every document has been looked at', async () => {
    const bad = {
        'apiVersion: v1\nkind: Configmap\nmetadata: {name: b}\n': /^Document 2 \(Configmap b\): the cluster knows no kind Configmap in v1: write ConfigMap/,
        'apiVersion: v1\nkind: Eviction\nmetadata: {name: b}\n': /^Document 2 .*knows no kind Eviction/,
        'apiVersion: apps/v9\nkind: Deployment\nmetadata: {name: b}\n': /^Document 2 .*knows no apiVersion apps\/v9/,
        [configMap('b', 'nowhere')]: /^Document 2 .*the namespace nowhere does not exist; create it first/,
        'apiVersion: v1\nkind: ConfigMap\n': /^Document 2 .*no metadata.name/,
    };
    for (const [text, message] of Object.entries(bad)) {
        const { ask, asked } = apiServer({ [`POST ${COLLECTION}?ours`]: {} });
        await assert.rejects(configure(ask, `${configMap('a')}---\n${text}`), { name: 'InputError', message });
        assert.ok(!asked.some((request) => request.startsWith('POST')));
    }
});

test('who may not look at namespaces may still write in one', async () => {
    const { ask } = apiServer({ 'GET /api/v1/namespaces/team': FORBIDDEN, 'POST /api/v1/namespaces/team/configmaps?ours': {} });
    assert.deepEqual(await configure(ask, configMap('a', 'team')), ['configmaps/team/a']);
});

test('a refusal midway says what was done and what was not, in the words of the API server', async () => {
    const log = [];
    const { ask } = apiServer({ [`POST ${COLLECTION}?ours`]: [{}, FORBIDDEN] });
    const text = [configMap('a'), configMap('b'), configMap('c')].join('---\n');
    await assert.rejects(configure(ask, text, { log: (line) => log.push(line) }), {
        name: 'NotAllowedError',
        message:
            'Document 2 (ConfigMap b in namespace default) was refused: 403 Forbidden: configmaps is forbidden: ' +
            'User "dev" cannot create resource "configmaps"\n' +
            'Done before: created configmaps/default/a. Not done: configmaps/default/b, configmaps/default/c.',
        refusal: { status: 403, reason: 'Forbidden', user: 'dev', verb: 'create', resource: 'configmaps', object: 'b', message: WORDS },
    });
    assert.deepEqual(log, ['created configmaps/default/a']);
});

test('each kind of no keeps its meaning, and a silent API server is named', async () => {
    const cases = [
        [new Refusal(401, { reason: 'Unauthorized', message: 'Unauthorized' }), 'AuthenticationError', /sign in again/],
        [new Refusal(422, { reason: 'Invalid', message: 'is invalid' }), 'InputError', /is invalid/],
        [new Refusal(500, { message: 'trying to send message larger than max (2 vs. 1)' }), 'InputError', /too large for the cluster/],
        [new Unreachable('https://localhost:6443', 'connect ECONNREFUSED'), 'ServiceUnavailableError', /can't be reached/],
        [new Refusal(500, { message: `bad header eyJhbGciOi.eyJzdWIi.c2ln ${'x'.repeat(9000)}` }), 'Error', /bad header \[token\] x{1000,1999}…/],
    ];
    for (const [answer, name, message] of cases) {
        const { ask } = apiServer({ [`POST ${COLLECTION}?ours`]: answer });
        await assert.rejects(configure(ask, configMap('a')), (error) => {
            assert.equal(error.name, name);
            assert.match(error.message, message);
            assert.equal(error.refusal?.status, answer.status);
            assert.ok(!JSON.stringify(error.refusal ?? {}).includes('eyJ'));
            return true;
        });
    }
});
