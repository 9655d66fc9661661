'use strict';

const { InputError } = require('@backstage/errors');
const { refuseSecrets, strings } = require('./secrets');
const { readDocuments } = require('./yaml');

// The API server takes no larger request body; most objects have to stay below etcd's 1.5 MiB besides.
const MAX_BYTES = 3 * 1024 * 1024;

/**
 * The objects of a manifest, checked for what can be known without a cluster.
 *
 * @param {string} text YAML or JSON, with one document or several; what has `items` is a list of objects.
 * @param {string[]} [secrets] What it must not contain, as `secretsOf` has it.
 * @returns {{number: number|string, object: object}[]} Each object with the number of its document, counted from 1 as they stand in the text.
 * @throws {InputError} Names the document and what to do about it.
 */
function parseManifest(text, secrets = []) {
    const bytes = Buffer.byteLength(text);
    if (bytes > MAX_BYTES) {
        throw new InputError(`The manifest has ${bytes} bytes, and the API server takes ${MAX_BYTES} at most: split it, or leave data out.`);
    }
    // Before it is parsed: the parser's complaints quote the text.
    refuseSecrets(secrets, text);
    const objects = readDocuments(text, MAX_BYTES, mistake).flatMap(({ number, value, written }) => {
        const listed = items(value, number);
        for (const { object } of listed) keepDataAsText(object, written);
        return listed;
    });
    if (objects.length === 0) throw new InputError('The manifest is empty: the template has to give it at least one Kubernetes object.');
    refuseSecrets(secrets, strings(objects).join('\n'));
    for (const { number, object } of objects) check(object, number);
    return objects;
}

function mistake(number, what) {
    return new InputError(`Document ${number} of the manifest ${what}`);
}

// As kubectl has it, whatever the kind; a list of one kind need not repeat it.
function items(object, number) {
    if (!Array.isArray(object?.items)) return object === null ? [] : [{ number, object }];
    const [kind, apiVersion] = [String(object.kind).replace(/List$/, ''), object.apiVersion];
    return object.items.flatMap((item, index) => {
        const isBare = Object(item) === item && !item.kind && !item.apiVersion;
        return items(isBare ? { apiVersion, kind, ...item } : item, `${number}, item ${index + 1},`);
    });
}

// A ConfigMap holds text only. A template that fills in 8080, true or 1.10 means these characters, not YAML's reading of them.
function keepDataAsText(object, written) {
    const data = object?.kind === 'ConfigMap' && object.data;
    for (const [key, value] of Object.entries(written.get(data) ?? {})) {
        if (['number', 'bigint', 'boolean'].includes(typeof data[key])) data[key] = value;
    }
}

function check(object, number) {
    const refuse = (what) => mistake(number, what);
    if (typeof object !== 'object' || Array.isArray(object)) {
        throw refuse('is not a Kubernetes object: it needs apiVersion, kind and metadata. A list of objects goes into documents divided by ---.');
    }
    for (const field of ['apiVersion', 'kind']) {
        if (typeof object[field] !== 'string' || !object[field]) throw refuse(`has no ${field}: add it, like ${EXAMPLES[field]}.`);
    }
    checkApiVersion(object.apiVersion, refuse);
    const { name, generateName, namespace, labels } = object.metadata ?? {};
    const isGiven = (value) => value !== undefined && value !== null && value !== '';
    if (!isGiven(name) && !isGiven(generateName)) throw refuse(`(${object.kind}) has no metadata.name: give it one.`);
    if (isGiven(name)) checkName('metadata.name', name, refuse);
    else checkName('metadata.generateName', generateName, refuse);
    if (namespace !== undefined && namespace !== null) checkName('metadata.namespace', namespace, refuse);
    if (typeof (labels ?? {}) !== 'object' || Array.isArray(labels)) throw refuse('has metadata.labels that are no pairs of key and value.');
}

const EXAMPLES = { apiVersion: 'apiVersion: v1', kind: 'kind: ConfigMap' };

/** Refuse an apiVersion that would lead elsewhere when it becomes part of a path. */
function checkApiVersion(apiVersion, mistake) {
    if (!/^([a-z0-9]([a-z0-9.-]*[a-z0-9])?\/)?[a-z0-9]([a-z0-9-]*[a-z0-9])?$/.test(apiVersion)) {
        throw mistake(`has the apiVersion ${JSON.stringify(apiVersion)}, which is none: write v1 or group/v1.`);
    }
}

/** Refuse a name that would lead elsewhere when it becomes part of a path; what else a name must be, the API server says. */
function checkName(field, name, mistake) {
    if (typeof name !== 'string') throw mistake(`has a ${field} that is not text: put ${JSON.stringify(name)} in quotes.`);
    if (name === '' || name === '.' || name === '..' || /[/%]/.test(name)) {
        throw mistake(`has the ${field} ${JSON.stringify(name)}, which can't be one: use lower-case letters, digits and dashes.`);
    }
}

module.exports = { checkApiVersion, checkName, parseManifest };
