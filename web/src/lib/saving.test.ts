import { expect, it } from 'vitest'
import { Problem } from '@/api/problem'
import { begun, declare, failed, isDirty, note, save, settled, told, type Draft, type Server, type StoredDocument } from './saving'

const unenforced = new Problem(503, { code: 'not_yet_enforced', applied: true })
const unreachable = new Problem(0, { code: 'unreachable' })
const A = 'name: a\n'
const B = 'name: a # as typed\n'
const C = 'name: a\ndescription: c\n'

/** A server that stores without comments, counts revisions, and answers as told once it has stored. */
class Fake implements Server {
  now: StoredDocument | undefined = { text: A, tag: '"1"' }
  answers: (Problem | undefined)[] = []
  afterPut?: () => void
  unreadable = false
  planFails = false
  puts: [string, string | undefined][] = []

  store(text: string) {
    this.now = { text: text.replace(/ #.*/g, ''), tag: `"${Number(this.now?.tag.slice(1, -1) ?? 8) + 1}"` }
  }
  put = async (text: string, tag: string | undefined) => {
    this.puts.push([text, tag])
    if (tag !== undefined && tag !== this.now?.tag) throw new Problem(412, { code: 'revision_mismatch' })
    this.store(text)
    const { tag: stored } = this.now as StoredDocument
    const answer = this.answers.shift()
    this.afterPut?.()
    if (answer) throw answer
    return stored
  }
  read = async () => {
    if (this.unreadable) throw unreachable
    return this.now
  }
  differs = async (text: string) => {
    if (this.planFails) throw unreachable
    return this.now?.text !== text.replace(/ #.*/g, '')
  }
}

const opened = (): Draft => begun({ text: A, tag: '"1"' })
async function submit(server: Server, draft: Draft, typedMeanwhile?: string): Promise<Draft> {
  const { text, base, earlier } = draft
  const then: Draft = { ...draft, text: typedMeanwhile ?? text }
  return save(server, { text, over: base, earlier }).then((outcome) => settled(then, text, outcome), (error: unknown) => failed(then, text, Problem.of(error)))
}

it('says that it is saved where every worker enforces it', async () => {
  const server = new Fake()
  const draft = await submit(server, { ...opened(), text: B })
  expect(draft).toEqual({ text: B, base: { text: B, tag: '"2"' }, enforced: true })
  expect(note(draft, false)).toBe('Saved; every worker enforces it.')
})

it('takes over the tag of what is stored and not yet enforced, so that the next save is nobody’s conflict', async () => {
  const server = new Fake()
  server.answers = [unenforced]
  const draft = await submit(server, { ...opened(), text: B })
  expect(draft).toEqual({ text: B, base: { text: B, tag: '"2"' }, enforced: false, why: unenforced })
  expect(note(draft, false)).toBe('Stored; not yet enforced everywhere.')
  const next = await submit(server, { ...draft, text: C })
  expect(next).toEqual({ text: C, base: { text: C, tag: '"3"' }, enforced: true })
  expect(server.puts.map(([, tag]) => tag)).toEqual(['"1"', '"2"'])
})

it('never says that text typed during the save is saved', async () => {
  for (const answer of [undefined, unenforced]) {
    const server = new Fake()
    server.answers = [answer]
    const draft = await submit(server, { ...opened(), text: B }, C)
    expect(draft.text).toBe(C)
    expect(draft.base).toEqual({ text: B, tag: '"2"' })
    expect(isDirty(draft)).toBe(true)
    expect(note(draft, false)).toBe('Not saved yet.')
    expect(note(draft, true)).toBe('Saving…')
    expect(note({ ...draft, text: B }, false)).toMatch(answer ? /^Stored; not yet/ : /^Saved/)
  }
})

it('tells another change after ours from ours', async () => {
  const server = new Fake()
  server.answers = [unenforced]
  server.afterPut = () => server.store(C)
  const { conflict } = await submit(server, { ...opened(), text: B })
  expect(conflict).toEqual({ theirs: { text: C, tag: '"3"' }, mine: true, sure: true })
  expect(told(conflict!).title).toBe('Somebody else changed it after yours was stored')

  server.answers = [unenforced]
  server.afterPut = () => (server.now = undefined)
  const gone = await save(server, { text: B, over: { text: C, tag: '"3"' } })
  expect(gone).toEqual({ is: 'conflict', conflict: { mine: true, sure: true } })
})

it('accuses nobody where it cannot compare', async () => {
  const server = new Fake()
  server.answers = [unenforced]
  server.planFails = true
  const draft = await submit(server, { ...opened(), text: B })
  const { conflict } = draft
  expect(conflict).toMatchObject({ mine: true, sure: false })
  expect(Object.values(told(conflict!)).join(' ')).not.toMatch(/Somebody else|not saved/)

  // Nor when that is left to stand and saved once more.
  const again = await submit(server, draft)
  expect(again.conflict).toMatchObject({ mine: false, sure: false })
  server.planFails = false
  expect(await submit(server, again)).toMatchObject({ base: { text: B }, enforced: true })
})

it('finds its own change again where the tag was not learnt', async () => {
  // Stored, and unreadable for a moment; or stored, and the answer was lost.
  for (const lost of [unenforced, unreachable, new Problem(504, {})]) {
    const server = new Fake()
    server.answers = [lost]
    server.unreadable = true
    const draft = await submit(server, { ...opened(), text: B })
    expect(draft.earlier).toBe(B)
    expect(draft.enforced).toBe(lost === unenforced ? false : undefined)
    server.unreadable = false
    const next = await submit(server, { ...draft, text: C })
    expect(next).toEqual({ text: C, base: { text: C, tag: '"3"' }, enforced: true })
  }
})

it('does not overwrite another change in the place of its own', async () => {
  const server = new Fake()
  server.answers = [unreachable]
  const draft = await submit(server, { ...opened(), text: B })
  server.store(C)
  const next = await submit(server, draft)
  expect(next.conflict).toEqual({ theirs: { text: C, tag: '"3"' }, mine: false, sure: false })
  expect(server.now?.text).toBe(C)
})

it('tells who was first, and who deleted', async () => {
  const server = new Fake()
  server.store(C)
  const { conflict, base } = await submit(server, { ...opened(), text: B })
  expect(conflict).toEqual({ theirs: { text: C, tag: '"2"' }, mine: false, sure: true })
  expect(base.tag).toBe('"1"')
  expect(told(conflict!)).toEqual({ title: 'Somebody else changed it while you were editing', fate: 'What you just sent was not saved.' })
  server.now = undefined
  const gone = await submit(server, { ...opened(), text: B })
  expect(told(gone.conflict!).title).toBe('Somebody else deleted it while you were editing')
})

it('does not call it deleted where it could not be read', async () => {
  const server = new Fake()
  server.store(C)
  server.unreadable = true
  await expect(save(server, { text: B, over: { text: A, tag: '"1"' } })).rejects.toBe(unreachable)
})

it('remembers nothing of a save that was refused', () => {
  const draft = { ...opened(), text: B }
  expect(failed(draft, B, new Problem(422, { code: 'invalid_resources' }))).toBe(draft)
})

it('knows a new document as declared also where not every worker enforces it', async () => {
  expect(await declare(async () => 'a', 'a')).toEqual({ name: 'a' })
  expect(await declare(() => Promise.reject(unenforced), 'a')).toEqual({ name: 'a', why: unenforced })
  await expect(declare(() => Promise.reject(unreachable), 'a')).rejects.toBe(unreachable)
})
