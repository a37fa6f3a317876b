// Keys that come from one another: as a tree, and in words.
import type { Act, DelegatedKey, KeyItem } from '@/api/types'
import { usd } from './format'
import type { State } from './state'

/** A key of the tree, with how many generations it is below the one that is looked at. */
export interface Branch {
  key: DelegatedKey
  depth: number
  /** How many keys come from it, as far as they are known here. */
  below: number
}

/** Those below a key, each followed by those that come from it. */
export function tree(root: string, keys: DelegatedKey[]): Branch[] {
  const children = new Map<string, DelegatedKey[]>()
  for (const key of keys) children.set(key.parent, [...(children.get(key.parent) ?? []), key])
  const walk = (parent: string, depth: number): Branch[] =>
    // Chains are short; one without an end would be damage.
    depth > 16 ? [] : (children.get(parent) ?? []).flatMap((key) => {
      const under = walk(key.id, depth + 1)
      return [{ key, depth, below: under.length }, ...under]
    })
  return walk(root, 0)
}

/** Who acts, from the one who acts now to the one who acted first. */
export function actors(act: Act | null | undefined): string[] {
  const names: string[] = []
  for (let one = act; one && names.length < 16; one = one.act) names.push(one.sub)
  return names
}

/** What a key may use of what those above it may. */
export function allowed(allow: DelegatedKey['allow']): string {
  if (!allow) return 'as the key above'
  const tools = Object.entries(allow.tools ?? {}).map(([route, names]) => `${route}: ${names.length > 0 ? names.join(', ') : 'no tools'}`)
  const prompts = (allow.prompts ?? []).map((name) => `prompt ${name}`)
  return [...(allow.routes ?? []), ...(allow.models ?? []), ...prompts, ...tools].join(', ') || 'nothing'
}

/** What is left of budgets of its own. */
export function left(budgets: DelegatedKey['budgets']): string | undefined {
  return budgets?.map((one) => `${usd(one.left_usd)} of ${usd(one.limit_usd)} (${one.per})`).join(', ') || undefined
}

/** Whether a key below is still accepted. */
export function branchState({ expires, exchanged }: DelegatedKey, now: number): State {
  if (expires && new Date(expires).getTime() <= now) return { tone: 'bad', label: 'Expired' }
  return { tone: 'good', label: exchanged ? 'Issued by its parent' : 'Declared' }
}

/** What ends with a key, for whoever is about to end it. */
export function endsWith(keys: KeyItem['delegation']): string {
  const below = keys?.keys_below ?? 0
  if (below === 0) return 'No other key comes from it.'
  return below === 1 ? 'The key that comes from it ends with it.' : `The ${below.toLocaleString('en-US')} keys that come from it end with it.`
}
