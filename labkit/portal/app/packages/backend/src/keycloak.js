'use strict';

const { createBackendModule } = require('@backstage/backend-plugin-api');
const { AuthenticationError, NotAllowedError, ServiceUnavailableError } = require('@backstage/errors');
const { oidcAuthenticator } = require('@backstage/plugin-auth-backend-module-oidc-provider');
const { authProvidersExtensionPoint, createOAuthProviderFactory, decodeOAuthState } = require('@backstage/plugin-auth-node');
const { userRefOf, userTokensService, withoutTokens } = require('../../ske');
const { SignIns, keeping } = require('./sign-ins');

/** What proves by a key pair who signed (RFC 7518, section 3.1; RFC 8037): a secret proves nothing to those who know it. */
const BY_KEY_PAIR = /^([RPE]S(256|384|512)|EdDSA)$/;

/** Sign-in through Keycloak, as the auth provider `keycloak`. */
const keycloakProvider = createBackendModule({
    pluginId: 'auth',
    moduleId: 'keycloak-provider',
    register(registry) {
        registry.registerInit({
            deps: { providers: authProvidersExtensionPoint, tokens: userTokensService },
            async init({ providers, tokens }) {
                providers.registerProvider({
                    providerId: 'keycloak',
                    factory: comingBack(
                        createOAuthProviderFactory({
                            authenticator: keeping(new SignIns(), tokens, retrying(byAnyKey(oidcAuthenticator))),
                            profileTransform: profileWithKey,
                            signInResolver: signInResolver(tokens),
                        }),
                    ),
                });
            },
        });
    },
});

/** Issues the Backstage token; it runs at sign-in and again at each renewal, so that the newest Keycloak token is handed on. */
function signInResolver(tokens) {
    return async ({ result }, context) => {
        const { userinfo } = result.fullProfile;
        const username = userinfo.preferred_username;
        if (!username) throw new AuthenticationError('Keycloak names no preferred_username: give the client the scope "profile".');
        const userRef = userRefOf(username);
        const claims = { sub: userRef, ent: [userRef, ...tokens.groupRefsOf(userinfo)] };
        try {
            return await context.issueToken({ claims: { ...claims, ...tokens.claimsFor(userRef, result.session.accessToken) } });
        } catch ({ message }) {
            // Backstage's words have all claims in them, and one of these may be the Keycloak token.
            if (!/excessively large/.test(message)) throw new Error(withoutTokens(message));
            throw new AuthenticationError(
                "Your Keycloak token does not fit into the portal's: you are in too many groups. Start the portal with LABKIT_PORTAL_TOKEN=memory.",
            );
        }
    };
}

/**
 * An authenticator that asks Keycloak for its discovery document again if it did not answer when the portal started.
 *
 * The one of Backstage asks once, at the start, and keeps the failure for good.
 */
function retrying(authenticator) {
    const ready = async (state) => {
        await state.context.promise.catch(() => {
            state.context = authenticator.initialize(state.options);
        });
        try {
            await state.context.promise;
        } catch (error) {
            throw new ServiceUnavailableError(`Keycloak does not answer (${error.message || error.code}). Start it, then sign in again.`);
        }
        return state.context;
    };
    return {
        ...authenticator,
        initialize(options) {
            const context = authenticator.initialize(options);
            context.promise.catch(() => {}); // it is looked at when somebody signs in
            return { options, context };
        },
        start: async (input, state) => authenticator.start(input, await ready(state)),
        authenticate: async (input, state) => authenticator.authenticate(input, await ready(state)),
        refresh: async (input, state) => authenticator.refresh(input, await ready(state)),
        logout: async (input, state) => authenticator.logout(input, await ready(state)),
    };
}

/**
 * An authenticator for which an ID token counts by whatever key of the realm it is signed, a new one too.
 *
 * The one of Backstage expects one algorithm, RS256 unless its configuration names another, and asks for new keys once a minute at most.
 */
function byAnyKey(authenticator) {
    return {
        ...authenticator,
        initialize(options) {
            const context = authenticator.initialize(options);
            const promise = context.promise.then((found) => {
                verifyingByAnyKey(found.client);
                return found;
            });
            return { ...context, promise };
        },
    };
}

function verifyingByAnyKey(client) {
    const validateJWT = client.validateJWT.bind(client);
    client.validateJWT = async (token, _, ...more) => {
        const { alg } = JSON.parse(Buffer.from(token.split('.')[0], 'base64url'));
        if (!BY_KEY_PAIR.test(alg)) {
            throw new AuthenticationError(
                `The token is signed by ${alg}, which does not prove who made it. ` +
                    "Choose RS256 in Keycloak's console: Realm settings, Tokens, or the client's own, Advanced.",
            );
        }
        try {
            return await validateJWT(token, alg, ...more);
        } catch {
            await client.issuer.reloadJwksUri();
            return validateJWT(token, alg, ...more);
        }
    };
}

/** The profile, in which the page is also told the key of a new sign-in: what else is in the answer, Backstage decides. */
async function profileWithKey(result, context) {
    const { profile } = await oidcAuthenticator.defaultProfileTransform(result, context);
    return { profile: { ...profile, sessionKey: result.session.key } };
}

/**
 * A provider that leads people back to the portal's own pages only.
 *
 * Backstage leads them to whatever the address says, be it that of `start`, or that of `handler/frame` when the rest of it is wrong.
 */
function comingBack(factory) {
    return (context) => {
        const provider = factory(context);
        const { origin } = new URL(context.appUrl);
        const expectOwn = (redirectUrl) => {
            if (redirectUrl && URL.parse(redirectUrl)?.origin !== origin) {
                throw new NotAllowedError(`After a sign-in the way leads back to ${origin} only: leave redirectUrl out, or name a page there.`);
            }
        };
        return {
            async start(request, response) {
                expectOwn(request.query.redirectUrl?.toString());
                await provider.start(request, response);
            },
            async frameHandler(request, response) {
                expectOwn(decodeOAuthState(request.query.state?.toString() ?? '').redirectUrl);
                await provider.frameHandler(request, response);
            },
            refresh: (request, response) => provider.refresh(request, response),
            logout: (request, response) => provider.logout(request, response),
        };
    };
}

module.exports = { byAnyKey, comingBack, keycloakProvider, profileWithKey, retrying, signInResolver };
