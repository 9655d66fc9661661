'use strict';

const { createServer } = require('node:http');
const jose = require('jose');

/** An issuer of tokens on a port of its own: a discovery document, a key set, and a key to sign with. */
async function startIssuer() {
    const { publicKey, privateKey } = await jose.generateKeyPair('RS256');
    const published = async (key, alg, kid) => ({ ...(await jose.exportJWK(key)), kid, alg, use: 'sig' });
    const keys = [await published(publicKey, 'RS256', 'test')];
    const server = createServer((request, response) => {
        const answers = {
            '/.well-known/openid-configuration': {
                issuer: issuer.url,
                jwks_uri: `${issuer.url}/keys`,
                authorization_endpoint: `${issuer.url}/authorize`,
                token_endpoint: `${issuer.url}/token`,
                userinfo_endpoint: `${issuer.url}/userinfo`,
            },
            '/keys': { keys },
        };
        const answer = issuer.ready && answers[request.url];
        response.writeHead(answer ? 200 : 503, { 'content-type': 'application/json' }).end(JSON.stringify(answer || {}));
    });
    await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve));
    const issuer = {
        url: `http://127.0.0.1:${server.address().port}`,
        ready: true,
        /** A token of this issuer; what it says can be changed claim by claim, the key too. */
        token: (claims = {}, signingKey = privateKey, header = { alg: 'RS256', kid: 'test' }) => {
            const now = Math.floor(Date.now() / 1000);
            const usual = { iss: issuer.url, aud: 'kube', exp: now + 300, sid: 'session-1', preferred_username: 'user-admin' };
            return new jose.SignJWT({ ...usual, ...claims }).setProtectedHeader(header).sign(signingKey);
        },
        /** From now on another key counts as well, whose id is its algorithm; gives what to sign with. */
        add: async (alg) => {
            const pair = await jose.generateKeyPair(alg);
            keys.push(await published(pair.publicKey, alg, alg));
            return pair.privateKey;
        },
        stop: () => {
            server.close();
            server.closeAllConnections();
        },
    };
    return issuer;
}

module.exports = { startIssuer };
