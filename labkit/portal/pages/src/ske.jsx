import { createFrontendPlugin, createRouteRef, fetchApiRef, identityApiRef, PageBlueprint, useApi } from '@backstage/frontend-plugin-api';
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
    return (
        <Container my="4">
            <Flex direction="column" gap="4">
                <SessionCard />
                <Card>
                    <CardHeader>
                        <Heading>What to do here</Heading>
                    </CardHeader>
                    <CardBody>
                        <Flex gap="3">
                            <ButtonLink href="/create" variant="primary">
                                Create something
                            </ButtonLink>
                            <ButtonLink href="/catalog?filters[kind]=template">See the catalog</ButtonLink>
                            <ButtonLink href="/settings">Settings, and sign out</ButtonLink>
                        </Flex>
                    </CardBody>
                </Card>
            </Flex>
        </Container>
    );
}

/** Who is signed in, in which groups, and until when: as the portal would act for them. */
function SessionCard() {
    const identity = useIdentity();
    const [{ value: session, status, message }, askAgain] = useAnswer('session', SESSION_SECONDS);
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
                    {status === 401 && <Alert status="info" icon title="There is no Keycloak token of yours here" description={message} />}
                    {status !== undefined && status !== 401 && <Failure status={status} message={message} />}
                </Flex>
            </CardBody>
            {status !== undefined && (
                <CardFooter>
                    <Flex gap="3">
                        <SignInAnew />
                        <Button onPress={askAgain}>Ask again</Button>
                    </Flex>
                </CardFooter>
            )}
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

/** One object as it is now, with a way to delete it; whoever may not is told so in the API server's words. */
function ResourceCard({ wanted }) {
    const { apiVersion, kind, namespace, name } = wanted;
    const ask = useAsk();
    const [{ value, status, message, at }, askAgain] = useAnswer(`resource?${new URLSearchParams(wanted)}`, RESOURCE_SECONDS);
    const [deletion, setDeletion] = useState({});

    const remove = async () => {
        setDeletion({ isPending: true });
        setDeletion(await ask('POST', 'delete-resource', wanted));
        askAgain();
    };

    const manifest = value?.manifest;
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
                    {status === 404 ? (
                        <Alert status="info" icon title={deletion.status === undefined && deletion.at ? 'Deleted' : 'Not there'} description={message} />
                    ) : (
                        status !== undefined && <Failure status={status} message={message} />
                    )}
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
                    {at && (
                        <Text as="p" variant="body-small">
                            As the API server told you at {clock(at)}
                            {polls(status) && `; it is asked again every ${RESOURCE_SECONDS} seconds`}
                        </Text>
                    )}
                </Flex>
            </CardBody>
            <CardFooter>
                <Flex gap="3">
                    {manifest && (
                        <DialogTrigger>
                            <Button variant="secondary" destructive isPending={Boolean(deletion.isPending)}>
                                Delete
                            </Button>
                            <Dialog>
                                {({ close }) => (
                                    <>
                                        <DialogHeader>
                                            Delete {kind} {name}?
                                        </DialogHeader>
                                        <DialogBody>
                                            The API server is asked in your name to delete it{namespace && ` from the namespace ${namespace}`}.
                                        </DialogBody>
                                        <DialogFooter>
                                            <Button variant="primary" destructive onPress={() => (close(), remove())}>
                                                Delete it
                                            </Button>
                                            <Button variant="secondary" onPress={close}>
                                                Keep it
                                            </Button>
                                        </DialogFooter>
                                    </>
                                )}
                            </Dialog>
                        </DialogTrigger>
                    )}
                    {!polls(status) && <Button onPress={askAgain}>Ask again</Button>}
                </Flex>
            </CardFooter>
        </Card>
    );
}

/** A refusal or another failure; whose name a refusal bears is told, since that is who the API server was asked as. */
function Failure({ status, message }) {
    const [, user] = /User "([^"]+)"/.exec(message) ?? [];
    const title = status === 403 ? '403 Forbidden: the API server knows you and says no' : status ? `The answer is ${status}` : 'There was no answer';
    return (
        <Alert
            status="danger"
            icon
            title={title}
            description={
                <>
                    <span className="ske-words">{message}</span>
                    {status === 403 && user && (
                        <span className="ske-words">
                            It bears the name {user}: the API server was asked as you, with your own rights.
                        </span>
                    )}
                </>
            }
        />
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

function SignInAnew() {
    const identityApi = useApi(identityApiRef);
    return (
        <Button variant="primary" onPress={() => identityApi.signOut()}>
            Sign in anew
        </Button>
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
 * @returns {[{value?: object, status?: number, message?: string, at?: number}, () => void]} The newest answer, as `useAsk` has it, and a way to ask now.
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

/** Ask the backend below /api/ske: gives `{value}`, or `{status, message}` of what went wrong (status 0: no answer), and `at`, when. */
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
                return response.ok ? { value: told, at } : { status: response.status, message: told.error.message, at };
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

const homeIcon = (
    <svg viewBox="0 0 24 24" width="1em" height="1em" fill="currentColor" aria-hidden="true">
        <circle cx="12" cy="8" r="4.5" />
        <path d="M3 21c0-4.5 4-7 9-7s9 2.5 9 7z" />
    </svg>
);

/** The pages of the portal's own: who one is, at `/`, and one object of the cluster, at `/resource`. */
export const skePlugin = createFrontendPlugin({
    pluginId: 'ske',
    routes: { root: homeRouteRef },
    extensions: [
        PageBlueprint.make({
            params: { path: '/', title: 'You', icon: homeIcon, routeRef: homeRouteRef, loader: async () => <HomePage /> },
        }),
        PageBlueprint.make({
            name: 'resource',
            params: { path: '/resource', title: 'In the cluster', icon: homeIcon, loader: async () => <ResourcePage /> },
        }),
    ],
});
