import { OAuth2 } from '@backstage/core-app-api';
import { SignInPage } from '@backstage/core-components';
import { createApp } from '@backstage/frontend-defaults';
import {
    ApiBlueprint,
    configApiRef,
    createApiRef,
    createFrontendModule,
    discoveryApiRef,
    googleAuthApiRef,
    microsoftAuthApiRef,
    oauthRequestApiRef,
} from '@backstage/frontend-plugin-api';
import { SignInPageBlueprint } from '@backstage/plugin-app-react';
import catalogPlugin from '@backstage/plugin-catalog/alpha';
import kubernetesPlugin from '@backstage/plugin-kubernetes/alpha';
import { KubernetesAuthProviders, kubernetesAuthProvidersApiRef } from '@backstage/plugin-kubernetes-react';
import scaffolderPlugin from '@backstage/plugin-scaffolder/alpha';
import userSettingsPlugin from '@backstage/plugin-user-settings/alpha';
import { themes } from '@backstage/theme';
import '@backstage/ui/css/styles.css';
import { createRoot } from 'react-dom/client';
import { KeycloakConnector } from './connector';
import { pairs } from './pairs';
import { notFoundPage, skePlugin } from './ske';
import { words } from './words';

// The backend's auth provider of that name; renews its tokens before they expire.
const keycloakAuthApiRef = createApiRef({ id: 'auth.keycloak' });

const keycloakAuthApi = ApiBlueprint.make({
    name: 'keycloak',
    params: (define) =>
        define({
            api: keycloakAuthApiRef,
            deps: { configApi: configApiRef, discoveryApi: discoveryApiRef, oauthRequestApi: oauthRequestApiRef },
            factory: (apis) =>
                OAuth2.create({
                    authConnector: new KeycloakConnector(apis),
                    defaultScopes: ['openid', 'profile', 'email'],
                }),
        }),
});

const signInPage = SignInPageBlueprint.make({
    params: {
        loader: async () => (props) => (
            <SignInPage
                {...props}
                providers={[
                    { id: 'keycloak', title: 'Keycloak', message: 'Sign in using Keycloak', apiRef: keycloakAuthApiRef },
                    'guest',
                ]}
            />
        ),
    },
});

// By itself the Kubernetes plugin knows clouds' providers only.
const kubernetesWithKeycloak = kubernetesPlugin.withOverrides({
    extensions: [
        kubernetesPlugin.getExtension('api:kubernetes/auth-providers').override({
            params: (define) =>
                define({
                    api: kubernetesAuthProvidersApiRef,
                    deps: { googleAuthApi: googleAuthApiRef, microsoftAuthApi: microsoftAuthApiRef, keycloak: keycloakAuthApiRef },
                    factory: ({ keycloak, ...clouds }) => new KubernetesAuthProviders({ ...clouds, oidcProviders: { keycloak } }),
                }),
        }),
    ],
});

// Whoever may not run templates is shown nothing of them, neither forms nor links to forms.
const scaffolderForWhomItServes = scaffolderPlugin.withOverrides({
    if: { permissions: { $contains: 'scaffolder.task.create' } },
    extensions: [pairs],
});

// A button of Material UI 4 that has the focus before its ripple is drawn takes its page down (mui/material-ui#30953). Ours show the focus in ske.css.
for (const theme of Object.values(themes)) theme.getTheme('v4').props.MuiButtonBase = { disableRipple: true };

const app = createApp({
    features: [
        skePlugin,
        catalogPlugin,
        scaffolderForWhomItServes,
        kubernetesWithKeycloak,
        userSettingsPlugin,
        createFrontendModule({ pluginId: 'app', extensions: [keycloakAuthApi, signInPage, notFoundPage, ...words] }),
    ],
});

createRoot(document.getElementById('root')).render(app.createRoot());
