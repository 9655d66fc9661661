'use strict';

const assert = require('node:assert/strict');
const { test } = require('node:test');
const { createPermission } = require('@backstage/plugin-permission-common');
const { catalogPermissions } = require('@backstage/plugin-catalog-common/alpha');
const { kubernetesPermissions } = require('@backstage/plugin-kubernetes-common');
const { scaffolderPermissions } = require('@backstage/plugin-scaffolder-common/alpha');
const { PortalPolicy } = require('../src/policy');

const user = (userEntityRef, ...ownershipEntityRefs) => ({ info: { userEntityRef, ownershipEntityRefs: [userEntityRef, ...ownershipEntityRefs] } });
const GUEST = user('user:development/guest');
const DEV = user('user:default/user-dev', 'group:default/kube-dev');
const ADMIN = user('user:default/user-admin', 'group:default/kube-admin');

const KNOWN = [...catalogPermissions, ...kubernetesPermissions, ...scaffolderPermissions];
const named = (name) => KNOWN.find((permission) => permission.name === name);
const policy = new PortalPolicy(['group:default/Kube-Admin']);
const decide = async (permission, person) => policy.handle({ permission }, person);
const allowed = async (person) => {
    const names = new Set();
    for (const permission of KNOWN) if ((await decide(permission, person)).result !== 'DENY') names.add(permission.name);
    return names;
};

test('who has not signed in at all gets nothing', async () => {
    assert.deepEqual(await allowed(undefined), new Set());
});

test('a guest reads the catalog and no more', async () => {
    assert.deepEqual(await allowed(GUEST), new Set(['catalog.entity.read']));
});

test('signed-in people run templates and see the cluster, and publish nothing', async () => {
    const may = await allowed(DEV);
    for (const name of ['scaffolder.task.create', 'scaffolder.action.execute', 'kubernetes.proxy']) assert.ok(may.has(name), name);
    const publishing = [...(await allowed(ADMIN))].filter((name) => !may.has(name));
    assert.deepEqual(publishing, [
        'catalog.entity.delete',
        'catalog.entity.refresh',
        'catalog.entity.validate',
        'catalog.location.read',
        'catalog.location.create',
        'catalog.location.delete',
        'scaffolder.template.dry-run',
        'scaffolder.template.management',
    ]);
});

test('a permission that nobody has thought of is denied to everybody', async () => {
    for (const name of ['later.plugin.use', 'constructor', '__proto__']) {
        const permission = createPermission({ name, attributes: { action: 'read' } });
        for (const person of [GUEST, DEV, ADMIN]) assert.equal((await decide(permission, person)).result, 'DENY', name);
    }
});

test('publishers are the groups that the configuration names, by their exact references', async () => {
    const create = named('catalog.location.create');
    const others = ['group:development/kube-admin', 'group:default/kube-admins', 'user:default/kube-admin'];
    for (const ref of others) assert.equal((await decide(create, user('user:default/x', ref))).result, 'DENY', ref);
    assert.equal((await new PortalPolicy([]).handle({ permission: create }, ADMIN)).result, 'DENY');
    assert.equal((await decide(create, user('user:development/guest', 'group:default/kube-admin'))).result, 'DENY');
    assert.throws(() => new PortalPolicy(['kube-admin']), /kube-admin/);
});

test('a task is for who started it', async () => {
    for (const name of ['scaffolder.task.read', 'scaffolder.task.cancel']) {
        assert.deepEqual((await decide(named(name), ADMIN)).conditions, {
            resourceType: 'scaffolder-task',
            rule: 'IS_TASK_OWNER',
            params: { createdBy: ['user:default/user-admin'] },
        });
    }
});

test('a step is one of the listed actions, whoever runs it', async () => {
    for (const person of [DEV, ADMIN]) {
        const { result, conditions } = await decide(named('scaffolder.action.execute'), person);
        assert.equal(result, 'CONDITIONAL');
        assert.deepEqual(
            conditions.anyOf.map(({ rule, params }) => [rule, params.actionId]),
            [['HAS_ACTION_ID', 'ske:configure-resource'], ['HAS_ACTION_ID', 'debug:wait'], ['HAS_ACTION_ID', 'dry-run:extract']],
        );
    }
});

test('what is deleted from the catalog is the own', async () => {
    const { conditions } = await decide(named('catalog.entity.delete'), ADMIN);
    assert.deepEqual([conditions.rule, conditions.params.claims], ['IS_ENTITY_OWNER', ['user:default/user-admin', 'group:default/kube-admin']]);
});
