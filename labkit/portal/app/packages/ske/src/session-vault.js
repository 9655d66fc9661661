'use strict';

const { randomBytes } = require('node:crypto');
const { AuthenticationError } = require('@backstage/errors');

// As long as a Backstage token lives, a client may still come with the handle in it and deserves to hear what happened.
const KEPT_AFTER_EXPIRY_SECONDS = 3600;

/**
 * The Keycloak tokens of the people who are signed in, in this process's memory and nowhere else.
 *
 * A Backstage token carries only a handle, which is worth nothing without the signed token around it. One Keycloak session keeps one
 * handle: when the client renews its session, a task that was started with the older Backstage token finds the newer Keycloak token.
 */
class SessionVault {
    #sessions = new Map();
    #ended = new Map();
    #now;

    /** @param {() => number} now The time in seconds since 1970. */
    constructor(now = () => Date.now() / 1000) {
        this.#now = now;
    }

    /**
     * Keep a token until it is renewed, forgotten, or long expired.
     *
     * @param {{userRef: string, sessionId?: string, token: string, expires: number}} session `sessionId` is Keycloak's `sid`;
     *   `expires` is in seconds since 1970.
     * @returns {string} The handle for the person's Backstage token.
     */
    keep({ userRef, sessionId, token, expires }) {
        this.#sweep();
        const handle = this.#handleOf(userRef, sessionId) ?? randomBytes(32).toString('base64url');
        this.#sessions.set(handle, { userRef, sessionId, token, expires });
        return handle;
    }

    /**
     * The token behind a handle, for the person whose it is.
     *
     * @throws {AuthenticationError} There is none for this person, or it has expired.
     */
    token(handle, userRef) {
        const session = this.#sessions.get(handle);
        if (!session || session.userRef !== userRef) {
            throw new AuthenticationError(
                `The portal holds no Keycloak token for this session of ${userRef}: it was restarted, or the session was signed out. Sign in again.`,
            );
        }
        if (session.expires <= this.#now()) {
            throw new AuthenticationError(
                `The Keycloak token of ${userRef} has expired. Renew the session (the portal's pages do so by themselves) or sign in again.`,
            );
        }
        return session.token;
    }

    /**
     * Drop the token of a Keycloak session, as at sign-out, and remember that it has ended: copies of the token may be elsewhere.
     *
     * @param {string} sessionId Keycloak's `sid`.
     * @param {number} issued When its newest token was issued, by Keycloak's clock, in seconds since 1970.
     * @param {number} expires When that expires.
     */
    forget(sessionId, issued, expires) {
        this.#sweep();
        this.#ended.set(sessionId, { issued, expires });
        for (const [handle, session] of this.#sessions) {
            if (session.sessionId === sessionId) this.#sessions.delete(handle);
        }
    }

    /** Whether a session has ended since a token of it was issued (seconds since 1970); in Keycloak it may go on, and have newer ones. */
    hasEnded(sessionId, issued) {
        const end = this.#ended.get(sessionId);
        return end !== undefined && !(issued > end.issued);
    }

    /** How many sessions are kept. */
    get size() {
        return this.#sessions.size;
    }

    #handleOf(userRef, sessionId) {
        if (!sessionId) return undefined;
        for (const [handle, session] of this.#sessions) {
            if (session.sessionId === sessionId && session.userRef === userRef) return handle;
        }
        return undefined;
    }

    #sweep() {
        const limit = this.#now() - KEPT_AFTER_EXPIRY_SECONDS;
        for (const [handle, session] of this.#sessions) {
            if (session.expires < limit) this.#sessions.delete(handle);
        }
        for (const [sessionId, { expires }] of this.#ended) {
            if (expires < limit) this.#ended.delete(sessionId);
        }
    }
}

module.exports = { SessionVault };
