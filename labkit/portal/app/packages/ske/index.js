'use strict';

const { coreServices, createBackendModule, createBackendPlugin, createServiceFactory, createServiceRef } = require('@backstage/backend-plugin-api');
const { scaffolderActionsExtensionPoint } = require('@backstage/plugin-scaffolder-node');
const { configureResourceAction } = require('./src/action');
const { Cluster } = require('./src/cluster');
const { userRefOf } = require('./src/people');
const { withoutTokens } = require('./src/refusals');
const { createRouter } = require('./src/router');
const { SessionVault } = require('./src/session-vault');
const { UserTokens } = require('./src/user-tokens');

/** One for the whole backend: sign-in puts tokens in, the action and the routes take them out. */
const userTokensService = createServiceRef({
    id: 'ske.user-tokens',
    scope: 'root',
    defaultFactory: async (service) =>
        createServiceFactory({
            service,
            deps: { config: coreServices.rootConfig },
            factory: ({ config }) => new UserTokens(config, new SessionVault()),
        }),
});

/** The routes under /api/ske. */
const skePlugin = createBackendPlugin({
    pluginId: 'ske',
    register(registry) {
        registry.registerInit({
            deps: {
                config: coreServices.rootConfig,
                httpAuth: coreServices.httpAuth,
                httpRouter: coreServices.httpRouter,
                tokens: userTokensService,
            },
            async init({ config, httpAuth, httpRouter, tokens }) {
                httpRouter.use(createRouter({ cluster: Cluster.fromConfig(config), httpAuth, tokens }));
            },
        });
    },
});

/** The scaffolder's action ske:configure-resource. */
const skeActions = createBackendModule({
    pluginId: 'scaffolder',
    moduleId: 'ske',
    register(registry) {
        registry.registerInit({
            deps: {
                actions: scaffolderActionsExtensionPoint,
                auth: coreServices.auth,
                config: coreServices.rootConfig,
                tokens: userTokensService,
            },
            async init({ actions, auth, config, tokens }) {
                actions.addActions(configureResourceAction({ auth, cluster: Cluster.fromConfig(config), tokens }));
            },
        });
    },
});

module.exports = { skeActions, skePlugin, userRefOf, userTokensService, withoutTokens };
