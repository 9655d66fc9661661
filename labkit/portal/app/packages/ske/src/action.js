'use strict';

const { NotAllowedError } = require('@backstage/errors');
const { createTemplateAction } = require('@backstage/plugin-scaffolder-node');
const { configure } = require('./configure');
const { secretsOf } = require('./secrets');

/**
 * The action `ske:configure-resource`: creates or updates what its manifest says, as the person who started the task.
 *
 * @param {object} deps
 * @param {import('@backstage/backend-plugin-api').AuthService} deps.auth
 * @param {import('./cluster').Cluster} deps.cluster
 * @param {import('./user-tokens').UserTokens} deps.tokens
 */
function configureResourceAction({ auth, cluster, tokens }) {
    return createTemplateAction({
        id: 'ske:configure-resource',
        description: "Creates or updates Kubernetes objects with the signed-in user's own rights",
        schema: {
            input: {
                manifest: (z) => z.string().describe('The objects in YAML, one document or several'),
                force: (z) => z.boolean().optional().describe('Take over fields that others have set'),
            },
            output: {
                resourceId: (z) => z.string().describe("The object's id, like configmaps/default/settings; several are divided by commas"),
            },
        },
        async handler(context) {
            const person = await initiator(auth, context);
            const { token } = await tokens.of(person);
            const secrets = secretsOf(context.secrets, person.backstageToken, token);
            const ask = (method, path, options) => cluster.ask(token, method, path, { ...options, signal: context.signal });
            const { manifest, force } = context.input;
            try {
                const log = (line) => context.logger.info(line);
                const ids = await configure(ask, manifest, { force, secrets, ownerLabel: cluster.ownerLabel, log });
                context.output('resourceId', ids.join(', '));
            } catch (error) {
                // Of a step's error the scaffolder keeps name and message only; what its log is given besides, it writes as JSON.
                if (error.refusal) context.logger.error("the API server's refusal", { refusal: error.refusal });
                throw error;
            }
        },
    });
}

async function initiator(auth, context) {
    const credentials = await context.getInitiatorCredentials();
    if (!auth.isPrincipal(credentials, 'user') || !credentials.token) {
        throw new NotAllowedError('Only a signed-in user can run this: the portal has no rights of its own on the cluster.');
    }
    // The scaffolder kept these since the task was asked for; whose they are counts now.
    const { principal } = await auth.authenticate(credentials.token);
    return { userRef: principal.userEntityRef, backstageToken: credentials.token, keycloakToken: context.secrets?.keycloakToken };
}

module.exports = { configureResourceAction };
