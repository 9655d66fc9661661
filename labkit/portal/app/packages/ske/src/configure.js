'use strict';

const { InputError } = require('@backstage/errors');
const { Belongings } = require('./belongings');
const { Refusal } = require('./cluster');
const { parseManifest } = require('./manifest');
const { explained } = require('./refusals');
const { locate } = require('./resources');

/** Under this name the API server keeps which fields came from the portal. */
const FIELD_MANAGER = 'backstage-ske';
const ADOPTION_TRIES = 5;

/**
 * Create or update a manifest's objects as one person. All are looked at before the first is written.
 *
 * @param {(method: string, path: string, options?: object) => Promise<object>} ask Asks the API server as the person.
 * @param {string} manifest YAML with one document or several.
 * @param {{force?: boolean, secrets?: string[], belongings?: Belongings, log?: (line: string) => void}} [options] With `force`, fields
 *   that others have set are taken over; `secrets` must not be in the manifest; `belongings` tells our objects from others'.
 * @returns {Promise<string[]>} The objects' ids, as in `locate`.
 * @throws {Error} One of Backstage's; it says which document it is about, and what was already done.
 */
async function configure(ask, manifest, { force = false, secrets = [], belongings = new Belongings(), log = () => {} } = {}) {
    const plan = await planned(ask, parseManifest(manifest, secrets));
    const done = [];
    for (const { number, object, resource } of plan) {
        try {
            const deed = await createOrUpdate(ask, resource, belongings.marked(object), { force, belongings });
            done.push(`${deed} ${resource.id}`);
            log(`${deed} ${resource.id}`);
        } catch (error) {
            throw explained(`Document ${number} (${title(resource)}) was refused`, error, account(done, plan));
        }
    }
    return plan.map(({ resource }) => resource.id);
}

async function planned(ask, documents) {
    const answers = new Map();
    const get = (path) => {
        if (!answers.has(path)) answers.set(path, ask('GET', path));
        return answers.get(path);
    };
    const made = new Set(documents.filter(({ object }) => object.kind === 'Namespace').map(({ object }) => object.metadata.name));
    const plan = [];
    for (const { number, object } of documents) {
        try {
            const resource = await locate(get, { apiVersion: object.apiVersion, kind: object.kind, ...object.metadata });
            if (resource.namespace && !made.has(resource.namespace)) await expectNamespace(get, resource.namespace);
            plan.push({ number, object, resource });
        } catch (error) {
            throw explained(`Document ${number} (${object.kind} ${object.metadata.name})`, error, 'Nothing was changed.');
        }
    }
    return plan;
}

async function expectNamespace(get, namespace) {
    try {
        await get(`/api/v1/namespaces/${encodeURIComponent(namespace)}`);
    } catch (error) {
        if (!(error instanceof Refusal)) throw error;
        if (error.status === 404) throw new InputError(`the namespace ${namespace} does not exist; create it first, or name another.`);
        if (error.status !== 403) throw error;
        // Who may not look at namespaces may still be allowed to write in this one: the API server will say.
    }
}

async function createOrUpdate(ask, resource, object, { force, belongings }) {
    try {
        await ask('POST', `${resource.collection}?fieldManager=${FIELD_MANAGER}`, { body: object });
        return 'created';
    } catch (error) {
        if (!(error instanceof Refusal) || error.reason !== 'AlreadyExists') throw error;
    }
    await belongings.expectOurs(() => ask('GET', resource.path));
    await adopt(ask, resource);
    await ask('PATCH', `${resource.path}?fieldManager=${FIELD_MANAGER}&force=${force}`, { body: object, type: 'application/apply-patch+yaml' });
    return 'updated';
}

// The API server books a POST's fields as updated by us, not applied, and would take ourselves for another manager: our changes would
// conflict and a field that we drop would stay. kubectl mends the same when it changes to server-side apply, in the same way.
async function adopt(ask, resource) {
    for (let tries = ADOPTION_TRIES; ; tries -= 1) {
        const { metadata } = await ask('GET', resource.path);
        const entry = (metadata.managedFields ?? []).findIndex(({ manager, operation }) => manager === FIELD_MANAGER && operation === 'Update');
        if (entry < 0) return;
        const body = [
            { op: 'replace', path: '/metadata/resourceVersion', value: metadata.resourceVersion },
            { op: 'replace', path: `/metadata/managedFields/${entry}/operation`, value: 'Apply' },
        ];
        try {
            await ask('PATCH', `${resource.path}?fieldManager=${FIELD_MANAGER}`, { body, type: 'application/json-patch+json' });
            return;
        } catch (error) {
            const overtaken = error instanceof Refusal && error.status === 409;
            if (!overtaken || tries <= 1) throw error;
        }
    }
}

function account(done, plan) {
    if (plan.length === 1) return '';
    const left = plan.slice(done.length).map(({ resource }) => resource.id);
    return `Done before: ${done.join(', ') || 'nothing'}. Not done: ${left.join(', ')}.`;
}

function title({ kind, name, namespace }) {
    return `${kind} ${name}${namespace ? ` in namespace ${namespace}` : ''}`;
}

module.exports = { FIELD_MANAGER, configure };
