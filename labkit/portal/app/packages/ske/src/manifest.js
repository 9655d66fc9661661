'use strict';

const { InputError } = require('@backstage/errors');
const { isMap, isScalar, parseAllDocuments, visit } = require('yaml');
const { refuseSecrets, strings } = require('./secrets');

// The API server takes no larger request body; most objects have to stay below etcd's 1.5 MiB besides.
const MAX_BYTES = 3 * 1024 * 1024;
// Each is looked for among all anchors before it. A manifest needs none; one that was written by hand has a few.
const MAX_ALIASES = 100;

/**
 * The objects of a manifest, checked for what can be known without a cluster.
 *
 * @param {string} text YAML or JSON, with one document or several.
 * @param {string[]} [secrets] What it must not contain, as `secretsOf` has it.
 * @returns {{number: number, object: object}[]} Each object with the number of its document, counted from 1 as they stand in the text.
 * @throws {InputError} Names the document and what to do about it.
 */
function parseManifest(text, secrets = []) {
    const bytes = Buffer.byteLength(text);
    if (bytes > MAX_BYTES) {
        throw new InputError(`The manifest has ${bytes} bytes, and the API server takes ${MAX_BYTES} at most: split it, or leave data out.`);
    }
    // Before it is parsed: the parser's complaints quote the text.
    refuseSecrets(secrets, text);
    const documents = [...parseAllDocuments(text, { merge: true, uniqueKeys: false })]
        .map((document, index) => ({ number: index + 1, document }))
        .filter(({ document }) => document.errors.length > 0 || document.contents !== null);
    const objects = documents.map(({ number, document }) => ({ number, object: read(document, number) })).filter(({ object }) => object !== null);
    if (objects.length === 0) throw new InputError('The manifest is empty: the template has to give it at least one Kubernetes object.');
    refuseSecrets(secrets, strings(objects).join('\n'));
    for (const { number, object } of objects) check(object, number);
    return objects;
}

function read(document, number) {
    if (document.errors.length > 0) {
        const [{ code, message }] = document.errors;
        const fix = code === 'TAB_AS_INDENT' ? ' Indent with spaces.' : '';
        throw new InputError(`Document ${number} of the manifest is not YAML: ${message.trim()}${fix}`);
    }
    refuseDoubleKeysAndManyAliases(document, number);
    keepDataAsText(document);
    try {
        return document.toJS({ maxAliasCount: MAX_ALIASES });
    } catch (error) {
        throw new InputError(`Document ${number} of the manifest can't be read: ${error.message}`);
    }
}

// The parser's own check compares each key with each other one, which takes minutes for a manifest of a megabyte.
function refuseDoubleKeysAndManyAliases(document, number) {
    let aliases = 0;
    visit(document, {
        Alias() {
            aliases += 1;
            if (aliases > MAX_ALIASES) throw new InputError(`Document ${number} of the manifest has more than ${MAX_ALIASES} aliases: write the values out.`);
        },
        Map(_, map) {
            const keys = new Set();
            for (const { key } of map.items) {
                const name = isScalar(key) ? String(key.value) : key;
                if (keys.has(name)) throw new InputError(`Document ${number} of the manifest has the key ${name} twice in one place: keep one.`);
                keys.add(name);
            }
        },
    });
}

// A ConfigMap holds text only. A template that fills in 8080, true or 1.10 means these characters, not YAML's reading of them.
function keepDataAsText(document) {
    if (!isMap(document.contents) || document.get('kind') !== 'ConfigMap') return;
    const data = document.get('data');
    if (!isMap(data)) return;
    for (const { value } of data.items) {
        if (isScalar(value) && ['number', 'bigint', 'boolean'].includes(typeof value.value)) value.value = value.source;
    }
}

function check(object, number) {
    const mistake = (what) => new InputError(`Document ${number} of the manifest ${what}`);
    if (typeof object !== 'object' || Array.isArray(object)) {
        throw mistake('is not a Kubernetes object: it needs apiVersion, kind and metadata. A list of objects goes into documents divided by ---.');
    }
    for (const field of ['apiVersion', 'kind']) {
        if (typeof object[field] !== 'string' || !object[field]) throw mistake(`has no ${field}: add it, like ${EXAMPLES[field]}.`);
    }
    checkApiVersion(object.apiVersion, mistake);
    const { name, namespace, labels } = object.metadata ?? {};
    if (name === undefined || name === null || name === '') throw mistake(`(${object.kind}) has no metadata.name: give it one.`);
    checkName('metadata.name', name, mistake);
    if (namespace !== undefined && namespace !== null) checkName('metadata.namespace', namespace, mistake);
    if (typeof (labels ?? {}) !== 'object' || Array.isArray(labels)) throw mistake('has metadata.labels that are no pairs of key and value.');
}

const EXAMPLES = { apiVersion: 'apiVersion: v1', kind: 'kind: ConfigMap' };

/** Refuse an apiVersion that would lead elsewhere when it becomes part of a path. */
function checkApiVersion(apiVersion, mistake) {
    if (!/^([a-z0-9]([a-z0-9.-]*[a-z0-9])?\/)?v[a-z0-9]+$/.test(apiVersion)) {
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
