'use strict';

const assert = require('node:assert/strict');
const { test } = require('node:test');
const { SessionVault } = require('../src/session-vault');

const session = (changes) => ({ userRef: 'user:default/user-admin', sessionId: 'one', token: 'first', expires: 1300, ...changes });

function vaultAt(seconds) {
    const clock = { now: seconds };
    return { clock, vault: new SessionVault(() => clock.now) };
}

test('a token can be had until it expires, and then the person learns what to do', () => {
    const { clock, vault } = vaultAt(1000);
    const handle = vault.keep(session());
    clock.now = 1299;
    assert.equal(vault.token(handle, 'user:default/user-admin'), 'first');
    clock.now = 1300;
    assert.throws(() => vault.token(handle, 'user:default/user-admin'), { name: 'AuthenticationError', message: /has expired.*sign in again/ });
});

test('a renewed session keeps its handle, so that a task that waits finds the newer token', () => {
    const { clock, vault } = vaultAt(1000);
    const handle = vault.keep(session());
    clock.now = 1400;
    assert.equal(vault.keep(session({ token: 'second', expires: 1700 })), handle);
    assert.equal(vault.token(handle, 'user:default/user-admin'), 'second');
    assert.equal(vault.size, 1);
});

test('a handle opens nothing for anybody else, nor does a made-up one', () => {
    const { vault } = vaultAt(1000);
    const handle = vault.keep(session());
    assert.throws(() => vault.token(handle, 'user:default/user-dev'), { name: 'AuthenticationError' });
    assert.throws(() => vault.token('made-up', 'user:default/user-admin'), { name: 'AuthenticationError', message: /Sign in again/ });
    assert.throws(() => vault.token('made-up', undefined), { name: 'AuthenticationError' });
});

test("two people never share a handle, not even under one session id", () => {
    const { vault } = vaultAt(1000);
    const admins = vault.keep(session());
    const devs = vault.keep(session({ userRef: 'user:default/user-dev', token: 'devs' }));
    assert.notEqual(admins, devs);
    assert.equal(vault.token(admins, 'user:default/user-admin'), 'first');
    assert.equal(vault.token(devs, 'user:default/user-dev'), 'devs');
});

test('a session without an id gets a handle of its own each time', () => {
    const { vault } = vaultAt(1000);
    assert.notEqual(vault.keep(session({ sessionId: undefined })), vault.keep(session({ sessionId: undefined })));
});

test('a forgotten session is gone, and those long expired do not pile up', () => {
    const { clock, vault } = vaultAt(1000);
    const handle = vault.keep(session());
    vault.forget('one', 1000, 1300);
    assert.ok(vault.hasEnded('one', 1000) && !vault.hasEnded('one', 1001) && !vault.hasEnded('two', 1000));
    assert.throws(() => vault.token(handle, 'user:default/user-admin'), { name: 'AuthenticationError' });
    vault.keep(session({ sessionId: 'two' }));
    clock.now = 1300 + 3601;
    vault.keep(session({ sessionId: 'three', expires: 9000 }));
    assert.equal(vault.size, 1);
    assert.ok(!vault.hasEnded('one', 1000));
});
