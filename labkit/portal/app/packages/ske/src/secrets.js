'use strict';

const { InputError } = require('@backstage/errors');

// What is shorter is in most manifests by chance, and is no token.
const SHORTEST = 8;
const PIECE = 32;
// Base64 of base64 is as deep as it is looked for.
const LAYERS = 2;

/**
 * What must not get from a task into the cluster: the values of its secrets, and the tokens of whoever started it.
 *
 * @param {object} [secrets] The task's, as the scaffolder hands them to an action.
 * @param {...string} tokens Those that the task acts with besides.
 * @returns {string[]} Each value, a token in pieces, so that a part of it is found too.
 */
function secretsOf(secrets = {}, ...tokens) {
    const { __initiatorCredentials: initiator, ...given } = secrets;
    // The rest of it is public: who they are.
    const { token } = initiator ? JSON.parse(initiator) : {};
    return strings([Object.values(given), token, tokens]).map(squeezed).filter((value) => value.length >= SHORTEST).flatMap(pieces);
}

/**
 * Insist that none of the secrets is in the texts: as it is, wrapped over lines, or in base64.
 *
 * It is against mistakes and simple thefts. A template can take a value apart in ways without number; who may publish one is what counts.
 *
 * @throws {InputError} One is; the message does not repeat it.
 */
function refuseSecrets(secrets, ...texts) {
    if (secrets.length === 0) return;
    const looks = texts.flatMap((text) => decodings(squeezed(text), LAYERS));
    if (!secrets.some((secret) => looks.some((text) => text.includes(secret)))) return;
    throw new InputError(
        'The manifest contains a secret of this task, so nothing was changed: whoever may read the object would have it. ' +
            "Take out what the template's manifest has from secrets.",
    );
}

/** All that is text in a value, keys too. */
function strings(value) {
    if (typeof value === 'string') return [value];
    if (typeof value !== 'object' || value === null) return [];
    return Object.entries(value).flatMap(([key, item]) => [...(Array.isArray(value) ? [] : [key]), ...strings(item)]);
}

// Only the first part of a web token is alike in others.
function pieces(value) {
    const [, own] = /^eyJ[\w-]+\.(\S{64,})$/.exec(value) ?? [];
    return own ? own.match(new RegExp(`.{${PIECE}}`, 'g')) : [value];
}

// Where base64 begins in what surrounds it is not known: each of the four places is tried.
function decodings(text, layers) {
    if (layers === 0) return [text];
    const runs = text.match(/[\w+/-]{11,}/g) ?? [];
    const decoded = [0, 1, 2, 3].map((start) => runs.map((run) => Buffer.from(run.slice(start), 'base64').toString()).join('\n'));
    return [text, ...decoded.flatMap((below) => decodings(squeezed(below), layers - 1))];
}

function squeezed(text) {
    return text.replace(/\s+/g, '');
}

module.exports = { refuseSecrets, secretsOf, strings };
