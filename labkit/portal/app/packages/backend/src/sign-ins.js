'use strict';

const { randomBytes } = require('node:crypto');
const { AuthenticationError } = require('@backstage/errors');

/** The header in which the portal's page sends the key of its sign-in. */
const KEY_HEADER = 'x-session-key';

/**
 * What Keycloak gave to whoever is signed in, in this process's memory and nowhere else.
 *
 * A browser sends a cookie of localhost to all of its ports, so whoever listens on one of them gets it. A cookie therefore holds a handle
 * only, which counts together with a key: the portal's page gets that in the answer to the sign-in, and keeps it where pages of other
 * ports can't reach.
 */
class SignIns {
    #kept = new Map();
    #now;

    /** @param {() => number} now The time in seconds since 1970. */
    constructor(now = () => Date.now() / 1000) {
        this.#now = now;
    }

    /** Keep what the authenticator got, until it is ended or the refresh token has expired; gives the handle and the key, both random. */
    begin(result) {
        for (const [name, { expires }] of this.#kept) {
            if (expires < this.#now()) this.#kept.delete(name);
        }
        const [handle, key] = [random(), random()];
        this.#kept.set(nameOf(handle, key), { ...this.#tokens(result), turn: Promise.resolve() });
        return { handle, key };
    }

    /** What is kept under a handle, if this is its key. */
    find(handle, key) {
        return this.#kept.get(nameOf(handle, key));
    }

    /**
     * Renew a sign-in, one time after the other: a realm may take each refresh token only once.
     *
     * @param {string} handle From the cookie.
     * @param {string} key From the page.
     * @param {(refreshToken: string) => Promise<object>} ask Asks Keycloak.
     * @throws {AuthenticationError} They don't belong together, or it has ended.
     */
    async renew(handle, key, ask) {
        const signIn = this.find(handle, key);
        if (!signIn) throw new AuthenticationError('The portal knows of no such sign-in: it was restarted, or signed out. Sign in again.');
        const renewal = signIn.turn.then(() => ask(signIn.refreshToken));
        signIn.turn = renewal.catch(() => {});
        const result = await renewal;
        Object.assign(signIn, this.#tokens(result));
        return result;
    }

    end(handle, key) {
        this.#kept.delete(nameOf(handle, key));
    }

    /** How many are kept. */
    get size() {
        return this.#kept.size;
    }

    #tokens({ session: { accessToken, refreshToken }, fullProfile }) {
        const { refresh_expires_in: seconds } = fullProfile.tokenset;
        return { accessToken, refreshToken, expires: seconds ? this.#now() + seconds : Infinity };
    }
}

/**
 * An authenticator whose refresh tokens stay here: what it gives out in their place are a handle and, at sign-in, a key.
 *
 * Whoever signs out is forgotten here whether or not Keycloak can be reached; who has no key signs nobody out.
 */
function keeping(signIns, tokens, authenticator) {
    const namesIn = ({ req, refreshToken: handle }) => [handle, req.get(KEY_HEADER)];
    return {
        ...authenticator,
        async authenticate(input, state) {
            const result = await authenticator.authenticate(input, state);
            const { handle: refreshToken, key } = signIns.begin(result);
            return { ...result, session: { ...result.session, refreshToken, key } };
        },
        async refresh(input, state) {
            const result = await signIns.renew(...namesIn(input), (refreshToken) => authenticator.refresh({ ...input, refreshToken }, state));
            return { ...result, session: { ...result.session, refreshToken: input.refreshToken } };
        },
        async logout(input, state) {
            const signIn = signIns.find(...namesIn(input));
            if (!signIn) return undefined;
            await signIn.turn; // what it brings is to be forgotten too
            tokens.forget(signIn.accessToken);
            const said = await authenticator.logout({ ...input, refreshToken: signIn.refreshToken }, state);
            signIns.end(...namesIn(input));
            return said;
        },
    };
}

function nameOf(handle, key) {
    return `${handle} ${key}`;
}

function random() {
    return randomBytes(32).toString('base64url');
}

module.exports = { KEY_HEADER, SignIns, keeping };
