import { openLoginPopup } from '@backstage/core-app-api';

const KEY = 'keycloak-session-key';

/**
 * Signs in, renews and signs out at the backend's auth provider `keycloak`; Backstage's own connector but for the key of the session.
 *
 * The cookie of a session goes to every port of localhost. The key that it counts with is in the answer to the sign-in alone, and is kept
 * in this origin's storage, which is the portal's port's own.
 */
export class KeycloakConnector {
    constructor({ configApi, discoveryApi, oauthRequestApi }) {
        this.environment = configApi.getString('auth.environment');
        this.discoveryApi = discoveryApi;
        this.requested = oauthRequestApi.createAuthRequester({
            provider: { id: 'keycloak', title: 'Keycloak', icon: () => null },
            onAuthRequest: (scopes) => this.popUp(scopes),
        });
    }

    async createSession({ scopes, instantPopup }) {
        return instantPopup ? this.popUp(scopes) : this.requested(scopes);
    }

    async refreshSession({ scopes }) {
        const response = await this.ask('GET', 'refresh', { scope: [...scopes].join(' ') });
        return session(await response.json());
    }

    async removeSession() {
        await this.ask('POST', 'logout');
        localStorage.removeItem(KEY);
    }

    async popUp(scopes) {
        const url = await this.url('start', { scope: [...scopes].join(' '), origin: window.location.origin, flow: 'popup' });
        const { profile, ...told } = await openLoginPopup({ url, name: 'Keycloak Login', width: 450, height: 730 });
        const { sessionKey, ...rest } = profile;
        localStorage.setItem(KEY, sessionKey);
        return session({ ...told, profile: rest });
    }

    async ask(method, endpoint, query) {
        const headers = { 'x-requested-with': 'XMLHttpRequest', 'x-session-key': localStorage.getItem(KEY) ?? '' };
        const response = await fetch(await this.url(endpoint, query), { method, headers, credentials: 'include' });
        if (response.ok) return response;
        throw Object.assign(new Error(`The portal's answer to ${endpoint} is ${response.status}`), { status: response.status });
    }

    async url(endpoint, query) {
        const base = await this.discoveryApi.getBaseUrl('auth');
        return `${base}/keycloak/${endpoint}?${new URLSearchParams({ ...query, env: this.environment })}`;
    }
}

/** What the backend tells of a session, as the pages' other parts want it. */
function session({ profile, providerInfo: { idToken, accessToken, scope, expiresInSeconds }, backstageIdentity: { token, identity, ...lives } }) {
    return {
        profile,
        providerInfo: { idToken, accessToken, scopes: new Set(scope.split(' ')), expiresAt: after(expiresInSeconds) },
        backstageIdentity: { token, identity, expiresAt: after(lives.expiresInSeconds) },
    };
}

function after(seconds) {
    return seconds ? new Date(Date.now() + seconds * 1000) : undefined;
}
