// Prompts: what is stored of them, runs of their tests, and what happened to them.
import { queryOptions, useMutation, useQueryClient } from '@tanstack/react-query'
import { api, ask } from './client'
import { LIST_LIMIT } from './queries'
import type { components } from './schema'

type Schemas = components['schemas']
export type AuditEvent = Schemas['AuditEvent']
export type Prompt = Schemas['Prompt']
export type PromptItem = Schemas['Item_Prompt']
export type PromptRun = Schemas['PromptRun']
export type PromptTestResult = Schemas['PromptTestResult']
export type PromptVariable = Schemas['PromptVariable']
export type PromptVersion = Schemas['PromptVersion']

const CALM = 10_000
/** Events of the history that one page asks for. */
export const HISTORY_LIMIT = 200

export const prompts = {
  list: (q: string) =>
    queryOptions({
      queryKey: ['prompts', 'list', q],
      queryFn: () => ask(api.GET('/api/v1/prompts', { params: { query: { limit: LIST_LIMIT, q: q || undefined } } })),
      refetchInterval: CALM,
      placeholderData: (previous) => previous,
    }),
  one: (name: string) =>
    queryOptions({
      queryKey: ['prompts', 'one', name],
      queryFn: () => ask(api.GET('/api/v1/prompts/{name}', { params: { path: { name } } })),
      refetchInterval: CALM,
    }),
  /** The newest first. */
  runs: (name: string) =>
    queryOptions({
      queryKey: ['prompts', 'runs', name],
      queryFn: () => ask(api.GET('/api/v1/prompts/{name}/runs', { params: { path: { name }, query: { limit: 1000 } } })),
      refetchInterval: CALM,
    }),
  /** The newest first. */
  history: (name: string) =>
    queryOptions({
      queryKey: ['prompts', 'history', name],
      queryFn: () => ask(api.GET('/api/v1/audit', { params: { query: { subject: `prompts/${name}`, limit: HISTORY_LIMIT } } })),
      refetchInterval: CALM,
    }),
}

function usePromptChange<Input, Output>(change: (input: Input) => Promise<Output>) {
  const client = useQueryClient()
  // Nothing of what was sent is remembered: it may hold a key.
  return useMutation({ mutationFn: change, gcTime: 0, onSettled: () => client.invalidateQueries({ queryKey: ['prompts'] }) })
}

/** Runs the tests of a version with a key, which nobody keeps. */
export const useTestPrompt = (name: string) =>
  usePromptChange(({ version, key }: { version: number; key: string }) =>
    ask(api.POST('/api/v1/prompts/{name}/versions/{version}/test', { body: { key }, params: { path: { name, version } } })),
  )

/** Lets a label stand for a version, of the revision that is seen. */
export const usePromotePrompt = (name: string, revision: number) =>
  usePromptChange((body: { version: number; label: string; reason?: string }) =>
    ask(api.POST('/api/v1/prompts/{name}/promote', { body, params: { path: { name }, header: { 'If-Match': `"${revision}"` } } })),
  )
