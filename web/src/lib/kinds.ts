// The kinds of declared resources in words: what each is for, how a new one begins, one in a line.
import type { DeclaredKind, PlainKind } from '@/api/types'

export interface KindWords {
  kind: PlainKind
  /** The tab's and the list's name. */
  label: string
  one: string
  lead: string
  /** What to do when there is none, in the order in which things depend on one another. */
  next: string
  /** A document that a new one may begin with. */
  template: string
  /** The pages of this kind, where it has some of its own. */
  pages?: '/prompts'
}

export const KINDS: readonly KindWords[] = [
  {
    kind: 'routes', label: 'Routes', one: 'route',
    lead: 'What callers see: which requests go to which upstream or prompt, and what is asked of them on the way.',
    next: 'A route leads to an upstream or publishes a prompt: declare that first, then the route, then allow it to an application.',
    template: 'name: orders\nmatch:\n  path: "/orders/*"\n  methods: [GET, POST]\nupstream: orders\nauthenticate: [api_key]\nlimit:\n  requests: 100\n  per: 1m\n',
  },
  {
    kind: 'upstreams', label: 'Upstreams', one: 'upstream',
    lead: 'Where requests go, and which credential is injected there.',
    next: 'Add the credential that the upstream asks for, then declare the upstream with its endpoints.',
    template: 'name: orders\nendpoints: ["http://127.0.0.1:9001"]\ninject:\n  bearer: orders-token\n',
  },
  {
    kind: 'targets', label: 'Targets', one: 'target',
    lead: 'Systems in which credentials live: databases and brokers whose logins get new passwords there.',
    next: 'Add the password of a login that may change others as a static credential, then declare the target.',
    template: 'name: orders-pg\nsystem: postgresql\nhost: db.internal\ndatabase: orders\nusername: credentialflow\ncredential: orders-pg-admin\ntls: {}\n',
  },
  {
    kind: 'stores', label: 'Stores', one: 'store',
    lead: 'External stores of secrets: credentials take their values from them, or are written to them.',
    next: 'Add what lets us in as a static credential, declare the store, then name it in a credential.',
    template: 'name: team-vault\nkind: vault\naddress: "https://vault.internal:8200"\nidentity: role-id-of-the-approle\ncredential: team-vault-secret-id\n',
  },
  {
    kind: 'models', label: 'Models', one: 'model',
    lead: 'Public names of models, and which provider serves each.',
    next: 'Add the credential of a provider, then declare a model that uses it. The sandbox needs none.',
    template: 'name: chat-default\ntargets:\n  - provider: sandbox\n    model: sandbox-small\n',
  },
  {
    kind: 'guardrails', label: 'Guardrails', one: 'set of guardrails',
    lead: 'What is looked for in prompts and answers, and what happens where it is found, for models that share it.',
    next: 'Declare a set, then name it in `use_guardrails` of models.',
    template: 'name: personal-data\nrules:\n  - detect: personal_data\n    action: redact\n',
  },
  {
    kind: 'prompts', label: 'Prompts', one: 'prompt', pages: '/prompts',
    lead: 'What is said to models, in versions that never change; labels say which one is in use.',
    next: 'Declare a model first, then a prompt that is said to it; where it has tests, run them and promote a version.',
    template: 'name: sentiment\nmodel: chat-default\nvariables:\n  text:\n    type: string\nversions:\n  - version: 1\n    messages:\n      - role: user\n        content: "Is this friendly or not? {{text}}"\nlabels:\n  production: 1\n',
  },
  {
    kind: 'applications', label: 'Applications', one: 'application',
    lead: 'The parties that call, and what each may use.',
    next: 'Declare an application with the routes and models it may use; then create a key for it.',
    template: 'name: checkout\nallow:\n  routes: [orders]\n',
  },
  {
    kind: 'teams', label: 'Teams', one: 'team',
    lead: 'Who owns applications and credentials.',
    next: 'Declare a team, then name it as the owner of applications and credentials.',
    template: 'name: payments\ndescription: Who pays and gets paid\n',
  },
  {
    kind: 'leak_responses', label: 'Leak response', one: 'leak response',
    lead: 'What is done when a key or a value of ours is found where it must not be.',
    next: 'Without one, leaked keys are put in quarantine and leaked values rotated where they are made here.',
    template: 'name: default\nkeys:\n  action: quarantine\ncredentials:\n  action: notify_only\n  rotate: true\n',
  },
]

export function plainKind(text: string): KindWords | undefined {
  return KINDS.find(({ kind }) => kind === text)
}

const DECLARED: readonly DeclaredKind[] = ['teams', 'applications', 'keys', 'credentials', 'targets', 'stores', 'upstreams', 'routes', 'guardrails', 'models', 'prompts', 'leak_responses']

export function isDeclaredKind(text: string): text is DeclaredKind {
  return DECLARED.some((kind) => kind === text)
}

/** The word for one of a kind. */
export function one(kind: DeclaredKind): string {
  return kind.slice(0, -1).replace('_', ' ')
}

/** A noun with its indefinite article. */
export function article(noun: string): string {
  return `${/^[aeiou]/.test(noun) ? 'an' : 'a'} ${noun}`
}

type Spec = Record<string, unknown>
const texts = (value: unknown): string[] => (Array.isArray(value) ? value.map(String) : [])
const part = (value: unknown): Spec => (typeof value === 'object' && value !== null ? (value as Spec) : {})

/** A resource in one line. */
export function summary(kind: PlainKind, spec: Spec): string {
  const of = (words: (string | undefined | false)[]) => words.filter(Boolean).join(' ')
  switch (kind) {
    case 'routes': {
      const match = part(spec.match)
      const methods = texts(match.methods).join(', ')
      const { prompt, mcp, upstream } = spec
      const servers = part(mcp).servers
      const behind = Array.isArray(servers) ? servers.map((server) => String(part(server).upstream ?? '')).join(', ') : ''
      const to = prompt ? `the prompt ${String(part(prompt).name ?? '')}` : String(upstream ?? behind)
      return of([texts(match.hosts).join(', '), methods, String(match.path ?? ''), '→', to])
    }
    case 'upstreams': {
      const credentials = (Array.isArray(spec.credentials) ? spec.credentials : []).map((one) => String(part(one).name ?? '')).join(', ')
      return of([texts(spec.endpoints).join(', ') || `provider ${String(spec.provider ?? '')}`, credentials && `with ${credentials}`])
    }
    case 'targets':
      return of([String(spec.system ?? ''), 'at', String(spec.host ?? ''), 'as', String(spec.username ?? '')])
    case 'stores':
      return of([String(spec.kind ?? ''), String(spec.address ?? spec.region ?? spec.project ?? '')])
    case 'models':
      return (Array.isArray(spec.targets) ? spec.targets : [])
        .map((target) => `${String(part(target).provider ?? '')} ${String(part(target).model ?? '')}`).join(', ')
    case 'guardrails':
      return (Array.isArray(spec.rules) ? spec.rules : [])
        .map((rule) => `${String(part(rule).detect ?? '').replace('_', ' ')}: ${String(part(rule).action ?? '')}`).join(', ')
    case 'prompts': {
      const versions = Array.isArray(spec.versions) ? spec.versions.length : 0
      const labels = Object.entries(part(spec.labels)).map(([label, version]) => `${label} ${String(version)}`).join(', ')
      return of([`to ${String(spec.model ?? '')},`, `${versions} ${versions === 1 ? 'version' : 'versions'}`, labels && `(${labels})`])
    }
    case 'leak_responses': {
      const rule = (value: unknown) => {
        const { action, rotate } = part(value)
        return `${String(action ?? '').replace('_', ' ')}${rotate === true ? ' and rotate' : ''}`
      }
      const others = Object.keys(part(spec.by_application)).length + Object.keys(part(spec.by_credential)).length
      return `keys: ${rule(spec.keys)}; credentials: ${rule(spec.credentials)}${others > 0 ? `; ${others} different` : ''}`
    }
    case 'applications': {
      const { routes, models } = part(spec.allow)
      const allowed = [...texts(routes), ...texts(models)]
      return of([spec.team ? `of ${String(spec.team)},` : '', allowed.length > 0 ? `may use ${allowed.join(', ')}` : 'may use nothing yet'])
    }
    default:
      return String(spec.description ?? '')
  }
}
