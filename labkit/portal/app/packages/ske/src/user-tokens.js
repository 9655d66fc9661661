'use strict';

const { AuthenticationError, NotAllowedError, ServiceUnavailableError } = require('@backstage/errors');
const jose = require('jose');
const { groupRefOf, userRefOf } = require('./people');

const SIGN_IN = 'Sign in through Keycloak.';

/**
 * Finds a signed-in person's Keycloak token and holds it against who they are, before anything is done with it.
 *
 * There is no other token to fall back to: who has none is refused.
 */
class UserTokens {
    #issuer;
    #audience;
    #claim;
    #groups;
    #groupsClaim;
    #vault;
    #keys;

    /**
     * @param {import('@backstage/config').Config} config The portal's; `ske.identity` is read.
     * @param {import('./session-vault').SessionVault} vault Where tokens are kept, unless they travel in the Backstage token.
     */
    constructor(config, vault) {
        const identity = config.getConfig('ske.identity');
        this.#issuer = identity.getString('issuer');
        this.#audience = identity.getString('audience');
        this.#claim = identity.getOptionalString('userToken') === 'claim';
        this.#groups = identity.getOptionalStringArray('groups') ?? [];
        this.#groupsClaim = identity.getOptionalString('groupsClaim') ?? 'groups';
        this.#vault = vault;
    }

    /** The groups that claims of Keycloak's name, as they stand there. */
    groupsIn(claims) {
        return claims[this.#groupsClaim] ?? [];
    }

    /**
     * The catalog's names for those of the groups in somebody's claims that the realm file declares, to the letter.
     *
     * The catalog writes names in lower case, so a group `Kube-Admin`, which is another one to Keycloak, would else be `kube-admin`.
     */
    groupRefsOf(claims) {
        return this.groupsIn(claims).filter((group) => this.#groups.includes(group)).map(groupRefOf);
    }

    /**
     * The claims that hand a person's Keycloak token on in their Backstage token: a handle, or by setting the token itself.
     *
     * @param {string} userRef Whose it is.
     * @param {string} token Keycloak's access token.
     */
    claimsFor(userRef, token) {
        if (this.#claim) return { tok: token };
        const { exp, sid } = decoded(token);
        return { ske_session: this.#vault.keep({ userRef, sessionId: sid, token, expires: exp }) };
    }

    /** End the Keycloak session that this token belongs to: neither it nor an older one of the session counts any longer. */
    forget(token) {
        const { sid, iat, exp } = decoded(token);
        if (sid) this.#vault.forget(sid, iat, exp);
    }

    /**
     * The person's own Keycloak token, verified.
     *
     * @param {object} person
     * @param {string} person.userRef Who asks, as Backstage has authenticated them.
     * @param {string} [person.backstageToken] Their Backstage token, authenticated by the caller.
     * @param {string} [person.keycloakToken] A token that they sent themselves; it goes before the session's.
     * @returns {Promise<{token: string, claims: jose.JWTPayload}>}
     * @throws {AuthenticationError} They have none, or it no longer holds.
     * @throws {NotAllowedError} It is somebody else's.
     */
    async of({ userRef, backstageToken, keycloakToken }) {
        const token = keycloakToken || this.#carried(userRef, backstageToken);
        const claims = await this.#verified(token);
        if (this.#vault.hasEnded(claims.sid, claims.iat)) {
            throw new AuthenticationError('The session of this Keycloak token was signed out. Sign in again.');
        }
        if (!claims.preferred_username) {
            throw new NotAllowedError(`The Keycloak token names no preferred_username, so it can't be known as ${userRef}'s. ${SIGN_IN}`);
        }
        if (userRefOf(claims.preferred_username) !== userRef) {
            throw new NotAllowedError(`The Keycloak token belongs to ${claims.preferred_username}, and this is ${userRef}. ${SIGN_IN}`);
        }
        return { token, claims };
    }

    #carried(userRef, backstageToken) {
        const { tok, ske_session: handle } = backstageToken ? decoded(backstageToken) : {};
        if (this.#claim && tok) return tok;
        if (!this.#claim && handle) return this.#vault.token(handle, userRef);
        throw new AuthenticationError(`${userRef} has no Keycloak token here, and the portal acts with nobody else's. ${SIGN_IN}`);
    }

    async #verified(token) {
        const keys = await this.#signingKeys();
        try {
            return (await jose.jwtVerify(token, keys, { issuer: this.#issuer, audience: this.#audience, requiredClaims: ['exp'] })).payload;
        } catch (error) {
            if (error instanceof jose.errors.JWTExpired) {
                throw new AuthenticationError('The Keycloak token has expired. Renew the session or sign in again.');
            }
            if (error instanceof jose.errors.JWKSTimeout || !(error instanceof jose.errors.JOSEError)) throw this.#silent(error);
            throw new AuthenticationError(
                `The Keycloak token is not one that ${this.#issuer} made for ${this.#audience} (${error.code}). Sign in again.`,
            );
        }
    }

    async #signingKeys() {
        this.#keys ??= jose.createRemoteJWKSet(new URL(await this.#keysUrl()), { cooldownDuration: 1000 });
        return this.#keys;
    }

    async #keysUrl() {
        try {
            const answer = await fetch(`${this.#issuer}/.well-known/openid-configuration`, { signal: AbortSignal.timeout(10_000) });
            if (!answer.ok) throw new Error(`HTTP status ${answer.status} for the realm's discovery document`);
            return (await answer.json()).jwks_uri;
        } catch (error) {
            throw this.#silent(error);
        }
    }

    #silent(error) {
        const why = error.cause?.message || error.cause?.code || error.message;
        return new ServiceUnavailableError(`Keycloak's keys can't be had from ${this.#issuer} (${why}). Start Keycloak, then try again.`);
    }
}

function decoded(token) {
    try {
        return jose.decodeJwt(token);
    } catch {
        return {};
    }
}

module.exports = { UserTokens };
