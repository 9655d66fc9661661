'use strict';

const { coreServices, createBackendModule } = require('@backstage/backend-plugin-api');
const { DEFAULT_NAMESPACE, parseEntityRef, stringifyEntityRef } = require('@backstage/catalog-model');
const { catalogConditions, createCatalogConditionalDecision } = require('@backstage/plugin-catalog-backend/alpha');
const { AuthorizeResult } = require('@backstage/plugin-permission-common');
const { policyExtensionPoint } = require('@backstage/plugin-permission-node/alpha');
const {
    createScaffolderActionConditionalDecision,
    createScaffolderTaskConditionalDecision,
    scaffolderActionConditions,
    scaffolderTaskConditions,
} = require('@backstage/plugin-scaffolder-backend/alpha');

const ALLOW = { result: AuthorizeResult.ALLOW };
const DENY = { result: AuthorizeResult.DENY };

const GUEST = ['catalog.entity.read'];
const SIGNED_IN = [
    ...GUEST,
    'kubernetes.clusters.read',
    'kubernetes.proxy',
    'kubernetes.resources.read',
    'scaffolder.action.execute',
    'scaffolder.task.cancel',
    'scaffolder.task.create',
    'scaffolder.task.read',
    'scaffolder.template.parameter.read',
    'scaffolder.template.step.read',
];
const PUBLISHER = [
    ...SIGNED_IN,
    'catalog.entity.delete',
    'catalog.entity.refresh',
    'catalog.entity.validate',
    'catalog.location.create',
    'catalog.location.delete',
    'catalog.location.read',
    'scaffolder.template.dry-run',
    'scaffolder.template.management',
];

/** What a template's steps may be. The last is what Backstage itself appends to a dry run, and does nothing elsewhere. */
const ACTIONS = ['ske:configure-resource', 'debug:wait', 'dry-run:extract'];

const ownTask = (permission, { userEntityRef }) =>
    createScaffolderTaskConditionalDecision(permission, scaffolderTaskConditions.isTaskOwner({ createdBy: [userEntityRef] }));

/** What holds of an allowed permission besides: of whose things, and which. */
const CONDITIONS = {
    'catalog.entity.delete': (permission, { ownershipEntityRefs }) =>
        createCatalogConditionalDecision(permission, catalogConditions.isEntityOwner({ claims: ownershipEntityRefs })),
    'scaffolder.action.execute': (permission) =>
        createScaffolderActionConditionalDecision(permission, {
            anyOf: ACTIONS.map((actionId) => scaffolderActionConditions.hasActionId({ actionId })),
        }),
    // A task holds what was asked for, and whoever runs it again runs it as themselves.
    'scaffolder.task.cancel': ownTask,
    'scaffolder.task.read': ownTask,
};

/**
 * Who may do what in the portal itself; what they may do in the cluster, the cluster decides.
 *
 * What is not listed, or comes with a later plugin, nobody may. Guests read the catalog. People who signed in through Keycloak run
 * templates. A template is code that runs with the rights of whoever runs it, so to publish one is for the publishers' groups.
 *
 * @param {string[]} publishers The groups, such as `group:default/kube-admin`.
 */
class PortalPolicy {
    constructor(publishers) {
        this.publishers = publishers.map((ref) => stringifyEntityRef(parseEntityRef(ref)));
    }

    async handle({ permission }, user) {
        if (!this.listFor(user).includes(permission.name)) return DENY;
        return CONDITIONS[permission.name]?.(permission, user.info) ?? ALLOW;
    }

    listFor(user) {
        if (!user) return [];
        if (!signedInThroughKeycloak(user)) return GUEST;
        return user.info.ownershipEntityRefs.some((ref) => this.publishers.includes(ref)) ? PUBLISHER : SIGNED_IN;
    }
}

// Our sign-in resolver gives out names of this namespace; the guest provider's are in another.
function signedInThroughKeycloak(user) {
    const { kind, namespace } = parseEntityRef(user.info.userEntityRef);
    return kind === 'user' && namespace === DEFAULT_NAMESPACE;
}

const portalPolicy = createBackendModule({
    pluginId: 'permission',
    moduleId: 'portal-policy',
    register(registry) {
        registry.registerInit({
            deps: { config: coreServices.rootConfig, policy: policyExtensionPoint },
            async init({ config, policy }) {
                policy.setPolicy(new PortalPolicy(config.getOptionalStringArray('ske.publishers') ?? []));
            },
        });
    },
});

module.exports = { PortalPolicy, portalPolicy };
