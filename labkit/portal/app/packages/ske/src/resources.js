'use strict';

const { InputError } = require('@backstage/errors');
const { Refusal } = require('./cluster');

const DEFAULT_NAMESPACE = 'default';

/**
 * Where in the API one object lies.
 *
 * @typedef {{kind: string, name: string, namespace?: string, collection: string, path: string, id: string}} Resource
 *   `collection` and `path` are the API server's paths of its siblings and of itself; `id` is what the portal calls it, like
 *   `configmaps/test-ns/settings` or `roles.rbac.authorization.k8s.io/test-ns/reader`. Without a name there is no `path`.
 */

/**
 * Find where an object lies, by asking the API server what it serves.
 *
 * @param {(path: string) => Promise<object>} get Asks the API server as the person.
 * @param {{apiVersion: string, kind: string, name: string, namespace?: string}} object Names that have been checked.
 * @returns {Promise<Resource>}
 * @throws {InputError} The cluster knows no such kind.
 */
async function locate(get, { apiVersion, kind, name, namespace }) {
    const [version, group] = apiVersion.split('/').reverse();
    const root = group ? `/apis/${group}/${version}` : `/api/${version}`;
    const served = await resourcesOf(get, root, apiVersion);
    const type = served.find((resource) => resource.kind === kind && !resource.name.includes('/'));
    if (!type) {
        const meant = served.find((resource) => resource.kind.toLowerCase() === kind.toLowerCase());
        throw new InputError(
            `the cluster knows no kind ${kind} in ${apiVersion}${meant ? `: write ${meant.kind}` : '; "kubectl api-resources" lists those it knows'}`,
        );
    }
    const space = type.namespaced ? namespace || DEFAULT_NAMESPACE : undefined;
    const collection = `${root}${space ? `/namespaces/${encodeURIComponent(space)}` : ''}/${type.name}`;
    return {
        kind,
        name,
        namespace: space,
        collection,
        path: name && `${collection}/${encodeURIComponent(name)}`,
        id: [group ? `${type.name}.${group}` : type.name, space, name].filter(Boolean).join('/'),
    };
}

async function resourcesOf(get, root, apiVersion) {
    try {
        return (await get(root)).resources;
    } catch (error) {
        if (!(error instanceof Refusal) || error.status !== 404) throw error;
        throw new InputError(`the cluster knows no apiVersion ${apiVersion}; "kubectl api-versions" lists those it knows`);
    }
}

module.exports = { locate };
