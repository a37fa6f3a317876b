// A change asked for in a dialog that is stored but not yet enforced by every worker: what is true then,
// and what to do. Nothing failed, and every worker takes it in by itself as soon as it can.
import { Problem } from '@/api/problem'
import { sentence } from './format'

export type Deed = 'deletion' | 'new_key' | 'rotated_key' | 'revocation' | 'new_credential' | 'promotion'

export interface Unenforced {
  title: string
  text: string
  /** Label of the button that sends the same again, where that brings what is still missing. */
  again?: string
}

const DEEDS: Record<Deed, Unenforced> = {
  deletion: {
    title: 'Deleted, but not yet everywhere',
    text: 'It is deleted from what is stored. Until every worker knows, some requests may still be treated as if it were there. Nothing needs to be sent again.',
  },
  new_key: {
    title: 'The key is stored, but not yet accepted everywhere',
    text: 'Until every worker knows it, some may refuse it. Ask again for its secret, which is shown once; the same key is answered, no second one is made.',
    again: 'Ask again for the secret',
  },
  rotated_key: {
    title: 'The new secret is stored, but not yet accepted everywhere',
    text: 'Until every worker knows it, some may refuse it; the old secret stays valid. Ask again for the new one, which is shown once; no further one is made.',
    again: 'Ask again for the secret',
  },
  revocation: {
    title: 'Revoked, but not yet everywhere',
    text: 'The revocation is stored. A worker that does not know it yet may still use or accept what is revoked; it stops as soon as it answers again. Nothing needs to be sent again. If it must end now, stop the process that does not answer: the overview and credentialflow status name the nodes.',
  },
  promotion: {
    title: 'The label has moved, but not yet everywhere',
    text: 'Until every worker knows, some calls may still get the version before. Nothing needs to be sent again.',
  },
  new_credential: {
    title: 'The credential is stored, but not yet in use everywhere',
    text: 'Until every worker knows it, some requests that need it may be refused. Nothing needs to be sent again.',
  },
}

/** What to say where a change ended so; undefined where it ended in another way. */
export function unenforced(error: unknown, deed: Deed): Unenforced | undefined {
  if (error === null || error === undefined) return undefined
  const problem = Problem.of(error)
  if (problem.code !== 'not_yet_enforced') return undefined
  const { title, text, again } = DEEDS[deed]
  return { title, text: `${sentence(problem.message)} ${text}`, again }
}
