'use strict';

const assert = require('node:assert/strict');
const { test } = require('node:test');
const { catalogEntityReadPermission, catalogLocationCreatePermission } = require('@backstage/plugin-catalog-common/alpha');
const { kubernetesProxyPermission } = require('@backstage/plugin-kubernetes-common');
const { taskCancelPermission, taskCreatePermission, taskReadPermission, actionExecutePermission } = require('@backstage/plugin-scaffolder-common/alpha');
const { PortalPolicy } = require('../src/policy');

const user = (userEntityRef) => ({ info: { userEntityRef } });
const GUEST = user('user:development/guest');
const ADMIN = user('user:default/user-admin');
const decide = async (permission, person) => new PortalPolicy().handle({ permission }, person);
const result = async (permission, person) => (await decide(permission, person)).result;

const USES = [catalogLocationCreatePermission, taskCreatePermission, taskReadPermission, actionExecutePermission, kubernetesProxyPermission];

test('a guest reads the catalog and no more', async () => {
    assert.equal(await result(catalogEntityReadPermission, GUEST), 'ALLOW');
    for (const permission of USES) assert.equal(await result(permission, GUEST), 'DENY', permission.name);
});

test('who has not signed in at all gets nothing', async () => {
    for (const permission of [catalogEntityReadPermission, ...USES]) assert.equal(await result(permission, undefined), 'DENY', permission.name);
});

test('signed-in people register templates, run them and see the cluster', async () => {
    for (const permission of [catalogEntityReadPermission, catalogLocationCreatePermission, taskCreatePermission, kubernetesProxyPermission]) {
        assert.equal(await result(permission, ADMIN), 'ALLOW', permission.name);
    }
});

test('a task is for who started it', async () => {
    for (const permission of [taskReadPermission, taskCancelPermission]) {
        const decision = await decide(permission, ADMIN);
        assert.equal(decision.result, 'CONDITIONAL');
        assert.deepEqual(decision.conditions, {
            resourceType: 'scaffolder-task',
            rule: 'IS_TASK_OWNER',
            params: { createdBy: ['user:default/user-admin'] },
        });
    }
});
