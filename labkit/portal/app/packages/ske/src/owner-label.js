'use strict';

const { InputError } = require('@backstage/errors');

/**
 * What is ours in a cluster that others use as well, by a label: what the portal makes bears it, and what lacks it is left as it is.
 *
 * labkit guards kubectl in the same way, and finds by this label what is to be cleaned up.
 */
class OwnerLabel {
    #name;
    #value;

    /** @param {string} [label] Like `labkit/home=4711`; without one the cluster is nobody else's, and everything in it may be changed. */
    constructor(label = '') {
        [this.#name, this.#value] = label.split('=');
    }

    /** The object with the label. */
    marked(object) {
        if (!this.#name) return object;
        const { metadata } = object;
        return { ...object, metadata: { ...metadata, labels: { ...metadata.labels, [this.#name]: this.#value } } };
    }

    /**
     * Insist that an object which is there already is ours.
     *
     * @param {() => Promise<object>} get Asks the API server for it; not called where everything may be changed.
     * @throws {InputError} It is somebody else's.
     */
    async expectOurs(get) {
        if (!this.#name) return;
        const { metadata } = await get();
        if (metadata.labels?.[this.#name] === this.#value) return;
        throw new InputError(
            `it is in the cluster already and lacks the label ${this.#name}=${this.#value}, so it is somebody else's and left as it is. Take another name.`,
        );
    }
}

module.exports = { OwnerLabel };
