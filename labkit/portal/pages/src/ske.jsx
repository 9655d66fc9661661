import {
    createFrontendPlugin,
    createRouteRef,
    fetchApiRef,
    identityApiRef,
    NotFoundErrorPage,
    PageBlueprint,
    useApi,
} from '@backstage/frontend-plugin-api';
import { SwappableComponentBlueprint } from '@backstage/plugin-app-react';
import {
    Alert,
    Button,
    ButtonLink,
    Card,
    CardBody,
    CardFooter,
    CardHeader,
    Container,
    Dialog,
    DialogBody,
    DialogFooter,
    DialogHeader,
    DialogTrigger,
    Flex,
    Text,
} from '@backstage/ui';
import { useCallback, useEffect, useState } from 'react';
import { useSearchParams } from 'react-router-dom';
import './ske.css';

const RESOURCE_SECONDS = 3;
const SESSION_SECONDS = 10;

/** The front page: who is signed in, and where to go from here. */
function HomePage() {
    const [session, askAgain] = useAnswer('session', SESSION_SECONDS);
    return (
        <Container my="4">
            <Flex direction="column" gap="4">
                <SessionCard answer={session} askAgain={askAgain} />
                <Card>
                    <CardHeader>
                        <Heading>What to do here</Heading>
                    </CardHeader>
                    <CardBody>
                        <Flex gap="3" className="ske-buttons">
                            {session.value && (
                                <ButtonLink href="/create" variant="primary">
                                    Create something
                                </ButtonLink>
                            )}
                            <ButtonLink href="/catalog?filters[kind]=template" variant="secondary">
                                See the catalog
                            </ButtonLink>
                            <ButtonLink href="/settings" variant="secondary">
                                Settings, and sign out
                            </ButtonLink>
                        </Flex>
                    </CardBody>
                    <CardFooter>
                        <a className="ske-link" href="/third-party-notices.txt">Licences of what these pages are built from</a>
                    </CardFooter>
                </Card>
            </Flex>
        </Container>
    );
}

/** What stands at an address that has no page, or none for who is signed in. */
function NotFoundPage() {
    const [session, askAgain] = useAnswer('session', SESSION_SECONDS);
    return (
        <Container my="4">
            <Flex direction="column" gap="4">
                <Card>
                    <CardHeader>
                        <Heading>404: there is no such page for you</Heading>
                    </CardHeader>
                    <CardBody>
                        <Text as="p">Guests see the catalog. Sign in through Keycloak to create things from its templates.</Text>
                    </CardBody>
                    <CardFooter>
                        <ButtonLink href="/catalog?filters[kind]=template" variant="secondary">
                            See the catalog
                        </ButtonLink>
                    </CardFooter>
                </Card>
                <SessionCard answer={session} askAgain={askAgain} />
            </Flex>
        </Container>
    );
}

/** Who is signed in, in which groups, and until when: as the portal would act for them. */
function SessionCard({ answer: { value: session, status, message }, askAgain }) {
    const identity = useIdentity();
    return (
        <Card>
            <CardHeader>
                <Heading>Who you are</Heading>
            </CardHeader>
            <CardBody>
                <Flex direction="column" gap="3">
                    <Facts
                        facts={{
                            'In Keycloak': session?.user,
                            Groups: session && (session.groups.join(', ') || 'none'),
                            'Token valid until': session && `${clock(session.expires * 1000)}; it is renewed while this page is open`,
                            'In the portal': identity,
                        }}
                    />
                    {session && (
                        <Text as="p">
                            With this token the portal asks the Kubernetes API server in your name. What you may do there is decided by your groups,
                            and not by the portal.
                        </Text>
                    )}
                    {status !== undefined && <Failure status={status} message={message} />}
                </Flex>
            </CardBody>
            {!polls(status) && <WithoutSession askAgain={askAgain} />}
        </Card>
    );
}

/** The page of one object of the cluster, which its address names. */
function ResourcePage() {
    const [search] = useSearchParams();
    const wanted = Object.fromEntries(['apiVersion', 'kind', 'namespace', 'name'].map((field) => [field, search.get(field) ?? '']));
    return (
        <Container my="4">
            <ResourceCard key={search.toString()} wanted={wanted} />
        </Container>
    );
}

/** One object as it is now, with a way to delete it; a refusal is shown in the API server's words. */
function ResourceCard({ wanted }) {
    const { apiVersion, kind, namespace, name } = wanted;
    const ask = useAsk();
    const [{ value, status, message, user, at }, askAgain] = useAnswer(`resource?${new URLSearchParams(wanted)}`, RESOURCE_SECONDS);
    const [deletion, setDeletion] = useState({});

    const remove = async () => {
        setDeletion({ isPending: true });
        setDeletion(await ask('POST', 'delete-resource', wanted));
        askAgain();
    };

    const manifest = value?.manifest;
    const deleted = Boolean(deletion.at) && deletion.status === undefined;
    return (
        <Card>
            <CardHeader>
                <Heading>
                    {kind} {name}
                </Heading>
            </CardHeader>
            <CardBody>
                <Flex direction="column" gap="3">
                    {deletion.status !== undefined && <Failure {...deletion} />}
                    {status !== undefined && <Failure status={status} message={message} user={user} deleted={deleted} />}
                    {manifest && (
                        <>
                            <Facts
                                facts={{
                                    'API version': apiVersion,
                                    Namespace: manifest.metadata.namespace,
                                    Created: clock(manifest.metadata.creationTimestamp),
                                    'Resource version': manifest.metadata.resourceVersion,
                                }}
                            />
                            {manifest.data && <Data data={manifest.data} />}
                            <details>
                                <summary>All of it</summary>
                                <pre className="ske-manifest" tabIndex={0}>
                                    {JSON.stringify({ ...manifest, metadata: { ...manifest.metadata, managedFields: undefined } }, null, 2)}
                                </pre>
                            </details>
                        </>
                    )}
                    {at && polls(status) && (
                        <Text as="p" variant="body-small">
                            As the API server told you at {clock(at)}; it is asked again every {RESOURCE_SECONDS} seconds
                        </Text>
                    )}
                </Flex>
            </CardBody>
            {!polls(status) && <WithoutSession askAgain={askAgain} />}
            {manifest && (
                <CardFooter>
                    <DialogTrigger>
                        <Button variant="secondary" isPending={Boolean(deletion.isPending)}>
                            Delete
                        </Button>
                        <Dialog>
                            <DialogHeader>
                                Delete {kind} {name}?
                            </DialogHeader>
                            <DialogBody>
                                The API server is asked in your name to delete it{namespace && ` from the namespace ${namespace}`}.
                            </DialogBody>
                            <DialogFooter>
                                <Button slot="close" variant="primary" destructive onPress={remove}>
                                    Delete it
                                </Button>
                                <Button slot="close" variant="secondary">
                                    Keep it
                                </Button>
                            </DialogFooter>
                        </Dialog>
                    </DialogTrigger>
                </CardFooter>
            )}
        </Card>
    );
}

/** Why there is nothing to show; the name in a refusal is shown, since that is who the API server was asked as. */
function Failure({ status, message, user, deleted = false }) {
    const titles = {
        0: 'There was no answer',
        401: 'There is no Keycloak token of yours here',
        403: '403 Forbidden: the API server knows you and says no',
        404: deleted ? 'Deleted' : 'Not there',
    };
    const harmless = status === 401 || status === 404;
    return (
        <Alert
            role={harmless ? 'status' : 'alert'}
            status={harmless ? 'info' : 'danger'}
            icon
            title={titles[status] ?? `The answer is ${status}`}
            description={
                <>
                    <span className="ske-words">{message}</span>
                    {user && <span className="ske-words">It bears the name {user}: the API server was asked as you, with your own rights.</span>}
                </>
            }
        />
    );
}

/** What can be done where nobody is signed in, or no longer. */
function WithoutSession({ askAgain }) {
    const identityApi = useApi(identityApiRef);
    return (
        <CardFooter>
            <Flex gap="3" className="ske-buttons">
                <Button variant="primary" onPress={() => identityApi.signOut()}>
                    Sign in anew
                </Button>
                <Button variant="secondary" onPress={askAgain}>
                    Ask again
                </Button>
            </Flex>
        </CardFooter>
    );
}

function Heading({ children }) {
    return (
        <Text as="h2" variant="title-small">
            {children}
        </Text>
    );
}

function Facts({ facts }) {
    return (
        <dl className="ske-facts">
            {Object.entries(facts).map(
                ([name, fact]) =>
                    fact && (
                        <div key={name}>
                            <dt>{name}</dt>
                            <dd>{fact}</dd>
                        </div>
                    ),
            )}
        </dl>
    );
}

function Data({ data }) {
    return (
        <table className="ske-data">
            <caption>Data</caption>
            <tbody>
                {Object.entries(data).map(([key, value]) => (
                    <tr key={key}>
                        <th scope="row">{key}</th>
                        <td>{value}</td>
                    </tr>
                ))}
            </tbody>
        </table>
    );
}

function useIdentity() {
    const identityApi = useApi(identityApiRef);
    const [userRef, setUserRef] = useState('');
    useEffect(() => {
        identityApi.getBackstageIdentity().then(
            (identity) => setUserRef(identity.userEntityRef),
            () => setUserRef('unknown: the session has ended'),
        );
    }, [identityApi]);
    return userRef;
}

/**
 * What the backend answers to a GET below /api/ske, asked again and again while that can change without the person's doing.
 *
 * @returns {[{value?: object, status?: number, message?: string, user?: string, at?: number}, () => void]} The newest answer, as `useAsk` has it, and a way to ask now.
 */
function useAnswer(path, seconds) {
    const ask = useAsk();
    const [answer, setAnswer] = useState({});
    const [asked, setAsked] = useState(0);
    useEffect(() => {
        let timer;
        let left = false;
        const go = async () => {
            const found = await ask('GET', path);
            if (left) return;
            setAnswer(found);
            if (polls(found.status)) timer = setTimeout(go, seconds * 1000);
        };
        go();
        return () => {
            left = true;
            clearTimeout(timer);
        };
    }, [ask, path, seconds, asked]);
    return [answer, useCallback(() => setAsked((times) => times + 1), [])];
}

// Without a session each question would ask the person to sign in again.
function polls(status) {
    return status !== 0 && status !== 401;
}

/** Ask the backend below /api/ske: gives `{value}`, or `{status, message, user}` of what went wrong (status 0: no answer), and `at`, when. */
function useAsk() {
    const fetchApi = useApi(fetchApiRef);
    return useCallback(
        async (method, path, body) => {
            try {
                const response = await fetchApi.fetch(`plugin://ske/${path}`, {
                    method,
                    ...(body && { headers: { 'Content-Type': 'application/json' }, body: JSON.stringify(body) }),
                });
                const told = response.status === 204 ? undefined : await response.json();
                const at = Date.now();
                if (response.ok) return { value: told, at };
                const { message, refusal } = told.error;
                return { status: response.status, message, user: refusal?.user, at };
            } catch (error) {
                return { status: 0, message: error.message, at: Date.now() };
            }
        },
        [fetchApi],
    );
}

function clock(when) {
    return new Date(when).toLocaleTimeString([], { hour12: false });
}

const homeRouteRef = createRouteRef();

export const notFoundPage = SwappableComponentBlueprint.make({
    name: 'core-not-found-error-page',
    params: (define) => define({ component: NotFoundErrorPage, loader: () => NotFoundPage }),
});

function icon(path) {
    return (
        <svg viewBox="0 0 24 24" width="1em" height="1em" fill="currentColor" aria-hidden="true">
            <path d={path} />
        </svg>
    );
}

const PERSON = icon('M12 3a4.5 4.5 0 1 0 0 9 4.5 4.5 0 0 0 0-9zM3 21c0-4.5 4-7 9-7s9 2.5 9 7z');
const BOX = icon('M12 2l9 5v10l-9 5-9-5V7zm0 2.3L6.2 7.5 12 10.7l5.8-3.2zM5 9.2v6.6l6 3.4v-6.7zm14 0l-6 3.3v6.7l6-3.4z');

/** The pages of the portal's own: who one is, at `/`, and one object of the cluster, at `/resource`. */
export const skePlugin = createFrontendPlugin({
    pluginId: 'ske',
    routes: { root: homeRouteRef },
    extensions: [
        PageBlueprint.make({
            params: { path: '/', title: 'You', icon: PERSON, routeRef: homeRouteRef, loader: async () => <HomePage /> },
        }),
        PageBlueprint.make({
            name: 'resource',
            params: { path: '/resource', title: 'In the cluster', icon: BOX, loader: async () => <ResourcePage /> },
        }),
    ],
});
