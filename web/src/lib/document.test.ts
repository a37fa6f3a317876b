import { expect, it } from 'vitest'
import { asConfiguration, byLine, declaredName, lineCount, lineRange } from './document'

const problem = (line: number, path: string) => ({ at: { line, column: 1 }, path, code: 'c', detail: 'd' })

it('gathers what was found by line', () => {
  const lines = byLine([problem(2, 'a'), problem(0, 'b'), problem(2, 'c')])
  expect([...lines.keys()]).toEqual([2, 0])
  expect(lines.get(2)?.map(({ path }) => path)).toEqual(['a', 'c'])
})

it('finds lines in a text', () => {
  const text = 'one\ntwo\n\nfour'
  expect(lineCount(text)).toBe(4)
  expect([1, 2, 3, 4, 9, 0].map((line) => text.slice(...lineRange(text, line)))).toEqual(['one', 'two', '', 'four', 'four', 'one'])
})

it('reads the name a document declares', () => {
  expect(declaredName('# a route\nname: orders  # ours\nmatch: {}')).toBe('orders')
  expect(declaredName('name: "a.b-c"')).toBe('a.b-c')
  expect(declaredName('match:\n  name: inner')).toBeUndefined()
})

it('makes a configuration of one document', () => {
  expect(asConfiguration('teams', 'name: a\n\ndescription: |\n  b\n')).toBe('teams:\n-\n  name: a\n\n  description: |\n    b\n\n')
  expect(asConfiguration('teams', '{ "name": "a" }')).toBe('teams:\n-\n  { "name": "a" }\n')
})
