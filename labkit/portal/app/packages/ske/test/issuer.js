'use strict';

const { createServer } = require('node:http');
const jose = require('jose');

/** An issuer of tokens on a port of its own: a discovery document, a key set, and a key to sign with. */
async function startIssuer() {
    const { publicKey, privateKey } = await jose.generateKeyPair('RS256');
    const key = { ...(await jose.exportJWK(publicKey)), kid: 'test', alg: 'RS256', use: 'sig' };
    const server = createServer((request, response) => {
        const answers = {
            '/.well-known/openid-configuration': {
                issuer: issuer.url,
                jwks_uri: `${issuer.url}/keys`,
                authorization_endpoint: `${issuer.url}/authorize`,
                token_endpoint: `${issuer.url}/token`,
                userinfo_endpoint: `${issuer.url}/userinfo`,
            },
            '/keys': { keys: [key] },
        };
        const answer = issuer.ready && answers[request.url];
        response.writeHead(answer ? 200 : 503, { 'content-type': 'application/json' }).end(JSON.stringify(answer || {}));
    });
    await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve));
    const issuer = {
        url: `http://127.0.0.1:${server.address().port}`,
        ready: true,
        /** A token of this issuer; what it says can be changed claim by claim, the key too. */
        token: (claims = {}, signingKey = privateKey) => {
            const now = Math.floor(Date.now() / 1000);
            const usual = { iss: issuer.url, aud: 'kube', exp: now + 300, sid: 'session-1', preferred_username: 'user-admin' };
            return new jose.SignJWT({ ...usual, ...claims }).setProtectedHeader({ alg: 'RS256', kid: 'test' }).sign(signingKey);
        },
        stop: () => {
            server.close();
            server.closeAllConnections();
        },
    };
    return issuer;
}

module.exports = { startIssuer };
