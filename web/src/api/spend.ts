// What model calls cost, as the spend page asks for it.
import { queryOptions } from '@tanstack/react-query'
import { api, ask } from './client'
import type { components, paths } from './schema'

type Schemas = components['schemas']
export type SpendItem = Schemas['SpendItem']
export type SpendReport = Schemas['SpendReport']
type SpendQuery = NonNullable<paths['/api/v1/spend']['get']['parameters']['query']>

const CALM = 10_000
/** Lines of the table; the rest is in the file. */
export const SPEND_LIMIT = 200

const get = (query: SpendQuery) => ask(api.GET('/api/v1/spend', { params: { query } }))

export const spend = {
  report: (query: SpendQuery) =>
    queryOptions({
      queryKey: ['spend', query],
      queryFn: () => get(query),
      refetchInterval: CALM,
      placeholderData: (previous: SpendReport | undefined) => previous,
    }),
}

/** All lines of a report for spreadsheets, as the API writes them. */
export const spendCsv = (query: SpendQuery) =>
  ask(api.GET('/api/v1/spend', { params: { query }, headers: { accept: 'text/csv' }, parseAs: 'text' }))
