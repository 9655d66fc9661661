'use strict';

const { createBackendModule } = require('@backstage/backend-plugin-api');
const { DEFAULT_NAMESPACE, parseEntityRef } = require('@backstage/catalog-model');
const { AuthorizeResult, isResourcePermission } = require('@backstage/plugin-permission-common');
const { policyExtensionPoint } = require('@backstage/plugin-permission-node/alpha');
const { createScaffolderTaskConditionalDecision, scaffolderTaskConditions } = require('@backstage/plugin-scaffolder-backend/alpha');

const ALLOW = { result: AuthorizeResult.ALLOW };
const DENY = { result: AuthorizeResult.DENY };

/**
 * Who may do what in the portal itself; what they may do in the cluster, the cluster decides.
 *
 * Guests read the catalog and no more. People who signed in through Keycloak may use everything, but see and touch only the
 * tasks that they started: a task holds what was asked for, and whoever runs it again runs it as themselves.
 */
class PortalPolicy {
    async handle({ permission }, user) {
        if (permission.name === 'catalog.entity.read') return user ? ALLOW : DENY;
        if (!signedInThroughKeycloak(user)) return DENY;
        if (!isResourcePermission(permission, 'scaffolder-task')) return ALLOW;
        return createScaffolderTaskConditionalDecision(
            permission,
            scaffolderTaskConditions.isTaskOwner({ createdBy: [user.info.userEntityRef] }),
        );
    }
}

// Our sign-in resolver gives out names of this namespace; the guest provider's are in another.
function signedInThroughKeycloak(user) {
    if (!user) return false;
    const { kind, namespace } = parseEntityRef(user.info.userEntityRef);
    return kind === 'user' && namespace === DEFAULT_NAMESPACE;
}

const portalPolicy = createBackendModule({
    pluginId: 'permission',
    moduleId: 'portal-policy',
    register(registry) {
        registry.registerInit({
            deps: { policy: policyExtensionPoint },
            async init({ policy }) {
                policy.setPolicy(new PortalPolicy());
            },
        });
    },
});

module.exports = { PortalPolicy, portalPolicy };
