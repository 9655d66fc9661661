'use strict';

const { setTimeout: pause } = require('node:timers/promises');
const { InputError } = require('@backstage/errors');
const { OwnerLabel } = require('./owner-label');
const { Refusal } = require('./cluster');
const { parseManifest } = require('./manifest');
const { explained } = require('./refusals');
const { locate } = require('./resources');

/** Under this name the API server keeps which fields came from the portal. */
const FIELD_MANAGER = 'backstage-ske';
const ADOPTION_TRIES = 5;
const CRD = 'CustomResourceDefinition';
const SERVED_WITHIN_MS = 30_000;

/**
 * Create or update a manifest's objects as one person. All are looked at before the first is written.
 *
 * @param {(method: string, path: string, options?: object) => Promise<object>} ask Asks the API server as the person.
 * @param {string} manifest YAML with one document or several.
 * @param {{force?: boolean, secrets?: string[], ownerLabel?: OwnerLabel, log?: (line: string) => void}} [options] With `force`, fields
 *   that others have set are taken over; `secrets` must not be in the manifest; `ownerLabel` tells our objects from others'.
 * @returns {Promise<string[]>} The objects' ids, as in `locate`.
 * @throws {Error} One of Backstage's; it says which document it is about, and what was already done.
 */
async function configure(ask, manifest, { force = false, secrets = [], ownerLabel = new OwnerLabel(), log = () => {} } = {}) {
    const plan = await planned(ask, parseManifest(manifest, secrets));
    const done = [];
    // What others need comes first, as who puts a manifest together does not always have it so.
    const steps = [...plan].sort((one, other) => isNeeded(other.object) - isNeeded(one.object));
    for (const step of steps) {
        try {
            if (step.isBrought) step.resource = await served(ask, step);
            const [deed, name] = await createOrUpdate(ask, step.resource, ownerLabel.marked(step.object), { force, ownerLabel });
            if (!step.resource.name) step.resource = { ...step.resource, id: `${step.resource.id}/${name}` };
            done.push(`${deed} ${step.resource.id}`);
            log(done.at(-1));
        } catch (error) {
            throw explained(`Document ${step.number} (${title(step)}) was refused`, error, account(done, steps));
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
    const brought = kindsBrought(documents);
    const plan = [];
    for (const { number, object } of documents) {
        try {
            const { resource, isBrought } = await located(get, object, brought);
            if (resource.namespace && !made.has(resource.namespace)) await expectNamespace(get, resource.namespace);
            plan.push({ number, object, resource, isBrought });
        } catch (error) {
            throw explained(`Document ${number} (${object.kind} ${nameOf(object)})`, error, 'Nothing was changed.');
        }
    }
    return plan;
}

async function located(get, object, brought) {
    const wanted = { apiVersion: object.apiVersion, kind: object.kind, ...object.metadata };
    try {
        return { resource: await locate(get, wanted) };
    } catch (error) {
        const resources = brought.filter(({ apiVersion }) => apiVersion === object.apiVersion);
        if (!(error instanceof InputError) || !resources.some(({ kind }) => kind === object.kind)) throw error;
        return { resource: await locate(async () => ({ resources }), wanted), isBrought: true };
    }
}

/** What the manifest's own CustomResourceDefinitions will have the cluster know, as its discovery tells it. */
function kindsBrought(documents) {
    const specs = documents.filter(({ object }) => object.kind === CRD).map(({ object }) => object.spec ?? {});
    return specs.flatMap(({ group, names, scope, versions }) =>
        (Array.isArray(versions) ? versions : []).map((version) => ({
            apiVersion: `${group}/${version?.name}`,
            kind: names?.kind,
            name: `${names?.plural}`,
            namespaced: scope !== 'Cluster',
        })),
    );
}

/** Where an object lies whose kind is new to the cluster, as soon as it is served. */
async function served(ask, { object }) {
    for (const until = Date.now() + SERVED_WITHIN_MS; ; await pause(200)) {
        try {
            return await locate((path) => ask('GET', path), { apiVersion: object.apiVersion, kind: object.kind, ...object.metadata });
        } catch (error) {
            if (!(error instanceof InputError) || Date.now() > until) throw error;
        }
    }
}

function isNeeded({ kind }) {
    return [CRD, 'Namespace'].includes(kind);
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

/** What was done, and the object's name. As kubectl, it looks first: who may change an object need not be allowed to create any. */
async function createOrUpdate(ask, resource, object, { force, ownerLabel }) {
    let found = resource.path && (await lookedUp(ask, resource));
    if (!found) {
        try {
            const { metadata } = await ask('POST', `${resource.collection}?fieldManager=${FIELD_MANAGER}`, { body: object });
            return ['created', metadata?.name];
        } catch (error) {
            if (!(error instanceof Refusal) || error.reason !== 'AlreadyExists' || !resource.path) throw error;
        }
        found = await ask('GET', resource.path);
    }
    await ownerLabel.expectOurs(async () => found);
    await adopt(ask, resource, found);
    await ask('PATCH', `${resource.path}?fieldManager=${FIELD_MANAGER}&force=${force}`, { body: object, type: 'application/apply-patch+yaml' });
    return ['updated', resource.name];
}

/** The object, or nothing if it isn't there or its person may not look. */
async function lookedUp(ask, { path }) {
    try {
        return await ask('GET', path);
    } catch (error) {
        if (!(error instanceof Refusal) || ![403, 404].includes(error.status)) throw error;
        return undefined;
    }
}

// The API server books a POST's fields as updated by us, not applied, and would take ourselves for another manager: our changes would
// conflict and a field that we drop would stay. kubectl mends the same when it changes to server-side apply, in the same way.
async function adopt(ask, resource, found) {
    let { metadata } = found;
    for (let tries = ADOPTION_TRIES; ; tries -= 1) {
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
        ({ metadata } = await ask('GET', resource.path));
    }
}

function account(done, steps) {
    if (steps.length === 1) return '';
    const left = steps.slice(done.length).map(({ resource }) => resource.id);
    return `Done before: ${done.join(', ') || 'nothing'}. Not done: ${left.join(', ')}.`;
}

function title({ object, resource: { kind, namespace } }) {
    return `${kind} ${nameOf(object)}${namespace ? ` in namespace ${namespace}` : ''}`;
}

function nameOf({ metadata: { name, generateName } }) {
    return name || `${generateName}…`;
}

module.exports = { FIELD_MANAGER, configure };
