import { expect, it } from 'vitest'
import type { SealView } from '@/api/types'
import { sealedNote } from './seal'

const seal = (more: Partial<SealView>): SealView => ({ sealed: true, method: 'passphrase', shares: 1, threshold: 1, progress: 0, ...more })

it('says nothing while the vault is open or nothing is known of it', () => {
  expect(sealedNote(undefined)).toBeUndefined()
  expect(sealedNote(seal({ sealed: false }))).toBeUndefined()
})

it('tells what still works and the next step, whatever it is sealed by', () => {
  for (const method of ['passphrase', 'shamir', 'key_file', 'aws_kms', 'transit', 'environment', 'something newer']) {
    const note = sealedNote(seal({ method }))
    expect(note?.text).toContain('serves on with what it holds, one that has just started waits')
    expect(note?.command).toBe('credentialflow unseal')
  }
})

it('counts the shares that are missing', () => {
  expect(sealedNote(seal({ method: 'shamir', shares: 5, threshold: 3 }))?.text).toContain('0 of 3 shares are handed in here; 3 more shares open it')
  expect(sealedNote(seal({ method: 'shamir', shares: 5, threshold: 3, progress: 2 }))?.text).toContain('2 of 3 shares are handed in here; 1 more share opens it')
})
