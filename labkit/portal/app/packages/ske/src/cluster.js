'use strict';

const { readFileSync } = require('node:fs');
const https = require('node:https');
const { text } = require('node:stream/consumers');
const { OwnerLabel } = require('./owner-label');
const { parse, stringify } = require('./yaml');

const TIMEOUT_MS = 30_000;
// As Kubernetes names what is asked for, and RBAC's rules list it.
const VERBS = { GET: 'get', POST: 'create', PATCH: 'patch', DELETE: 'delete' };

/**
 * The cluster that `ske.kubernetes.platformName` names, reached as one person at a time.
 *
 * It is asked directly and not through Backstage's proxy: URL and CA come from the same `kubernetes:` entry, and on this way there is
 * nothing that could add the portal's own rights to a request that lacks the person's.
 */
class Cluster {
    #url;
    #agent;

    constructor({ name, url, ca, label }) {
        this.name = name;
        this.ownerLabel = new OwnerLabel(label);
        this.#url = url.replace(/\/+$/, '');
        this.#agent = new https.Agent({ ca, keepAlive: true });
    }

    /**
     * @param {import('@backstage/config').Config} config The portal's.
     * @throws {Error} No cluster of that name is configured, or its CA can't be read.
     */
    static fromConfig(config) {
        const name = config.getString('ske.kubernetes.platformName');
        const clusters = config
            .getConfigArray('kubernetes.clusterLocatorMethods')
            .flatMap((method) => method.getOptionalConfigArray('clusters') ?? []);
        const cluster = clusters.find((candidate) => candidate.getString('name') === name);
        if (!cluster) {
            throw new Error(`ske.kubernetes.platformName is ${name}, and no cluster in kubernetes.clusterLocatorMethods has this name`);
        }
        const caFile = cluster.getOptionalString('caFile');
        const label = config.getOptionalString('ske.kubernetes.label');
        return new Cluster({ name, url: cluster.getString('url'), ca: caFile ? readFileSync(caFile) : undefined, label });
    }

    /**
     * Ask the API server something as the person whose token it is.
     *
     * @param {string} token The person's.
     * @param {string} method An HTTP method.
     * @param {string} path Path and query.
     * @param {{body?: object, type?: string, signal?: AbortSignal}} [options] `type` is the body's content type.
     * @returns {Promise<object>} The answer's JSON.
     * @throws {Refusal} The API server says no.
     * @throws {Unreachable} It says nothing.
     */
    async ask(token, method, path, { body, type = 'application/json', signal } = {}) {
        const { status, answer } = await this.#send(token, method, path, body && stringify(body), type, signal);
        if (status >= 200 && status <= 299) return answer;
        const user = status === 403 ? await this.#username(token, signal) : '';
        throw new Refusal(status, answer, { user, verb: VERBS[method] });
    }

    // A 403 names the person in its words alone.
    async #username(token, signal) {
        const review = JSON.stringify({ apiVersion: 'authentication.k8s.io/v1', kind: 'SelfSubjectReview' });
        try {
            const { answer } = await this.#send(token, 'POST', '/apis/authentication.k8s.io/v1/selfsubjectreviews', review, 'application/json', signal);
            return answer.status?.userInfo?.username ?? '';
        } catch {
            return '';
        }
    }

    async #send(token, method, path, body, type, signal) {
        const timeout = AbortSignal.timeout(TIMEOUT_MS);
        const headers = { Authorization: `Bearer ${token}`, Accept: 'application/json' };
        if (body) Object.assign(headers, { 'Content-Type': type, 'Content-Length': Buffer.byteLength(body) });
        try {
            const response = await new Promise((resolve, reject) => {
                https
                    .request(this.#url + path, {
                        method,
                        headers,
                        agent: this.#agent,
                        signal: signal ? AbortSignal.any([signal, timeout]) : timeout,
                    })
                    .on('response', resolve)
                    .on('error', reject)
                    .end(body);
            });
            return { status: response.statusCode, answer: parsed(await text(response)) };
        } catch (error) {
            if (signal?.aborted) throw error;
            const why = timeout.aborted ? `no answer within ${TIMEOUT_MS / 1000} seconds` : error.message || error.code;
            throw new Unreachable(this.#url, why);
        }
    }
}

function parsed(body) {
    try {
        return parse(body);
    } catch {
        return { message: body.trim() };
    }
}

/**
 * The API server's no: `status`, `reason` and `message` are its own, `causes` says which fields it is about.
 *
 * `user` is whom the API server took the person for, `verb` what was asked for; each is empty where it is not known.
 */
class Refusal extends Error {
    constructor(status, { reason = '', message = '', details } = {}, { user = '', verb = '' } = {}) {
        super(message || `HTTP status ${status}`);
        Object.assign(this, { status, reason, user, verb, causes: details?.causes ?? [] });
        this.resource = [details?.kind, details?.group].filter(Boolean).join('.');
        this.object = details?.name ?? '';
    }
}

/** Nothing came back from the API server that could be understood. */
class Unreachable extends Error {
    constructor(url, why) {
        super(`the API server at ${url} can't be reached (${why}). Start it, or mend url and caFile of the cluster in the kubernetes: configuration.`);
    }
}

module.exports = { Cluster, Refusal, Unreachable };
