// Every address of the console, readable top to bottom. All but the sign-in ask for a session first.
import { createRootRoute, createRoute, createRouter, lazyRouteComponent, Outlet, redirect } from '@tanstack/react-router'
import { Problem } from './api/problem'
import { queries, queryClient } from './api/queries'
import { Failure } from './components/Feedback'
import { Page } from './components/Page'
import { Shell } from './components/Shell'
import { readSearch } from './lib/filters'
import { readInventory } from './lib/inventory'
import { plainKind } from './lib/kinds'
import { readPrompt } from './lib/prompts'
import { readSpend } from './lib/spend'
import { isWindow } from './lib/windows'

const root = createRootRoute({ component: Outlet })

const signIn = createRoute({
  getParentRoute: () => root,
  path: '/sign-in',
  validateSearch: (search): { to?: string } => (typeof search.to === 'string' && /^\/(?!\/)/.test(search.to) ? { to: search.to } : {}),
  component: lazyRouteComponent(() => import('./pages/SignInPage'), 'SignInPage'),
})

const inside = createRoute({
  getParentRoute: () => root,
  id: 'inside',
  component: Shell,
  beforeLoad: async ({ location }) => {
    await queryClient.ensureQueryData(queries.session()).catch((error: unknown) => {
      if (Problem.of(error).status === 401) throw redirect({ to: '/sign-in', search: { to: location.href } })
    })
  },
})

const overview = createRoute({
  getParentRoute: () => inside,
  path: '/',
  validateSearch: (search): { window?: string } => (isWindow(search.window) ? { window: search.window } : {}),
  component: lazyRouteComponent(() => import('./pages/OverviewPage'), 'OverviewPage'),
})
const calls = createRoute({
  getParentRoute: () => inside,
  path: '/calls',
  validateSearch: readSearch,
  component: lazyRouteComponent(() => import('./pages/CallsPage'), 'CallsPage'),
})
const spend = createRoute({
  getParentRoute: () => inside,
  path: '/spend',
  validateSearch: readSpend,
  component: lazyRouteComponent(() => import('./pages/SpendPage'), 'SpendPage'),
})
const search = (found: Record<string, unknown>): { q?: string } => (typeof found.q === 'string' && found.q ? { q: found.q } : {})
const credentials = createRoute({
  getParentRoute: () => inside,
  path: '/credentials',
  validateSearch: search,
  component: lazyRouteComponent(() => import('./pages/CredentialsPage'), 'CredentialsPage'),
})
const credential = createRoute({
  getParentRoute: () => inside,
  path: '/credentials/$name',
  component: lazyRouteComponent(() => import('./pages/CredentialPage'), 'CredentialPage'),
})
const keys = createRoute({
  getParentRoute: () => inside,
  path: '/keys',
  validateSearch: search,
  component: lazyRouteComponent(() => import('./pages/KeysPage'), 'KeysPage'),
})
const key = createRoute({
  getParentRoute: () => inside,
  path: '/keys/$name',
  component: lazyRouteComponent(() => import('./pages/KeyPage'), 'KeyPage'),
})

const prompts = createRoute({
  getParentRoute: () => inside,
  path: '/prompts',
  validateSearch: search,
  component: lazyRouteComponent(() => import('./pages/PromptsPage'), 'PromptsPage'),
})
const prompt = createRoute({
  getParentRoute: () => inside,
  path: '/prompts/$name',
  validateSearch: readPrompt,
  component: lazyRouteComponent(() => import('./pages/PromptPage'), 'PromptPage'),
})
const inventory = createRoute({
  getParentRoute: () => inside,
  path: '/inventory',
  validateSearch: readInventory,
  component: lazyRouteComponent(() => import('./pages/InventoryPage'), 'InventoryPage'),
})
const story = createRoute({
  getParentRoute: () => inside,
  path: '/inventory/$kind/$name',
  component: lazyRouteComponent(() => import('./pages/StoryPage'), 'StoryPage'),
})

const config = createRoute({
  getParentRoute: () => inside,
  path: '/config',
  beforeLoad: () => {
    throw redirect({ to: '/config/$kind', params: { kind: 'routes' } })
  },
})
const kind = createRoute({
  getParentRoute: () => inside,
  path: '/config/$kind',
  validateSearch: search,
  beforeLoad: ({ params }) => {
    const pages = plainKind(params.kind)?.pages
    if (pages) throw redirect({ to: pages })
  },
  component: lazyRouteComponent(() => import('./pages/ConfigPage'), 'ConfigPage'),
})
const document = createRoute({
  getParentRoute: () => inside,
  path: '/config/$kind/$name',
  component: lazyRouteComponent(() => import('./pages/DocumentPage'), 'DocumentPage'),
})
const declare = createRoute({
  getParentRoute: () => inside,
  path: '/declare/$kind',
  component: lazyRouteComponent(() => import('./pages/DocumentPage'), 'NewDocumentPage'),
})

const unknown = createRoute({
  getParentRoute: () => inside,
  path: '$',
  component: () => <Page title="There is no such page" lead="The address may be mistyped or out of date. Choose a page in the navigation." />,
})

export const router = createRouter({
  routeTree: root.addChildren([signIn, inside.addChildren([overview, calls, spend, credentials, credential, keys, key, prompts, prompt, inventory, story, config, kind, document, declare, unknown])]),
  defaultPreload: 'intent',
  defaultErrorComponent: ({ error }) => (
    <Page title="Something went wrong">
      <Failure error={error} retry={() => window.location.reload()} />
    </Page>
  ),
})

// A session that ends while a page is open leads back to the sign-in, and from there back here.
queryClient.getQueryCache().subscribe(({ type, query }) => {
  const error: unknown = query.state.error
  const { pathname, href } = router.state.location
  if (type === 'updated' && error instanceof Problem && error.status === 401 && pathname !== '/sign-in') {
    queryClient.clear()
    void router.navigate({ to: '/sign-in', search: { to: href } })
  }
})

declare module '@tanstack/react-router' {
  interface Register {
    router: typeof router
  }
}
