'use strict';

const { createBackend } = require('@backstage/backend-defaults');
// By path, not by name: this folder is a copy whose node_modules belong to a cache that holds no sources of ours.
const { skeActions, skePlugin } = require('../ske');
const { keycloakProvider } = require('./src/keycloak');
const { pages } = require('./src/pages');
const { portalPolicy } = require('./src/policy');
const { rootRouter } = require('./src/root-router');

const backend = createBackend();
backend.add(rootRouter);

backend.add(import('@backstage/plugin-auth-backend'));
backend.add(import('@backstage/plugin-auth-backend-module-guest-provider'));
backend.add(keycloakProvider);

backend.add(import('@backstage/plugin-permission-backend'));
backend.add(portalPolicy);

backend.add(import('@backstage/plugin-catalog-backend'));
backend.add(import('@backstage/plugin-catalog-backend-module-scaffolder-entity-model'));

backend.add(import('@backstage/plugin-scaffolder-backend'));
backend.add(skeActions);

backend.add(import('@backstage/plugin-kubernetes-backend'));
backend.add(skePlugin);

backend.add(pages);

backend.start().catch(error => {
  // Backstage logs what nobody has caught and runs on, without a port; whoever waits for it would wait to the end.
  console.error(error);
  process.exit(1);
});
