import { expect, it } from 'vitest'
import { Problem } from '@/api/problem'
import { unenforced, type Deed } from './unenforced'

const detail = 'the change is stored, but 1 of 2 workers confirmed it'
const stored = new Problem(503, { code: 'not_yet_enforced', applied: true, detail })
const DEEDS: Deed[] = ['deletion', 'new_key', 'rotated_key', 'revocation', 'new_credential']

it('says of every deed that it is stored, why it is not enforced, and never that it failed', () => {
  for (const deed of DEEDS) {
    const { title, text } = unenforced(stored, deed)!
    expect(text).toContain('The change is stored, but 1 of 2 workers confirmed it.')
    expect(title).toMatch(/not yet/)
    expect(`${title} ${text}`).not.toMatch(/fail|error|could not/i)
  }
})

it('offers to ask again only where a secret is still to come, and says that nothing is made twice', () => {
  const again = DEEDS.filter((deed) => unenforced(stored, deed)?.again)
  expect(again).toEqual(['new_key', 'rotated_key'])
  for (const deed of again) expect(unenforced(stored, deed)?.text).toMatch(/no (second|further) one is made/)
  for (const deed of DEEDS) if (!again.includes(deed)) expect(unenforced(stored, deed)?.text).toContain('Nothing needs to be sent again')
})

it('does not promise that a revoked key is refused already', () => {
  expect(unenforced(stored, 'revocation')?.text).toMatch(/may still use or accept/)
})

it('leaves real failures and no failure alone', () => {
  for (const error of [null, undefined, new Problem(503, { code: 'store_unavailable' }), new Problem(0, { code: 'unreachable' }), new TypeError('x')]) {
    expect(unenforced(error, 'new_key')).toBeUndefined()
  }
})
