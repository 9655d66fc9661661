'use strict';

const { DEFAULT_NAMESPACE, stringifyEntityRef } = require('@backstage/catalog-model');

/** The catalog's name for the Keycloak user with that username. */
function userRefOf(username) {
    return stringifyEntityRef({ kind: 'User', namespace: DEFAULT_NAMESPACE, name: username });
}

/** The catalog's name for the Keycloak group with that name. */
function groupRefOf(group) {
    return stringifyEntityRef({ kind: 'Group', namespace: DEFAULT_NAMESPACE, name: group });
}

module.exports = { groupRefOf, userRefOf };
