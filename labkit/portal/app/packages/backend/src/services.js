'use strict';

const { DefaultSchedulerService } = require('@backstage/backend-defaults/scheduler');
const { FetchUrlReader, GithubUrlReader, UrlReaders } = require('@backstage/backend-defaults/urlReader');
const { coreServices, createServiceFactory } = require('@backstage/backend-plugin-api');
const { metricsServiceRef } = require('@backstage/backend-plugin-api/alpha');

/**
 * What templates are read with by their address: GitHub, without an account there, and the hosts that the configuration names.
 *
 * Backstage's own has eleven more, some of which read with whatever cloud identity this machine has.
 */
const createUrlReaders = ({ config, logger }) =>
    UrlReaders.create({ config, logger, factories: [GithubUrlReader.factory, FetchUrlReader.factory] });

const urlReaders = createServiceFactory({
    service: coreServices.urlReader,
    deps: { config: coreServices.rootConfig, logger: coreServices.logger },
    factory: createUrlReaders,
});

/** Backstage's scheduler without its routes: they ask for no permission, and any guest could start and stop the portal's own jobs. */
const scheduler = createServiceFactory({
    service: coreServices.scheduler,
    deps: {
        database: coreServices.database,
        logger: coreServices.logger,
        metrics: metricsServiceRef,
        pluginMetadata: coreServices.pluginMetadata,
        rootLifecycle: coreServices.rootLifecycle,
    },
    factory: (services) => DefaultSchedulerService.create({ ...services, httpRouter: { use() {} } }),
});

module.exports = { createUrlReaders, scheduler, urlReaders };
