// What the inventory's pages read. Kept apart from the other queries: these are costly, so they are asked for calmly.
import { queryOptions } from '@tanstack/react-query'
import { api, ask } from './client'
import type { components, paths } from './schema'

type Schemas = components['schemas']
export type Biography = Schemas['Biography']
export type BlastRadius = Schemas['BlastRadius']
export type Entry = Schemas['Entry']
export type Finding = Schemas['Finding']
export type Observed = Schemas['Observed']
export type Rule = Schemas['Rule']
export type Severity = Schemas['Severity']
export type Summary = Schemas['InventorySummary']
export type EntryKind = Schemas['CredentialKind']
export type Lease = Schemas['LeaseEntry']
export type InventoryQuery = NonNullable<paths['/api/v1/inventory']['get']['parameters']['query']>

/** Kinds that have a life of their own. */
export type LivingKind = 'credential' | 'key'

const CALM = 30_000
/** Most lines one page asks for; longer lists are narrowed. */
export const INVENTORY_LIMIT = 200

const kept = <T,>(previous: T | undefined): T | undefined => previous

export const inventory = {
  summary: () =>
    queryOptions({
      queryKey: ['inventory', 'summary'],
      queryFn: () => ask(api.GET('/api/v1/inventory/summary', { params: { query: {} } })),
      refetchInterval: CALM,
    }),
  leases: () =>
    queryOptions({
      queryKey: ['inventory', 'leases'],
      queryFn: () => ask(api.GET('/api/v1/leases', { params: { query: { limit: INVENTORY_LIMIT } } })),
      refetchInterval: CALM,
    }),
  list: (query: InventoryQuery) =>
    queryOptions({
      queryKey: ['inventory', 'list', query],
      queryFn: () => ask(api.GET('/api/v1/inventory', { params: { query: { ...query, limit: INVENTORY_LIMIT } } })),
      refetchInterval: CALM,
      placeholderData: kept,
    }),
  findings: (query: InventoryQuery) =>
    queryOptions({
      queryKey: ['inventory', 'findings', query],
      queryFn: () => ask(api.GET('/api/v1/inventory/findings', { params: { query: { ...query, limit: INVENTORY_LIMIT } } })),
      refetchInterval: CALM,
      placeholderData: kept,
    }),
  radius: (kind: LivingKind, name: string, window: string) =>
    queryOptions({
      queryKey: ['inventory', 'radius', kind, name, window],
      queryFn: () => {
        const params = { path: { name }, query: { window } }
        return kind === 'key'
          ? ask(api.GET('/api/v1/keys/{name}/blast-radius', { params }))
          : ask(api.GET('/api/v1/credentials/{name}/blast-radius', { params }))
      },
      refetchInterval: CALM,
      placeholderData: kept,
    }),
  biography: (kind: LivingKind, name: string) =>
    queryOptions({
      queryKey: ['inventory', 'biography', kind, name],
      queryFn: () => {
        const params = { path: { name }, query: {} }
        return kind === 'key'
          ? ask(api.GET('/api/v1/keys/{name}/biography', { params }))
          : ask(api.GET('/api/v1/credentials/{name}/biography', { params }))
      },
      refetchInterval: CALM,
    }),
}
