// What the pages read and change, each once. Live data is asked for again every few seconds while
// the page is visible; TanStack Query pauses that in background tabs.
import { QueryClient, queryOptions, useMutation, useQueryClient } from '@tanstack/react-query'
import { useRef } from 'react'
import { api, ask } from './client'
import { Problem } from './problem'
import type { CallQuery, NewCredential, NewKey } from './types'

const LIVE = 3000
const CALM = 10_000
/** Most items one list asks for; longer lists are searched by name. */
export const LIST_LIMIT = 200

export const queryClient = new QueryClient({
  defaultOptions: {
    queries: {
      staleTime: 2000,
      retry: (failures, error) => Problem.of(error).status === 0 && failures < 2,
    },
  },
})

function idempotencyKey(): string {
  return crypto.getRandomValues(new Uint32Array(4)).reduce((text, part) => text + part.toString(16).padStart(8, '0'), '')
}

/** Sends with one idempotency key for one intended change: after a lost answer, sending the same again brings it back. */
function useOnce() {
  const last = useRef({ body: '', key: '' })
  return async <T,>(body: unknown, send: (key: string) => Promise<T>): Promise<T> => {
    const text = JSON.stringify(body)
    if (last.current.body !== text) last.current = { body: text, key: idempotencyKey() }
    const answer = await send(last.current.key)
    last.current = { body: '', key: '' }
    return answer
  }
}

export const queries = {
  session: () => queryOptions({ queryKey: ['session'], queryFn: () => ask(api.GET('/api/v1/session')), staleTime: 60_000, retry: false }),
  status: () => queryOptions({ queryKey: ['status'], queryFn: () => ask(api.GET('/api/v1/status')), refetchInterval: CALM }),
  /** Public, so that it is known also while nobody can sign in. */
  seal: () => queryOptions({ queryKey: ['seal'], queryFn: () => ask(api.GET('/api/v1/seal')), refetchInterval: CALM }),
  stats: (window: string) =>
    queryOptions({
      queryKey: ['stats', window],
      queryFn: () => ask(api.GET('/api/v1/stats', { params: { query: { window } } })),
      refetchInterval: LIVE,
      placeholderData: (previous) => previous,
    }),
  calls: (query: CallQuery, live: boolean) =>
    queryOptions({
      queryKey: ['calls', query],
      queryFn: () => ask(api.GET('/api/v1/calls', { params: { query } })),
      refetchInterval: live ? 1500 : false,
      placeholderData: (previous) => previous,
    }),
  call: (id: string) =>
    queryOptions({
      queryKey: ['call', id],
      queryFn: () => ask(api.GET('/api/v1/calls/{request_id}', { params: { path: { request_id: id } } })),
      staleTime: Infinity,
    }),
  keys: (q: string) =>
    queryOptions({
      queryKey: ['keys', 'list', q],
      queryFn: () => ask(api.GET('/api/v1/keys', { params: { query: { limit: LIST_LIMIT, q: q || undefined } } })),
      refetchInterval: CALM,
      placeholderData: (previous) => previous,
    }),
  key: (name: string) =>
    queryOptions({
      queryKey: ['keys', 'one', name],
      queryFn: () => ask(api.GET('/api/v1/keys/{name}', { params: { path: { name } } })),
      refetchInterval: LIVE,
    }),
  credentials: (q: string) =>
    queryOptions({
      queryKey: ['credentials', 'list', q],
      queryFn: () => ask(api.GET('/api/v1/credentials', { params: { query: { limit: LIST_LIMIT, q: q || undefined } } })),
      refetchInterval: CALM,
      placeholderData: (previous) => previous,
    }),
  credential: (name: string) =>
    queryOptions({
      queryKey: ['credentials', 'one', name],
      queryFn: () => ask(api.GET('/api/v1/credentials/{name}', { params: { path: { name } } })),
      refetchInterval: LIVE,
    }),
  versions: (name: string) =>
    queryOptions({
      queryKey: ['credentials', 'versions', name],
      queryFn: () => ask(api.GET('/api/v1/credentials/{name}/versions', { params: { path: { name } } })),
      refetchInterval: LIVE,
    }),
  /** Newest first; asked for quickly while one is under way. */
  rotations: (name: string) =>
    queryOptions({
      queryKey: ['credentials', 'rotations', name],
      queryFn: () =>
        ask(api.GET('/api/v1/credentials/{name}/rotations', { params: { path: { name }, query: { limit: 10 } } })),
      refetchInterval: ({ state }) => (state.data?.items.some((rotation) => !rotation.finished) ? 700 : LIVE),
    }),
  applications: () =>
    queryOptions({
      queryKey: ['applications'],
      queryFn: () => ask(api.GET('/api/v1/applications', { params: { query: { limit: 1000 } } })),
      staleTime: 30_000,
    }),
}

/** A change of keys or credentials: runs it, then reads again what it touched. */
function useChange<Input, Output>(kind: 'keys' | 'credentials', change: (input: Input) => Promise<Output>) {
  const client = useQueryClient()
  return useMutation({
    mutationFn: change,
    onSettled: () => client.invalidateQueries({ queryKey: [kind] }),
  })
}

export function useCreateKey() {
  const once = useOnce()
  return useChange('keys', (body: NewKey) =>
    once(body, (key) => ask(api.POST('/api/v1/keys', { body, params: { header: { 'Idempotency-Key': key } } }))),
  )
}

export function useRotateKey(name: string) {
  const once = useOnce()
  return useChange('keys', (overlap: string) =>
    once(overlap, (key) =>
      ask(api.POST('/api/v1/keys/{name}/rotate', { body: { overlap }, params: { path: { name }, header: { 'Idempotency-Key': key } } })),
    ),
  )
}

export const useRevokeKey = (name: string) =>
  useChange('keys', () => ask(api.POST('/api/v1/keys/{name}/revoke', { params: { path: { name } } })))

export function useCreateCredential() {
  const once = useOnce()
  return useChange('credentials', (body: NewCredential) =>
    once(body, (key) => ask(api.POST('/api/v1/credentials', { body, params: { header: { 'Idempotency-Key': key } } }))),
  )
}

export const useRotateCredential = (name: string) =>
  useChange('credentials', (body: { secret?: string; overlap?: string }) =>
    ask(api.POST('/api/v1/credentials/{name}/rotate', { body, params: { path: { name } } })),
  )

export const useRevokeCredential = (name: string) =>
  useChange('credentials', (body: { version?: number }) =>
    ask(api.POST('/api/v1/credentials/{name}/revoke', { body, params: { path: { name } } })),
  )
