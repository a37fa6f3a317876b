// A prompt in words: what a version says, what differs between two, how its tests went, what happened to it.
import { diffWordsWithSpace } from 'diff'
import type { AuditEvent, Prompt, PromptRun, PromptVariable, PromptVersion } from '@/api/prompts'
import type { State } from './state'

/** The label of callers that name neither label nor version. */
export const PRODUCTION = 'production'

/** The labels that stand for a version, `production` first. */
export function labelsOf({ labels }: Prompt, version: number): string[] {
  const first = (label: string) => (label === PRODUCTION ? 0 : 1)
  return Object.entries(labels ?? {}).filter(([, at]) => at === version).map(([label]) => label)
    .sort((a, b) => first(a) - first(b) || a.localeCompare(b))
}

/** The versions, the newest first. */
export function newestFirst({ versions }: Prompt): PromptVersion[] {
  return [...versions].sort((a, b) => b.version - a.version)
}

/** The version that is looked at unless the address names one: the one in use, else the newest. */
export function shownVersion(prompt: Prompt, wanted?: number): PromptVersion | undefined {
  const [newest] = newestFirst(prompt)
  const of = (number?: number) => prompt.versions.find(({ version }) => version === number)
  return of(wanted) ?? of(prompt.labels?.[PRODUCTION]) ?? newest
}

/** Part of a version: a heading and what stands below it. */
export interface Part {
  name: string
  text: string
}

/** What a version says and how, part by part. */
export function parts(prompt: Prompt, version: PromptVersion): Part[] {
  const { system, messages = [], parameters = {}, answer_schema: schema } = version
  const settings = Object.entries(parameters).filter(([, value]) => value !== undefined && value !== null)
  return [
    ...(system ? [{ name: 'System prompt', text: system }] : []),
    ...messages.map(({ role, content }, index) => ({ name: `Message ${index + 1}, ${role}`, text: content })),
    { name: 'Model', text: version.model ?? prompt.model },
    ...(settings.length > 0 ? [{ name: 'Parameters', text: settings.map(([name, value]) => `${name}: ${JSON.stringify(value)}`).join('\n') }] : []),
    ...(schema ? [{ name: 'Answer schema', text: JSON.stringify(schema, null, 2) }] : []),
  ]
}

/** A piece of a text that both versions have, or only one of them. */
export interface Piece {
  is: 'same' | 'added' | 'removed'
  text: string
}

export interface ComparedPart {
  name: string
  pieces: Piece[]
  changed: boolean
}

/** The longest that one part is compared word by word; after that it is shown as a whole, before and after. */
const COMPARED_IN_MS = 300

/** What became of each part from an older version to a newer one, in the order of the newer. */
export function compare(older: Part[], newer: Part[]): ComparedPart[] {
  const before = new Map(older.map(({ name, text }) => [name, text]))
  const names = newer.map(({ name }) => name)
  const compared = newer.map(({ name, text }) => between(name, before.get(name), text))
  // What went stands where it stood.
  for (const [index, { name, text }] of older.entries()) {
    if (!names.includes(name)) compared.splice(Math.min(index, compared.length), 0, between(name, text, undefined))
  }
  return compared
}

function between(name: string, before: string | undefined, after: string | undefined): ComparedPart {
  if (before === after) return { name, pieces: [{ is: 'same', text: after ?? '' }], changed: false }
  const whole: Piece[] = [
    ...(before === undefined ? [] : [{ is: 'removed' as const, text: before }]),
    ...(after === undefined ? [] : [{ is: 'added' as const, text: after }]),
  ]
  const changes = before !== undefined && after !== undefined ? diffWordsWithSpace(before, after, { timeout: COMPARED_IN_MS }) : undefined
  const pieces = changes?.map(({ value, added, removed }): Piece => ({ is: added ? 'added' : removed ? 'removed' : 'same', text: value }))
  return { name, pieces: pieces ?? whole, changed: true }
}

/** The newest run of the present tests of a version: the one that decides. */
export function presentRun(runs: PromptRun[], version: number): PromptRun | undefined {
  return runs.find((run) => run.version === version && run.present)
}

/** How the tests of a version stand. Runs are newest first. */
export function testState({ tests }: Prompt, runs: PromptRun[], version: number): State {
  if (!tests?.length) return { tone: 'quiet', label: 'No tests' }
  const run = presentRun(runs, version)
  if (run) return run.passed ? { tone: 'good', label: 'Passed' } : { tone: 'bad', label: 'Failed' }
  const before = runs.some((other) => other.version === version)
  return { tone: 'warn', label: before ? 'To be run again' : 'Not run' }
}

/** Whether a label may move to a version, as the server will say. */
export function isPromotable(prompt: Prompt, runs: PromptRun[], version: number): boolean {
  return !prompt.tests?.length || presentRun(runs, version)?.passed === true
}

/** What the history tells of an event. */
export interface Told {
  what: string
  why?: string
}

const text = (value: unknown): string | undefined => (typeof value === 'string' || typeof value === 'number' ? String(value) : undefined)
const numbers = (value: unknown): number[] => (Array.isArray(value) ? value.filter((one) => typeof one === 'number') : [])
const versions = (list: number[]) => `${list.length === 1 ? 'Version' : 'Versions'} ${list.join(', ')}`

/** An event of the audit log as a sentence. */
export function toldEvent({ action, detail }: Pick<AuditEvent, 'action' | 'detail'>): Told {
  const facts = detail as Record<string, unknown>
  switch (action) {
    case 'prompt.label': {
      const [label, from, to] = [text(facts.label) ?? '', text(facts.from), text(facts.version)]
      const what = !to ? `${label} was taken away; it was version ${from ?? ''}` : from ? `${label} moved from version ${from} to ${to}` : `${label} is version ${to}`
      return { what, why: text(facts.reason) }
    }
    case 'prompt.test': {
      const failed = Array.isArray(facts.failed) ? facts.failed.map(String) : []
      const how = facts.passed === true ? 'passed' : `failed${failed.length > 0 ? ` (${failed.join(', ')})` : ''}`
      return { what: `Tests of version ${text(facts.version) ?? ''} ${how}` }
    }
    case 'prompt.version': {
      const [added, removed] = [numbers(facts.added), numbers(facts.removed)]
      return { what: [added.length > 0 && `${versions(added)} added`, removed.length > 0 && `${versions(removed)} removed`].filter(Boolean).join('; ') }
    }
    default: {
      const verb = action.split('.')[1] ?? action
      const revision = text(facts.revision)
      return { what: `${verb === 'create' ? 'Declared' : verb === 'update' ? 'Declaration changed' : verb === 'delete' ? 'Deleted' : action}${revision ? ` (revision ${revision})` : ''}` }
    }
  }
}

/** What the history shows: a write that moved a label or brought a version is told once, by what it did. */
export function historyOf(events: AuditEvent[]): AuditEvent[] {
  const said = new Set(events.filter(({ action }) => action === 'prompt.label' || action === 'prompt.version').map(({ seq }) => seq))
  return events.filter(({ action, seq }) => action !== 'prompt.update' || !said.has(seq - 1))
}

/** The version that a label stood for before the one it stands for now. Events are newest first. */
export function versionBefore(prompt: Prompt, events: AuditEvent[], label: string): number | undefined {
  const last = events.find(({ action, detail }) => action === 'prompt.label' && (detail as Record<string, unknown>).label === label)
  const from = (last?.detail as Record<string, unknown> | undefined)?.from
  const known = prompt.versions.some(({ version }) => version === from)
  return typeof from === 'number' && known && from !== prompt.labels?.[label] ? from : undefined
}

/** What somebody types for a variable, before it is sent. */
export type Typed = string | number | boolean | undefined

/** What a variable begins with: its default, or what shows its kind. */
export function example({ type, default: usual, values }: PromptVariable): Typed {
  if (typeof usual === 'string' || typeof usual === 'number' || typeof usual === 'boolean') return usual
  if (type === 'boolean') return false
  return type === 'enum' ? values?.[0] : undefined
}

/** What is wrong with a value; undefined where it may be sent. */
export function wrong(variable: PromptVariable, value: Typed): string | undefined {
  const { type, max_length: most } = variable
  if (value === undefined || value === '') return isRequired(variable) ? 'It must be handed in' : undefined
  if (type === 'integer' && !Number.isInteger(value)) return 'A whole number'
  if (type === 'number' && typeof value !== 'number') return 'A number'
  if (type === 'string' && most && [...String(value)].length > most) return `At most ${most} characters`
  return undefined
}

/** Whether callers must hand a variable in. */
export function isRequired({ required, default: usual }: PromptVariable): boolean {
  return required ?? (usual === undefined || usual === null)
}

/** A call that names the prompt, as a command for a shell. */
export function callCommand(name: string, version: number | undefined, values: Record<string, Typed>): string {
  const variables = Object.fromEntries(Object.entries(values).filter(([, value]) => value !== undefined && value !== ''))
  const prompt = { id: name, ...(version !== undefined && { version: String(version) }), ...(Object.keys(variables).length > 0 && { variables }) }
  const body = JSON.stringify({ prompt }).replaceAll("'", "'\\''")
  return `curl http://127.0.0.1:8080/v1/responses -H "Authorization: Bearer $YOUR_KEY" -H "content-type: application/json" -d '${body}'`
}

export interface PromptSearch {
  /** The version that is shown. */
  version?: number
  /** The one that it is compared with. */
  against?: number
  /** The run that is open, as in `2-7`: the seventh of version 2. */
  run?: string
}

/** Reads an address; anything not understood is left out. */
export function readPrompt(search: Record<string, unknown>): PromptSearch {
  const whole = (value: unknown) => (Number.isInteger(Number(value)) && Number(value) > 0 ? Number(value) : undefined)
  const [version, against] = [whole(search.version), whole(search.against)]
  const run = typeof search.run === 'string' ? search.run : ''
  return { ...(version && { version }), ...(against && { against }), ...(/^\d+-\d+$/.test(run) && { run }) }
}
