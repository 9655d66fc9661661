'use strict';

const path = require('node:path');
const { coreServices, createBackendModule } = require('@backstage/backend-plugin-api');
const {
    ANNOTATION_LOCATION,
    ANNOTATION_ORIGIN_LOCATION,
    ANNOTATION_SOURCE_LOCATION,
    stringifyLocationRef,
} = require('@backstage/catalog-model');
const { InputError, NotAllowedError } = require('@backstage/errors');
const { catalogProcessingExtensionPoint, parseEntityYaml } = require('@backstage/plugin-catalog-node');
const { catalogModelExtensionPoint } = require('@backstage/plugin-catalog-node/alpha');

const MANAGED_BY = 'backstage.io/managed-by-';

/**
 * Keeps the catalog to the files that the configuration names, and entities to the place where they were read.
 *
 * Backstage believes what an entity says of its own origin, and reads files, and has templates read them, on its word.
 *
 * @param {string[]} files The targets of `catalog.locations` of type file.
 */
class LocationGuard {
    constructor(files) {
        this.files = files.map((target) => path.resolve(target));
    }

    static fromConfig(config) {
        const locations = config.getOptionalConfigArray('catalog.locations') ?? [];
        const files = locations.filter((location) => location.getString('type') === 'file');
        return new LocationGuard(files.map((location) => location.getString('target')));
    }

    getProcessorName() {
        return 'LocationGuard';
    }

    // Before those of Backstage: the first processor that reads a location is the last that is asked.
    getPriority() {
        return 0;
    }

    async readLocation({ type, target }) {
        if (type === 'file' && !this.files.includes(target)) {
            throw new NotAllowedError(`The file ${target} is not read: catalog.locations of the portal's configuration does not name it.`);
        }
        return false;
    }

    async preProcessEntity(entity, location, _emit, originLocation) {
        const here = stringifyLocationRef(location);
        const known = {
            [ANNOTATION_LOCATION]: here,
            [ANNOTATION_ORIGIN_LOCATION]: stringifyLocationRef(originLocation),
            [ANNOTATION_SOURCE_LOCATION]: here,
        };
        for (const [name, value] of Object.entries(entity.metadata.annotations ?? {})) {
            if ((Object.hasOwn(known, name) || name.startsWith(MANAGED_BY)) && value !== known[name]) {
                throw new InputError(`The annotation ${name} is not where the entity was read, which is ${here}: remove it.`);
            }
        }
        return entity;
    }
}

/** Backstage's parser, whose complaints quote the file; these give the place of the mistake alone. */
async function* parseQuietly({ data, location }) {
    for (const result of parseEntityYaml(data, location)) {
        const [place] = /at line \d+, column \d+/.exec(result.error?.message) ?? [];
        if (place) result.error.message = `${stringifyLocationRef(location)} is not YAML ${place}`;
        yield result;
    }
}

const locationGuard = createBackendModule({
    pluginId: 'catalog',
    moduleId: 'location-guard',
    register(registry) {
        registry.registerInit({
            deps: { config: coreServices.rootConfig, model: catalogModelExtensionPoint, processing: catalogProcessingExtensionPoint },
            async init({ config, model, processing }) {
                model.setEntityDataParser(parseQuietly);
                processing.addProcessor(LocationGuard.fromConfig(config));
            },
        });
    },
});

module.exports = { LocationGuard, locationGuard, parseQuietly };
