'use strict';

const {
    AuthenticationError,
    ConflictError,
    InputError,
    NotAllowedError,
    NotFoundError,
    ServiceUnavailableError,
} = require('@backstage/errors');
const { Refusal, Unreachable } = require('./cluster');

const LONGEST_MESSAGE = 2000;
// The API server's, its own for a body, and etcd's for what becomes of it: the last come as status 500.
const TOO_LARGE = /Too long: may not be more than|too large|larger than max/;
const BACKSTAGE_ERRORS = {
    400: InputError,
    401: AuthenticationError,
    403: NotAllowedError,
    404: NotFoundError,
    409: ConflictError,
    413: InputError,
    415: InputError,
    422: InputError,
};

/**
 * An error as Backstage has it, which says what was being done and keeps the API server's own words.
 *
 * The API server's no is its field `refusal` besides, as data that Backstage hands on in the answer to a request.
 *
 * @param {string} doing What failed, as in "create ConfigMap settings".
 * @param {Error} error What was thrown.
 * @param {string} [rest] What there is to say besides.
 */
function explained(doing, error, rest = '') {
    const [ErrorClass, why] = reading(error);
    const failure = new ErrorClass(withoutTokens([`${doing}: ${shortened(why)}`, rest].filter(Boolean).join('\n')));
    if (error instanceof Refusal) {
        const { status, reason, user, verb, resource, object } = error;
        failure.refusal = { status, reason, user, verb, resource, object, message: withoutTokens(shortened(error.message)) };
    }
    return failure;
}

function reading(error) {
    if (error instanceof Unreachable) return [ServiceUnavailableError, error.message];
    if (!(error instanceof Refusal)) return [error instanceof InputError ? InputError : Error, error.message];
    const said = `${error.status}${error.reason ? ` ${error.reason}` : ''}: ${error.message}`;
    if (error.status === 401) return [AuthenticationError, `${said} (the API server does not take your token: sign in again; labkit doctor says why if it stays)`];
    const conflicts = error.causes.filter(({ reason }) => reason === 'FieldManagerConflict');
    if (conflicts.length > 0) return [ConflictError, `${error.status} ${error.reason}: ${conflictText(conflicts)}`];
    if (TOO_LARGE.test(error.message)) return [InputError, `${said} (the object is too large for the cluster: split it, or leave data out)`];
    return [BACKSTAGE_ERRORS[error.status] ?? Error, said];
}

function conflictText(conflicts) {
    const fields = conflicts.map(({ field, message }) => `${field} is set by ${/"([^"]+)"/.exec(message)?.[1] ?? 'somebody else'}`);
    return `${fields.join(', ')}. Leave these fields out, or take them over with "force: true" in the template's step.`;
}

function shortened(message) {
    return message.length > LONGEST_MESSAGE ? `${message.slice(0, LONGEST_MESSAGE)}… (${message.length} characters)` : message;
}

/** The text without anything that looks like a JSON web token. */
function withoutTokens(text) {
    return text.replace(/eyJ[\w-]+(\.[\w-]*)*/g, '[token]');
}

module.exports = { explained, withoutTokens };
