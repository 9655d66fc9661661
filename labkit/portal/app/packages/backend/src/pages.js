'use strict';

const { coreServices, createBackendFeatureLoader, createBackendPlugin } = require('@backstage/backend-plugin-api');

/** The portal's own pages if there are any, as `app.packageName` says, else one page on how to get them. */
const pages = createBackendFeatureLoader({
    deps: { config: coreServices.rootConfig },
    async loader({ config }) {
        return [config.has('app.packageName') ? import('@backstage/plugin-app-backend') : withoutPages];
    },
});

// What the plugin "app" serves is what the portal answers outside /api.
const withoutPages = createBackendPlugin({
    pluginId: 'app',
    register(registry) {
        registry.registerInit({
            deps: { config: coreServices.rootConfig, httpRouter: coreServices.httpRouter },
            async init({ config, httpRouter }) {
                httpRouter.addAuthPolicy({ path: '/', allow: 'unauthenticated' });
                httpRouter.use((request, response, next) => (request.method === 'GET' && request.path === '/' ? response.send(page(config)) : next()));
            },
        });
    },
});

function page(config) {
    const title = config.getString('app.title');
    return `<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>${title}</title>
<style>body { font: 1rem/1.6 system-ui, sans-serif; max-width: 40rem; margin: 3rem auto; padding: 0 1rem; }</style>
</head>
<body>
<main>
<h1>${title}</h1>
<p>The portal runs, and all that the labs do with it works. What it does not have yet are its pages: they are built once, which takes a few
minutes, and <code>make run-labs</code> doesn't need them.</p>
<p>To get them, run these two in the labs' folder, then load this page again:</p>
<pre><code>.venv/bin/labkit setup --ui
.venv/bin/labkit up</code></pre>
<p>The notebooks use the portal by <code>lab.portal.sign_in("NAME")</code>, as lab 06 shows; its API is below <code>/api/</code>.</p>
</main>
</body>
</html>
`;
}

module.exports = { pages };
