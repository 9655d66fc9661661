'use strict';

const { createBackendModule } = require('@backstage/backend-plugin-api');
const { AuthenticationError, ServiceUnavailableError } = require('@backstage/errors');
const { oidcAuthenticator } = require('@backstage/plugin-auth-backend-module-oidc-provider');
const { authProvidersExtensionPoint, createOAuthProviderFactory } = require('@backstage/plugin-auth-node');
const { groupRefOf, userRefOf, userTokensService } = require('../../ske');

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
                    factory: createOAuthProviderFactory({
                        authenticator: forgetting(tokens, retrying(oidcAuthenticator)),
                        signInResolver: signInResolver(tokens),
                    }),
                });
            },
        });
    },
});

/** Issues the Backstage token; it runs at sign-in and again at each renewal, so that the newest Keycloak token is handed on. */
function signInResolver(tokens) {
    return async ({ result }, context) => {
        const { preferred_username: username, groups = [] } = result.fullProfile.userinfo;
        if (!username) throw new AuthenticationError('Keycloak names no preferred_username: give the client the scope "profile".');
        const userRef = userRefOf(username);
        const claims = { sub: userRef, ent: [userRef, ...tokens.groupRefsOf(groups)] };
        return context.issueToken({ claims: { ...claims, ...tokens.claimsFor(userRef, result.session.accessToken) } });
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

/** An authenticator that drops the person's token at sign-out, whether or not Keycloak can be told. */
function forgetting(tokens, authenticator) {
    return {
        ...authenticator,
        async logout(input, state) {
            if (input.refreshToken) tokens.forget(input.refreshToken);
            return authenticator.logout(input, state);
        },
    };
}

module.exports = { forgetting, keycloakProvider, retrying, signInResolver };
