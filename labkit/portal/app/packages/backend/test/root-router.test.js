'use strict';

const assert = require('node:assert/strict');
const { EventEmitter } = require('node:events');
const { createServer, request } = require('node:http');
const { test } = require('node:test');
const express = require('express');
const { forHosts, loggedWithoutQuery, withCookiesOf } = require('../src/root-router');

async function answered(handlers, headers = {}, path = '/') {
    const app = express();
    for (const handler of handlers) app.use(handler);
    const server = createServer(app);
    await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve));
    const answer = await new Promise((resolve, reject) => {
        request({ port: server.address().port, host: '127.0.0.1', path, headers }).on('response', resolve).on('error', reject).end();
    });
    answer.resume();
    server.close();
    return answer;
}

test('only its own names are answered', async () => {
    const handlers = [forHosts('localhost:7007', '127.0.0.1:7007'), (_, response) => response.end()];
    for (const host of ['localhost:7007', 'LOCALHOST:7007', '127.0.0.1:7007']) assert.equal((await answered(handlers, { host })).statusCode, 200, host);
    for (const host of ['evil.example:7007', 'localhost', 'localhost:7008', 'localhost.evil.example:7007', '']) {
        assert.equal((await answered(handlers, { host })).statusCode, 421, host);
    }
});

test('cookies bear prefix and path of the portal outside and none inside, and those without the prefix are not seen', async () => {
    const seen = [];
    const handlers = [
        withCookiesOf('labkit-1-', '/user/ada/portal'),
        (asked, response) => {
            seen.push(asked.headers.cookie);
            response.cookie('a', '1', { httpOnly: true });
            response.cookie('b', '2', { path: '/user/ada/portal/api' });
            response.end();
        },
    ];
    const answer = await answered(handlers, { cookie: 'a=0; labkit-1-a=1;labkit-2-a=2; labkit-1-b=3; xlabkit-1-c=4' });
    assert.deepEqual(seen, ['a=1; b=3']);
    assert.deepEqual(answer.headers['set-cookie'], ['labkit-1-a=1; Path=/user/ada/portal; HttpOnly', 'labkit-1-b=2; Path=/user/ada/portal/api']);
    assert.equal((await answered([withCookiesOf('x', '/'), (_, response) => response.end()])).headers['set-cookie'], undefined);
});

test('whoever logs a request when it is done sees no query', () => {
    const [asked, response] = [{ originalUrl: '/frame?code=secret&state=x' }, new EventEmitter()];
    loggedWithoutQuery(asked, response, () => {});
    const logged = [];
    response.on('finish', () => logged.push(asked.originalUrl));
    response.emit('finish');
    assert.deepEqual(logged, ['/frame']);
});
