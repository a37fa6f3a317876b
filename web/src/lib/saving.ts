// Saving an edited document: what is stored afterwards, and what may be said about it. It knows nothing
// about HTTP or the page; both are handed in or take the result.
import { Problem } from '@/api/problem'

/** A document as it is stored. Sent back with a change, its tag makes sure that nobody else's change is lost. */
export interface StoredDocument {
  text: string
  tag: string
}

/** What saving needs of the server, for one document. */
export interface Server {
  /** Stores the text in place of the revision with this tag, or as new without one; gives the new tag. */
  put: (text: string, tag: string | undefined) => Promise<string>
  /** As stored now; undefined where it is gone. */
  read: () => Promise<StoredDocument | undefined>
  /** Whether storing this text would change anything. */
  differs: (text: string) => Promise<boolean>
}

/** What is stored is not what the page began with or sent. */
export interface Conflict {
  /** As stored now; absent where it is gone. */
  theirs?: StoredDocument
  /** Whether the text just sent was stored before that. */
  mine: boolean
  /** Whether the difference is surely somebody else's. */
  sure: boolean
}

export type Outcome =
  /** Every worker enforces it. */
  | { is: 'enforced'; base: StoredDocument }
  /** Stored, and not yet enforced everywhere. */
  | { is: 'stored'; base: StoredDocument; why: Problem }
  /** Stored, and not yet enforced everywhere, but it could not be read again: its tag is unknown. */
  | { is: 'unread'; why: Problem }
  | { is: 'conflict'; conflict: Conflict }

export interface Attempt {
  text: string
  /** What it replaces; absent where the document is to be made again. */
  over?: StoredDocument
  /** A text sent before that is or may be stored under a tag that was not learnt. */
  earlier?: string
}

/** Saves once. Throws where nothing was stored, or where that cannot be told; see [mayBeStored]. */
export async function save(server: Server, { text, over, earlier }: Attempt): Promise<Outcome> {
  try {
    return { is: 'enforced', base: { text, tag: await server.put(text, over?.tag) } }
  } catch (error) {
    const problem = Problem.of(error)
    if (problem.code === 'not_yet_enforced') return stored(server, text, problem)
    if (problem.code !== 'revision_mismatch') throw problem
    const theirs = await server.read()
    if (!theirs || earlier === undefined) return { is: 'conflict', conflict: { theirs, mine: false, sure: earlier === undefined } }
    // The other revision is our own when it holds what we sent before.
    return (await holds(server, theirs, earlier)) === true
      ? save(server, { text, over: theirs })
      : { is: 'conflict', conflict: { theirs, mine: false, sure: false } }
  }
}

async function stored(server: Server, text: string, why: Problem): Promise<Outcome> {
  try {
    const now = await server.read()
    if (!now) return { is: 'conflict', conflict: { mine: true, sure: true } }
    const ours = await holds(server, now, text)
    if (ours) return { is: 'stored', base: { text, tag: now.tag }, why }
    return { is: 'conflict', conflict: { theirs: now, mine: true, sure: ours === false } }
  } catch {
    return { is: 'unread', why }
  }
}

/** Whether what is stored is what was sent, which may be written differently; undefined where that cannot be told. */
async function holds(server: Server, now: StoredDocument, sent: string): Promise<boolean | undefined> {
  if (now.text === sent) return true
  return server.differs(sent).then((differs) => !differs, () => undefined)
}

/** Whether a change that ended so may be stored all the same: no answer came, or the server failed on the way. */
export function mayBeStored({ status }: Problem): boolean {
  return status === 0 || status >= 500
}

/** A document being edited. */
export interface Draft {
  base: StoredDocument
  text: string
  /** Set once `base` was saved here: whether every worker enforces it. */
  enforced?: boolean
  /** Why not every worker enforces `base` yet. */
  why?: Problem
  conflict?: Conflict
  /** A text sent before that is or may be stored under a tag that was not learnt. */
  earlier?: string
}

export function begun(base: StoredDocument): Draft {
  return { base, text: base.text }
}

/** The draft after a save of `sent` ended so. What was typed meanwhile stays, and is not saved. */
export function settled(draft: Draft, sent: string, outcome: Outcome): Draft {
  const { text, base } = draft
  switch (outcome.is) {
    case 'enforced':
      return { text, base: outcome.base, enforced: true }
    case 'stored':
      return { text, base: outcome.base, enforced: false, why: outcome.why }
    case 'unread':
      return { text, base: { text: sent, tag: base.tag }, enforced: false, why: outcome.why, earlier: sent }
    case 'conflict': {
      const { mine, sure } = outcome.conflict
      return { text, base, conflict: outcome.conflict, earlier: sure ? undefined : mine ? sent : draft.earlier }
    }
  }
}

/** The draft after a save of `sent` failed. */
export function failed(draft: Draft, sent: string, problem: Problem): Draft {
  return mayBeStored(problem) ? { ...draft, earlier: sent } : draft
}

export function isDirty({ text, base }: Draft): boolean {
  return text !== base.text
}

/** What stands beside the button. */
export function note(draft: Draft, pending: boolean): string | undefined {
  if (pending) return 'Saving…'
  if (isDirty(draft)) return 'Not saved yet.'
  if (draft.enforced === undefined || draft.conflict) return undefined
  return draft.enforced ? 'Saved; every worker enforces it.' : 'Stored; not yet enforced everywhere.'
}

/** A conflict in words: what happened, and what became of the text just sent. */
export function told({ theirs, mine, sure }: Conflict): { title: string; fate: string } {
  const did = theirs ? 'changed' : 'deleted'
  if (!sure) {
    return mine
      ? { title: 'What is stored may not be what you sent', fate: 'Yours was stored and is not yet enforced everywhere; whether it was changed since cannot be told.' }
      : { title: theirs ? 'What is stored is not what you began with' : 'It is not stored any more', fate: "What you just sent was not saved. The other change may be your own earlier one or somebody else's." }
  }
  return mine
    ? { title: `Somebody else ${did} it after yours was stored`, fate: 'Your change was stored before theirs.' }
    : { title: `Somebody else ${did} it while you were editing`, fate: 'What you just sent was not saved.' }
}

/** A new document once it is stored; `name` is missing where the text does not show it. */
export interface Declared {
  name?: string
  /** Why not every worker enforces it yet; absent where all do. */
  why?: Problem
}

/** Declares a new document. Throws where nothing was stored, or where that cannot be told. */
export async function declare(post: () => Promise<string>, name: string | undefined): Promise<Declared> {
  try {
    return { name: await post() }
  } catch (error) {
    const why = Problem.of(error)
    if (why.code !== 'not_yet_enforced') throw why
    return { name, why }
  }
}
