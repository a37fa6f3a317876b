// Declared resources as the YAML documents people edit, and what names them. A document has a tag, its
// revision: sent back with a change, it makes sure that nobody else's change is lost.
import { queryOptions, useMutation, useQueryClient } from '@tanstack/react-query'
import { api, ask, CSRF } from './client'
import { Problem, unreachable } from './problem'
import type { DeclaredKind, PlainKind } from './types'
import { LIST_LIMIT } from './queries'
import { asConfiguration, declaredName } from '@/lib/document'
import { declare, save, type Attempt, type Server, type StoredDocument } from '@/lib/saving'

const YAML = 'application/yaml'

function path(kind: DeclaredKind, name: string): string {
  return `/api/v1/${kind}/${encodeURIComponent(name)}`
}

async function send(url: string, init: RequestInit): Promise<Response> {
  const headers = { ...CSRF, ...(init.headers as Record<string, string>) }
  const response = await fetch(url, { credentials: 'same-origin', ...init, headers }).catch((cause: unknown) => {
    throw cause instanceof TypeError ? unreachable() : cause
  })
  if (!response.ok) throw Problem.from(await response.json().catch(() => undefined), response.status)
  return response
}

export async function readDocument(kind: DeclaredKind, name: string): Promise<StoredDocument> {
  const response = await send(path(kind, name), { headers: { accept: YAML } })
  return { text: await response.text(), tag: response.headers.get('etag') ?? '*' }
}

export const documents = {
  /** Read once and then edited, so never asked for again by itself. */
  one: (kind: DeclaredKind, name: string) =>
    queryOptions({ queryKey: [kind, 'document', name], queryFn: () => readDocument(kind, name), staleTime: 0, gcTime: 0, refetchOnWindowFocus: false, refetchOnReconnect: false }),
  dependents: (kind: DeclaredKind, name: string) =>
    queryOptions({
      queryKey: [kind, 'dependents', name],
      queryFn: () => ask(api.GET('/api/v1/dependents/{kind}/{name}', { params: { path: { kind, name } } })),
      staleTime: 0,
    }),
  /** Plain kinds answer alike; their specs differ, and are only told in a line. */
  list: (kind: PlainKind, q: string) =>
    queryOptions({
      queryKey: [kind, 'list', q],
      queryFn: async () => {
        const page = await ask(api.GET(`/api/v1/${kind}` as '/api/v1/teams', { params: { query: { limit: LIST_LIMIT, q: q || undefined } } }))
        return { ...page, items: page.items as (Omit<(typeof page.items)[number], 'spec'> & { spec: Record<string, unknown> & { name: string } })[] }
      },
      refetchInterval: 10_000,
      placeholderData: (previous, query) => (query?.queryKey[0] === kind ? previous : undefined),
    }),
}

function useDocumentChange<Input, Output>(kind: DeclaredKind, change: (input: Input) => Promise<Output>) {
  const client = useQueryClient()
  return useMutation({
    mutationFn: change,
    // The document itself stays as it is being edited.
    onSettled: () => client.invalidateQueries({ predicate: ({ queryKey }) => queryKey[0] === kind && queryKey[1] !== 'document' }),
  })
}

async function store(url: string, method: 'POST' | 'PUT', text: string, tag?: string) {
  const response = await send(url, { method, body: text, headers: { 'content-type': YAML, ...(tag && { 'if-match': tag }) } })
  const { spec } = (await response.json()) as { spec: { name: string } }
  return { name: spec.name, tag: response.headers.get('etag') ?? '*' }
}

function server(kind: DeclaredKind, name: string): Server {
  return {
    put: async (text, tag) => (await store(path(kind, name), 'PUT', text, tag)).tag,
    read: () => readDocument(kind, name).catch((error: unknown) => {
      if (Problem.of(error).status === 404) return undefined
      throw error
    }),
    // The server's own comparison: it knows what a text means, however it is written.
    differs: async (text) => {
      const documents = [{ file: name, text: asConfiguration(kind, text) }]
      const { changes } = await ask(api.POST('/api/v1/config/plan', { body: { documents } }))
      return changes.some((change) => change.kind === kind && change.name === name)
    },
  }
}

/** Stores a document in place of the one that was read. */
export const useSaveDocument = (kind: DeclaredKind, name: string) =>
  useDocumentChange(kind, (attempt: Attempt) => save(server(kind, name), attempt))

/** Stores a document that is new. */
export const useDeclareDocument = (kind: DeclaredKind) =>
  useDocumentChange(kind, (text: string) => declare(async () => (await store(`/api/v1/${kind}`, 'POST', text)).name, declaredName(text)))

export const useDeleteResource = (kind: DeclaredKind, name: string) =>
  useDocumentChange(kind, async (tag: string) => void (await send(path(kind, name), { method: 'DELETE', headers: { 'if-match': tag } })))
