// A sealed vault in words: what still works, and the next step towards opening it.
import type { SealView } from '@/api/types'

export interface SealedNote {
  title: string
  text: string
  /** Run where the server runs, where that is the next step. */
  command?: string
}

/** What to say on every page; undefined while the vault is open or its state is unknown. */
export function sealedNote(seal: SealView | undefined): SealedNote | undefined {
  if (!seal?.sealed) return undefined
  const works = 'A gateway that runs already serves on with what it holds, one that has just started waits; nobody can sign in, and nothing can be issued, read or changed until it is unsealed.'
  switch (seal.method) {
    case 'shamir': {
      const missing = Math.max(seal.threshold - seal.progress, 1)
      const shares = missing === 1 ? '1 more share opens it' : `${missing} more shares open it`
      return { title: 'The vault is sealed', text: `${works} ${seal.progress} of ${seal.threshold} shares are handed in here; ${shares}. Each holder runs:`, command: 'credentialflow unseal' }
    }
    case 'aws_kms':
    case 'transit': {
      const service = seal.method === 'aws_kms' ? 'AWS KMS' : 'the transit engine'
      return { title: 'The vault is sealed', text: `${works} The server asks ${service} by itself, again and again; its log says why it was not let in. To make it ask at once, run where it runs:`, command: 'credentialflow unseal' }
    }
    case 'key_file':
      return { title: 'The vault is sealed', text: `${works} It opens with its key file. Run this where the server runs:`, command: 'credentialflow unseal' }
    default:
      return { title: 'The vault is sealed', text: `${works} It opens with its passphrase. Run this where the server runs:`, command: 'credentialflow unseal' }
  }
}
