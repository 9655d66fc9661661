'use strict';

const assert = require('node:assert/strict');
const { test } = require('node:test');
const { ConfigReader } = require('@backstage/config');
const { createUrlReaders } = require('../src/services');

test('addresses are read at GitHub and at configured hosts, and with no cloud identity', async () => {
    const readers = createUrlReaders({ config: new ConfigReader({}), logger: {} });
    assert.match(String(readers), /readers=github\{host=github\.com,authed=false\},fetch\{\}$/);
    for (const url of ['https://b.s3.eu-west-1.amazonaws.com/t.yaml', 'https://storage.cloud.google.com/b/t.yaml', 'file:///etc/passwd']) {
        await assert.rejects(readers.readUrl(url), { name: 'NotAllowedError' }, url);
    }
});
